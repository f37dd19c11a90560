//! Hashing of files in the page cache, beside what `openssl` does in the same minute.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::report::{Measured, Target, Unit};
use crate::library::Library;
use crate::model::Model;
use crate::server::Server;

/// Bytes of a file.
const SIZE: u64 = 2 << 30;
/// How much of openssl's rate one file must have.
const ENOUGH: f64 = 95.0;

/// Hashes one file and then two at once.
///
/// # Errors
/// When the server fails.
pub async fn measure() -> Result<Vec<Measured>> {
    if openssl(1).is_none() {
        println!("openssl is not there; hashing is not measured");
        return Ok(Vec::new());
    }
    let library = Library::new()?;
    // What virtual disks say of themselves is often not so; two files at once need a fast one.
    let data = library.path().join("data");
    std::fs::create_dir(&data)?;
    let settings = format!("[io_profiles]\n{:?} = \"fast\"\n", library.root("loras"));
    std::fs::write(data.join("settings.toml"), settings)?;
    let server = library.options().data_dir(&data).serve().await?;
    let mut measured = Vec::new();
    for files in [1, 2] {
        // Before and after, since machines have moods.
        let before = openssl(files).context("openssl failed")?;
        let rate = hash(&library, &server, files).await?;
        let after = openssl(files).context("openssl failed")?;
        let theirs = (before + after) / 2.0;
        let share = rate / theirs * 100.0;
        println!("hashing {files}: {rate:.0} MB/s, openssl {before:.0} and {after:.0} MB/s");
        let name = format!("SHA-256 and BLAKE3 of {files} file(s) of 2 GiB at once, in the page cache");
        measured.push(
            Measured::new("scan", name, rate, Unit::Other("MB/s".into())).note(format!(
                "`openssl speed -evp sha256` of 16 KiB in memory, {files} process(es): {theirs:.0} MB/s"
            )),
        );
        let share_name = format!("the same as a share of openssl's rate, {files} file(s)");
        let row = Measured::new("scan", share_name, share, Unit::Other("%".into()));
        measured.push(match files {
            1 => row.target(Target::Above(ENOUGH)),
            _ => row.note("openssl neither reads files nor computes BLAKE3; each file has two threads here".into()),
        });
    }
    Ok(measured)
}

/// MB a second over all files.
async fn hash(library: &Library, server: &Server, files: usize) -> Result<f64> {
    server.post_json("/api/lm/hashing/pause", &json!({})).await?;
    let mut paths = Vec::new();
    for number in 0..files {
        // Files of other content in each round: what is known is not hashed again.
        let name = format!("{files} of {number}");
        paths.push(library.add(&Model::new("loras", &name).grown_to(SIZE))?);
    }
    server.scan("loras", false).await?;
    for path in paths {
        tokio::task::spawn_blocking(move || warm(&path)).await??;
    }
    let started = Instant::now();
    server.post_json("/api/lm/hashing/resume", &json!({})).await?;
    loop {
        let status = server.get_json("/api/lm/hashing", &[]).await?;
        if status["queued"] == 0 && status["running"] == 0 {
            ensure!(status["bytes_done"] == status["bytes_total"], "{status}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok((files as u64 * SIZE) as f64 / started.elapsed().as_secs_f64() / 1e6)
}

/// Brings a file into the page cache.
fn warm(path: &PathBuf) -> Result<()> {
    let mut file = std::fs::File::open(path)?;
    std::io::copy(&mut file, &mut std::io::sink())?;
    Ok(())
}

/// MB a second of so many processes; none when there is no openssl, or its answer is another one.
fn openssl(processes: usize) -> Option<f64> {
    let multi = ["-multi".to_owned(), processes.to_string()];
    let output = Command::new(Path::new("openssl"))
        .arg("speed")
        .args(if processes > 1 { &multi[..] } else { &[] })
        .args(["-evp", "sha256", "-bytes", "16384", "-seconds", "3"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().rev().find(|line| line.starts_with("sha256"))?;
    let thousands: f64 = line.split_whitespace().nth(1)?.strip_suffix('k')?.parse().ok()?;
    Some(thousands / 1e3)
}
