//! Renaming: all files of a model get the new name, and an undo gives them the old one back.

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Library, Model, sorted_names, views};
use serde_json::{Value, json};

use crate::acts::post;

fn names(library: &Library) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(library.root("loras"))?.flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn all_files_of_a_model_are_renamed_and_the_old_names_come_back() -> Result<()> {
    let library = Library::of([
        Model::lora("m").name("Shown").tags(&["t"]).preview("png"),
        Model::lora("mm").sidecar(),
    ])?;
    let root = library.root("loras");
    std::fs::write(root.join("m.txt"), "a person's")?;
    let server = library.serve().await?;
    let sidecar = std::fs::read(root.join("m.metadata.json"))?;
    let before = names(&library)?;
    let old = server.item("loras", "m").await?;
    let name = "re.v1.0 😀";
    let body = json!({"file_path": wire(&root.join("m.safetensors")), "new_file_name": name});
    let (status, answer) = post(&server, "loras/rename", body).await?;
    assert_eq!(status, 200, "{answer}");
    let new = wire(&root.join(format!("{name}.safetensors")));
    assert_eq!(
        json!([
            answer["success"],
            answer["new_file_path"],
            answer["reload_required"],
            answer["renamed_files"][0]
        ]),
        json!([true, new, false, new])
    );
    assert_eq!(answer["renamed_files"].as_array().map(Vec::len), Some(3));
    let item = server.item("loras", name).await?;
    assert_eq!(
        json!([item["model_name"], item["tags"], item["sha256"]]),
        json!(["Shown", ["t"], old["sha256"]])
    );
    assert!(
        item["preview_url"].as_str().is_some_and(|url| url.contains("re.v1.0")),
        "{item}"
    );
    views::agree(&server, library.options(), "loras").await?;
    let on_disk: Value = serde_json::from_slice(&std::fs::read(root.join(format!("{name}.metadata.json")))?)?;
    assert_eq!(json!([on_disk["file_path"], on_disk["file_name"]]), json!([new, name]));
    assert!(
        root.join("m.txt").exists(),
        "files that the contract does not name stay"
    );

    let (status, undone) = post(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(status, 200, "{undone}");
    assert_eq!(names(&library)?, before);
    assert_eq!(std::fs::read(root.join("m.metadata.json"))?, sidecar);
    assert_eq!(server.item("loras", "m").await?, old);
    views::agree(&server, library.options(), "loras").await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["m", "mm"]);
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_taken_or_is_none_changes_nothing() -> Result<()> {
    let library = Library::of([Model::lora("m").preview("png"), Model::lora("n").sidecar()])?;
    let root = library.root("loras");
    // Only the preview's new name is taken: half of the files could move, and none may.
    std::fs::write(root.join("free.png"), "another picture")?;
    let server = library.serve().await?;
    let before = names(&library)?;
    let path = wire(&root.join("m.safetensors"));
    for (body, status) in [
        (json!({"file_path": path, "new_file_name": "n"}), 400),
        (json!({"file_path": path, "new_file_name": "m"}), 400),
        (json!({"file_path": path, "new_file_name": "free"}), 400),
        (json!({"file_path": path, "new_file_name": "a/b"}), 400),
        (json!({"file_path": path, "new_file_name": "../m"}), 400),
        (json!({"file_path": path}), 400),
        (json!({"new_file_name": "x"}), 400),
        (json!({"file_path": "/etc/passwd", "new_file_name": "x"}), 400),
        (json!({"file_path": format!("{path}.none"), "new_file_name": "x"}), 404),
    ] {
        let (code, answer) = post(&server, "loras/rename", body.clone()).await?;
        assert_eq!(code, status, "{body}: {answer}");
    }
    assert_eq!(names(&library)?, before);
    assert_eq!(std::fs::read(root.join("free.png"))?, b"another picture");
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["m", "n"]);
    assert_eq!(server.get_json("/api/lm/history", &[]).await?["total"], 0);
    Ok(())
}

#[tokio::test]
async fn a_rename_never_takes_over_another_models_metadata() -> Result<()> {
    let library = Library::of([
        Model::new("checkpoints", "m").tags(&["own"]),
        Model::new("checkpoints", "other").tags(&["theirs"]),
    ])?;
    let root = library.root("checkpoints");
    // Metadata whose weights somebody took away, and weights of another kind.
    std::fs::remove_file(root.join("other.safetensors"))?;
    std::fs::write(root.join("third.ckpt"), "weights")?;
    let server = library.serve().await?;
    let theirs = std::fs::read(root.join("other.metadata.json"))?;
    for name in ["other", "third"] {
        let body = json!({"file_path": wire(&root.join("m.safetensors")), "new_file_name": name});
        let (status, answer) = post(&server, "checkpoints/rename", body).await?;
        assert_eq!(status, 400, "{answer}");
    }
    assert_eq!(std::fs::read(root.join("other.metadata.json"))?, theirs);
    assert_eq!(server.item("checkpoints", "m").await?["tags"], json!(["own"]));
    Ok(())
}
