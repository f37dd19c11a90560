//! Hashing in the background.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use modelshelf_tests::http::Call;
use modelshelf_tests::model::{beside, sha256};
use modelshelf_tests::{Library, Model, Server};
use serde_json::{Value, json};

/// More than is hashed while a file is read.
const LARGE: usize = 6 << 20;
/// So slow that a large file is never done.
const CRAWL: &str = "[hashing]\nmegabytes_per_second = 0.2\n";

fn large(root: &str, name: &str, byte: u8) -> Model {
    Model::new(root, name).bytes(vec![byte; LARGE])
}

async fn hashing(server: &Server) -> Result<Value> {
    server.get_json("/api/lm/hashing", &[]).await
}

/// Waits until an item has this hash.
async fn hashed(server: &Server, prefix: &str, name: &str, hash: &str) -> Result<Value> {
    for _ in 0..1_000 {
        let item = server.item(prefix, name).await?;
        if item["sha256"] == hash {
            return Ok(item);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("{name}: {}", hashing(server).await?);
}

fn read_json(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn settings(data: &Path, text: &str) -> Result<()> {
    std::fs::create_dir_all(data)?;
    Ok(std::fs::write(data.join("settings.toml"), text)?)
}

#[tokio::test]
async fn a_scan_answers_when_the_hashes_of_what_it_found_are_there() -> Result<()> {
    let library = Library::new()?;
    let server = library.serve().await?;
    for number in 0..3 {
        library.add(&large("loras", &format!("m{number}"), number))?;
    }
    server.scan("loras", false).await?;
    for number in 0..3 {
        let hash = sha256(&vec![number; LARGE]);
        let name = format!("m{number}");
        assert_eq!(server.item("loras", &name).await?["sha256"], hash);
        let sidecar = read_json(&beside(&library.root("loras").join(&name), "metadata.json"))?;
        assert_eq!(
            (&sidecar["sha256"], &sidecar["hash_status"]),
            (&json!(hash), &json!("completed"))
        );
    }
    let status = hashing(&server).await?;
    let expected = json!({"success": true, "paused": false, "queued": 0, "running": 0, "seconds_left": null});
    for (name, value) in expected.as_object().into_iter().flatten() {
        assert_eq!(&status[name], value, "{name} of {status}");
    }
    assert_eq!(status["bytes_done"], status["bytes_total"]);
    assert!(
        status["content_bytes_read"].as_u64() >= Some(3 * LARGE as u64),
        "{status}"
    );
    Ok(())
}

#[tokio::test]
async fn while_hashing_is_paused_a_scan_answers_without_hashes_and_they_come_when_it_is_resumed() -> Result<()> {
    let library = Library::new()?;
    let server = library.serve().await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let paused = server.post_json("/api/lm/hashing/pause", &json!({})).await?;
    assert_eq!((&paused["success"], &paused["paused"]), (&json!(true), &json!(true)));
    library.add(&large("loras", "amber", 1))?;
    assert_eq!(server.scan("loras", false).await?["status"], "success");
    assert_eq!(server.item("loras", "amber").await?["sha256"], "");
    let status = hashing(&server).await?;
    assert_eq!((&status["queued"], &status["bytes_total"]), (&json!(1), &json!(LARGE)));
    let activity = server.get_json("/api/lm/loras/status", &[]).await?["activity"].clone();
    assert!(
        activity.as_array().is_some_and(|all| all
            .iter()
            .any(|one| one["phase"] == "hashing" && one["state"] == "paused")),
        "{activity}"
    );
    // A second scan finds nothing new to read or to queue.
    let read = status["content_bytes_read"].clone();
    server.scan("loras", false).await?;
    let again = hashing(&server).await?;
    assert_eq!((&again["queued"], &again["content_bytes_read"]), (&json!(1), &read));
    server.post_json("/api/lm/hashing/resume", &json!({})).await?;
    hashed(&server, "loras", "amber", &sha256(&vec![1; LARGE])).await?;
    let mut seen = Vec::new();
    let done = loop {
        let message = socket
            .find(|message| message["type"] == "activity" && message["pageType"] == "loras")
            .await?;
        let told = format!("{} {}", message["phase"], message["state"]).replace('"', "");
        if told == "hashing done" {
            break message;
        }
        seen.push(told);
    };
    for told in ["walking running", "reading done", "hashing paused", "hashing running"] {
        assert!(seen.iter().any(|own| own == told), "{told} is not in {seen:?}");
    }
    let expected = json!({"done": 1, "total": 1, "bytes_done": LARGE, "bytes_total": LARGE, "seconds_left": null});
    for (name, value) in expected.as_object().into_iter().flatten() {
        assert_eq!(&done[name], value, "{name} of {done}");
    }
    assert!(done["bytes_per_second"].is_u64(), "{done}");
    Ok(())
}

#[tokio::test]
async fn a_strange_page_can_neither_pause_hashing_nor_ask_for_hashes() -> Result<()> {
    let server = Library::new()?.serve().await?;
    for path in ["hashing/pause", "hashing/resume", "loras/hash"] {
        let call = Call::post(&format!("/api/lm/{path}"), &json!({})).header("Sec-Fetch-Site", "cross-site");
        assert_eq!(server.send(&call).await?.status, 403, "{path}");
    }
    assert_eq!(hashing(&server).await?["paused"], false);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_killed_while_it_hashes_goes_on_with_what_is_left() -> Result<()> {
    let library = Library::new()?;
    let data = library.path().join("data");
    let files: Vec<_> = (0..4).map(|number| (format!("m{number}"), number)).collect();
    for (name, byte) in &files {
        library.add(&large("loras", name, *byte))?;
    }
    library.add(&Model::new("loras", "small"))?;
    settings(&data, CRAWL)?;
    // Reading is over long before hashing is: the library is there to be used.
    let server = library.options().data_dir(&data).serve().await?;
    let status = hashing(&server).await?;
    assert_eq!(server.list("loras", &[]).await?["total"], 5);
    assert!(status["running"].as_u64() > Some(0), "{status}");
    // It is killed, not ended.
    drop(server);
    let sidecar = beside(&library.root("loras").join("m0"), "metadata.json");
    assert_eq!(read_json(&sidecar)?["hash_status"], "calculating");
    settings(&data, "")?;
    let server = library.options().data_dir(&data).serve().await?;
    for (name, byte) in &files {
        hashed(&server, "loras", name, &sha256(&vec![*byte; LARGE])).await?;
    }
    assert_eq!(read_json(&sidecar)?["hash_status"], "completed");
    assert_ne!(server.item("loras", "small").await?["sha256"], "");
    Ok(())
}

#[tokio::test]
async fn a_cancelled_task_ends_hashing_and_the_next_scan_takes_it_up() -> Result<()> {
    let library = Library::of([large("loras", "amber", 1)])?;
    let data = library.path().join("data");
    settings(&data, "[hashing]\nmegabytes_per_second = 3\n")?;
    let server = library.options().data_dir(&data).serve().await?;
    let scan = async {
        let answer = server.scan("loras", false).await?;
        anyhow::Ok(answer["status"].clone())
    };
    let cancel = async {
        loop {
            let status = hashing(&server).await?;
            if status["running"].as_u64() > Some(0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The scan is waiting for the hash by now, or about to.
        server.post_json("/api/lm/loras/cancel-task", &json!({})).await
    };
    let (status, _) = tokio::try_join!(scan, cancel)?;
    assert!(status == "cancelled" || status == "success", "{status}");
    server.scan("loras", false).await?;
    assert_eq!(server.item("loras", "amber").await?["sha256"], sha256(&vec![1; LARGE]));
    Ok(())
}

#[tokio::test]
async fn no_bytes_are_hashed_twice_whatever_becomes_of_names_sidecars_and_records() -> Result<()> {
    let library = Library::of([large("loras", "amber", 1)])?;
    let data = library.path().join("data");
    let root = library.root("loras");
    let hash = sha256(&vec![1; LARGE]);
    let server = library.options().data_dir(&data).serve().await?;
    hashed(&server, "loras", "amber", &hash).await?;
    #[cfg(unix)]
    std::fs::hard_link(root.join("amber.safetensors"), root.join("linked.safetensors"))?;
    #[cfg(not(unix))]
    std::fs::rename(root.join("amber.safetensors"), root.join("linked.safetensors"))?;
    server.scan("loras", false).await?;
    assert_eq!(server.item("loras", "linked").await?["sha256"], hash);
    let read = hashing(&server).await?["content_bytes_read"].as_u64().unwrap_or(0);
    assert!(read < 2 * LARGE as u64, "{read} bytes were read");
    server.stop().await?;

    // Another name, no sidecar, and the records of the store are gone.
    std::fs::rename(root.join("linked.safetensors"), root.join("moved.safetensors"))?;
    for name in ["amber", "linked"] {
        let _ = std::fs::remove_file(beside(&root.join(name), "metadata.json"));
    }
    let server = library.options().data_dir(&data).serve().await?;
    server.scan("loras", true).await?;
    hashed(&server, "loras", "moved", &hash).await?;
    let status = hashing(&server).await?;
    assert!(status["content_bytes_read"].as_u64() < Some(1 << 20), "{status}");
    assert_eq!(
        read_json(&beside(&root.join("moved"), "metadata.json"))?["sha256"],
        json!(hash)
    );
    Ok(())
}

#[tokio::test]
async fn files_on_a_share_and_checkpoints_are_hashed_when_somebody_asks() -> Result<()> {
    let library = Library::of([large("loras", "amber", 1), large("checkpoints", "full", 2)])?;
    let data = library.path().join("data");
    let root = library.root("loras");
    settings(&data, &format!("[io_profiles]\n{root:?} = \"network\"\n"))?;
    let server = library.options().data_dir(&data).serve().await?;
    let sidecar = beside(&root.join("amber"), "metadata.json");
    server.scan("loras", false).await?;
    assert_eq!(server.item("loras", "amber").await?["sha256"], "");
    assert_eq!(read_json(&sidecar)?["hash_status"], "pending");
    let path = server.item("loras", "amber").await?["file_path"].clone();
    let asked = server
        .post_json("/api/lm/loras/hash", &json!({ "file_paths": [path, "/no/such"] }))
        .await?;
    assert_eq!((&asked["success"], &asked["queued"]), (&json!(true), &json!(1)));
    hashed(&server, "loras", "amber", &sha256(&vec![1; LARGE])).await?;
    assert_eq!(read_json(&sidecar)?["hash_status"], "completed");
    server.post_json("/api/lm/checkpoints/hash", &json!({})).await?;
    hashed(&server, "checkpoints", "full", &sha256(&vec![2; LARGE])).await?;
    let info = server.get_json("/api/lm/checkpoints/info/full", &[]).await?;
    assert_eq!(info["hash_status"], "completed");
    assert_eq!(info["blake3"].as_str().map(str::len), Some(64), "{info}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_killed_while_it_stores_a_large_scan_comes_to_the_same_library() -> Result<()> {
    let library = Library::of((0..3_000).map(|number| Model::lora(&format!("f{}/m{number:04}", number % 20))))?;
    let data = library.path().join("data");
    for round in 0..3u64 {
        let server = library.options().data_dir(&data).silent().start().await?;
        // Somewhere in the middle, a little later each time.
        for _ in 0..1_000 {
            let status = server.get("/api/lm/loras/status").await?;
            if status
                .json()
                .is_ok_and(|status| status["total"].as_u64() > Some(round * 900))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(server);
    }
    let server = library.options().data_dir(&data).serve().await?;
    server.scan("loras", false).await?;
    let clean = library.options().serve().await?;
    for page in ["1", "15", "30"] {
        let query = [("page", page)];
        let (after, expected) = (server.list("loras", &query).await?, clean.list("loras", &query).await?);
        assert_eq!(after["total"], 3_000);
        assert_eq!(after["items"], expected["items"], "page {page}");
    }
    Ok(())
}
