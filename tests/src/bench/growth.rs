//! How everything grows with the library: the same measurements on libraries of several sizes.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::data::{self, Data};
use super::large;
use super::load::{Loaded, during, load};
use super::machine::{free_space, memory};
use super::report::{Measured, Target, Unit};
use super::{Options, plugins};
use crate::http::Call;
use crate::server::Server;

/// How long each load on a large library is.
const LOAD: Duration = Duration::from_millis(1_000);
/// Listings during a rescan are measured no longer than this; then the scan is cancelled.
const RESCAN: Duration = Duration::from_secs(25);
/// A library of a million is read and stored in less.
const PATIENCE: Duration = Duration::from_secs(600);
/// Disk that a model takes with its sidecar, in GiB.
const DISK: f64 = 9.0 / 1e6;

/// What was measured on a library of one size.
#[derive(Debug)]
pub struct Grown {
    /// How many models it has.
    pub size: usize,
    /// The numbers; the same names for every size.
    pub measured: Vec<Measured>,
}

/// Measures on all sizes. A size that the disk has no space for is left out with a message.
///
/// # Errors
/// When the server fails or an answer is not what it should be.
pub async fn run(options: &Options) -> Result<Vec<Grown>> {
    let mut grown = Vec::new();
    for size in &options.sizes {
        let temporary = tempfile::Builder::new().prefix("modelshelf-bench-").tempdir()?;
        let folder = options.keep.as_deref().unwrap_or(temporary.path());
        std::fs::create_dir_all(folder)?;
        let (wanted, free) = (*size as f64 * DISK + 1.0, free_space(folder));
        if free.is_some_and(|free| free < wanted) && options.keep.is_none() {
            println!("{size} models are left out: they need {wanted:.0} GiB of disk");
            continue;
        }
        let started = Instant::now();
        let library = data::make_large(&folder.join(format!("library-{size}")), *size)?;
        println!("a library of {size} models: {:.1?}", started.elapsed());
        let mut measured = one(&library, *size, temporary.path(), options.tables).await?;
        if options.index {
            measured.extend(plugins::measure("index_bench", "index", &[size.to_string()])?);
        }
        println!("{size} models measured in {:.0?}", started.elapsed());
        grown.push(Grown { size: *size, measured });
    }
    Ok(grown)
}

async fn one(library: &Data, size: usize, folder: &Path, tables: bool) -> Result<Vec<Measured>> {
    let data_dir = folder.join("data");
    let mut measured = starts(library, size, &data_dir).await?;
    let server = library.options().data_dir(&data_dir).start().await?;
    ready(&server, size).await?;
    let scenarios = match tables {
        true => large::scenarios(&server, size).await?,
        false => Vec::new(),
    };
    for scenario in scenarios {
        let loaded = load(server.address(), &scenario.calls, 1, LOAD)
            .await
            .with_context(|| scenario.name.clone())?;
        println!(
            "{size}: {}: p50 {:.2?} p99 {:.2?}",
            scenario.name, loaded.p50, loaded.p99
        );
        measured.push(row(scenario.group, &scenario.name, &loaded, scenario.target));
    }
    measured.extend(one_change(&server, library, size).await?);
    measured.extend(rescan(&server, size).await?);
    server.stop_within(PATIENCE).await?;
    Ok(measured)
}

fn row(group: &'static str, name: &str, loaded: &Loaded, target: Option<f64>) -> Measured {
    let mut row = Measured::new(group, name, millis(loaded.p99), Unit::Milliseconds);
    row.p50 = millis(loaded.p50);
    row.p99 = millis(loaded.p99);
    row.target = target.map(Target::Below);
    row
}

async fn starts(library: &Data, size: usize, data_dir: &Path) -> Result<Vec<Measured>> {
    let mut measured = Vec::new();
    let server = library.options().data_dir(data_dir).start().await?;
    ready(&server, size).await?;
    let time = server.started().elapsed();
    println!("{size}: cold scan {time:.2?}");
    measured.push(Measured::new(
        "growth",
        "cold scan, files with sidecars",
        size as f64 / time.as_secs_f64(),
        Unit::PerSecond,
    ));
    let resident = memory(server.pid())
        .context("the server's memory can't be read")?
        .resident;
    measured.push(Measured::new(
        "growth",
        "resident memory after the cold scan",
        resident,
        Unit::Mebibytes,
    ));
    server.stop_within(PATIENCE).await?;

    let mut times = Vec::new();
    let mut resident = 0.0;
    for _ in 0..if size > 200_000 { 2 } else { 5 } {
        let server = library.options().data_dir(data_dir).start().await?;
        times.push(answered(&server, size).await?);
        resident = memory(server.pid())
            .context("the server's memory can't be read")?
            .resident;
        // The look at the disk that follows belongs to this start.
        ready(&server, size).await?;
        server.stop_within(PATIENCE).await?;
    }
    println!("{size}: warm starts {times:.2?}, {resident:.0} MiB");
    times.sort_unstable();
    let typical = times.get(times.len() / 2).copied().unwrap_or_default();
    let at = |limit: f64| (size == 100_000).then_some(Target::Below(limit));
    let mut start = Measured::new(
        "growth",
        "warm start, process to the first full answer of 100 items",
        millis(typical),
        Unit::Milliseconds,
    );
    start.target = at(700.0);
    let mut warm = Measured::new(
        "growth",
        "resident memory after a warm start",
        resident,
        Unit::Mebibytes,
    );
    warm.target = at(350.0);
    let each = Measured::new(
        "growth",
        "the same for each record",
        resident * 1024.0 / size as f64,
        Unit::Other("KiB".into()),
    );
    measured.extend([start, warm, each]);
    Ok(measured)
}

/// Waits until the library has been read and looked through.
async fn ready(server: &Server, size: usize) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let reply = server.get("/api/lm/loras/status").await?;
        if let Ok(status) = reply.json()
            && status["is_initializing"] == false
            && status["total"] == size
        {
            return Ok(());
        }
        if Instant::now() > end {
            bail!(
                "{size} models were not read in time: {}\n{}",
                reply.text(),
                server.log()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long after the start of its process the server gave a listing with this total.
async fn answered(server: &Server, size: usize) -> Result<Duration> {
    let call = Call::get("/api/lm/loras/list?page_size=100");
    let end = Instant::now() + PATIENCE;
    loop {
        let reply = server.send(&call).await?;
        let took = server.started().elapsed();
        if reply.status == 200 && reply.json()?["total"] == size {
            return Ok(took);
        }
        ensure!(Instant::now() < end, "nothing was listed in time: {}", server.log());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A person's other program rewrites one sidecar, and a scan is asked for: until the listing shows it.
async fn one_change(server: &Server, library: &Data, size: usize) -> Result<Vec<Measured>> {
    let path = data::large_sidecar(library, size / 2);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut side: Value = serde_json::from_str(&text)?;
    let name = format!("zz changed {}", std::process::id());
    side["model_name"] = name.as_str().into();
    std::fs::write(&path, serde_json::to_string_pretty(&side)?)?;
    let started = Instant::now();
    server.scan("loras", false).await?;
    let found = server.list("loras", &[("search", &name)]).await?;
    let took = started.elapsed();
    std::fs::write(&path, text)?;
    server.scan("loras", false).await?;
    ensure!(found["total"] == 1, "the changed sidecar is not listed: {found}");
    Ok(vec![Measured::new(
        "growth",
        "rescan that finds one changed sidecar, to the listing",
        millis(took),
        Unit::Milliseconds,
    )])
}

/// Listings while everything is read again, beside listings just before.
async fn rescan(server: &Server, size: usize) -> Result<Vec<Measured>> {
    let calls = large::mixed(size);
    let idle = load(server.address(), &calls, 1, Duration::from_secs(3)).await?;
    let scan = Call::get("/api/lm/loras/scan")
        .query(&[("full_rebuild", "true")])
        .header("Sec-Fetch-Site", "same-origin");
    let ended = Cell::new(false);
    let started = Instant::now();
    let scanning = async {
        let reply = server.send(&scan).await;
        ended.set(true);
        reply.map(|_| started.elapsed())
    };
    let listing = async {
        let loaded = during(server.address(), &calls, || ended.get() || started.elapsed() > RESCAN).await;
        if !ended.get() {
            server.post_json("/api/lm/loras/cancel-task", &json!({})).await?;
        }
        loaded
    };
    let (took, busy) = tokio::join!(scanning, listing);
    let (took, busy) = (took?, busy?);
    println!("{size}: rescan {took:.1?}; listings idle {idle:.2?}, meanwhile {busy:.2?}");
    let during = "listings during a rescan of everything";
    let mut ratio = Measured::new(
        "growth",
        format!("{during}: p99 as a multiple of the idle one"),
        busy.p99.as_secs_f64() / idle.p99.as_secs_f64(),
        Unit::Other("times".into()),
    );
    ratio.target = (size == 100_000).then_some(Target::Below(3.0));
    Ok(vec![
        row("growth", "listings of all kinds just before", &idle, None),
        row("growth", during, &busy, None),
        ratio,
    ])
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
