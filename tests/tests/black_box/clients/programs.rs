//! Programs beside ComfyUI: a terminal program, plugins of painting programs, gateways, agents and scripts.

use anyhow::{Context, Result};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Server, field, names};
use serde_json::{Value, json};

fn library() -> Result<Library> {
    Library::of([
        Model::lora("a/amber")
            .base("SDXL 1.0")
            .tags(&["style", "warm"])
            .favorite()
            .preview("png"),
        Model::lora("brush").base("Pony").tags(&["style"]),
        Model::lora("copy/brush2").base("Pony").seed(7),
        Model::lora("copy/brush3").base("Pony").seed(7),
        Model::new("checkpoints", "base").sidecar(),
    ])
}

/// A call of Python's standard library.
fn urllib(call: Call) -> Call {
    call.header("User-Agent", "Python-urllib/3.12")
}

async fn post(server: &Server, path: &str, body: Value) -> Result<Value> {
    let reply = server
        .send(&urllib(Call::post(&format!("/api/lm/{path}"), &body)))
        .await?;
    anyhow::ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.text());
    reply.json()
}

/// comfy-ts: follows `total` with pages of 500, and shows previews that are images.
#[tokio::test]
async fn a_terminal_program_reads_all_pages_and_shows_previews() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let (mut read, mut page) = (Vec::new(), 1);
    loop {
        let number = page.to_string();
        let answer = server
            .get_json("/api/lm/loras/list", &[("page", number.as_str()), ("page_size", "500")])
            .await?;
        read.extend(answer["items"].as_array().context("items")?.clone());
        if read.len() as u64 >= answer["total"].as_u64().context("total")? {
            break;
        }
        page += 1;
    }
    assert_eq!(read.len(), 4);
    let preview = read
        .iter()
        .find_map(|item| item["preview_url"].as_str().filter(|url| !url.is_empty()));
    let reply = server.get(preview.context("a preview")?).await?;
    assert!(reply.status == 200 && reply.header("content-type").starts_with("image/"));
    let path = read[0]["file_path"].as_str().context("file_path")?;
    let description = server
        .get_json("/api/lm/loras/model-description", &[("file_path", path)])
        .await?;
    assert_eq!(description["success"], true);
    Ok(())
}

/// A plugin of Krita with a browser for LoRAs; what it writes is tested with the checks of changes.
#[tokio::test]
async fn a_painting_program_reads_pages_favourites_and_folders() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let page = server.list("loras", &[("page", "1"), ("page_size", "200")]).await?;
    assert_eq!((&page["page_size"], &page["total"]), (&json!(100), &json!(4)));
    let favourites = server.list("loras", &[("favorites_only", "true")]).await?;
    assert_eq!(names(&favourites), ["amber"]);
    let roots = server.get_json("/api/lm/loras/roots", &[]).await?;
    assert_eq!(roots["roots"].as_array().map(Vec::len), Some(1));
    let folders = server.get_json("/api/lm/loras/folders", &[]).await?;
    assert_eq!(folders["folders"], json!(["", "a", "copy"]));
    // It asks for recipes as well, and shows none.
    let recipes = server.get("/api/lm/recipes?page=1").await?;
    assert_eq!((recipes.status, &recipes.json()?["success"]), (501, &json!(false)));
    Ok(())
}

/// A front end in GTK, by `requests`.
#[tokio::test]
async fn a_desktop_program_filters_by_several_values() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let query = [
        ("base_model", "SDXL 1.0"),
        ("base_model", "Pony"),
        ("tag_include", "style"),
        ("tag_include", "warm"),
    ];
    assert_eq!(names(&server.list("loras", &query).await?), ["amber", "brush"]);
    let tags = server.get_json("/api/lm/loras/top-tags", &[("limit", "50")]).await?;
    assert_eq!(tags["tags"][0], json!({"tag": "style", "count": 2}));
    Ok(())
}

/// register_lora.py and a plugin of AstrBot: put a file there, scan, list it, delete it.
#[tokio::test]
async fn an_agent_registers_a_file_by_a_scan_and_deletes_it() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let file = wire(&library.add(&Model::new("loras", "new/agent"))?);
    let call = urllib(Call::get("/api/lm/loras/scan").query(&[("full_rebuild", "false")]));
    let scan = server.send(&call).await?.json()?;
    assert_eq!(scan["status"], "success");
    let page = server.list("loras", &[("search", "agent"), ("page", "1")]).await?;
    let item = page["items"][0].clone();
    assert_eq!((&item["file_path"], &item["sub_type"]), (&json!(file), &json!("lora")));
    let deleted = post(&server, "loras/delete", json!({ "file_path": file })).await?;
    assert!(
        deleted["success"] == true && deleted["batch_id"].is_string(),
        "{deleted}"
    );
    assert_eq!(server.list("loras", &[("search", "agent")]).await?["total"], 0);
    Ok(())
}

/// A gateway: rebuilds, reads all pages, hides what its workers must not use.
#[tokio::test]
async fn a_gateway_reads_the_library_whole_and_excludes_a_model() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let call = urllib(Call::get("/api/lm/loras/scan").query(&[("full_rebuild", "true")]));
    assert_eq!(server.send(&call).await?.json()?["status"], "success");
    let mut read = Vec::new();
    let mut pages = 1;
    for page in 1.. {
        if page > pages {
            break;
        }
        let answer = server
            .get_json(
                "/api/lm/loras/list",
                &[("page", page.to_string().as_str()), ("page_size", "3")],
            )
            .await?;
        pages = answer["total_pages"].as_u64().context("total_pages")?;
        read.extend(names(&answer));
    }
    assert_eq!(read.len(), 4);
    let path = server.item("loras", "brush").await?["file_path"].clone();
    post(&server, "loras/exclude", json!({ "file_path": path })).await?;
    assert_eq!(names(&server.get_json("/api/lm/loras/excluded", &[]).await?), ["brush"]);
    for route in ["downloads/queue", "downloads/history"] {
        assert_eq!(
            server.get_json(&format!("/api/lm/{route}"), &[]).await?["success"],
            true
        );
    }
    Ok(())
}

/// A page in Vue with 40 routes: edits, moves, duplicates; it reads the status of recipes and diagnostics, too.
#[tokio::test]
async fn an_app_edits_moves_and_finds_duplicates() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let path = |name: &str| wire(&library.root("loras").join(format!("{name}.safetensors")));
    let saved = post(
        &server,
        "loras/save-metadata",
        json!({"file_path": path("brush"), "notes": "n", "civitai": {"trainedWords": ["ink"]}}),
    )
    .await?;
    assert_eq!(saved["success"], true);
    let tags = post(
        &server,
        "loras/add-tags",
        json!({"file_path": path("brush"), "tags": ["New"]}),
    )
    .await?;
    assert_eq!(tags["tags"], json!(["style", "new"]));
    let renamed = post(
        &server,
        "loras/rename",
        json!({"file_path": path("brush"), "new_file_name": "pen"}),
    )
    .await?;
    assert_eq!(renamed["new_file_path"], json!(path("pen")));
    let target = wire(&library.root("loras").join("moved"));
    let moved = post(
        &server,
        "loras/move_model",
        json!({"file_path": path("pen"), "target_path": target}),
    )
    .await?;
    assert_eq!(moved["new_file_path"], json!(path("moved/pen")));
    let duplicates = server.get_json("/api/lm/loras/find-duplicates", &[]).await?;
    assert_eq!(duplicates["count"], 1);
    let copies = field(&json!({"items": duplicates["duplicates"][0]["models"]}), "file_path");
    let verified = post(&server, "loras/verify-duplicates", json!({ "file_paths": copies })).await?;
    assert_eq!(verified["verified_as_duplicates"], true);
    let many = post(&server, "loras/bulk-delete", json!({ "file_paths": [copies[1]] })).await?;
    assert_eq!(
        (&many["total_deleted"], &many["status"]),
        (&json!(1), &json!("success"))
    );
    let undone = post(&server, "undo-delete", json!({ "batch_id": many["batch_id"] })).await?;
    // With its metadata file.
    assert_eq!(undone["restored"].as_array().map(Vec::len), Some(2));
    for route in ["recipes", "doctor/diagnostics"] {
        assert_eq!(server.get(&format!("/api/lm/{route}")).await?.status, 501, "{route}");
    }
    Ok(())
}

/// A picker in TypeScript, and an archive of images.
#[tokio::test]
async fn a_picker_checks_the_server_and_searches_with_errors_in_typing() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    assert_eq!(
        server.get_json("/api/lm/health-check", &[]).await?,
        json!({"status": "ok"})
    );
    let page = server.list("loras", &[("search", "ambre"), ("fuzzy", "true")]).await?;
    assert_eq!(page["total"], 0);
    let page = server
        .list("loras", &[("search", "bruhs brush"), ("fuzzy", "true")])
        .await?;
    assert!(page["total"].is_u64());
    let path = server.item("checkpoints", "base").await?["file_path"].clone();
    let path = path.as_str().context("file_path")?;
    let metadata = server
        .get_json("/api/lm/checkpoints/metadata", &[("file_path", path)])
        .await?;
    assert_eq!(metadata["success"], true);
    Ok(())
}
