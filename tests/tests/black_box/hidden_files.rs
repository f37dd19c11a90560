//! Hidden files and folders, and those of operating systems: they are no models.

use std::path::Path;

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, sorted_names};
use serde_json::json;

/// Models in hidden places.
const HIDDEN: [&str; 9] = [
    "._seen",
    ".Trash-1000/files/one",
    "$RECYCLE.BIN/two",
    "System Volume Information/three",
    "deep/__MACOSX/four",
    ".ipynb_checkpoints/five",
    ".cache/huggingface/six",
    "@eaDir/seven",
    "#recycle/eight",
];

fn without_sidecar(path: &str) -> Model {
    Model::new("loras", path)
}

fn hidden() -> Result<Library> {
    let library = Library::of(HIDDEN.map(without_sidecar))?;
    library.add(&Model::lora("seen"))?;
    library.add(&Model::lora("deep/too"))?;
    Ok(library)
}

fn has_sidecar(library: &Library, name: &str) -> bool {
    library.root("loras").join(format!("{name}.metadata.json")).exists()
}

#[tokio::test]
async fn hidden_files_are_not_listed_and_get_no_sidecars() -> Result<()> {
    let library = hidden()?;
    let server = library.options().watching().serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["seen", "too"]);
    let folders = server.get_json("/api/lm/loras/unified-folder-tree", &[]).await?;
    for name in HIDDEN {
        assert!(!has_sidecar(&library, name), "{name}");
    }
    assert_eq!(folders["tree"], json!({"deep": {}}));
    assert_eq!(
        server.get_json("/api/lm/loras/problems", &[]).await?["problems"],
        json!([])
    );
    // Nor while the server runs.
    library.add(&without_sidecar(".git/late"))?;
    library.add(&without_sidecar("._late"))?;
    library.add(&Model::lora("visible"))?;
    server.wait_for_names("loras", &["seen", "too", "visible"]).await?;
    server.scan("loras", true).await?;
    assert_eq!(
        sorted_names(&server.list("loras", &[]).await?),
        ["seen", "too", "visible"]
    );
    // An operation does not make a model of one either.
    let path = wire(&library.root("loras").join("._late.safetensors"));
    for (operation, body) in [
        ("save-metadata", json!({"file_path": path, "notes": "x"})),
        ("delete", json!({"file_path": path})),
    ] {
        let reply = server
            .send(&Call::post(&format!("/api/lm/loras/{operation}"), &body))
            .await?;
        assert_eq!(reply.status, 404, "{}", reply.text());
    }
    assert!(Path::new(&path).is_file() && !has_sidecar(&library, "._late"));
    Ok(())
}

#[tokio::test]
async fn a_setting_shows_them_and_without_it_they_leave_the_list_with_their_files_untouched() -> Result<()> {
    let library = hidden()?;
    let data = library.path().join("data");
    let shown = library
        .options()
        .data_dir(&data)
        .scan_settings("watch = false\nstable_seconds = 0.0\nshow_hidden = true")
        .serve()
        .await?;
    assert_eq!(
        shown.list("loras", &[("page_size", "100")]).await?["total"],
        HIDDEN.len() + 2
    );
    shown.stop().await?;
    assert!(has_sidecar(&library, "._seen"));
    let sidecar = library.root("loras").join("._seen.metadata.json");
    let before = std::fs::read(&sidecar)?;
    let server = library.options().data_dir(&data).serve().await?;
    server.wait_for_names("loras", &["seen", "too"]).await?;
    assert_eq!(std::fs::read(&sidecar)?, before);
    for name in HIDDEN {
        assert!(
            library.root("loras").join(format!("{name}.safetensors")).is_file(),
            "{name}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_moved_into_a_hidden_folder() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let server = library.serve().await?;
    let root = library.root("loras");
    let body = json!({"file_path": wire(&root.join("a.safetensors")), "target_path": wire(&root.join(".cache"))});
    let reply = server.send(&Call::post("/api/lm/loras/move_model", &body)).await?;
    assert!(reply.text().contains("hidden"), "{}", reply.text());
    assert!(root.join("a.safetensors").is_file() && !root.join(".cache").exists());
    Ok(())
}
