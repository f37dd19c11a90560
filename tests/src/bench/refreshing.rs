//! Metadata of a whole library from a provider, over a kill in the middle, counted by the provider.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::report::{Measured, Target, Unit};
use crate::civitai::{Asked, CatalogModel, CatalogVersion, Civitai};
use crate::http::Call;
use crate::library::Library;
use crate::model::{Model, beside, sha256};
use crate::server::{Server, ServerOptions};

const ALL: &str = "/api/lm/loras/fetch-all-civitai";
/// Requests a second that the server has as its usual bound, and how many may come at once after a rest.
const RATE: f64 = 10.0;
const BURST: f64 = 20.0;
/// The same at the provider, which sees requests a little closer together than they were made.
const TOLERANCE: f64 = 4.0;

/// Refreshes a library of so many models; the server is killed at two fifths.
///
/// # Errors
/// When the server fails, or a model is left without metadata.
pub async fn measure(count: usize) -> Result<Vec<Measured>> {
    println!("making a library of {count} models that a provider knows");
    let library = Library::new()?;
    let (mut files, mut catalogue) = (Vec::new(), Vec::new());
    for number in 1..=count as u64 {
        let file = library.add(&Model::lora(&format!("f{}/m{number:06}", number % 97)))?;
        let version = CatalogVersion::new(number * 10, "v1").sha256(&sha256(&std::fs::read(&file)?));
        catalogue.push(CatalogModel::new(number, &format!("Model {number}"), "LORA").versions([version]));
        files.push(file);
    }
    let civitai = Civitai::start(catalogue).await?;
    civitai.limit(RATE, BURST + TOLERANCE);
    let data = library.path().join("data");
    let server = options(&library, &civitai).data_dir(&data).serve().await?;
    let started = Instant::now();
    let address = server.address();
    let running = tokio::spawn(async move { Call::post(ALL, &json!({})).send(address).await });
    until(&server, count as u64 * 2 / 5).await?;
    let before_kill = started.elapsed();
    server.kill();
    // It fails, since its server is gone.
    let _ = running.await?;
    let known = known(&files)?;
    let first = civitai.asked();
    civitai.forget();
    println!("killed after {before_kill:?}; {} of {count} have metadata", known.len());

    // The next server does not know what the last one asked.
    civitai.limit(RATE, BURST + TOLERANCE);
    let server = options(&library, &civitai).data_dir(&data).serve().await?;
    server.scan("loras", false).await?;
    let again = Instant::now();
    let answer = server.post_json(ALL, &json!({})).await?;
    let after_kill = again.elapsed();
    ensure!(answer["success"] == true, "the refresh ended early: {answer}");
    let second = civitai.asked();
    let all = self::known(&files)?;
    ensure!(all.len() == count, "{} of {count} models have metadata", all.len());
    let times = times(&second)?;
    let twice = known.keys().filter(|hash| times.contains_key(*hash)).count();
    let repeated = times.values().filter(|times| **times > 1).count();
    let refused = |asked: &[Asked]| asked.iter().filter(|own| own.status == 429).count();
    let requests = first.len() + second.len();
    let seconds = (before_kill + after_kill).as_secs_f64();
    println!("refresh: {requests} requests in {seconds:.1} s");
    let row = |name: &str, value: f64, unit: &str| Measured::new("providers", name, value, Unit::Other(unit.into()));
    Ok(vec![
        row(&format!("refresh of {count} models, both runs together"), seconds, "s").note(format!(
            "{RATE} requests a second to a host after {BURST} at once, as settings have it; killed at two fifths"
        )),
        row("models a second", count as f64 / seconds, "/s"),
        row("requests", requests as f64, "").note("100 hashes, or 100 models, a request".into()),
        row("most requests in any ten seconds", most_in(&first, &second) as f64, "")
            .target(Target::Below(RATE * 10.0 + BURST + TOLERANCE + 1.0)),
        row(
            "requests that the provider refused with 429",
            (refused(&first) + refused(&second)) as f64,
            "",
        )
        .target(Target::Below(1.0))
        .note("it answers as many as the bound allows".into()),
        row(
            "models asked about again that were known when the server was killed",
            twice as f64,
            "",
        )
        .target(Target::Below(1.0))
        .note(format!("{} were known", known.len())),
        row("models asked about more than once after that", repeated as f64, "").target(Target::Below(1.0)),
    ])
}

/// The server's usual settings, but for who is asked.
fn options(library: &Library, civitai: &Civitai) -> ServerOptions {
    let settings = format!(
        "[providers]\ncivitai = '{}'\ncivarchive = '{}'\n",
        civitai.base(),
        civitai.archive_base()
    );
    library.options().settings(&settings).silent()
}

/// Waits until so many models have metadata.
async fn until(server: &Server, updated: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(600);
    loop {
        let answer = server.get_json("/api/lm/loras/fetch-all-civitai-progress", &[]).await?;
        if answer["progress"]["success"].as_u64().unwrap_or_default() >= updated {
            return Ok(());
        }
        ensure!(Instant::now() < end, "no progress: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Hashes of the models whose sidecars have a version.
fn known(files: &[PathBuf]) -> Result<HashMap<String, ()>> {
    let mut known = HashMap::new();
    for file in files {
        let text = std::fs::read(beside(&file.with_extension(""), "metadata.json"))?;
        let side: Value = serde_json::from_slice(&text)?;
        if side["civitai"]["id"].is_u64() {
            known.insert(side["sha256"].as_str().context("hash")?.to_owned(), ());
        }
    }
    Ok(known)
}

/// How often each hash was asked about.
fn times(asked: &[Asked]) -> Result<HashMap<String, u32>> {
    let mut times = HashMap::new();
    for own in asked {
        let listed = own.body.as_ref().and_then(Value::as_array).into_iter().flatten();
        let listed = listed.filter_map(|hash| Some(hash.as_str()?.to_lowercase()));
        let single = own.target.split("/by-hash/").nth(1).map(str::to_lowercase);
        for hash in listed.chain(single) {
            *times.entry(hash).or_default() += 1;
        }
    }
    Ok(times)
}

/// The most requests within ten seconds of one run.
fn most_in(first: &[Asked], second: &[Asked]) -> usize {
    let most = |asked: &[Asked]| {
        let from = |place: usize| {
            let start = asked[place].at;
            let after = asked[place..].iter();
            after
                .take_while(|own| own.at.duration_since(start) < Duration::from_secs(10))
                .count()
        };
        (0..asked.len()).map(from).max().unwrap_or_default()
    };
    most(first).max(most(second))
}
