//! Disks that hang: a share whose server sleeps. Everything that is elsewhere goes on, and the disk comes back by itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use modelshelf_tests::{Call, HangingDisk, Library, Model, Server, ServerOptions, sorted_names};
use serde_json::{Value, json};

const REASON: &str = "did not answer within 1 s";
/// Tells a hang; nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A library with a second root of the first type, `nas`, on a disk of its own.
struct Shelf {
    // Gone before the folders are removed.
    disk: HangingDisk,
    library: Library,
}

impl Shelf {
    /// None where this machine can't mount.
    fn new(on_nas: impl IntoIterator<Item = Model>) -> Result<Option<Self>> {
        let library = Library::of([
            Model::lora("local").sidecar().preview("png"),
            Model::new("embeddings", "other").sidecar(),
        ])?;
        std::fs::create_dir_all(library.root("nas"))?;
        for model in on_nas {
            library.add(&model)?;
        }
        let program = Path::new(env!("CARGO_BIN_EXE_hanging_disk"));
        let disk = HangingDisk::new(program, &library.root("nas"));
        Ok(disk.map(|disk| Self { disk, library }))
    }

    fn options(&self) -> ServerOptions {
        let options = self.library.options().root("loras", &self.library.root("nas"));
        options
            .data_dir(&self.library.path().join("data"))
            .settings("[disks]\nanswer_seconds = 1\nthreads = 4")
            .watching()
    }
}

fn on_nas(count: usize) -> impl Iterator<Item = Model> {
    (0..count).map(|index| Model::new("nas", &format!("far{index:03}")).sidecar().preview("png"))
}

async fn within<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .with_context(|| format!("{what} hangs"))?
}

fn is_offline(status: &Value) -> bool {
    let mut roots = status["roots"].as_array().into_iter().flatten();
    roots.any(|root| root["online"] == false && root["reason"].as_str().is_some_and(|reason| reason.contains(REASON)))
}

fn all_online(status: &Value) -> bool {
    let roots = status["roots"].as_array();
    roots.is_some_and(|roots| roots.iter().all(|root| root["online"] == true))
}

async fn offline_names(server: &Server) -> Result<Vec<String>> {
    let page = server.list("loras", &[("page_size", "100")]).await?;
    let items = page["items"].as_array().into_iter().flatten();
    let offline = items.filter(|item| item["offline"] == true);
    Ok(offline
        .filter_map(|item| item["file_name"].as_str().map(str::to_owned))
        .collect())
}

async fn edit(server: &Server, path: &Path, notes: &str) -> Result<u16> {
    let body = json!({ "file_path": path, "notes": notes });
    Ok(server
        .send(&Call::post("/api/lm/loras/save-metadata", &body))
        .await?
        .status)
}

#[tokio::test]
async fn a_disk_that_hangs_before_the_start_keeps_nothing_from_being_served() -> Result<()> {
    let Some(shelf) = Shelf::new(on_nas(3))? else {
        return Ok(());
    };
    let server = shelf.options().serve().await?;
    server
        .wait_for_names("loras", &["far000", "far001", "far002", "local"])
        .await?;
    server.stop().await?;

    shelf.disk.hang();
    let server = within("the start", shelf.options().start()).await?;
    within("reading the libraries", async {
        server.wait_ready("embeddings").await?;
        server.wait_ready("loras").await
    })
    .await?;
    let ready = within("/readyz", server.get("/readyz")).await?;
    assert_eq!(ready.status, 200);
    within("the status", server.wait_for_status("loras", is_offline)).await?;
    assert_eq!(within("the list", offline_names(&server)).await?.len(), 3);
    let local = shelf.library.root("loras").join("local.safetensors");
    assert_eq!(within("an edit elsewhere", edit(&server, &local, "here")).await?, 200);
    let far = shelf.library.root("nas").join("far000.safetensors");
    let refused = within("an edit there", edit(&server, &far, "there")).await?;
    assert_ne!(refused, 200);

    shelf.disk.answer();
    within("its return", server.wait_for_status("loras", all_online)).await?;
    within(
        "its models",
        server.wait_for("loras", |page| {
            let items = page["items"].as_array();
            items.is_some_and(|items| items.len() == 4 && items.iter().all(|item| item["offline"] != true))
        }),
    )
    .await?;
    within("the end", server.stop()).await?;
    Ok(())
}

#[tokio::test]
async fn a_disk_that_hangs_during_a_scan_ends_neither_the_scan_nor_the_watching_of_other_folders() -> Result<()> {
    let Some(shelf) = Shelf::new(on_nas(40))? else {
        return Ok(());
    };
    let server = shelf.options().serve().await?;
    server.wait_for_status("loras", all_online).await?;
    let begun = server.list("loras", &[]).await?["total"].clone();
    assert_eq!(begun, 41);

    shelf.disk.hang();
    let scan = within("a scan of all", server.scan("loras", true)).await?;
    assert_eq!(scan["status"], "success");
    within("the status", server.wait_for_status("loras", is_offline)).await?;
    assert_eq!(offline_names(&server).await?.len(), 40, "nothing of it is forgotten");
    shelf.library.add(&Model::lora("new").sidecar())?;
    within(
        "a new file elsewhere",
        server.wait_for("loras", |page| {
            modelshelf_tests::names(page).iter().any(|name| name == "new")
        }),
    )
    .await?;
    let problems = within("problems", server.get_json("/api/lm/loras/problems", &[])).await?;
    assert!(problems.to_string().contains(REASON), "{problems}");

    shelf.disk.answer();
    within("its return", server.wait_for_status("loras", all_online)).await?;
    within("the end", server.stop()).await?;
    Ok(())
}

#[tokio::test]
async fn seven_hundred_previews_that_were_given_up_keep_no_other_request_waiting() -> Result<()> {
    let Some(shelf) = Shelf::new(on_nas(20))? else {
        return Ok(());
    };
    let server = shelf.options().serve().await?;
    server.wait_for_status("loras", all_online).await?;
    let page = server.list("loras", &[("page_size", "100")]).await?;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let preview = |near: bool| -> Vec<String> {
        let of = items.iter().filter(|item| (item["file_name"] == "local") == near);
        of.filter_map(|item| item["preview_url"].as_str().map(str::to_owned))
            .collect()
    };
    let (far, near) = (preview(false), preview(true));
    assert_eq!((far.len(), near.len()), (20, 1));

    shelf.disk.hang();
    let address = server.address();
    let given_up: Vec<_> = (0..700)
        .map(|index| {
            let mut target = far[index % far.len()].clone();
            // Half of them want a thumbnail.
            if index % 2 == 1 {
                target.push_str(if target.contains('?') { "&w=320" } else { "?w=320" });
            }
            tokio::spawn(async move {
                let _ = tokio::time::timeout(Duration::from_millis(300), Call::get(&target).send(address)).await;
            })
        })
        .collect();
    for request in given_up {
        request.await?;
    }
    assert!(threads_of(server.pid())? < 100);
    assert_eq!(
        sorted_names(&within("the list", server.list("loras", &[("search", "local")])).await?),
        ["local"]
    );
    assert_eq!(within("a preview elsewhere", server.get(&near[0])).await?.status, 200);
    let thumbnail = format!("{}{}w=320", near[0], if near[0].contains('?') { "&" } else { "?" });
    assert_eq!(
        within("a thumbnail elsewhere", server.get(&thumbnail)).await?.status,
        200
    );
    let local = shelf.library.root("loras").join("local.safetensors");
    assert_eq!(within("an edit elsewhere", edit(&server, &local, "here")).await?, 200);
    within("the status", server.wait_for_status("loras", is_offline)).await?;
    let refused = within("a preview there", server.get(&far[0])).await?;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains(REASON), "{}", refused.text());
    assert!(threads_of(server.pid())? < 100);

    shelf.disk.answer();
    within("its return", server.wait_for_status("loras", all_online)).await?;
    assert_eq!(within("a preview there", server.get(&far[0])).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_disk_that_hangs_at_the_end_does_not_keep_the_server_from_ending() -> Result<()> {
    let Some(shelf) = Shelf::new(on_nas(20))? else {
        return Ok(());
    };
    let server = shelf.options().serve().await?;
    server.wait_for_status("loras", all_online).await?;
    shelf.disk.hang();
    let address = server.address();
    let scanning = tokio::spawn(async move { Call::get("/api/lm/loras/scan?full_rebuild=true").send(address).await });
    // The scan is in the middle of it, or the disk is found silent: neither is waited for.
    tokio::time::sleep(Duration::from_millis(200)).await;
    within("the end", server.stop()).await?;
    scanning.abort();
    shelf.disk.answer();
    let server = within("the next start", shelf.options().start()).await?;
    within("its models", server.wait_for_status("loras", all_online)).await?;
    Ok(())
}

/// Threads of a process.
fn threads_of(id: u32) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    Ok(line.context("no line of threads")?.trim().parse()?)
}
