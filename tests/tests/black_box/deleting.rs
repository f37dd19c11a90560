//! Deleting: files go into the trash, come back to the byte, and are lost by nothing in between.

use anyhow::Result;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Library, Model, Server, sorted_names, views};
use serde_json::{Value, json};

use crate::acts::{done, files, post};

fn model(library: &Library, name: &str) -> String {
    wire(&library.root("loras").join(format!("{name}.safetensors")))
}

async fn listed(server: &Server) -> Result<Vec<String>> {
    Ok(sorted_names(&server.list("loras", &[]).await?))
}

#[tokio::test]
async fn a_deleted_model_is_gone_everywhere_and_comes_back_to_the_byte() -> Result<()> {
    let library = Library::of([
        Model::lora("a/m").tags(&["t"]).preview("png"),
        Model::lora("a/mm").sidecar(),
    ])?;
    std::fs::write(library.root("loras").join("a/m.txt"), "a person's")?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let before = files(&library.root("loras"))?;
    let answer = done(&server, "loras/delete", json!({"file_path": model(&library, "a/m")})).await?;
    assert_eq!(answer["deleted_files"], json!([]));
    assert_eq!(listed(&server).await?, ["mm"]);
    views::agree(&server, library.options(), "loras").await?;
    let left: Vec<String> = std::fs::read_dir(library.root("loras").join("a"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(left.len(), 3, "the text file and the other model stay: {left:?}");
    // The trash is no library.
    server.scan("loras", true).await?;
    assert_eq!(listed(&server).await?, ["mm"]);
    server.stop().await?;

    let server = library.options().data_dir(&data).serve().await?;
    let id = answer["batch_id"].as_str().unwrap_or_default().to_owned();
    let restored = done(&server, "undo-delete", json!({ "batch_id": id })).await?;
    assert_eq!(
        (&restored["kind"], restored["restored"].as_array().map(Vec::len)),
        (&json!("model"), Some(3))
    );
    assert_eq!(files(&library.root("loras"))?, before);
    assert_eq!(listed(&server).await?, ["m", "mm"]);
    views::agree(&server, library.options(), "loras").await?;
    let (status, answer) = post(&server, "undo-delete", json!({ "batch_id": id })).await?;
    assert_eq!(
        (status, &answer["error"]),
        (404, &json!(format!("Unknown batch id: {id}")))
    );
    Ok(())
}

#[tokio::test]
async fn a_bulk_delete_is_one_batch_and_says_what_was_not_there() -> Result<()> {
    let library = Library::of(["a", "b", "d/c"].map(|name| Model::lora(name).sidecar()))?;
    let server = library.serve().await?;
    let before = files(&library.root("loras"))?;
    let paths: Vec<String> = ["a", "d/c", "never"].iter().map(|name| model(&library, name)).collect();
    let answer = done(&server, "loras/bulk-delete", json!({ "file_paths": paths })).await?;
    assert_eq!(
        json!([
            answer["status"],
            answer["total_deleted"],
            answer["total_attempted"],
            answer["cache_updated"]
        ]),
        json!(["success", 2, 3, true])
    );
    assert_eq!(
        answer["results"][0],
        json!({"file_path": paths[0], "success": true, "deleted_files": [paths[0]]})
    );
    assert_eq!(
        answer["results"][2],
        json!({
            "file_path": paths[2], "success": false,
            "error": format!("{} is not a model of this library. Scan again if it is new", paths[2]),
            "code": "edit.notFound", "values": {"path": paths[2]},
        })
    );
    assert_eq!(listed(&server).await?, ["b"]);
    // The undo can be undone, and that again.
    let undone = done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(files(&library.root("loras"))?, before);
    let again = done(&server, "undo", json!({"id": undone["undo_id"]})).await?;
    assert_eq!(listed(&server).await?, ["b"]);
    done(&server, "undo", json!({"id": again["undo_id"]})).await?;
    assert_eq!(files(&library.root("loras"))?, before);
    assert_eq!(listed(&server).await?, ["a", "b", "c"]);
    Ok(())
}

#[tokio::test]
async fn nothing_outside_the_library_and_nothing_that_is_no_model_is_deleted() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let outside = library.path().join("elsewhere.safetensors");
    std::fs::write(&outside, "x")?;
    let notes = library.root("loras").join("notes.txt");
    std::fs::write(&notes, "x")?;
    let server = library.serve().await?;
    for (route, body, status) in [
        ("loras/delete", json!({}), 400),
        ("loras/delete", json!({"file_path": wire(&outside)}), 400),
        ("loras/delete", json!({"file_path": wire(&notes)}), 404),
        ("loras/bulk-delete", json!({"file_paths": []}), 400),
        (
            "loras/bulk-delete",
            json!({"file_paths": [model(&library, "m"), wire(&outside)]}),
            400,
        ),
        ("undo-delete", json!({"batch_id": "x"}), 400),
        ("undo-delete", json!({"batch_id": "0".repeat(32)}), 404),
    ] {
        let (code, answer) = post(&server, route, body).await?;
        assert_eq!(code, status, "{route}: {answer}");
    }
    assert!(outside.exists() && notes.exists());
    assert_eq!(listed(&server).await?, ["m"]);
    let never = json!({"file_path": model(&library, "never")});
    let (status, answer) = post(&server, "loras/delete", never).await?;
    assert_eq!((status, &answer["success"]), (404, &json!(false)), "{answer}");
    Ok(())
}

#[tokio::test]
async fn an_undo_never_replaces_a_file_that_came_meanwhile() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let server = library.serve().await?;
    let path = library.root("loras").join("m.safetensors");
    let id = done(&server, "loras/delete", json!({"file_path": wire(&path)})).await?["batch_id"].clone();
    std::fs::write(&path, "another file")?;
    let (status, answer) = post(&server, "undo-delete", json!({ "batch_id": id })).await?;
    assert_eq!(status, 404, "{answer}");
    let (status, answer) = post(&server, "undo", json!({ "id": id })).await?;
    assert_eq!(status, 409, "{answer}");
    assert_eq!(std::fs::read(&path)?, b"another file");
    std::fs::remove_file(&path)?;
    done(&server, "undo-delete", json!({ "batch_id": id })).await?;
    assert_eq!(listed(&server).await?, ["m"]);
    Ok(())
}

#[tokio::test]
async fn files_that_two_models_share_stay_with_the_other_one() -> Result<()> {
    let library = Library::of([Model::new("checkpoints", "m").tags(&["t"]).preview("png")])?;
    let root = library.root("checkpoints");
    std::fs::write(root.join("m.ckpt"), "other weights")?;
    let server = library.serve().await?;
    let other = json!({"file_path": wire(&root.join("m.ckpt"))});
    done(&server, "checkpoints/delete", other).await?;
    assert!(root.join("m.metadata.json").exists() && root.join("m.png").exists());
    assert_eq!(server.item("checkpoints", "m").await?["tags"], json!(["t"]));
    Ok(())
}

#[tokio::test]
async fn the_trash_is_emptied_on_request_and_then_nothing_is_left() -> Result<()> {
    let library = Library::of([Model::lora("a/m").sidecar(), Model::lora("n").sidecar()])?;
    let server = library.serve().await?;
    let id = done(&server, "loras/delete", json!({"file_path": model(&library, "a/m")})).await?["batch_id"].clone();
    let acts = server.get_json("/api/lm/history", &[]).await?;
    let bytes = acts["acts"][0]["trash_bytes"].as_u64().unwrap_or_default();
    assert!(bytes > 0, "{acts}");
    let answer = done(&server, "trash/empty", json!({})).await?;
    assert_eq!(answer["freed_bytes"], bytes);
    assert_eq!(std::fs::read_dir(library.root("loras").join("a"))?.count(), 0);
    let (status, _) = post(&server, "undo-delete", json!({ "batch_id": id })).await?;
    assert_eq!(status, 404);
    assert_eq!(listed(&server).await?, ["n"]);
    Ok(())
}

#[tokio::test]
async fn an_undo_that_was_in_the_way_of_a_file_can_be_done_again_for_the_rest() -> Result<()> {
    let library = Library::of(["m", "n"].map(|name| Model::lora(name).sidecar()))?;
    let server = library.serve().await?;
    let before = files(&library.root("loras"))?;
    let paths = ["m", "n"].map(|name| model(&library, name));
    let id = done(&server, "loras/bulk-delete", json!({ "file_paths": paths })).await?["undo_id"].clone();
    std::fs::write(&paths[0], "another file")?;
    let undone = done(&server, "undo", json!({ "id": id })).await?;
    assert_eq!(undone["restored"], json!([paths[1]]));
    assert_eq!(undone["conflicts"][0]["file_path"], json!(paths[0]));
    let acts = server.get_json("/api/lm/history", &[]).await?;
    assert!(acts["acts"][1]["trash_bytes"].as_u64() > Some(0), "{acts}");

    std::fs::remove_file(&paths[0])?;
    let undone = done(&server, "undo", json!({ "id": id })).await?;
    assert_eq!(undone["restored"], json!([paths[0]]));
    assert_eq!(files(&library.root("loras"))?, before);
    server.scan("loras", false).await?;
    assert_eq!(listed(&server).await?, ["m", "n"]);
    Ok(())
}

#[tokio::test]
async fn another_spelling_of_a_path_deletes_the_model_that_it_means_and_nothing_in_the_trash() -> Result<()> {
    let library = Library::of(["a/m", "n"].map(|name| Model::lora(name).sidecar()))?;
    let server = library.serve().await?;
    let spelled = model(&library, "a/m").replace("/a/", "//./a//");
    let id = done(&server, "loras/delete", json!({ "file_path": spelled })).await?["batch_id"].clone();
    assert_eq!(listed(&server).await?, ["n"]);
    let trashed = files(&library.root("loras"))?
        .into_keys()
        .find(|path| path.ends_with("/m.safetensors"))
        .unwrap_or_default();
    for path in [
        trashed,
        format!("{}/../n.safetensors", wire(&library.root("loras").join("a"))),
    ] {
        let (status, answer) = post(&server, "loras/delete", json!({ "file_path": path })).await?;
        assert!(status == 404 || status == 400, "{path}: {status} {answer}");
    }
    assert_eq!(listed(&server).await?, ["n"]);
    done(&server, "undo-delete", json!({ "batch_id": id })).await?;
    assert_eq!(listed(&server).await?, ["m", "n"]);
    let answer = done(&server, "loras/bulk-delete", json!({ "file_paths": [spelled] })).await?;
    assert_eq!(
        answer["results"],
        json!([{ "file_path": spelled, "success": true, "deleted_files": [spelled] }])
    );
    assert_eq!(answer["total_deleted"], 1);
    assert_eq!(listed(&server).await?, ["n"]);
    Ok(())
}

#[tokio::test]
async fn as_many_models_as_a_person_can_select_fit_into_one_request() -> Result<()> {
    let library = Library::of(["m", "n"].map(|name| Model::lora(name).sidecar()))?;
    let server = library.serve().await?;
    let mut paths: Vec<String> = (0..20_000)
        .map(|number| model(&library, &format!("a_folder/of_some_length/gone_{number:06}")))
        .collect();
    paths.push(model(&library, "m"));
    let answer = done(&server, "loras/bulk-delete", json!({ "file_paths": paths })).await?;
    assert_eq!(
        (&answer["total_deleted"], &answer["total_attempted"]),
        (&json!(1), &json!(20_001))
    );
    assert_eq!(listed(&server).await?, ["n"]);
    Ok(())
}

#[tokio::test]
async fn a_preview_that_somebody_took_out_of_the_trash_does_not_keep_its_model_there() -> Result<()> {
    let library = Library::of([Model::lora("m").preview("png")])?;
    let server = library.serve().await?;
    let id = done(&server, "loras/delete", json!({"file_path": model(&library, "m")})).await?["batch_id"].clone();
    let preview = files(&library.root("loras"))?
        .into_keys()
        .find(|path| path.ends_with("/m.png"))
        .unwrap_or_default();
    std::fs::remove_file(preview)?;
    done(&server, "undo", json!({ "id": id })).await?;
    assert_eq!(listed(&server).await?, ["m"]);
    Ok(())
}

#[tokio::test]
async fn a_model_whose_file_is_gone_leaves_the_list_when_it_is_deleted() -> Result<()> {
    let library = Library::of(["m", "n"].map(|name| Model::lora(name).sidecar()))?;
    let server = library.serve().await?;
    std::fs::remove_file(model(&library, "m"))?;
    let answer = done(&server, "loras/delete", json!({"file_path": model(&library, "m")})).await?;
    assert_eq!(answer["batch_id"], Value::Null);
    assert_eq!(listed(&server).await?, ["n"]);
    Ok(())
}

#[tokio::test]
async fn trash_of_which_the_history_knows_nothing_is_named_and_can_be_emptied() -> Result<()> {
    let library = Library::of(["a", "sub/b"].map(|name| Model::lora(name).sidecar()))?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    for name in ["a", "sub/b"] {
        done(&server, "loras/delete", json!({ "file_path": model(&library, name) })).await?;
    }
    server.scan("loras", false).await?;
    assert_eq!(
        server.status("loras").await?["problems"],
        0,
        "what is known is no problem"
    );
    server.stop().await?;
    std::fs::remove_dir_all(data.join("history"))?;

    let server = library.options().data_dir(&data).serve().await?;
    server.scan("loras", false).await?;
    let problems = server.get_json("/api/lm/loras/problems", &[]).await?;
    assert_eq!(problems["count"], 2, "{problems}");
    assert_eq!(server.status("loras").await?["problems"], 2);
    let named = problems["problems"][0]["file_path"].as_str().unwrap_or_default();
    assert!(named.contains(".lm-pending-delete/"), "{named}");
    // Emptying the trash as far as it is known leaves them.
    let answer = done(&server, "trash/empty", json!({})).await?;
    assert_eq!(answer["freed_bytes"], 0);
    assert!(
        files(&library.root("loras"))?
            .keys()
            .any(|file| file.ends_with("b.safetensors"))
    );
    let answer = done(&server, "trash/empty?unknown=true", json!({})).await?;
    assert!(answer["freed_bytes"].as_u64() > Some(0));
    assert!(files(&library.root("loras"))?.is_empty());
    assert_eq!(server.get_json("/api/lm/loras/problems", &[]).await?["count"], 0);
    Ok(())
}

/// Clients of LoraManager match these words.
#[tokio::test]
async fn an_undo_that_is_refused_says_so_in_words_that_clients_know() -> Result<()> {
    let library = Library::of([Model::lora("m")])?;
    let server = library.serve().await?;
    for (id, text) in [(json!("x"), "Invalid batch_id"), (json!(null), "batch_id is required")] {
        let (status, answer) = post(&server, "undo-delete", json!({ "batch_id": id })).await?;
        assert_eq!((status, &answer["error"]), (400, &json!(text)));
    }
    let path = model(&library, "m");
    let answer = done(&server, "loras/delete", json!({ "file_path": path })).await?;
    std::fs::write(&path, "another")?;
    let (status, answer) = post(&server, "undo-delete", json!({ "batch_id": answer["batch_id"] })).await?;
    let error = answer["error"].as_str().unwrap_or_default();
    assert!(
        status == 404 && error.contains("occupied") && error.contains(&path),
        "{status} {answer}"
    );
    Ok(())
}

#[tokio::test]
async fn an_undo_of_a_delete_logs_no_warning_and_its_own_undo_tells_other_programs() -> Result<()> {
    let library = Library::of([Model::lora("m").preview("png")])?;
    let server = library.serve().await?;
    let deleted = done(&server, "loras/delete", json!({"file_path": model(&library, "m")})).await?;
    let undone = done(&server, "undo-delete", json!({ "batch_id": deleted["batch_id"] })).await?;
    assert!(!library.root("loras").join(".lm-pending-delete").exists());
    // Undoing the undo deletes again: what waits has a manifest again.
    done(&server, "undo", json!({ "id": undone["undo_id"] })).await?;
    let waiting = files(&library.root("loras"))?;
    assert!(
        waiting.keys().any(|path| path.ends_with("manifest.json")),
        "{waiting:?}"
    );
    assert!(!server.log().contains("manifest"), "{}", server.log());
    Ok(())
}
