//! What an author waits for: from the save of a plugin's source to the plugin that is served.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::report::{Measured, Target, Unit};
use crate::binary;
use crate::library::Library;
use crate::server::Server;

/// Saves of the source; the first ones are not counted, as cargo's and the system's caches are empty then.
const SAVES: usize = 11;
const UNCOUNTED: usize = 2;
/// The first build compiles what the crate depends on.
const FIRST_BUILD: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// Measures it on a crate that `host plugin new` made.
///
/// # Errors
/// When the crate can't be made, or is not served.
pub async fn measure() -> Result<Vec<Measured>> {
    let library = Library::new()?;
    let folder = library.path().join("crates");
    std::fs::create_dir(&folder)?;
    let made = Command::new(binary::find()?)
        .args(["plugin", "new", "saved"])
        .current_dir(&folder)
        .stdout(Stdio::null())
        .status()?;
    ensure!(made.success(), "`host plugin new` failed");
    let folder = folder.join("saved");
    let server = library.options().plugin(&folder).start().await?;
    println!("building a new plugin's dependencies");
    let mut served = next(&server, None, FIRST_BUILD).await?;
    let mut times = Vec::with_capacity(SAVES);
    for save in 0..SAVES {
        // As long as a person needs at least.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let started = save_once(&folder, save)?;
        served = next(&server, Some(&served), PATIENCE).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let mut times = times.split_off(UNCOUNTED);
    times.sort_by(f64::total_cmp);
    let worst = times.last().copied().unwrap_or_default();
    let median = times[times.len() / 2];
    let name = "save of a plugin's source to the plugin that is served, median";
    Ok(vec![
        Measured::new("plugins", name, median, Unit::Milliseconds)
            .target(Target::Below(2_000.0))
            .note(format!("{} saves, worst {worst:.0} ms", times.len())),
    ])
}

/// Saves the source with a difference that reaches the component.
fn save_once(folder: &Path, number: usize) -> Result<Instant> {
    let file = folder.join("src/lib.rs");
    let source = std::fs::read_to_string(&file)?;
    let line = format!("\n#[unsafe(no_mangle)]\npub extern \"C\" fn saved_{number}() -> usize {{\n    {number}\n}}\n");
    std::fs::write(&file, source + &line)?;
    Ok(Instant::now())
}

/// The digest that is served once it is another one than `before`.
async fn next(server: &Server, before: Option<&str>, patience: Duration) -> Result<String> {
    let until = Instant::now() + patience;
    loop {
        let answer = server.get_json("/api/plugins", &[]).await?;
        let plugins = answer["plugins"].as_array().context("plugins")?;
        // What was never built has no id yet.
        let own = plugins.iter().find(|plugin| {
            let source = plugin["source"].as_str();
            plugin["id"] == "saved" || source.is_some_and(|source| source.ends_with("/saved"))
        });
        if let Some(own) = own.filter(|own| own["state"] == "failed") {
            bail!("the crate can't be built: {}", own["reason"]);
        }
        let digest = own.and_then(|plugin| plugin["digest"].as_str());
        match digest {
            Some(digest) if before != Some(digest) => return Ok(digest.to_owned()),
            _ => ensure!(
                Instant::now() < until,
                "no new version: {}",
                own.unwrap_or(&Value::Null)
            ),
        }
        tokio::time::sleep(LOOK).await;
    }
}
