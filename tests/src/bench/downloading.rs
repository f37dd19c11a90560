//! One large file over loopback, beside `curl` and `sha256sum` to the same disk.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::machine::memory;
use super::report::{Measured, Target, Unit};
use crate::civitai::{CatalogFile, CatalogModel, CatalogVersion, Civitai};
use crate::library::Library;
use crate::server::Server;

/// How often each is measured, in turn.
const ROUNDS: u64 = 3;
/// How much of their rate ours must have.
const ENOUGH: f64 = 80.0;
/// How much memory a download may take in MiB, whatever its size.
const FLAT: f64 = 64.0;

/// Downloads a file of so many GiB.
///
/// # Errors
/// When the server, `curl` or `sha256sum` fails, or a file is not what it should be.
pub async fn measure(gib: f64) -> Result<Vec<Measured>> {
    if !has("curl") || !has("sha256sum") {
        println!("curl or sha256sum is not there; a large download is not measured");
        return Ok(Vec::new());
    }
    let size = (gib * f64::from(1 << 30)) as u64;
    println!("making a file of {gib} GiB to download");
    let file = CatalogFile::patterned(1, "large.safetensors", size);
    let civitai = Civitai::start([]).await?;
    let library = Library::new()?;
    let server = library.options().civitai(&civitai).silent().serve().await?;
    let (mut ours, mut theirs, mut shares, mut grown) = (Vec::new(), Vec::new(), Vec::new(), 0.0f64);
    for round in 1..=ROUNDS {
        // What is here once is not downloaded again: each round has a model of its own.
        let mut own = file.clone();
        own.id = round;
        let mut version = CatalogVersion::new(round * 10, "v1");
        version.files = vec![own];
        civitai.put(CatalogModel::new(round, &format!("Large {round}"), "LORA").versions([version]));
        let (rate, more) = download(&server, &library, round, size).await?;
        let other = with_curl(&civitai, &library, round, &file).await?;
        println!("download {round}: {rate:.0} MB/s, curl and sha256sum {other:.0} MB/s, {more:.1} MiB more memory");
        shares.push(rate / other * 100.0);
        ours.push(rate);
        theirs.push(other);
        grown = grown.max(more);
    }
    let row = |name: String, value: f64, unit: &str| Measured::new("downloads", name, value, Unit::Other(unit.into()));
    let list = |rates: &[f64]| {
        rates
            .iter()
            .map(|rate| format!("{rate:.0}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    Ok(vec![
        row(
            format!("download of {gib} GiB, SHA-256 included, installed and listed"),
            middle(&ours),
            "MB/s",
        )
        .note(format!("rounds: {}", list(&ours))),
        row(
            "`curl -o` to the same disk, then `sha256sum`".into(),
            middle(&theirs),
            "MB/s",
        )
        .note(format!("rounds, each after one of ours: {}", list(&theirs))),
        row(
            "the first as a share of the second, round by round, the middle one".into(),
            middle(&shares),
            "%",
        )
        .target(Target::Above(ENOUGH))
        .note(format!("rounds: {}", list(&shares))),
        row(
            "most memory that a download took beyond what the server had before".into(),
            grown,
            "MiB",
        )
        .target(Target::Below(FLAT)),
    ])
}

/// MB a second, and by how many MiB the server grew meanwhile.
async fn download(server: &Server, library: &Library, round: u64, size: u64) -> Result<(f64, f64)> {
    let pid = server.pid();
    let before = memory(pid).context("the server's memory can't be read")?.resident;
    let over = Arc::new(AtomicBool::new(false));
    let watched = over.clone();
    let watch = std::thread::spawn(move || {
        let mut most = 0.0f64;
        while !watched.load(Ordering::Relaxed) {
            most = most.max(memory(pid).map_or(0.0, |memory| memory.resident));
            std::thread::sleep(Duration::from_millis(50));
        }
        most
    });
    let started = Instant::now();
    let body = json!({"model_version_id": round * 10, "model_root": library.root("loras"), "relative_path": round.to_string()});
    let answer = server.post_json("/api/lm/download-model", &body).await;
    let took = started.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let most = watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let answer = answer?;
    let path = library.root("loras").join(round.to_string()).join("large.safetensors");
    ensure!(
        answer["success"] == true && path.metadata()?.len() == size,
        "the file did not arrive: {answer}"
    );
    // Its room is the next one's.
    std::fs::remove_file(&path)?;
    rest().await?;
    Ok((size as f64 / took / 1e6, (most - before).max(0.0)))
}

async fn with_curl(civitai: &Civitai, library: &Library, round: u64, file: &CatalogFile) -> Result<f64> {
    let url = format!("{}/files/{round}/{}", civitai.storage(), file.name);
    let path = library.path().join("by-curl.safetensors");
    let to = path.clone();
    // The stand-in is served by this thread meanwhile.
    let took = tokio::task::spawn_blocking(move || -> Result<(f64, String)> {
        let started = Instant::now();
        let status = Command::new("curl")
            .args(["-sS", "--fail", "-o"])
            .arg(&to)
            .arg(&url)
            .status()?;
        ensure!(status.success(), "curl failed");
        let output = Command::new("sha256sum").arg(&to).output()?;
        let took = started.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((took, text))
    });
    let (took, text) = took.await??;
    ensure!(text.starts_with(&file.sha256), "curl brought another file: {text}");
    std::fs::remove_file(&path)?;
    rest().await?;
    Ok(file.size as f64 / took / 1e6)
}

/// Nobody pays for what another left to be written.
async fn rest() -> Result<()> {
    tokio::task::spawn_blocking(|| Command::new("sync").status()).await??;
    Ok(())
}

fn has(program: &str) -> bool {
    let found = Command::new(Path::new(program)).arg("--version").output();
    found.is_ok_and(|output| output.status.success())
}

fn middle(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
