//! Plugins that are replaced while requests are answered, and plugins that do harm beside others.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{join, join_all};
use serde_json::json;

use super::load::{Loaded, during, load};
use super::machine::memory;
use super::report::{Measured, Target, Unit};
use crate::component;
use crate::http::Call;
use crate::library::Library;
use crate::model::Model;
use crate::server::Server;

const SWAPS: usize = 1_000;
/// Swaps after which memory is looked at.
const SETTLED: usize = 50;
/// Looks, one after each swap, whose median counts: what requests need at one moment differs by some MiB.
const LOOKS: usize = 100;
const CONNECTIONS: usize = 16;
/// Requests that do harm at the same time.
const HARMFUL: usize = 8;

/// Measures both.
///
/// # Errors
/// When a request to a plugin that does no harm fails.
pub async fn measure(length: Duration) -> Result<Vec<Measured>> {
    let library = Library::of((0..500).map(|index| Model::lora(&format!("model-{index}"))))?;
    for index in 0..100 {
        Model::new("hostiles", &format!("model-{index}"))
            .extension("hostile")
            .write(library.path())?;
    }
    let file = library.path().join("hostile.wasm");
    let good = std::fs::read(component::guest("hostile")?)?;
    std::fs::write(&file, &good)?;
    let config = library.path().join("settings.toml");
    std::fs::write(
        &config,
        "[limits]\nquarantine_traps = 0\ncall_ms = 500\n[scan]\nwatch = false\nstable_seconds = 0.0\n",
    )?;
    let options = library.options().plugin(&file).argument("--config").argument(&config);
    let server = options.root("hostiles", &library.root("hostiles")).serve().await?;
    server.wait_ready("hostiles").await?;
    let mut measured = swapped(&server, &file, &good).await?;
    measured.extend(harmed(&server, &file, &good, length).await?);
    Ok(measured)
}

async fn reload(server: &Server) -> Result<Duration> {
    let started = Instant::now();
    server.post_json("/api/plugins/hostile/reload", &json!({})).await?;
    Ok(started.elapsed())
}

/// So many swaps while requests are answered: each must be.
async fn swapped(server: &Server, file: &Path, good: &[u8]) -> Result<Vec<Measured>> {
    let calls = [
        Call::get("/api/lm/hostiles/list"),
        Call::get("/api/lm/hostiles/harm"),
        Call::get("/api/lm/loras/list"),
        Call::get("/hostiles"),
    ];
    let over = Cell::new(false);
    let loads = join_all((0..CONNECTIONS).map(|_| during(server.address(), &calls, || over.get())));
    let swaps = async {
        let outcome = swap_on(server, file, good).await;
        over.set(true);
        outcome
    };
    let (loads, swaps) = join(loads, swaps).await;
    let requests: f64 = loads
        .into_iter()
        .collect::<Result<Vec<_>>>()?
        .iter()
        .map(|own| own.rate)
        .sum();
    let (mut times, memory) = swaps?;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let (before, after) = (median(&memory[..LOOKS]), median(&memory[memory.len() - LOOKS..]));
    println!("{SWAPS} swaps: {before} MiB, then {after} MiB");
    let note = format!("{CONNECTIONS} connections, {requests:.0} requests/s, none failed");
    Ok(vec![
        Measured::new(
            "plugins",
            format!("swap of a plugin under load, median of {SWAPS}"),
            at(0.5),
            Unit::Milliseconds,
        )
        .note(note),
        Measured::new(
            "plugins",
            "swap of a plugin under load, p99",
            at(0.99),
            Unit::Milliseconds,
        ),
        Measured::new(
            "plugins",
            format!("growth of memory over {SWAPS} swaps"),
            (after / before - 1.0) * 100.0,
            Unit::Other("%".into()),
        )
        .target(Target::Below(5.0))
        .note(format!(
            "{before:.1} MiB, median after each of the {LOOKS} swaps that follow the first {SETTLED}; {after:.1} MiB after each of the last {LOOKS}"
        )),
    ])
}

fn median(looks: &[f64]) -> f64 {
    let mut looks = looks.to_vec();
    looks.sort_by(f64::total_cmp);
    looks[looks.len() / 2]
}

async fn swap_on(server: &Server, file: &Path, good: &[u8]) -> Result<(Vec<Duration>, Vec<f64>)> {
    let resident = || Ok::<_, anyhow::Error>(memory(server.pid()).context("memory")?.resident);
    let (mut times, mut memory) = (Vec::with_capacity(SWAPS), Vec::new());
    for turn in 0..SWAPS {
        std::fs::write(file, component::altered(good, (turn % 2) as u32))?;
        times.push(reload(server).await?);
        if turn >= SETTLED {
            memory.push(resident()?);
        }
    }
    Ok((times, memory))
}

/// How long another type's requests take while a plugin loops, eats memory and traps.
async fn harmed(server: &Server, file: &Path, good: &[u8], length: Duration) -> Result<Vec<Measured>> {
    let calls = [Call::get("/api/lm/loras/list")];
    let idle = load(server.address(), &calls, 1, length).await?;
    let mut measured = Vec::new();
    for mode in ["handle", "memory", "deep", "log"] {
        let text = format!("hostile-mode:{mode:.<11}");
        std::fs::write(file, component::patched(good, "hostile-mode:none.......", &text)?)?;
        reload(server).await?;
        let over = Cell::new(false);
        let harm = join_all((0..HARMFUL).map(|_| async {
            while !over.get() {
                // It fails; that is its purpose.
                let _ = server.get("/api/lm/hostiles/harm").await;
            }
        }));
        let others = async {
            let loaded = load(server.address(), &calls, 1, length).await;
            over.set(true);
            loaded
        };
        let (_, loaded): (_, Result<Loaded>) = join(harm, others).await;
        let loaded = loaded?;
        ensure!(loaded.rate > 0.0, "nothing was answered while `{mode}` did harm");
        let milliseconds = |own: &Loaded| own.p99.as_secs_f64() * 1e3;
        println!("beside `{mode}`: {loaded:?}, idle {idle:?}");
        measured.push(
            Measured::new(
                "plugins",
                format!(
                    "p99 of another type's listing beside a plugin that does harm (`{mode}`), as a multiple of idle"
                ),
                milliseconds(&loaded) / milliseconds(&idle),
                Unit::Other("x".into()),
            )
            .target(Target::Below(2.0))
            .note(format!(
                "{:.2} ms, idle {:.2} ms; {HARMFUL} harmful requests at a time",
                milliseconds(&loaded),
                milliseconds(&idle)
            )),
        );
    }
    Ok(measured)
}
