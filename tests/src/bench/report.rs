//! The report: one Markdown page.

use std::fmt::Write;

use anyhow::Result;

use super::growth::Grown;
use super::{Options, growth_report, machine};

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// Less than this.
    Below(f64),
    /// More than this.
    Above(f64),
}

impl Target {
    pub(super) fn is_met(self, value: f64) -> bool {
        match self {
            Self::Below(limit) => value < limit,
            Self::Above(limit) => value > limit,
        }
    }

    pub(super) fn text(self, unit: &Unit) -> String {
        match self {
            Self::Below(limit) => format!("< {limit} {}", unit.text()),
            Self::Above(limit) => format!("> {limit} {}", unit.text()),
        }
    }
}

/// What a number counts.
#[derive(Debug, Clone)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Per second.
    PerSecond,
    /// MiB.
    Mebibytes,
    /// As the measurement names it.
    Other(String),
}

impl Unit {
    /// As it is written behind a number.
    pub fn text(&self) -> &str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::PerSecond => "/s",
            Self::Mebibytes => "MiB",
            Self::Other(text) => text,
        }
    }
}

/// One result.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Which table it belongs to.
    pub group: &'static str,
    /// What was measured.
    pub name: String,
    /// The number.
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
    /// What is to be reached.
    pub target: Option<Target>,
    /// What to know of it.
    pub note: String,
    /// Of a load: connections.
    pub connections: usize,
    /// Of a load: milliseconds.
    pub p50: f64,
    /// Of a load: milliseconds.
    pub p99: f64,
    /// Of a load: milliseconds.
    pub max: f64,
    /// Of a load: milliseconds to stay below.
    pub p99_target: Option<f64>,
    /// Of a load: bytes of an answer.
    pub bytes: usize,
    /// Of a load: its p50 as a multiple of the first load's.
    pub ratio: Option<f64>,
}

impl Measured {
    /// A plain result.
    pub fn new(group: &'static str, name: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self {
            group,
            name: name.into(),
            value,
            unit,
            target: None,
            note: String::new(),
            connections: 0,
            p50: 0.0,
            p99: 0.0,
            max: 0.0,
            p99_target: None,
            bytes: 0,
            ratio: None,
        }
    }

    /// Sets what is to be reached.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets what to know of it.
    #[must_use]
    pub fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }
}

/// What to know of the table of hashing.
const HASHING: &str = "\
One file has a thread for SHA-256 alone, and a second one that reads and takes BLAKE3 meanwhile. So its rate is that of SHA-256,
which is what `openssl speed` measures, as long as a second processor is free.

Where as many files are hashed as there are processors, each processor must do all three for its file: copy it out of the page
cache, SHA-256, BLAKE3. `openssl speed -multi` does the second alone, on 16 KiB that never leave the nearest cache. The most
that can be reached there is the processor time of SHA-256 alone over that of \"both digests of a file, one thread\" above; 95 %
would need copying and BLAKE3 to take no time. Larger reads change nothing: the piece that is read at once stays in the second
cache. Mapping the file instead of copying it trades the copy for a page fault every few KiB, and a file that shrinks under the
server would end it. BLAKE3 runs over many chunks at once (its own vector code) already. Reading past the page cache saves the
copy only for files that are not in it; then the disk is the bound.";

/// What to know of the table of refreshing.
const REFRESHING: &str = "\
The provider is the tests' stand-in, in the process that measures. It counts and answers as many requests as the server's own
bound lets through, and refuses more. A hundred models come with two requests, so that mostly the metadata files bound the time,
each of which is kept for an undo, written and synced.";

/// What to know of the table of downloads.
const DOWNLOADING: &str = "\
The stand-in serves the file over loopback from a pattern in memory, in the process that measures. The server takes it over four
connections, and hashes and writes it while it arrives; `curl` has one connection, and `sha256sum` reads the file from the page
cache. All of them share the machine's processors with the stand-in. Before each round everything is on the disk.";

/// What to know of the tables of growth.
const GROWTH: &str = "\
What bounds what: a cold scan is parsing of metadata files and the calls into the plugin, on all processors. A warm start is
making records of the store's rows, the four orders by text, and the texts that are searched. A listing's time is the copy of
its bytes; with a filter the walk along the order to a deep page, about a nanosecond a record; in random order one or two passes
over all records. Search runs over the texts of all records, a fuzzy one over sketches of all their words. During a rescan of
everything the processors work on metadata files, at the lowest priority but hashing; what did not change is not published.";

/// The whole page.
///
/// # Errors
/// Never, in practice: writing into a text does not fail.
pub fn render(options: &Options, busy: Option<f64>, measured: &[Measured], grown: &[Grown]) -> Result<String> {
    let mut out = String::new();
    writeln!(out, "# Benchmarks\n")?;
    writeln!(out, "Written by `cargo xtask bench`; do not edit.\n")?;
    writeln!(out, "- Machine: {}", machine::describe())?;
    if let Some(busy) = busy {
        writeln!(out, "- Load average when the run began: {busy:.1}")?;
    }
    writeln!(out, "- Compiler: {}, release profile", machine::compiler())?;
    writeln!(
        out,
        "- Library: {} loras, {} checkpoints and {} embeddings, small valid safetensors files with sidecars, in the page cache",
        options.loras, options.checkpoints, options.embeddings
    )?;
    writeln!(
        out,
        "- Load: each connection sends its next request when it has the answer to the last, {} s a row; client and server share the cores",
        options.length.as_secs()
    )?;
    let parts = [
        (options.small, " --no-small"),
        (options.plugins, " --no-plugins"),
        (options.index, " --no-index"),
        (options.tables, " --no-tables"),
    ];
    let left_out: String = parts
        .iter()
        .filter(|(is_in, _)| !is_in)
        .map(|(_, option)| *option)
        .collect();
    writeln!(
        out,
        "- Command: `cargo xtask bench -- --loras {} --checkpoints {} --embeddings {} --seconds {} --refresh {} --download-gib {} --sizes {}{left_out}`",
        options.loras,
        options.checkpoints,
        options.embeddings,
        options.length.as_secs(),
        options.refresh,
        options.download_gib,
        match &*options.sizes {
            [] => "none".to_owned(),
            sizes => sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        }
    )?;
    for (group, title, bounds) in [
        ("start", "Starting", ""),
        ("scan", "Scanning", ""),
        ("hashing", "What hashing costs", HASHING),
        ("memory", "Memory", ""),
        ("plugins", "Plugins", ""),
        ("providers", "Metadata of a whole library from a provider", REFRESHING),
        ("downloads", "A large download", DOWNLOADING),
    ] {
        let rows: Vec<&Measured> = measured.iter().filter(|own| own.group == group).collect();
        plain_table(&mut out, title, rows.iter().copied())?;
        if !rows.is_empty() && !bounds.is_empty() {
            writeln!(out, "\n{bounds}")?;
        }
    }
    load_table(&mut out, measured.iter().filter(|own| own.group == "load"))?;
    growth_report::tables(&mut out, grown)?;
    if !grown.is_empty() {
        writeln!(out, "\n{GROWTH}")?;
    }
    Ok(out)
}

fn plain_table<'m>(out: &mut String, title: &str, rows: impl Iterator<Item = &'m Measured>) -> Result<()> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "\n## {title}\n\n| what | result | to reach | |\n|---|--:|--:|---|")?;
    for row in rows {
        let target = row.target.map_or_else(String::new, |target| {
            let met = if target.is_met(row.value) {
                "reached"
            } else {
                "**missed**"
            };
            format!("{}, {met}", target.text(&row.unit))
        });
        writeln!(
            out,
            "| {} | {} {} | {target} | {} |",
            row.name,
            rounded(row.value),
            row.unit.text(),
            row.note
        )?;
    }
    Ok(())
}

fn load_table<'m>(out: &mut String, rows: impl Iterator<Item = &'m Measured>) -> Result<()> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "\n## Requests\n")?;
    writeln!(out, "`ratio` is p50 over the p50 of the first row.\n")?;
    writeln!(
        out,
        "| what | connections | requests/s | p50 ms | p99 ms | max ms | kB | ratio | to reach |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|---|")?;
    for row in rows {
        let mut targets = Vec::new();
        let mut add = |target: Target, value: f64, what: &str, unit: &Unit| {
            let met = if target.is_met(value) { "reached" } else { "**missed**" };
            targets.push(format!("{what}{} {met}", target.text(unit)));
        };
        if let Some(target) = row.target {
            add(target, row.value, "", &row.unit);
        }
        if let Some(limit) = row.p99_target {
            add(Target::Below(limit), row.p99, "p99 ", &Unit::Milliseconds);
        }
        writeln!(
            out,
            "| {} | {} | {} | {:.3} | {:.3} | {:.1} | {} | {} | {} |",
            row.name,
            row.connections,
            rounded(row.value),
            row.p50,
            row.p99,
            row.max,
            rounded(row.bytes as f64 / 1000.0),
            row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.1}")),
            targets.join("; ")
        )?;
    }
    Ok(())
}

/// Three digits say enough.
pub(super) fn rounded(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_shown_as_such() {
        let mut out = String::new();
        let rows = [
            Measured::new("memory", "a", 130.0, Unit::Mebibytes).target(Target::Below(120.0)),
            Measured::new("memory", "b", 80.0, Unit::Mebibytes).target(Target::Below(120.0)),
        ];
        plain_table(&mut out, "Memory", rows.iter()).unwrap();
        assert!(out.contains("| a | 130 MiB | < 120 MiB, **missed** |"), "{out}");
        assert!(out.contains("| b | 80.0 MiB | < 120 MiB, reached |"), "{out}");
    }
}
