//! Starting: the first time, on files that nobody knows, and on files that are known.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Options;
use super::data::Data;
use super::machine::memory;
use super::report::{Measured, Target, Unit};
use crate::http::Call;
use crate::server::{Server, ServerOptions};

const COLD_SCANS: usize = 3;
const WARM_STARTS: usize = 15;

/// The very first start, which compiles the plugins. It also leaves their code for all later ones.
///
/// # Errors
/// When the server fails.
pub async fn first_start() -> Result<Vec<Measured>> {
    let server = ServerOptions::default().silent().compiling().start().await?;
    let opened = answered(&server, "loras", 0).await?;
    drop(server);
    // This one fills the code that the others share.
    drop(ServerOptions::default().silent().serve().await?);
    println!("first start: {opened:?}");
    Ok(vec![Measured::new(
        "start",
        "first start on a machine, plugins compiled, to the first answer",
        opened.as_secs_f64() * 1e3,
        Unit::Milliseconds,
    )])
}

/// Reading the library for the first time; the last reading stays in `data_dir`.
///
/// # Errors
/// When the server fails.
pub async fn cold_scans(library: &Data, options: &Options, folder: &Path, data_dir: &Path) -> Result<Vec<Measured>> {
    let mut times = Vec::new();
    let mut resident = 0.0;
    for number in 1..=COLD_SCANS {
        let own = if number == COLD_SCANS {
            data_dir.to_owned()
        } else {
            folder.join(format!("cold-{number}"))
        };
        let server = library.options().data_dir(&own).serve().await?;
        times.push(server.started().elapsed());
        resident = memory(server.pid())
            .context("the server's memory can't be read")?
            .resident;
        server.stop().await?;
    }
    let time = median(&mut times);
    println!("cold scan: {times:?}");
    Ok(vec![
        Measured::new(
            "scan",
            "cold scan, files with sidecars",
            time.as_secs_f64(),
            Unit::Seconds,
        )
        .note(format!(
            "{} files; start of the process to the last record",
            options.files()
        )),
        Measured::new(
            "scan",
            "the same as a rate",
            options.files() as f64 / time.as_secs_f64(),
            Unit::PerSecond,
        ),
        Measured::new(
            "memory",
            "resident memory after the cold scan",
            resident,
            Unit::Mebibytes,
        )
        .target(Target::Below(120.0)),
    ])
}

/// Reading files that came alone: each is hashed and gets a sidecar, as the contract has it.
///
/// # Errors
/// When the server fails.
pub async fn cold_scan_without_sidecars(library: &Data, options: &Options, folder: &Path) -> Result<Vec<Measured>> {
    let server = library.options().data_dir(&folder.join("cold-bare")).serve().await?;
    let time = server.started().elapsed();
    println!("cold scan without sidecars: {time:?}");
    Ok(vec![Measured::new(
        "scan",
        "cold scan, files without sidecars: hashed, and sidecars written",
        options.files() as f64 / time.as_secs_f64(),
        Unit::PerSecond,
    )])
}

/// Starting again on a known library.
///
/// # Errors
/// When the server fails.
pub async fn warm_starts(library: &Data, options: &Options, data_dir: &Path) -> Result<Vec<Measured>> {
    let mut times = Vec::new();
    for _ in 0..WARM_STARTS {
        let server = library.options().data_dir(data_dir).start().await?;
        times.push(answered(&server, "loras", options.loras).await?);
        // The reconciliation that follows belongs to this start, not to the next.
        server.wait_ready("loras").await?;
        server.stop().await?;
    }
    let typical = median(&mut times);
    let worst = times.last().copied().unwrap_or_default();
    println!("warm start: {times:?}");
    Ok(vec![
        Measured::new(
            "start",
            "warm start, process to the first full answer of 100 items",
            typical.as_secs_f64() * 1e3,
            Unit::Milliseconds,
        )
        .target(Target::Below(150.0))
        .note(format!(
            "median of {WARM_STARTS}; worst {:.0} ms",
            worst.as_secs_f64() * 1e3
        )),
    ])
}

/// How long after the start of its process the server gave a listing with this total.
async fn answered(server: &Server, prefix: &str, total: usize) -> Result<Duration> {
    let call = Call::get(&format!("/api/lm/{prefix}/list?page_size=100"));
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = server.send(&call).await?;
        let took = server.started().elapsed();
        if reply.status == 200 && reply.json()?["total"] == total {
            return Ok(took);
        }
        anyhow::ensure!(
            Instant::now() < end,
            "{prefix} was not listed in a minute: {}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The median; sorts the times.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
