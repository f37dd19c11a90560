//! Reading files from the disk.

use std::path::Path;

use anyhow::Result;
use modelshelf_tests::model::{beside, sha256, wire};
use modelshelf_tests::{Library, Model, Server, names, sorted_names};
use serde_json::{Value, json};

async fn listed(server: &Server) -> Result<Vec<String>> {
    Ok(sorted_names(&server.list("loras", &[]).await?))
}

fn read_sidecar(library: &Library, path: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(beside(
        &library.root("loras").join(path),
        "metadata.json",
    ))?)?)
}

#[tokio::test]
async fn a_scan_finds_new_files_and_lets_removed_ones_go() -> Result<()> {
    let library = Library::of([Model::lora("kept"), Model::lora("removed")])?;
    let server = library.serve().await?;
    library.add(&Model::lora("sub/added"))?;
    std::fs::remove_file(library.root("loras").join("removed.safetensors"))?;
    let answer = server.scan("loras", false).await?;
    assert_eq!(answer["status"], "success");
    assert!(answer["message"].is_string());
    assert_eq!(listed(&server).await?, ["added", "kept"]);
    Ok(())
}

#[tokio::test]
async fn a_full_rebuild_reads_every_sidecar_again() -> Result<()> {
    let library = Library::of([Model::lora("amber").name("Before")])?;
    let server = library.serve().await?;
    library.add(&Model::lora("amber").name("After").tags(&["new"]))?;
    server.scan("loras", true).await?;
    let item = server.item("loras", "amber").await?;
    assert_eq!((&item["model_name"], &item["tags"]), (&json!("After"), &json!(["new"])));
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_changed_outside_is_seen_by_an_ordinary_scan() -> Result<()> {
    let library = Library::of([Model::lora("amber").name("Before")])?;
    let server = library.serve().await?;
    library.add(
        &Model::lora("amber")
            .name("Afterwards")
            .side("notes", "changed by another program"),
    )?;
    server.scan("loras", false).await?;
    assert_eq!(server.item("loras", "amber").await?["model_name"], "Afterwards");
    Ok(())
}

#[tokio::test]
async fn a_file_that_comes_alone_is_hashed_and_gets_a_sidecar() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::new("loras", "fresh").metadata("sshs_model_hash", "0xAAAABBBBCCCCDDDD"))?;
    let server = library.serve().await?;
    let item = server.item("loras", "fresh").await?;
    let hash = sha256(&std::fs::read(&file)?);
    assert_eq!(
        (&item["sha256"], &item["model_name"], &item["base_model"]),
        (&json!(hash), &json!("fresh"), &json!("Unknown"))
    );
    assert!(item["modified"].as_f64().is_some_and(|time| time > 1_700_000_000.0));
    let side = read_sidecar(&library, "fresh")?;
    let required = [
        "file_name",
        "model_name",
        "file_path",
        "size",
        "modified",
        "sha256",
        "base_model",
        "preview_url",
    ];
    for name in required {
        assert!(!side[name].is_null(), "{name} is missing in {side}");
    }
    assert_eq!(
        (&side["sha256"], &side["file_path"]),
        (&json!(hash), &json!(wire(&file)))
    );
    assert_eq!(
        (&side["autov3"], &side["usage_tips"]),
        (&json!("aaaabbbbcccc"), &json!("{}"))
    );
    Ok(())
}

#[tokio::test]
async fn a_repaired_sidecar_keeps_every_field_that_it_had() -> Result<()> {
    let library = Library::new()?;
    let custom = json!({"nested": [1, {"a": "日本"}], "null": null});
    let model = Model::lora("renamed")
        .side("file_name", "old name")
        .side("sha256", "")
        .side("my_field", custom.clone());
    library.add(&model.side("hash_status", "completed"))?;
    let server = library.serve().await?;
    let item = server.item("loras", "renamed").await?;
    assert_eq!(item["sha256"].as_str().map(str::len), Some(64));
    let side = read_sidecar(&library, "renamed")?;
    assert_eq!(
        (&side["my_field"], &side["file_name"], &side["sha256"]),
        (&custom, &json!("renamed"), &item["sha256"])
    );
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_is_whole_is_not_written_by_a_scan() -> Result<()> {
    let library = Library::new()?;
    library.add(&Model::lora("amber").side("autov3", Value::Null))?;
    let path = beside(&library.root("loras").join("amber"), "metadata.json");
    let before = (std::fs::read(&path)?, path.metadata()?.modified()?);
    let server = library.serve().await?;
    server.scan("loras", true).await?;
    assert_eq!((std::fs::read(&path)?, path.metadata()?.modified()?), before);
    Ok(())
}

#[tokio::test]
async fn a_model_with_an_unreadable_sidecar_is_left_out_and_the_sidecar_stays_as_it_is() -> Result<()> {
    let library = Library::of([Model::lora("good")])?;
    for (name, text) in [
        ("broken", "{\"file_name\": "),
        ("partial", "{\"file_name\": \"partial\"}"),
        ("array", "[]"),
    ] {
        library.add(&Model::new("loras", name))?;
        std::fs::write(beside(&library.root("loras").join(name), "metadata.json"), text)?;
    }
    let server = library.serve().await?;
    assert_eq!(listed(&server).await?, ["good"]);
    assert_eq!(
        std::fs::read_to_string(beside(&library.root("loras").join("broken"), "metadata.json"))?,
        "{\"file_name\": "
    );
    // Nobody has to guess why it isn't there.
    let problems = server.get_json("/api/lm/loras/problems", &[]).await?;
    assert!(problems.to_string().contains("broken.safetensors"), "{problems}");
    Ok(())
}

#[tokio::test]
async fn extensions_count_in_any_case_and_foreign_files_do_not_count() -> Result<()> {
    let library = Library::of([
        Model::new("loras", "upper").extension("SAFETENSORS"),
        Model::new("loras", "not a lora").extension("ckpt"),
        Model::new("loras", "text").extension("txt"),
        Model::new("checkpoints", "full").extension("ckpt"),
        Model::new("checkpoints", "quant").extension("gguf"),
        Model::new("embeddings", "word").extension("pt"),
        Model::new("embeddings", "not a word").extension("gguf"),
    ])?;
    let server = library.serve().await?;
    assert_eq!(listed(&server).await?, ["upper"]);
    assert_eq!(sorted_names(&server.list("checkpoints", &[]).await?), ["full", "quant"]);
    assert_eq!(names(&server.list("embeddings", &[]).await?), ["word"]);
    Ok(())
}

#[tokio::test]
async fn checkpoints_are_not_hashed_at_a_scan_and_their_root_decides_their_kind() -> Result<()> {
    let library = Library::of([
        Model::new("checkpoints", "full").grown_to(1 << 30),
        Model::new("unet", "diffusion").grown_to(1 << 30),
    ])?;
    let server = library.serve().await?;
    let full = server.item("checkpoints", "full").await?;
    assert_eq!(
        (&full["sha256"], &full["sub_type"], &full["file_size"]),
        (&json!(""), &json!("checkpoint"), &json!(1 << 30))
    );
    let diffusion = server.item("checkpoints", "diffusion").await?;
    assert_eq!(
        (&diffusion["sha256"], &diffusion["sub_type"]),
        (&json!(""), &json!("diffusion_model"))
    );
    let entry = server.get_json("/api/lm/checkpoints/info/full", &[]).await?;
    assert_eq!(
        (&entry["hash_status"], &entry["from_civitai"]),
        (&json!("pending"), &json!(false))
    );
    Ok(())
}

#[tokio::test]
async fn the_helper_format_of_another_program_is_read_where_there_is_no_sidecar() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::new("loras", "amber"))?;
    library.add(&Model::new("loras", "vague"))?;
    let hash = sha256(&std::fs::read(&file)?);
    let version = |files: Value| {
        json!({
            "id": 5, "modelId": 6, "name": "v2", "baseModel": "Pony", "trainedWords": ["warm"], "images": [], "files": files,
            "model": {"name": "Amber", "type": "LORA", "tags": ["style"], "description": "<p>d</p>"},
        })
    };
    let primary = json!([{"name": "amber.safetensors", "primary": true, "sizeKB": 1.0, "hashes": {"SHA256": hash.to_uppercase()}}]);
    for (name, files) in [("amber", primary), ("vague", json!([]))] {
        let info = beside(&library.root("loras").join(name), "civitai.info");
        std::fs::write(info, version(files).to_string())?;
    }
    let server = library.serve().await?;
    let item = server.item("loras", "amber").await?;
    let expected = json!({
        "model_name": "Amber", "base_model": "Pony", "tags": ["style"], "sha256": hash,
        "civitai": {"id": 5, "modelId": 6, "name": "v2", "trainedWords": ["warm"]},
    });
    for (name, value) in expected.as_object().into_iter().flatten() {
        assert_eq!(item.get(name), Some(value), "{name}");
    }
    // Without a primary file nobody can say that the object is about this file.
    assert_eq!(server.item("loras", "vague").await?["model_name"], "vague");
    Ok(())
}

#[tokio::test]
async fn previews_are_found_in_the_order_of_the_contract() -> Result<()> {
    let library = Library::new()?;
    for name in ["many", "upper", "example", "none"] {
        library.add(&Model::new("loras", name))?;
    }
    let put = |name: &str| std::fs::write(library.root("loras").join(name), b"image");
    for name in [
        "many.png",
        "many.preview.png",
        "many.webp",
        "many.mp4",
        "upper.PNG",
        "example.example.0.jpeg",
    ] {
        put(name)?;
    }
    // What belongs to another model of a longer name is no preview.
    put("none.more.png")?;
    let server = library.serve().await?;
    for (name, file) in [
        ("many", "many.webp"),
        ("upper", "upper.PNG"),
        ("example", "example.example.0.jpeg"),
        ("none", ""),
    ] {
        let url = server.item("loras", name).await?["preview_url"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let ends = url.ends_with(file) && url.is_empty() == file.is_empty();
        assert!(ends, "{name}: {url} should end in {file:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_staging_folder_of_deleted_models_is_never_scanned() -> Result<()> {
    let library = Library::of([Model::lora("kept"), Model::lora(".lm-pending-delete/0123/deleted")])?;
    assert_eq!(listed(&library.serve().await?).await?, ["kept"]);
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_once_and_loops_end() -> Result<()> {
    use std::os::unix::fs::symlink;
    let library = Library::of([Model::lora("real/amber")])?;
    let outside = Library::of([Model::lora("linked")])?;
    let root = library.root("loras");
    symlink(outside.root("loras"), root.join("elsewhere"))?;
    symlink(&root, root.join("real/loop"))?;
    symlink(root.join("real"), root.join("real again"))?;
    symlink(root.join("nowhere"), root.join("dangling"))?;
    symlink(root.join("missing.safetensors"), root.join("dangling.safetensors"))?;
    let server = library.serve().await?;
    assert_eq!(listed(&server).await?, ["amber", "linked"]);
    let item = server.item("loras", "linked").await?;
    assert_eq!(
        (&item["folder"], &item["file_path"]),
        (
            &json!("elsewhere"),
            &json!(wire(&root.join("elsewhere/linked.safetensors")))
        )
    );
    Ok(())
}

#[tokio::test]
async fn a_file_that_was_replaced_is_hashed_again() -> Result<()> {
    let library = Library::of([Model::new("loras", "amber").seed(1)])?;
    let server = library.serve().await?;
    let before = server.item("loras", "amber").await?["sha256"].clone();
    let file = library.add(&Model::new("loras", "amber").seed(2).tensor("w", "U8", &[64]))?;
    server.scan("loras", false).await?;
    let after = server.item("loras", "amber").await?["sha256"].clone();
    assert_ne!(before, after);
    assert_eq!(after, sha256(&std::fs::read(Path::new(&file))?));
    Ok(())
}

#[tokio::test]
async fn a_scan_can_be_cancelled_and_what_was_listed_stays() -> Result<()> {
    let library = Library::of((0..20).map(|number| Model::lora(&format!("m{number}"))))?;
    let server = library.serve().await?;
    let answer = server.post_json("/api/lm/loras/cancel-task", &json!({})).await?;
    assert_eq!(answer["status"], "success");
    // A cancellation without a running task must not stop the next one.
    let scan = server.scan("loras", false).await?;
    assert_eq!(scan["status"], "success");
    assert_eq!(server.list("loras", &[]).await?["total"], 20);
    Ok(())
}

#[tokio::test]
async fn a_listed_model_whose_sidecar_breaks_stays_listed_with_the_reason() -> Result<()> {
    let library = Library::of([Model::lora("amber").name("Amber").tags(&["style"])])?;
    let server = library.serve().await?;
    let sidecar = library.root("loras").join("amber.metadata.json");
    let whole = std::fs::read(&sidecar)?;
    std::fs::write(&sidecar, &whole[..whole.len() / 2])?;
    for full in [false, true] {
        server.scan("loras", full).await?;
        let item = server.item("loras", "amber").await?;
        assert_eq!(item["model_name"], "Amber", "full: {full}");
        assert!(
            item["problem"]
                .as_str()
                .is_some_and(|problem| problem.contains("amber.metadata.json"))
        );
    }
    assert_eq!(
        std::fs::read(&sidecar)?,
        &whole[..whole.len() / 2],
        "it was written over"
    );
    std::fs::write(&sidecar, &whole)?;
    server.scan("loras", false).await?;
    assert!(server.item("loras", "amber").await?["problem"].is_null());
    Ok(())
}

#[tokio::test]
async fn two_files_that_share_a_sidecar_do_not_fight_over_it() -> Result<()> {
    let library = Library::of([
        Model::new("checkpoints", "two").extension("safetensors"),
        Model::new("checkpoints", "two").extension("ckpt"),
    ])?;
    let server = library.serve().await?;
    server.scan("checkpoints", false).await?;
    let sidecar = library.root("checkpoints").join("two.metadata.json");
    let before = std::fs::metadata(&sidecar)?.modified()?;
    for _ in 0..2 {
        server.scan("checkpoints", false).await?;
    }
    assert_eq!(std::fs::metadata(&sidecar)?.modified()?, before);
    Ok(())
}

#[tokio::test]
async fn nested_roots_and_a_slash_at_the_end_list_each_file_once_and_settle() -> Result<()> {
    let library = Library::of([Model::lora("top").sidecar(), Model::lora("sub/deep").sidecar()])?;
    let outer = format!("{}/", library.root("loras").display());
    let inner = library.root("loras").join("sub");
    let server = library
        .options()
        .root("loras", Path::new(&outer))
        .root("loras", &inner)
        .serve()
        .await?;
    assert_eq!(listed(&server).await?, ["deep", "top"]);
    let item = server.item("loras", "top").await?;
    assert_eq!(item["file_path"], wire(&library.root("loras").join("top.safetensors")));
    let generation = server.get_json("/api/lm/loras/status", &[]).await?["generation"].clone();
    server.scan("loras", false).await?;
    assert_eq!(
        server.get_json("/api/lm/loras/status", &[]).await?["generation"],
        generation,
        "the second scan changed something"
    );
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_with_a_models_name_does_not_hold_a_scan_up() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let pipe = library.root("loras").join("pipe.safetensors");
    anyhow::ensure!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
    let server = library.serve().await?;
    assert_eq!(listed(&server).await?, ["amber"]);
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_one_data_folder_is_refused() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    let first = library.options().data_dir(&data).serve().await?;
    let second = library.options().data_dir(&data).start().await;
    assert!(second.is_err_and(|error| format!("{error:#}").contains("in use")));
    assert_eq!(listed(&first).await?, ["amber"]);
    Ok(())
}
