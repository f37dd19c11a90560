//! What the index of a library costs, without HTTP and disks: building it, one change until readers
//! see it, and listings of every order, filter and page. One JSON line for each number.
//!
//! `cargo run --release -p host --example index_bench -- 100000`
#![allow(clippy::disallowed_methods, reason = "benchmarks read what they wrote themselves")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use modelshelf_host::library::filter::{Filter, WantedInitial};
use modelshelf_host::library::groups::Grouping;
use modelshelf_host::library::listing::{Listing, Sort};
use modelshelf_host::library::orders::SortKey;
use modelshelf_host::library::record::{AutoV3, GroupKey, HashStatus, Record, Remote, Sha256, Stamp};
use modelshelf_host::library::snapshot::{Change, Snapshot};
use modelshelf_host::library::{duplicates, folders, item, license, relative_paths};
use modelshelf_host::plugins::bindings::NamePatterns;

const WORDS: [&str; 16] = [
    "amber", "anime", "arcane", "baroque", "bloom", "candle", "cinder", "coral", "dawn", "ember", "fable", "flare",
    "frost", "glass", "halo", "iris",
];
const TAGS: [&str; 12] = [
    "character",
    "style",
    "concept",
    "clothing",
    "background",
    "action",
    "poses",
    "tool",
    "animal",
    "vehicle",
    "woman",
    "detail",
];
const BASES: [&str; 5] = ["SD 1.5", "SDXL 1.0", "Pony", "Illustrious", "Flux.1 D"];
/// Repetitions of what is timed.
const ROUNDS: usize = 30;

fn main() -> anyhow::Result<()> {
    for argument in std::env::args().skip(1) {
        bench(argument.parse()?);
    }
    Ok(())
}

fn bench(count: usize) {
    let before = resident();
    let records: Vec<Arc<Record>> = (0..count).map(|number| Arc::new(record(number))).collect();
    let made = resident();
    let started = Instant::now();
    let current = ArcSwap::from_pointee(Snapshot::default().apply(records.iter().cloned().map(Change::Put).collect()));
    say(count, "build the index at once", millis(started.elapsed()), "ms", None);
    let each = |from: f64, to: f64| (to - from) * 1024.0 / count as f64;
    say(count, "memory of a record", each(before, made), "KiB", None);
    say(
        count,
        "memory of a record's share of the index",
        each(made, resident()),
        "KiB",
        None,
    );

    listings(count, &current.load_full());
    changes(count, &current, &records);
}

/// One change as [`modelshelf_host::library::Library::publish`] makes it, without the store.
fn changes(count: usize, current: &ArcSwap<Snapshot>, records: &[Arc<Record>]) {
    let limit = if count <= 100_000 { 5.0 } else { 20.0 };
    let time = |name: &str, change: &dyn Fn(usize) -> Vec<Change>, limit: Option<f64>| {
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|round| {
                let changes = change(round);
                let started = Instant::now();
                current.store(Arc::new(current.load().apply(changes)));
                black_box(current.load().generation());
                millis(started.elapsed())
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let worst = times.last().copied().unwrap_or_default();
        say(
            count,
            &format!("{name}, median of {ROUNDS}"),
            times[ROUNDS / 2],
            "ms",
            None,
        );
        say(count, &format!("{name}, worst"), worst, "ms", limit);
    };
    let some = |round: usize| (round * 7_919) % count;
    time(
        "one record is marked",
        &|round| {
            vec![Change::Put(Arc::new(Record {
                favorite: round.is_multiple_of(2),
                ..(*records[some(round)]).clone()
            }))]
        },
        Some(limit),
    );
    time(
        "one record has another name, date, size, tag and model",
        &|round| {
            let other = record(some(round) + count / 2);
            let own = (*records[some(round)]).clone();
            vec![Change::Put(Arc::new(Record {
                path: own.path,
                folder: own.folder,
                file_name: own.file_name,
                ..other
            }))]
        },
        Some(limit),
    );
    time(
        "one record is new",
        &|round| vec![Change::Put(Arc::new(record(count + round)))],
        Some(limit),
    );
    time(
        "one record is gone",
        &|round| vec![Change::Remove(records[some(round)].path.clone())],
        Some(limit),
    );
    time(
        "2000 records are read again and the same",
        &|round| {
            let first = some(round).min(count.saturating_sub(2_000));
            let batch = records.iter().skip(first).take(2_000);
            batch.map(|record| Change::Put(Arc::new((**record).clone()))).collect()
        },
        None,
    );
    time(
        "2000 records are new",
        &|round| {
            let first = count * 2 + round * 2_000;
            (first..first + 2_000)
                .map(|number| Change::Put(Arc::new(record(number))))
                .collect()
        },
        None,
    );
}

fn listings(count: usize, snapshot: &Snapshot) {
    let limit = if count <= 100_000 { 2.0 } else { 10.0 };
    let mut sorts: Vec<(String, Sort)> = Vec::new();
    for descending in [false, true] {
        for key in SortKey::ALL {
            sorts.push((format!("{key:?}"), Sort::Key { key, descending }));
        }
        sorts.push(("Versions".into(), Sort::Versions { descending }));
    }
    sorts.push(("Random".into(), Sort::Random { seed: 5 }));
    for by_model in [false, true] {
        // How many items there are does not depend on the order.
        let filters: Vec<(&str, Filter, usize)> = filters()
            .into_iter()
            .map(|(name, filter)| {
                let listing = Listing {
                    filter: filter.clone(),
                    sort: Sort::Key {
                        key: SortKey::Path,
                        descending: false,
                    },
                    group_by_model: by_model,
                    grouping: Grouping::SameBase,
                    model: None,
                    page: 1,
                    page_size: 100,
                };
                (name, filter, listing.slots(snapshot).len())
            })
            .collect();
        for (name, sort) in &sorts {
            let mut slowest = (0.0, String::new());
            for (filter_name, filter, total) in &filters {
                for place in [0.0, 0.5, 1.0] {
                    let mut listing = Listing {
                        filter: filter.clone(),
                        sort: *sort,
                        group_by_model: by_model,
                        grouping: Grouping::SameBase,
                        model: None,
                        page: 1,
                        page_size: 100,
                    };
                    listing.page = (1.0 + place * (total.div_ceil(100).saturating_sub(1)) as f64) as i64;
                    let mut times: Vec<f64> = (0..5)
                        .map(|_| {
                            let started = Instant::now();
                            black_box(listing.render(snapshot, &[]));
                            millis(started.elapsed())
                        })
                        .collect();
                    times.sort_by(f64::total_cmp);
                    if times[2] > slowest.0 {
                        slowest = (
                            times[2],
                            format!("{filter_name}, page {} of {total} items", listing.page),
                        );
                    }
                }
            }
            let direction = match sort {
                Sort::Key { descending: true, .. } | Sort::Versions { descending: true } => " descending",
                _ => "",
            };
            let grouped = if by_model { ", one item for each model" } else { "" };
            say(
                count,
                &format!("list by {name}{direction}{grouped}: slowest is {}", slowest.1),
                slowest.0,
                "ms",
                Some(limit),
            );
        }
    }
    // The first of its kind after a change, which makes what later ones share.
    let first = |name: &str, sort: Sort, by_model: bool| {
        let listing = Listing {
            filter: Filter::default(),
            sort,
            group_by_model: by_model,
            grouping: Grouping::SameBase,
            model: None,
            page: 1,
            page_size: 100,
        };
        let times = (0..7).map(|round| {
            let fresh = snapshot.apply(vec![Change::Put(Arc::new(record(round)))]);
            let started = Instant::now();
            black_box(listing.render(&fresh, &[]));
            millis(started.elapsed())
        });
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        say(count, name, times[3], "ms", Some(limit));
    };
    let date = Sort::Key {
        key: SortKey::Date,
        descending: true,
    };
    first(
        "first list after a change: one item for each model, newest first",
        date,
        true,
    );
    first(
        "first list after a change: by versions",
        Sort::Versions { descending: true },
        false,
    );
    first(
        "first list after a change: one item for each model, by versions",
        Sort::Versions { descending: true },
        true,
    );

    let once = |name: &str, work: &dyn Fn()| {
        work();
        let started = Instant::now();
        work();
        say(count, name, millis(started.elapsed()), "ms", None);
    };
    once("versions of one model", &|| {
        let listing = Listing {
            filter: Filter::default(),
            sort: date,
            group_by_model: false,
            grouping: Grouping::SameBase,
            model: Some(GroupKey::Model(50_001)),
            page: 1,
            page_size: 100,
        };
        black_box(listing.render(snapshot, &[]));
    });
    for (name, text, regex) in [
        ("a name pattern", "glass", false),
        ("a regular expression on names", "^(glass|halo)", true),
    ] {
        once(name, &|| {
            let filter = Filter {
                names: Some(NamePatterns {
                    include: vec![text.into()],
                    exclude: Vec::new(),
                    regex,
                }),
                ..Filter::default()
            };
            black_box(filter.run(snapshot));
        });
    }
    once("all duplicates", &|| {
        drop(black_box(duplicates::duplicates(snapshot, &Default::default())))
    });
    once("all filename conflicts", &|| {
        drop(black_box(duplicates::filename_conflicts(snapshot)))
    });
    once("folder tree", &|| {
        black_box(folders::whole_tree(snapshot).get().len());
    });
    once("folder tree of one root", &|| {
        drop(black_box(folders::tree(snapshot, Some(0))))
    });
    for term in ["a", "ember", "glass iris"] {
        once(&format!("relative paths with {term:?}"), &|| {
            drop(black_box(relative_paths::find(snapshot, None, term, 0, 15)));
        });
    }
}

fn filters() -> Vec<(&'static str, Filter)> {
    let none = Filter::default();
    let with = |name: &'static str, change: &dyn Fn(&mut Filter)| {
        let mut filter = none.clone();
        change(&mut filter);
        (name, filter)
    };
    vec![
        with("no filter", &|_| {}),
        with("favourites", &|filter| filter.favorites_only = true),
        with("safe for work", &|filter| filter.sfw_only = true),
        with("a tag", &|filter| filter.tags_include = vec!["style".into()]),
        with("without a tag", &|filter| filter.tags_exclude = vec!["style".into()]),
        with("a base model", &|filter| filter.base_models = vec!["Pony".into()]),
        with("base model, two tags, favourites", &|filter| {
            filter.base_models = vec!["Pony".into()];
            filter.tags_include = vec!["style".into(), "woman".into()];
            filter.all_tags = true;
            filter.favorites_only = true;
        }),
        with("a folder", &|filter| {
            filter.folder = Some("SDXL 1.0".into());
            filter.recursive = true;
        }),
        with("without a folder", &|filter| {
            filter.folder_exclude = vec!["SDXL 1.0".into()]
        }),
        with("no credit", &|filter| filter.credit_required = Some(false)),
        with("a letter", &|filter| {
            filter.initial = Some(WantedInitial::Character('é'))
        }),
    ]
}

/// The same number gives the same record.
fn record(number: usize) -> Record {
    let random = |salt: u64, limit: usize| {
        let mut x = (number as u64) ^ (salt << 32);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) as usize % limit
    };
    let word = |salt: u64| WORDS[random(salt, WORDS.len())];
    let base = BASES[number % BASES.len()];
    let folder = match random(9, 10) {
        0 => String::new(),
        part if part < 4 => base.to_owned(),
        _ => format!("{base}/{}/{}", TAGS[random(10, TAGS.len())], number / 500),
    };
    let stem = format!("{}_{}_{number:07}", word(11), word(12));
    let path = match &*folder {
        "" => format!("/srv/models/{stem}.safetensors"),
        folder => format!("/srv/models/{folder}/{stem}.safetensors"),
    };
    let mut digest = [0; 32];
    // One in fifty is a copy of its neighbour.
    let content = if number % 50 == 1 { number - 1 } else { number };
    digest[..8].copy_from_slice(&(content as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let mut record = Record {
        path: path.into(),
        root: 0,
        root_key: "root".into(),
        folder: folder.into(),
        file_name: stem.into(),
        stamp: Stamp::default(),
        sidecar: Some(Stamp::default()),
        preview: None,
        model_name: format!("{} {} v{}", word(11), word(15), random(20, 40)).into(),
        size: 1_000_000 + random(21, 200_000_000) as u64,
        modified: 1_700_000_000.0 + random(22, 50_000_000) as f64,
        sha256: Some(Sha256(digest)),
        hash_status: HashStatus::Completed,
        blake3: None,
        autov3: AutoV3::Known(format!("{number:012x}").into()),
        base_model: base.into(),
        preview_nsfw_level: [0, 1, 1, 2, 4, 8][random(23, 6)],
        notes: "".into(),
        from_civitai: true,
        remote: Remote {
            id: Some(100_000 + number as u64),
            // Versions have one base model in three of four models, and some models have one version only.
            model_id: (random(30, 10) > 0).then(|| 50_000 + (number / 15 * 5 + number % 5) as u64),
            name: Some("v1.0".into()),
            creator: Some(format!("creator{}", random(18, 60)).into()),
            trained_words: Some(vec![word(16).into(), word(17).into()]),
            model_type: Some("LORA".into()),
            has_model: true,
        },
        tags: (0..random(1, 6))
            .map(|place| TAGS[random(place as u64 + 2, TAGS.len())].into())
            .collect(),
        civitai_deleted: false,
        favorite: number.is_multiple_of(20),
        exclude: false,
        db_checked: false,
        skip_metadata_refresh: false,
        metadata_source: None,
        last_checked_at: 0.0,
        hf_url: None,
        license_flags: if number.is_multiple_of(4) { 2 } else { license::DEFAULT },
        auto_tags: Default::default(),
        sub_type: "lora".into(),
        base_model_hint: None,
        fields: "{}".into(),
        aliases: Vec::new(),
        problem: None,
        usage_count: random(24, 5) as u64,
        derived_by: 0,
        item: Box::default(),
    };
    record.item = item::open(&record, "loras", r#"{"usage_tips":"{}"}"#);
    record
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Resident memory in MiB, where the system tells it.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
        .unwrap_or_default()
        / 1024.0
}

fn say(count: usize, name: &str, value: f64, unit: &str, below: Option<f64>) {
    let value = (value * 1000.0).round() / 1000.0;
    println!(
        "{}",
        serde_json::json!({ "records": count, "name": name, "value": value, "unit": unit, "below": below })
    );
}
