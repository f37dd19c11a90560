//! Requests to a server that has read its library.

use anyhow::{Context, Result, ensure};

use super::Options;
use super::data::{BASES, TAGS, terms};
use super::load::{Loaded, load};
use super::machine::memory;
use super::report::{Measured, Target, Unit};
use crate::http::Call;
use crate::server::Server;
use crate::slow::SlowClients;

/// What is asked, over how many connections, and what is to be reached.
struct Scenario {
    name: &'static str,
    calls: Vec<Call>,
    connections: &'static [usize],
    /// Requests per second at the most connections.
    rate: Option<f64>,
    /// Milliseconds at p99, at the most connections.
    p99: Option<f64>,
}

/// Slow connections among which others are served.
const SLOW: usize = 2_000;

const LIST: &str = "/api/lm/loras/list";

fn list(pairs: &[(&str, &str)]) -> Call {
    Call::get(LIST).query(&[("page_size", "100")]).query(pairs)
}

fn scenarios(options: &Options) -> Vec<Scenario> {
    let pages = options.loras.div_ceil(100);
    let plain = |name, calls, connections| Scenario {
        name,
        calls,
        connections,
        rate: None,
        p99: None,
    };
    let searches = || terms().into_iter();
    vec![
        Scenario {
            rate: Some(5_000.0),
            p99: Some(10.0),
            ..plain("list of 100 items", vec![list(&[])], &[1, 16])
        },
        plain("list of 20 items", vec![Call::get(LIST)], &[16]),
        Scenario {
            p99: Some(2.0),
            ..plain(
                "search, another term each time",
                searches().map(|term| list(&[("search", &term)])).collect(),
                &[1],
            )
        },
        plain(
            "search, another term each time",
            searches().map(|term| list(&[("search", &term)])).collect(),
            &[16],
        ),
        plain(
            "fuzzy search",
            searches()
                .map(|term| list(&[("search", &term), ("fuzzy_search", "true")]))
                .collect(),
            &[1],
        ),
        plain(
            "base model, two tags, favourites, newest first",
            BASES
                .iter()
                .zip(TAGS)
                .map(|((base, _), tag)| {
                    list(&[
                        ("base_model", base),
                        ("tag_include", tag),
                        ("tag_exclude", "man"),
                        ("favorites_only", "true"),
                        ("sort_by", "date:desc"),
                    ])
                })
                .collect(),
            &[1, 16],
        ),
        plain(
            "a folder with what is below it",
            BASES.iter().map(|(base, _)| list(&[("folder", base)])).collect(),
            &[1],
        ),
        plain(
            "the last pages by date",
            (pages.saturating_sub(9).max(1)..=pages)
                .map(|page| list(&[("sort_by", "date:desc"), ("page", &page.to_string())]))
                .collect(),
            &[1, 16],
        ),
        plain(
            "random order, 10 seeds",
            (0..10)
                .map(|seed| list(&[("sort_by", &format!("random:{seed}"))]))
                .collect(),
            &[1],
        ),
        plain(
            "one item for each model",
            vec![list(&[("group_by_model", "true")])],
            &[1],
        ),
        plain("most frequent tags", vec![Call::get("/api/lm/loras/top-tags")], &[1]),
        plain(
            "paths for autocompletion",
            searches()
                .map(|term| Call::get("/api/lm/loras/relative-paths").query(&[("search", &term)]))
                .collect(),
            &[1],
        ),
        plain(
            "a plugin's route (letter-counts)",
            vec![Call::get("/api/lm/loras/letter-counts")],
            &[1],
        ),
        plain("the page (HTML)", vec![Call::get("/loras")], &[1]),
    ]
}

/// Runs all loads.
///
/// # Errors
/// When an answer is not 200, or the library is not the one that was made.
pub async fn run(server: &Server, options: &Options) -> Result<Vec<Measured>> {
    let page = server.list("loras", &[]).await?;
    ensure!(
        page["total"] == options.loras,
        "the server lists {} of {} loras",
        page["total"],
        options.loras
    );
    let mut measured = Vec::new();
    let mut baseline: Option<f64> = None;
    for scenario in scenarios(options) {
        for connections in scenario.connections {
            let loaded = load(server.address(), &scenario.calls, *connections, options.length)
                .await
                .with_context(|| scenario.name.to_owned())?;
            println!("{} x{connections}: {loaded:?}", scenario.name);
            if baseline.is_none() {
                baseline = Some(loaded.p50.as_secs_f64());
            }
            let last = scenario.connections.last() == Some(connections);
            measured.push(row(&scenario, *connections, &loaded, baseline, last));
        }
    }
    measured.extend(among_slow(server, options).await?);
    let memory = memory(server.pid()).context("the server's memory can't be read")?;
    measured.push(Measured::new(
        "memory",
        "resident memory after all loads",
        memory.resident,
        Unit::Mebibytes,
    ));
    measured.push(Measured::new(
        "memory",
        "most resident memory since its start",
        memory.peak,
        Unit::Mebibytes,
    ));
    Ok(measured)
}

/// What slow clients cost the others.
async fn among_slow(server: &Server, options: &Options) -> Result<Vec<Measured>> {
    let calls = [list(&[])];
    let idle = load(server.address(), &calls, 16, options.length).await?;
    let slow = SlowClients::start(server.address(), SLOW).await?;
    let loaded = load(server.address(), &calls, 16, options.length).await?;
    drop(slow);
    println!("list of 100 items x16 among {SLOW} slow connections: {loaded:?}");
    let scenario = Scenario {
        name: "list of 100 items among 2,000 slow connections",
        calls: Vec::new(),
        connections: &[16],
        rate: None,
        p99: None,
    };
    let ratio = loaded.p99.as_secs_f64() / idle.p99.as_secs_f64();
    let ratio = Measured::new(
        "memory",
        "p99 among slow connections, as a multiple of p99 without",
        ratio,
        Unit::Other("times".into()),
    );
    let ratio = ratio.target(Target::Below(3.0));
    Ok(vec![row(&scenario, 16, &loaded, None, true), ratio])
}

fn row(scenario: &Scenario, connections: usize, loaded: &Loaded, baseline: Option<f64>, last: bool) -> Measured {
    let milliseconds = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    let mut row = Measured::new("load", scenario.name, loaded.rate, Unit::PerSecond);
    row.connections = connections;
    row.p50 = milliseconds(loaded.p50);
    row.p99 = milliseconds(loaded.p99);
    row.max = milliseconds(loaded.max);
    row.bytes = loaded.bytes;
    row.ratio = baseline.map(|baseline| loaded.p50.as_secs_f64() / baseline);
    if last {
        row.target = scenario.rate.map(Target::Above);
        row.p99_target = scenario.p99;
    }
    row
}
