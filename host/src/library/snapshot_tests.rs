//! The invariant of the index: however a library came to its state, it answers like one that
//! was built from that state at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::filter::Filter;
use super::groups::Grouping;
use super::license;
use super::listing::{Listing, Sort};
use super::orders::SortKey;
use super::record::{AutoV3, HashStatus, Record, Remote, Sha256, Stamp};
use super::snapshot::{Change, Snapshot};

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
        root: 0,
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
        hf_url: None,
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
        blake3: None,
        aliases: Vec::new(),
        derived_by: 0,
        item: Box::default(),
    }
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
    let mut shared: Vec<_> = properties
        .hashes
        .shared()
        .map(|(hash, slots)| (*hash, slots.len()))
        .collect();
    shared.sort();
    all.push(format!("{shared:?} {} {}", snapshot.len(), snapshot.excluded().len()));
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
