//! Changes while something happens to the clock and the server's own folder, and names that no file can have.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use modelshelf_tests::http::Call;
use modelshelf_tests::model::wire;
use modelshelf_tests::views::files;
use modelshelf_tests::{Library, Model, sorted_names};
use serde_json::{Value, json};

use crate::acts::{done, post};

fn mode(path: &Path) -> Result<u32> {
    Ok(path.metadata()?.permissions().mode() & 0o777)
}

#[tokio::test]
async fn a_data_folder_that_existed_is_private_after_the_start() -> Result<()> {
    let library = Library::of([Model::lora("m")])?;
    let data = library.path().join("data");
    std::fs::create_dir(&data)?;
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755))?;
    let server = library.options().data_dir(&data).serve().await?;
    assert_eq!(mode(&data)?, 0o700);
    server.stop().await?;

    let other = library.path().join("somebody's");
    std::fs::create_dir(&other)?;
    std::fs::write(other.join("thesis.txt"), "")?;
    std::fs::set_permissions(&other, PermissionsExt::from_mode(0o755))?;
    let refused = library.options().data_dir(&other).compiling().start().await;
    let error = format!("{:#}", refused.err().context("the server started")?);
    assert!(error.contains("thesis.txt") && error.contains("--data-dir"), "{error}");
    assert_eq!(mode(&other)?, 0o755);
    Ok(())
}

#[tokio::test]
async fn a_server_whose_data_folder_vanished_says_so_and_changes_nothing_any_more() -> Result<()> {
    let library = Library::of([Model::lora("m").sidecar()])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let before = files(&library.root("loras"))?;
    std::fs::remove_dir_all(&data)?;
    let path = wire(&library.root("loras").join("m.safetensors"));
    for (route, body) in [
        ("loras/save-metadata", json!({ "file_path": path, "notes": "x" })),
        ("loras/delete", json!({ "file_path": path })),
    ] {
        let (status, answer) = post(&server, route, body).await?;
        assert!(
            status == 503 && answer["error"].to_string().contains("data folder"),
            "{status} {answer}"
        );
    }
    assert_eq!(files(&library.root("loras"))?, before);
    let problems = server.get_json("/api/lm/loras/problems", &[]).await?.to_string();
    assert!(problems.contains("removed or replaced"), "{problems}");
    assert!(server.log().contains("removed or replaced"));
    // Reading goes on.
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["m"]);
    Ok(())
}

#[tokio::test]
async fn a_second_server_does_not_start_though_the_lock_was_removed() -> Result<()> {
    let library = Library::of([Model::lora("m")])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    std::fs::remove_file(data.join("lock"))?;
    let refused = library.options().data_dir(&data).start().await;
    let error = format!("{:#}", refused.err().context("a second server started")?);
    assert!(error.contains("in use by another server"), "{error}");
    let path = wire(&library.root("loras").join("m.safetensors"));
    done(
        &server,
        "loras/save-metadata",
        json!({ "file_path": path, "notes": "x" }),
    )
    .await?;
    Ok(())
}

/// Makes every act of a data folder older by so many days.
fn age(data: &Path, days: f64) -> Result<()> {
    let shift = |value: &mut Value| {
        if let Some(seconds) = value.as_f64() {
            *value = json!(seconds - days * 86_400.0);
        }
    };
    for entry in std::fs::read_dir(data.join("history"))? {
        let path = entry?.path().join("act.json");
        let mut act: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        shift(&mut act["at"]);
        shift(&mut act["clock"]);
        std::fs::write(&path, act.to_string())?;
    }
    let path = data.join("history_clock.json");
    let mut clock: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    shift(&mut clock["time"]);
    shift(&mut clock["system"]);
    Ok(std::fs::write(&path, clock.to_string())?)
}

#[tokio::test]
async fn a_clock_that_jumps_a_month_ahead_empties_no_trash() -> Result<()> {
    let library = Library::of(["a", "b", "c"].map(|name| Model::lora(name).sidecar()))?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    for name in ["a", "b", "c"] {
        let path = wire(&library.root("loras").join(format!("{name}.safetensors")));
        done(&server, "loras/delete", json!({ "file_path": path })).await?;
    }
    let acts = |server: Value| server["total"].as_u64();
    let history = Call::get("/api/lm/history");
    assert_eq!(acts(server.send(&history).await?.json()?), Some(3));
    server.stop().await?;
    // All that the server knows is a month old now, as if the clock had jumped.
    age(&data, 30.0)?;
    for _ in 0..3 {
        let server = library.options().data_dir(&data).serve().await?;
        assert_eq!(acts(server.send(&history).await?.json()?), Some(3));
        assert!(
            files(&library.root("loras"))?
                .keys()
                .filter(|path| path.ends_with(".safetensors"))
                .count()
                == 3
        );
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn names_that_are_too_long_are_the_requests_fault() -> Result<()> {
    let long = "x".repeat(243);
    let library = Library::of([Model::lora(&long), Model::lora("m").sidecar()])?;
    let server = library.serve().await?;
    let root = library.root("loras");
    let path = |name: &str| wire(&root.join(format!("{name}.safetensors")));
    let longer = "y".repeat(300);
    for (route, body) in [
        ("loras/save-metadata", json!({ "file_path": path(&long), "notes": "x" })),
        ("loras/delete", json!({ "file_path": path(&longer) })),
        (
            "loras/rename",
            json!({ "file_path": path("m"), "new_file_name": longer }),
        ),
        (
            "loras/move_model",
            json!({ "file_path": path("m"), "target_path": wire(&root.join(&longer)) }),
        ),
        (
            "loras/move_models_bulk",
            json!({ "file_paths": [path("m")], "target_path": wire(&root.join(&longer)) }),
        ),
    ] {
        let (status, answer) = post(&server, route, body).await?;
        let text = answer.to_string();
        assert!(text.contains("long"), "{route}: {status} {answer}");
        assert!(status == 400 || route.ends_with("bulk"), "{route}: {status} {answer}");
    }
    let call = Call::get("/api/lm/previews").query(&[("path", wire(&root.join(format!("{longer}.png"))).as_str())]);
    assert_eq!(server.send(&call).await?.status, 400);
    assert!(!root.join("m.metadata.json.tmp").exists());
    Ok(())
}
