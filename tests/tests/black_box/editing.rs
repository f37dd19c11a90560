//! Changing metadata: after each change the disk, the answers and a freshly started server agree.

use std::path::Path;

use anyhow::{Context, Result};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Library, Model, Server};
use serde_json::{Value, json};

use crate::acts::{done, post};

fn sidecar(model: &Path) -> Result<Value> {
    let path = model.with_extension("metadata.json");
    Ok(serde_json::from_slice(&std::fs::read(&path).context("no sidecar")?)?)
}

/// The item of a model here and on a server that was started on the same folders and knows nothing.
async fn item_everywhere(library: &Library, server: &Server, name: &str) -> Result<Value> {
    let here = server.item("loras", name).await?;
    let fresh = library.serve().await?;
    let there = fresh.item("loras", name).await?;
    assert_eq!(here, there, "a fresh server sees another item");
    Ok(here)
}

#[tokio::test]
async fn saved_metadata_is_on_disk_in_the_answers_and_in_a_fresh_server() -> Result<()> {
    let library = Library::of([Model::lora("a/m")
        .tags(&["Style"])
        .side("theirs", json!({"keep": [1, 2]}))
        .civitai(json!({"id": 5, "modelId": 54, "trainedWords": ["x"], "creator": {"username": "u"}}))])?;
    let server = library.serve().await?;
    let path = library.root("loras").join("a/m.safetensors");
    let saved = json!({
        "file_path": wire(&path), "model_name": "New Name", "tags": ["A", " a", "B ", ""], "favorite": true,
        "civitai": {"trainedWords": ["z"]}, "zzz": 1, "usage_tips": "{\"strength\":1}", "notes": "n\u{1F600}",
        "base_model": "Pony",
    });
    let answer = done(&server, "loras/save-metadata", saved).await?;
    assert_eq!(answer["auto_tags"], json!([]));
    let on_disk = sidecar(&path)?;
    assert_eq!(on_disk["theirs"], json!({"keep": [1, 2]}), "unknown fields stay");
    assert_eq!((&on_disk["zzz"], &on_disk["tags"]), (&json!(1), &json!(["a", "b"])));
    assert_eq!(on_disk["civitai"]["creator"]["username"], "u", "objects are merged");
    let item = item_everywhere(&library, &server, "m").await?;
    assert_eq!(
        json!([
            item["model_name"],
            item["tags"],
            item["favorite"],
            item["notes"],
            item["base_model"],
            item["usage_tips"]
        ]),
        json!(["New Name", ["a", "b"], true, "n\u{1F600}", "Pony", "{\"strength\":1}"])
    );
    assert_eq!(item["civitai"]["trainedWords"], json!(["z"]));
    // Every index follows.
    let found = |query: &'static [(&'static str, &'static str)]| async {
        anyhow::Ok(server.list("loras", query).await?["total"].clone())
    };
    assert_eq!(found(&[("search", "new name")]).await?, 1);
    assert_eq!(found(&[("base_model", "Pony")]).await?, 1);
    assert_eq!(found(&[("tag_include", "style")]).await?, 0);
    assert_eq!(found(&[("favorites_only", "true")]).await?, 1);
    // Clearing a field is a change like any other.
    done(
        &server,
        "loras/save-metadata",
        json!({"file_path": wire(&path), "notes": "", "tags": []}),
    )
    .await?;
    let item = item_everywhere(&library, &server, "m").await?;
    assert_eq!((&item["notes"], &item["tags"]), (&json!(""), &json!([])));
    Ok(())
}

#[tokio::test]
async fn tags_are_added_and_excluded_models_come_back() -> Result<()> {
    let library = Library::of([Model::lora("m").tags(&["Style"]), Model::lora("n").sidecar()])?;
    let server = library.serve().await?;
    let path = wire(&library.root("loras").join("m.safetensors"));
    let answer = done(
        &server,
        "loras/add-tags",
        json!({"file_path": path, "tags": ["NEW", "style", " x ", 5, null]}),
    )
    .await?;
    assert_eq!(answer["tags"], json!(["Style", "new", "x"]));
    assert_eq!(item_everywhere(&library, &server, "m").await?["tags"], answer["tags"]);

    let answer = done(&server, "loras/exclude", json!({"file_path": path})).await?;
    assert_eq!(answer["message"], "Model m.safetensors excluded");
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    assert_eq!(server.get_json("/api/lm/loras/top-tags", &[]).await?["tags"], json!([]));
    let excluded = server.get_json("/api/lm/loras/excluded", &[]).await?;
    assert_eq!(excluded["items"][0]["file_name"], "m");
    let fresh = library.serve().await?;
    assert_eq!(fresh.list("loras", &[]).await?["total"], 1);

    let answer = done(&server, "loras/unexclude", json!({"file_path": path})).await?;
    assert_eq!(answer["message"], "Model m.safetensors restored");
    item_everywhere(&library, &server, "m").await?;
    Ok(())
}

#[tokio::test]
async fn wrong_requests_say_what_is_wrong_and_change_nothing() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let server = library.serve().await?;
    let model = library.root("loras").join("m.safetensors");
    let (path, before) = (wire(&model), sidecar(&model)?);
    let outside = library.path().join("elsewhere.safetensors");
    std::fs::write(&outside, "x")?;
    for (route, body, status, says) in [
        ("save-metadata", json!({"notes": "x"}), 400, "File path is required"),
        (
            "add-tags",
            json!({"file_path": path, "tags": "x"}),
            400,
            "Tags must be a list",
        ),
        ("exclude", json!({}), 400, "Model path is required"),
        ("save-metadata", json!([]), 400, "Invalid JSON body"),
        (
            "save-metadata",
            json!({"file_path": wire(&outside), "notes": "x"}),
            400,
            "outside",
        ),
        (
            "save-metadata",
            json!({"file_path": format!("{path}.none"), "notes": "x"}),
            404,
            "not a model",
        ),
        (
            "bulk-edit",
            json!({"file_paths": [], "add_tags": ["x"]}),
            400,
            "file_paths",
        ),
        ("bulk-edit", json!({"file_paths": [path]}), 400, "Nothing to change"),
        ("bulk-edit", json!({"file_paths": [path], "tag": "x"}), 400, "tag"),
    ] {
        let (code, answer) = post(&server, &format!("loras/{route}"), body).await?;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(code == status && error.contains(says), "{route}: {code} {answer}");
    }
    let (code, answer) = post(
        &server,
        "loras/bulk-edit",
        json!({"file_paths": [format!("{path}.none")], "add_tags": ["x"]}),
    )
    .await?;
    assert_eq!(
        json!([code, answer["success"], answer["failure_count"], answer["undo_id"]]),
        json!([200, false, 1, null])
    );
    assert!(
        answer["error"].as_str().unwrap_or_default().contains("not a model"),
        "{answer}"
    );
    assert_eq!(sidecar(&model)?, before);
    assert!(!outside.with_extension("metadata.json").exists());
    assert_eq!(server.get_json("/api/lm/history", &[]).await?["total"], 0);
    Ok(())
}

#[tokio::test]
async fn an_edit_can_be_undone_also_after_a_restart_and_the_undo_too() -> Result<()> {
    let library = Library::of([Model::lora("m").name("Old").tags(&["a"])])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let model = library.root("loras").join("m.safetensors");
    let file = model.with_extension("metadata.json");
    let before = std::fs::read(&file)?;
    let saved = json!({"file_path": wire(&model), "model_name": "New", "tags": ["b"]});
    let id = done(&server, "loras/save-metadata", saved).await?["undo_id"].clone();
    let after = std::fs::read(&file)?;
    server.stop().await?;

    let server = library.options().data_dir(&data).serve().await?;
    let history = server.get_json("/api/lm/history", &[]).await?;
    assert_eq!(
        json!([
            history["total"],
            history["acts"][0]["kind"],
            history["acts"][0]["models"],
            history["acts"][0]["can_undo"]
        ]),
        json!([1, "edit", [wire(&model)], true])
    );
    let undone = done(&server, "undo", json!({ "id": id })).await?;
    assert_eq!(undone["restored"], json!([wire(&model)]));
    assert_eq!(std::fs::read(&file)?, before, "to the byte");
    assert_eq!(item_everywhere(&library, &server, "m").await?["model_name"], "Old");
    let (status, answer) = post(&server, "undo", json!({ "id": id })).await?;
    assert_eq!(status, 409, "{answer}");
    let (status, _) = post(&server, "undo", json!({"id": "0".repeat(32)})).await?;
    assert_eq!(status, 404);

    done(&server, "undo", json!({"id": undone["undo_id"]})).await?;
    assert_eq!(std::fs::read(&file)?, after);
    Ok(())
}

#[tokio::test]
async fn what_somebody_else_changed_since_is_not_undone() -> Result<()> {
    let library = Library::of([Model::lora("m").name("Old"), Model::lora("n").name("Old")])?;
    let server = library.serve().await?;
    let paths: Vec<String> = ["m", "n"]
        .iter()
        .map(|name| wire(&library.root("loras").join(format!("{name}.safetensors"))))
        .collect();
    let edit = json!({"file_paths": paths, "set": {"notes": "both"}, "add_tags": ["t"]});
    let id = done(&server, "loras/bulk-edit", edit).await?["undo_id"].clone();
    let theirs = library.root("loras").join("m.metadata.json");
    let text = std::fs::read_to_string(&theirs)?.replace("both", "theirs");
    std::fs::write(&theirs, &text)?;

    let undone = done(&server, "undo", json!({ "id": id })).await?;
    assert_eq!(undone["restored"], json!([paths[1]]));
    assert_eq!(undone["conflicts"][0]["file_path"], json!(paths[0]));
    assert_eq!(std::fs::read_to_string(&theirs)?, text);
    assert_eq!(server.item("loras", "n").await?["notes"], "");
    Ok(())
}

#[tokio::test]
async fn a_bulk_edit_is_one_act_and_its_plan_changes_nothing() -> Result<()> {
    let library = Library::of((0..30).map(|number| Model::lora(&format!("m{number:02}")).tags(&["old", "kept"])))?;
    let server = library.serve().await?;
    let mut paths: Vec<String> = (0..30)
        .map(|number| wire(&library.root("loras").join(format!("m{number:02}.safetensors"))))
        .collect();
    paths.push(format!("{}x", paths[0]));
    let mut edit = json!({"file_paths": paths, "set": {"base_model": "Pony"}, "remove_tags": ["OLD"], "add_tags": ["new"], "dry_run": true});
    let plan = done(&server, "loras/bulk-edit", edit.clone()).await?;
    let fields: Vec<&str> = plan["results"][0]["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|change| change["field"].as_str())
        .collect();
    assert_eq!(fields.len(), 2, "{plan}");
    assert!(fields.contains(&"tags") && fields.contains(&"base_model"));
    assert_eq!(plan["results"][30]["success"], false);
    assert_eq!(server.list("loras", &[("base_model", "Pony")]).await?["total"], 0);

    edit["dry_run"] = json!(false);
    let answer = done(&server, "loras/bulk-edit", edit).await?;
    assert_eq!(
        (&answer["success_count"], &answer["failure_count"]),
        (&json!(30), &json!(1))
    );
    assert_eq!(
        server
            .list("loras", &[("base_model", "Pony"), ("tag_include", "new")])
            .await?["total"],
        30
    );
    assert_eq!(
        item_everywhere(&library, &server, "m07").await?["tags"],
        json!(["kept", "new"])
    );
    assert_eq!(server.get_json("/api/lm/history", &[]).await?["total"], 1);
    done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(server.list("loras", &[("tag_include", "old")]).await?["total"], 30);
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_can_not_be_read_is_put_aside_before_a_new_one_is_written() -> Result<()> {
    let library = Library::of([Model::lora("m").name("Named").tags(&["t"])])?;
    let server = library.serve().await?;
    let model = library.root("loras").join("m.safetensors");
    let file = model.with_extension("metadata.json");
    std::fs::write(&file, "{ \"model_name\": \"half")?;
    done(
        &server,
        "loras/save-metadata",
        json!({"file_path": wire(&model), "notes": "n"}),
    )
    .await?;
    let on_disk = sidecar(&model)?;
    assert_eq!(
        json!([on_disk["model_name"], on_disk["tags"], on_disk["notes"]]),
        json!(["Named", ["t"], "n"])
    );
    let aside = std::fs::read_dir(library.root("loras"))?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().contains(".broken-"))
        .context("nothing was put aside")?;
    assert_eq!(std::fs::read_to_string(aside.path())?, "{ \"model_name\": \"half");
    item_everywhere(&library, &server, "m").await?;
    Ok(())
}

#[tokio::test]
async fn a_byte_order_mark_and_another_order_of_fields_are_no_trouble() -> Result<()> {
    let library = Library::of([Model::lora("m").name("Named")])?;
    let server = library.serve().await?;
    let model = library.root("loras").join("m.safetensors");
    let file = model.with_extension("metadata.json");
    let mut fields: Vec<(String, Value)> = sidecar(&model)?
        .as_object()
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .collect();
    fields.reverse();
    fields.insert(0, ("first".into(), json!("theirs")));
    let text = serde_json::to_string(&serde_json::Map::from_iter(fields))?;
    std::fs::write(&file, format!("\u{feff}{text}"))?;
    done(
        &server,
        "loras/save-metadata",
        json!({"file_path": wire(&model), "favorite": true}),
    )
    .await?;
    let on_disk = sidecar(&model)?;
    assert_eq!(
        json!([on_disk["first"], on_disk["model_name"], on_disk["favorite"]]),
        json!(["theirs", "Named", true])
    );
    item_everywhere(&library, &server, "m").await?;
    Ok(())
}

#[tokio::test]
async fn edits_at_the_same_time_lose_nothing() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let server = library.serve().await?;
    let path = wire(&library.root("loras").join("m.safetensors"));
    let tags = (0..40).map(|number| json!({"file_path": path, "tags": [format!("t{number:02}")]}));
    let added = futures_util::future::join_all(tags.map(|body| done(&server, "loras/add-tags", body))).await;
    for answer in added {
        answer?;
    }
    let item = item_everywhere(&library, &server, "m").await?;
    assert_eq!(item["tags"].as_array().map(Vec::len), Some(40), "{item}");
    Ok(())
}

#[tokio::test]
async fn a_bulk_edit_may_name_a_whole_large_library() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let server = library.serve().await?;
    let path = wire(&library.root("loras").join("m.safetensors"));
    let mut paths: Vec<String> = (0..20_000)
        .map(|number| format!("{path}.{}{number}", "x".repeat(60)))
        .collect();
    paths.push(path.clone());
    let edit = json!({"file_paths": paths, "add_tags": ["t"]});
    assert!(edit.to_string().len() > 1 << 20);
    let answer = done(&server, "loras/bulk-edit", edit).await?;
    assert_eq!(
        json!([answer["success_count"], answer["failure_count"]]),
        json!([1, 20_000])
    );
    assert_eq!(item_everywhere(&library, &server, "m").await?["tags"], json!(["t"]));
    Ok(())
}

#[tokio::test]
async fn a_metadata_file_that_an_edit_made_goes_with_its_undo_and_comes_back() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let server = library.serve().await?;
    let model = library.root("loras").join("m.safetensors");
    let file = model.with_extension("metadata.json");
    std::fs::remove_file(&file)?;
    let edit = json!({"file_path": wire(&model), "notes": "n"});
    let made = done(&server, "loras/save-metadata", edit).await?;
    let after = std::fs::read(&file)?;
    let undone = done(&server, "undo", json!({"id": made["undo_id"]})).await?;
    assert!(!file.exists());
    done(&server, "undo", json!({"id": undone["undo_id"]})).await?;
    assert_eq!(std::fs::read(&file)?, after);
    assert_eq!(server.item("loras", "m").await?["notes"], "n");
    Ok(())
}

#[tokio::test]
async fn a_hash_that_came_after_an_edit_does_not_keep_it_from_being_undone() -> Result<()> {
    let library = Library::of([Model::new("checkpoints", "m")
        .side("notes", "old")
        .side("sha256", "")
        .side("hash_status", "pending")])?;
    let server = library.serve().await?;
    let model = library.root("checkpoints").join("m.safetensors");
    let edit = json!({"file_path": wire(&model), "notes": "new"});
    let id = done(&server, "checkpoints/save-metadata", edit).await?["undo_id"].clone();
    done(&server, "checkpoints/hash", json!({})).await?;
    server.scan("checkpoints", false).await?;
    let hash = sidecar(&model)?["sha256"].clone();
    assert_eq!(hash.as_str().map(str::len), Some(64));
    done(&server, "undo", json!({ "id": id })).await?;
    let on_disk = sidecar(&model)?;
    assert_eq!(json!([on_disk["notes"], on_disk["sha256"]]), json!(["old", hash]));
    Ok(())
}
