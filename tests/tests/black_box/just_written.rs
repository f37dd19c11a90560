//! Operations on files that a client wrote a moment ago and that no scan has found yet.

use anyhow::Result;
use modelshelf_tests::civitai::Civitai;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Server, names, sorted_names};
use serde_json::{Value, json};

/// Settings with which nothing is found that was written after the start.
const NOTHING_FOUND: &str = "watch = false\nstable_seconds = 600.0";

/// A library with one model that is older than what counts as just written.
fn with_an_old_file() -> Result<Library> {
    let library = Library::of([Model::lora("here")])?;
    let file = std::fs::File::options()
        .append(true)
        .open(library.root("loras").join("here.safetensors"))?;
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600))?;
    Ok(library)
}

/// A server that finds nothing by itself.
async fn unwatched(library: &Library) -> Result<Server> {
    let options = library.options().scan_settings(NOTHING_FOUND);
    options.serve().await
}

fn write(library: &Library, name: &str) -> Result<String> {
    library.add(&Model::lora(name).sidecar())?;
    Ok(wire(&library.root("loras").join(format!("{name}.safetensors"))))
}

/// The body of an operation on the file at a path.
type Body = fn(&Library, &str) -> Value;

#[tokio::test]
async fn a_file_that_was_just_written_can_be_edited_moved_renamed_and_deleted() -> Result<()> {
    let library = with_an_old_file()?;
    std::fs::create_dir(library.root("loras").join("sub"))?;
    let server = unwatched(&library).await?;
    let operations: [(&str, Body); 6] = [
        (
            "save-metadata",
            |_, path| json!({"file_path": path, "notes": "written"}),
        ),
        ("add-tags", |_, path| json!({"file_path": path, "tags": ["new"]})),
        (
            "rename",
            |_, path| json!({"file_path": path, "new_file_name": "renamed"}),
        ),
        (
            "move_model",
            |library, path| json!({"file_path": path, "target_path": wire(&library.root("loras").join("sub"))}),
        ),
        ("exclude", |_, path| json!({"file_path": path})),
        ("delete", |_, path| json!({"file_path": path})),
    ];
    for (operation, body) in operations {
        let path = write(&library, &format!("for-{operation}"))?;
        let call = Call::post(&format!("/api/lm/loras/{operation}"), &body(&library, &path));
        let reply = server.send(&call).await?;
        assert_eq!(
            (reply.status, &reply.json()?["success"]),
            (200, &json!(true)),
            "{operation}: {}",
            reply.text()
        );
    }
    let listed = sorted_names(&server.list("loras", &[]).await?);
    assert_eq!(
        listed,
        ["for-add-tags", "for-move_model", "for-save-metadata", "here", "renamed"]
    );
    assert_eq!(server.item("loras", "for-save-metadata").await?["notes"], "written");
    Ok(())
}

#[tokio::test]
async fn metadata_of_a_file_that_was_just_written_can_be_asked_for() -> Result<()> {
    let library = with_an_old_file()?;
    let civitai = Civitai::start([]).await?;
    let options = library.options().civitai(&civitai);
    let server = options.scan_settings(NOTHING_FOUND).serve().await?;
    let path = write(&library, "fresh")?;
    for endpoint in ["metadata", "model-description"] {
        let answer = server
            .get_json(&format!("/api/lm/loras/{endpoint}"), &[("file_path", &path)])
            .await?;
        assert_eq!(answer["success"], true);
    }
    let call = Call::post("/api/lm/loras/fetch-civitai", &json!({"file_path": path}));
    let reply = server.send(&call).await?;
    assert_ne!(reply.status, 404, "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_whole_or_not_in_a_root_stays_out() -> Result<()> {
    let library = with_an_old_file()?;
    let server = unwatched(&library).await?;
    let root = library.root("loras");
    let whole = std::fs::read(root.join("here.safetensors"))?;
    std::fs::write(root.join("cut.safetensors"), &whole[..whole.len() / 2])?;
    std::fs::write(root.join("part.safetensors"), &whole)?;
    std::fs::write(root.join("part.safetensors.crdownload"), "x")?;
    std::fs::write(root.join("text.txt"), &whole)?;
    std::fs::write(library.path().join("outside.safetensors"), &whole)?;
    for path in [
        root.join("cut.safetensors"),
        root.join("part.safetensors"),
        root.join("text.txt"),
        root.join("none.safetensors"),
        library.path().join("outside.safetensors"),
    ] {
        let body = json!({"file_path": wire(&path), "notes": "x"});
        let reply = server.send(&Call::post("/api/lm/loras/save-metadata", &body)).await?;
        assert!(
            matches!(reply.status, 400 | 403 | 404),
            "{}: {}",
            path.display(),
            reply.text()
        );
        assert!(!path.with_extension("metadata.json").exists());
    }
    assert_eq!(names(&server.list("loras", &[]).await?), ["here"]);
    Ok(())
}
