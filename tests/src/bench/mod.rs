//! The benchmarks: what is measured, on which library, and the report.
//!
//! The load comes from this process over loopback, so it shares the machine's cores with the server; its client does as
//! little as it can. Every number is of the real binary, built in release.

mod data;
mod downloading;
mod growth;
mod growth_report;
mod hashing;
mod large;
mod load;
mod machine;
mod plugins;
mod refreshing;
mod report;
mod saves;
mod scenarios;
mod starts;
mod swaps;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use report::{Measured, Target};

const USAGE: &str = "\
usage: bench [OPTIONS]

  --loras N --checkpoints N --embeddings N   size of the library (10000, 500, 200)
  --seconds S                                length of each load (5)
  --sizes N,N,...                            libraries of loras that show how everything grows (10000,100000); a million
                                             takes some ten minutes and 10 GB of disk; none: leave that part out
  --keep DIR                                 make those libraries in DIR, use what is there, and leave it there
  --refresh N                                models whose metadata is fetched from a stand-in provider (10000); 0 leaves
                                             that out
  --download-gib G                           size of the file that is downloaded beside curl (4); 0 leaves that out
  --no-small                                 only the part with the sizes
  --no-plugins                               leave out what calls and swaps of plugins cost
  --no-index                                 leave the server's own index benchmark out
  --no-tables                                of the part with the sizes only starting, reading and changing
  --out FILE                                 the report (docs/benchmarks.md)";

/// What to measure on, and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Loras, each with a sidecar.
    pub loras: usize,
    /// Checkpoints.
    pub checkpoints: usize,
    /// Embeddings.
    pub embeddings: usize,
    /// Length of each load.
    pub length: Duration,
    /// Where the report goes.
    pub out: PathBuf,
    /// Whether calls and swaps of plugins are measured too.
    pub plugins: bool,
    /// Whether the server's index benchmark is run too.
    pub index: bool,
    /// Whether every order and filter is measured at each size.
    pub tables: bool,
    /// Whether the part on the small library is run.
    pub small: bool,
    /// Sizes of the libraries that show growth, ascending.
    pub sizes: Vec<usize>,
    /// Models whose metadata is fetched.
    pub refresh: usize,
    /// Size of the file that is downloaded, in GiB.
    pub download_gib: f64,
    /// Where those libraries are kept.
    pub keep: Option<PathBuf>,
}

impl Options {
    /// Reads the command line; `None` asks for help.
    ///
    /// # Errors
    /// When an option is unknown or its value can't be used.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self {
            loras: 10_000,
            checkpoints: 500,
            embeddings: 200,
            length: Duration::from_secs(5),
            out: workspace().join("docs/benchmarks.md"),
            plugins: true,
            index: true,
            tables: true,
            small: true,
            sizes: vec![10_000, 100_000],
            refresh: 10_000,
            download_gib: 4.0,
            keep: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--loras" => options.loras = number(&value()?)?,
                "--checkpoints" => options.checkpoints = number(&value()?)?,
                "--embeddings" => options.embeddings = number(&value()?)?,
                "--seconds" => options.length = Duration::from_secs(number(&value()?)?.max(1) as u64),
                "--out" => options.out = value()?.into(),
                "--sizes" => options.sizes = sizes(&value()?)?,
                "--refresh" => options.refresh = number(&value()?)?,
                "--download-gib" => options.download_gib = gib(&value()?)?,
                "--keep" => options.keep = Some(value()?.into()),
                "--no-small" => options.small = false,
                "--no-plugins" => options.plugins = false,
                "--no-index" => options.index = false,
                "--no-tables" => options.tables = false,
                "--help" | "-h" => return Ok(None),
                other => bail!("unknown option {other:?}\n\n{USAGE}"),
            }
        }
        if options.loras < 100 {
            bail!("--loras: the benchmark lists pages of 100, so there must be at least as many");
        }
        Ok(Some(options))
    }

    fn files(&self) -> usize {
        self.loras + self.checkpoints + self.embeddings
    }
}

/// How the command line is used.
pub fn usage() -> &'static str {
    USAGE
}

fn sizes(text: &str) -> Result<Vec<usize>> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let mut sizes = text
        .split(',')
        .map(|part| number(part.trim()))
        .collect::<Result<Vec<_>>>()?;
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.first().is_some_and(|size| *size < 1_000) {
        bail!("--sizes: a library that shows growth has at least 1000 models");
    }
    Ok(sizes)
}

fn gib(text: &str) -> Result<f64> {
    let size: f64 = text.parse().with_context(|| format!("{text:?} is no number"))?;
    if !(0.0..=64.0).contains(&size) {
        bail!("--download-gib: from 0 to 64");
    }
    Ok(size)
}

fn number(text: &str) -> Result<usize> {
    text.parse().with_context(|| format!("{text:?} is no number"))
}

/// The workspace's root.
fn workspace() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map_or(tests.clone(), PathBuf::from)
}

/// Runs everything and writes the report.
///
/// # Errors
/// When the library can't be made, the server fails, or an answer is not what it should be.
pub async fn run(options: &Options) -> Result<()> {
    let busy = machine::busy();
    let binary = crate::binary::find()?;
    println!("server: {}", binary.display());
    let mut measured = starts::first_start().await?;
    if options.small {
        measured.extend(small(options).await?);
    }
    if options.plugins {
        measured.extend(plugins::measure("plugin_bench", "plugins", &[])?);
        measured.extend(swaps::measure(options.length).await?);
        measured.extend(saves::measure().await?);
    }
    if options.refresh > 0 {
        measured.extend(refreshing::measure(options.refresh).await?);
    }
    if options.download_gib > 0.0 {
        measured.extend(downloading::measure(options.download_gib).await?);
    }
    let grown = growth::run(options).await?;
    let text = report::render(options, busy, &measured, &grown)?;
    if let Some(parent) = options.out.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&options.out, text).with_context(|| options.out.display().to_string())?;
    println!("report: {}", options.out.display());
    Ok(())
}

/// What is measured on a library of the usual size.
async fn small(options: &Options) -> Result<Vec<Measured>> {
    let folder = tempfile::Builder::new().prefix("modelshelf-bench-").tempdir()?;
    println!("making a library of {} files", options.files());
    let library = data::make(&folder.path().join("library"), options, true)?;
    let data_dir = folder.path().join("data");
    let mut measured = starts::cold_scans(&library, options, folder.path(), &data_dir).await?;
    let bare = data::make(&folder.path().join("bare"), options, false)?;
    measured.extend(hashing::measure().await?);
    measured.extend(plugins::measure("hash_bench", "hashing", &[])?);
    measured.extend(starts::cold_scan_without_sidecars(&bare, options, folder.path()).await?);
    measured.extend(starts::warm_starts(&library, options, &data_dir).await?);
    let server = library.options().data_dir(&data_dir).serve().await?;
    measured.extend(scenarios::run(&server, options).await?);
    Ok(measured)
}
