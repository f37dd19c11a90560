//! A `\` in a name, as unpacking an archive from Windows leaves it: paths are matched to models byte by byte.
#![cfg(unix)]

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::views::files;
use modelshelf_tests::{Call, Library, Model, Server, sorted_names};
use serde_json::{Value, json};

use crate::acts::{done, post};

/// Two models whose paths differ in `\` and `/` only.
fn twins() -> Result<(Library, String, String)> {
    let library = Library::of(["a\\b", "a/b"].map(|name| Model::lora(name).sidecar().preview("png")))?;
    let path = |name: &str| wire(&library.root("loras").join(format!("{name}.safetensors")));
    let paths = (path("a\\b"), path("a/b"));
    Ok((library, paths.0, paths.1))
}

async fn notes(server: &Server, path: &str) -> Result<Value> {
    let listed = server.list("loras", &[]).await?;
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    let item = items.into_iter().find(|item| item["file_path"] == path);
    Ok(item.map_or(Value::Null, |item| item["notes"].clone()))
}

#[tokio::test]
async fn the_model_that_was_named_is_edited_shown_renamed_and_moved_and_no_other() -> Result<()> {
    let (library, odd, plain) = twins()?;
    let server = library.serve().await?;
    let root = library.root("loras");
    done(
        &server,
        "loras/save-metadata",
        json!({ "file_path": odd, "notes": "odd" }),
    )
    .await?;
    assert_eq!(
        (notes(&server, &odd).await?, notes(&server, &plain).await?),
        (json!("odd"), json!(""))
    );
    let bulk = json!({ "file_paths": [odd], "set": { "notes": "odder" } });
    let answer = done(&server, "loras/bulk-edit", bulk).await?;
    assert_eq!(answer["results"][0]["file_path"], odd.as_str());
    assert_eq!(notes(&server, &plain).await?, "");

    let picture = wire(&root.join("a\\b.png"));
    let call = Call::get("/api/lm/previews").query(&[("path", picture.as_str())]);
    assert_eq!(server.send(&call).await?.body, std::fs::read(root.join("a\\b.png"))?);
    let call = Call::get("/api/lm/loras/metadata").query(&[("file_path", odd.as_str())]);
    assert_eq!(server.send(&call).await?.status, 200);

    let renamed = json!({ "file_path": odd, "new_file_name": "c" });
    let answer = done(&server, "loras/rename", renamed).await?;
    done(&server, "undo", json!({ "id": answer["undo_id"] })).await?;
    std::fs::create_dir(root.join("to\\here"))?;
    let moved = json!({ "file_path": odd, "target_path": wire(&root.join("to\\here")) });
    let answer = done(&server, "loras/move_model", moved).await?;
    assert_eq!(answer["new_file_path"], wire(&root.join("to\\here/a\\b.safetensors")));
    assert!(root.join("a/b.safetensors").exists() && !root.join("to/here").exists());
    Ok(())
}

#[tokio::test]
async fn the_model_that_was_named_is_deleted_and_no_other() -> Result<()> {
    let (library, odd, plain) = twins()?;
    let server = library.serve().await?;
    let before = files(&library.root("loras"))?;
    for route in ["delete", "bulk-delete"] {
        let body = json!({ "file_path": odd, "file_paths": [odd] });
        let answer = done(&server, &format!("loras/{route}"), body).await?;
        let listed = server.list("loras", &[]).await?;
        assert_eq!(
            (sorted_names(&listed).len(), &listed["items"][0]["file_path"]),
            (1, &json!(plain))
        );
        assert!(std::path::Path::new(&plain).exists());
        done(&server, "undo-delete", json!({ "batch_id": answer["batch_id"] })).await?;
        assert_eq!(files(&library.root("loras"))?, before);
    }
    Ok(())
}

#[tokio::test]
async fn an_operation_on_a_path_that_is_no_model_is_no_success_and_changes_nothing() -> Result<()> {
    let library = Library::of([Model::lora("a/b").sidecar()])?;
    let server = library.serve().await?;
    let root = library.root("loras");
    let before = files(&root)?;
    let odd = wire(&root.join("a\\b.safetensors"));
    for (route, body) in [
        ("delete", json!({ "file_path": odd })),
        ("save-metadata", json!({ "file_path": odd, "notes": "x" })),
        ("exclude", json!({ "file_path": odd })),
        ("rename", json!({ "file_path": odd, "new_file_name": "c" })),
        ("verify-duplicates", json!({ "file_paths": [odd] })),
    ] {
        let (status, answer) = post(&server, &format!("loras/{route}"), body).await?;
        assert_eq!((status, &answer["success"]), (404, &json!(false)), "{route}: {answer}");
    }
    let target = wire(&root);
    for (route, body) in [
        ("bulk-delete", json!({ "file_paths": [odd] })),
        ("bulk-edit", json!({ "file_paths": [odd], "add_tags": ["x"] })),
        (
            "move_models_bulk",
            json!({ "file_paths": [odd], "target_path": target }),
        ),
    ] {
        let (_, answer) = post(&server, &format!("loras/{route}"), body).await?;
        assert_eq!(answer["success"], false, "{route}: {answer}");
        assert!(
            answer["results"].to_string().contains("is not a model"),
            "{route}: {answer}"
        );
    }
    let answer = done(&server, "loras/auto-organize", json!({ "file_paths": [odd] })).await?;
    assert_eq!(
        (
            &answer["summary"]["failures"],
            answer["results"].as_array().map(Vec::len)
        ),
        (&json!(1), Some(1))
    );
    let answer = post(&server, "loras/fetch-all-civitai", json!({ "file_paths": [odd] }))
        .await?
        .1;
    assert_eq!(answer["failure_count"], 1, "{answer}");
    assert_eq!(files(&root)?, before);
    Ok(())
}
