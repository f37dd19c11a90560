//! The invariant of the index: however a library came to its state, it answers like one that
//! was built from that state at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::chunk::Slot;
use super::duplicates::{DuplicateFilter, duplicates, filename_conflicts};
use super::filter::{Filter, WantedInitial};
use super::folders;
use super::groups::Grouping;
use super::license;
use super::listing::{Listing, Sort};
use super::orders::SortKey;
use super::record::{AutoV3, Blake3, GroupKey, HashStatus, Record, Remote, Sha256, Stamp};
use super::relative_paths;
use super::snapshot::{Change, Snapshot};
use crate::plugins::bindings::NamePatterns;

const TAGS: [&str; 4] = ["Style", "style", "anime", "wool"];
const BASES: [&str; 3] = ["SD 1.5", "Pony", ""];

/// A record whose properties follow from two numbers.
pub fn record(name: u8, look: u16) -> Record {
    let folder = ["", "a", "a/b", "a0"][usize::from(name) % 4];
    let file_name = format!("m{}", name / 3);
    let path = match folder {
        "" => format!("/r/{file_name}.{name}"),
        folder => format!("/r/{folder}/{file_name}.{name}"),
    };
    let bit = |index: u16| look >> index & 1 == 1;
    Record {
        path: path.into(),
        root: u16::from(name.is_multiple_of(3)),
        root_key: "k".into(),
        folder: folder.into(),
        file_name: file_name.into(),
        stamp: Stamp::default(),
        sidecar: None,
        preview: None,
        model_name: format!("Name {}", look % 7).into(),
        size: u64::from(look % 5),
        modified: f64::from(look % 3),
        sha256: bit(3).then_some(Sha256([look as u8 % 2; 32])),
        hash_status: HashStatus::Completed,
        autov3: if bit(4) {
            AutoV3::Known("abcdef012345".into())
        } else {
            AutoV3::Absent
        },
        base_model: BASES[usize::from(look) % 3].into(),
        preview_nsfw_level: u32::from(look % 9),
        notes: "".into(),
        from_civitai: true,
        remote: Remote {
            id: Some(u64::from(name)),
            model_id: bit(5).then_some(u64::from(look % 2)),
            ..Remote::default()
        },
        tags: TAGS
            .iter()
            .enumerate()
            .filter(|(index, _)| bit(6 + *index as u16))
            .map(|(_, tag)| (*tag).into())
            .collect(),
        civitai_deleted: false,
        favorite: bit(10),
        exclude: bit(11) && bit(12),
        db_checked: false,
        skip_metadata_refresh: false,
        metadata_source: None,
        last_checked_at: 0.0,
        hf_url: bit(9).then(|| format!("https://huggingface.co/o/r{}", look % 2).into()),
        license_flags: if bit(13) {
            license::DEFAULT
        } else {
            license::SELL_IMAGES
        },
        auto_tags: Default::default(),
        sub_type: ["x", "y"][usize::from(bit(14))].into(),
        base_model_hint: None,
        fields: "{}".into(),
        problem: bit(15).then(|| "broken".into()),
        usage_count: u64::from(look % 2),
        blake3: bit(2).then_some(Blake3([look as u8 % 3; 32])),
        aliases: Vec::new(),
        derived_by: 0,
        item: Box::default(),
    }
}

/// A record with this name, alone in its folder.
pub fn named(name: &str) -> Record {
    let mut record = record(0, 0);
    record.path = format!("/r/{name}/m.x").into();
    record.folder = name.into();
    record.model_name = name.into();
    record.file_name = name.into();
    record
}

fn listing(filter: Filter, sort: Sort, group_by_model: bool) -> Listing {
    Listing {
        filter,
        sort,
        group_by_model,
        grouping: Grouping::SameBase,
        model: None,
        page: 1,
        page_size: 100,
    }
}

/// Everything that a library answers, as texts that do not depend on slots.
fn answers(snapshot: &Snapshot) -> Vec<String> {
    let paths = |listing: Listing| {
        let slots = listing.slots(snapshot);
        slots
            .iter()
            .filter_map(|slot| Some(snapshot.get(*slot)?.path.to_string()))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut all = Vec::new();
    for key in SortKey::ALL {
        for descending in [false, true] {
            all.push(paths(listing(Filter::default(), Sort::Key { key, descending }, false)));
            all.push(paths(listing(Filter::default(), Sort::Key { key, descending }, true)));
        }
    }
    for descending in [false, true] {
        all.push(paths(listing(Filter::default(), Sort::Versions { descending }, false)));
        all.push(paths(listing(Filter::default(), Sort::Versions { descending }, true)));
    }
    all.push(paths(listing(Filter::default(), Sort::Random { seed: 7 }, false)));
    all.push(paths(listing(Filter::default(), Sort::Random { seed: 7 }, true)));
    let sorts = [
        Sort::Key {
            key: SortKey::Date,
            descending: true,
        },
        Sort::Versions { descending: true },
        Sort::Random { seed: 8 },
    ];
    for sort in sorts {
        let by_model = listing(Filter::default(), sort, true);
        all.push(paths(Listing {
            grouping: Grouping::Any,
            ..by_model.clone()
        }));
        for model in [
            GroupKey::Model(0),
            GroupKey::Model(1),
            GroupKey::HuggingFace("hf:o/r1".into()),
            GroupKey::HuggingFace("o/r1".into()),
        ] {
            all.push(paths(Listing {
                model: Some(model),
                ..by_model.clone()
            }));
        }
        // Pages are stretches of the whole, whatever the filter.
        for by_model in [false, true] {
            let filter = Filter {
                tags_exclude: vec!["anime".into()],
                ..Filter::default()
            };
            let mut page = listing(filter, sort, by_model);
            let whole = page.slots(snapshot);
            page.page_size = 3;
            let pages: Vec<Slot> = (1..)
                .map(|number| {
                    page.page = number;
                    page.page_of(snapshot)
                })
                .take_while(|page| !page.is_empty())
                .flatten()
                .collect();
            assert_eq!(pages, whole);
        }
    }
    let filters = [
        Filter {
            favorites_only: true,
            ..Filter::default()
        },
        Filter {
            sfw_only: true,
            ..Filter::default()
        },
        Filter {
            folder: Some("a".into()),
            recursive: true,
            ..Filter::default()
        },
        Filter {
            folder: Some("a".into()),
            ..Filter::default()
        },
        Filter {
            folder_exclude: vec!["a/b".into()],
            ..Filter::default()
        },
        Filter {
            tags_include: vec!["style".into()],
            ..Filter::default()
        },
        Filter {
            tags_include: vec!["style".into(), "wool".into()],
            all_tags: true,
            ..Filter::default()
        },
        Filter {
            tags_exclude: vec!["__no_tags__".into()],
            ..Filter::default()
        },
        Filter {
            base_models: vec!["".into(), "Pony".into()],
            ..Filter::default()
        },
        Filter {
            sub_types: vec!["y".into()],
            ..Filter::default()
        },
        Filter {
            credit_required: Some(false),
            ..Filter::default()
        },
        Filter {
            selling_allowed: Some(true),
            ..Filter::default()
        },
        Filter {
            hashes: vec!["01".repeat(32), "abcdef012345".into()],
            ..Filter::default()
        },
        Filter {
            hashes: vec!["02".repeat(32)],
            ..Filter::default()
        },
        Filter {
            initial: Some(WantedInitial::Character('N')),
            names: Some(NamePatterns {
                include: vec!["^name [1-4]".into()],
                exclude: vec!["m1$".into()],
                regex: true,
            }),
            ..Filter::default()
        },
    ];
    let by_name = Sort::Key {
        key: SortKey::Name,
        descending: false,
    };
    all.extend(filters.into_iter().map(|filter| paths(listing(filter, by_name, false))));
    let properties = snapshot.properties();
    all.push(format!("{:?}", properties.tag_counts));
    all.push(format!(
        "{:?}",
        properties
            .folders
            .iter()
            .map(|(folder, slots)| (folder.clone(), slots.len()))
            .collect::<Vec<_>>()
    ));
    let of_all =
        |records: Vec<&Arc<Record>>| -> Vec<Box<str>> { records.iter().map(|record| record.path.clone()).collect() };
    for (hash, records) in duplicates(snapshot, &DuplicateFilter::default()) {
        all.push(format!("{hash:?} {:?}", of_all(records)));
    }
    for (name, records) in filename_conflicts(snapshot) {
        all.push(format!("{name:?} {:?}", of_all(records)));
    }
    for hash in ["01".repeat(32), "02".repeat(32), "01".repeat(5), "abcdef012345".into()] {
        all.push(format!("{:?}", snapshot.by_hash(&hash).map(|record| &record.path)));
    }
    for root in [None, Some(0), Some(1)] {
        all.push(format!(
            "{:?} {:?}",
            folders::list(snapshot),
            folders::tree(snapshot, root)
        ));
    }
    for search in ["", "m1", "a -b", "M /"] {
        all.push(format!("{:?}", relative_paths::find(snapshot, None, search, 1, 7)));
    }
    for id in 0..3 {
        let keys = snapshot.keys();
        let mut named: Vec<_> = keys
            .version_id(id)
            .chain(keys.model_id(id))
            .filter_map(|slot| Some(&snapshot.get(slot)?.path))
            .collect();
        named.sort();
        all.push(format!(
            "{named:?} {:?}",
            snapshot.by_name(&format!("m{id}")).map(|record| &record.path)
        ));
    }
    all.push(format!("{} {}", snapshot.len(), snapshot.excluded().len()));
    all
}

proptest! {
    #[test]
    fn an_index_kept_up_by_changes_answers_like_one_built_at_once(
        batches in proptest::collection::vec(proptest::collection::vec((0u8..40, any::<u16>(), 0u8..4), 1..30), 1..8)
    ) {
        let mut kept_up = Snapshot::default();
        let mut state: BTreeMap<Box<str>, Arc<Record>> = BTreeMap::new();
        for batch in batches {
            let changes: Vec<Change> = batch
                .into_iter()
                .map(|(name, look, what)| {
                    let record = Arc::new(record(name, look));
                    if what == 0 {
                        state.remove(&record.path);
                        Change::Remove(record.path.clone())
                    } else {
                        state.insert(record.path.clone(), record.clone());
                        Change::Put(record)
                    }
                })
                .collect();
            kept_up = kept_up.apply(changes);
        }
        let at_once = Snapshot::default().apply(state.values().cloned().map(Change::Put).collect());
        prop_assert_eq!(answers(&kept_up), answers(&at_once));
    }
}
