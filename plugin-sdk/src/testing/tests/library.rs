//! Selections, orders, look-ups and counts.

use super::*;
use crate::library::{Lookup, Order, Selection, TagLogic};
use crate::{Initial, NamePatterns};

fn names(which: Selection) -> Vec<String> {
    names_by(which, Order::Name)
}

fn names_by(which: Selection, order: Order) -> Vec<String> {
    let page = library::query(&which, order, 0, 1000).expect("a library");
    page.models.into_iter().map(|model| model.file_name).collect()
}

#[test]
fn every_filter_narrows_the_selection() {
    let _host = host();
    let all = Selection::default;
    assert_eq!(names(all()), ["ant", "zebra", "cat"]);
    assert_eq!(
        names(Selection {
            base_models: texts(&["SDXL 1.0"]),
            ..all()
        }),
        ["zebra"]
    );
    assert_eq!(
        names(Selection {
            sub_types: texts(&["LoRA"]),
            ..all()
        }),
        ["zebra"]
    );
    assert_eq!(
        names(Selection {
            tags_include: texts(&["ANIME"]),
            ..all()
        }),
        ["zebra", "cat"]
    );
    let both = texts(&["anime", "style"]);
    assert_eq!(
        names(Selection {
            tags_include: both,
            tag_logic: TagLogic::All,
            ..all()
        }),
        ["zebra"]
    );
    assert_eq!(
        names(Selection {
            tags_exclude: texts(&["style"]),
            ..all()
        }),
        ["ant", "cat"]
    );
    assert_eq!(
        names(Selection {
            folder_prefixes_include: texts(&["styles"]),
            ..all()
        }),
        ["ant", "zebra"]
    );
    assert_eq!(
        names(Selection {
            folder_prefixes_exclude: texts(&["styles/d"]),
            ..all()
        }),
        ["zebra", "cat"]
    );
    assert_eq!(
        names(Selection {
            root_key: Some("other".into()),
            ..all()
        }),
        [""; 0]
    );
    assert_eq!(
        names(Selection {
            favorites_only: true,
            ..all()
        }),
        ["ant"]
    );
    assert_eq!(
        names(Selection {
            credit_required: Some(true),
            ..all()
        }),
        ["ant"]
    );
    assert_eq!(
        names(Selection {
            credit_required: Some(false),
            ..all()
        }),
        ["zebra", "cat"]
    );
    assert_eq!(
        names(Selection {
            selling_allowed: Some(true),
            ..all()
        }),
        ["ant"]
    );
    assert_eq!(
        names(Selection {
            initial: Some(Initial::Cjk),
            ..all()
        }),
        ["cat"]
    );
    assert_eq!(
        names(Selection {
            initial: Some(Initial::Letter('Z')),
            ..all()
        }),
        ["ant", "zebra"]
    );
    assert_eq!(
        names(Selection {
            search: "BRA 1".into(),
            ..all()
        }),
        ["zebra"]
    );
}

#[test]
fn patterns_are_expressions_or_parts_and_exclude_wins() {
    let _host = host();
    let patterned = |include: &[&str], exclude: &[&str], regex| {
        let names = NamePatterns {
            include: texts(include),
            exclude: texts(exclude),
            regex,
        };
        self::names(Selection {
            names,
            ..Selection::default()
        })
    };
    assert_eq!(patterned(&["^ZEBRA \\d+$"], &["ant"], true), ["zebra"]);
    assert_eq!(patterned(&["^zebra"], &[], false), [""; 0]);
    assert_eq!(
        patterned(&["("], &[], true),
        [""; 0],
        "an invalid expression is a part of a name"
    );
}

#[test]
fn orders_are_natural_and_paged() {
    let _host = host();
    assert_eq!(names_by(Selection::default(), Order::FileName), ["ant", "cat", "zebra"]);
    assert_eq!(
        names_by(Selection::default(), Order::RelativePath),
        ["cat", "ant", "zebra"]
    );
    assert_eq!(names_by(Selection::default(), Order::Newest), ["ant", "cat", "zebra"]);
    let page = library::query(&Selection::default(), Order::Name, 1, 1).expect("a library");
    assert_eq!(
        (page.total, page.models.len(), page.models[0].file_name.as_str()),
        (3, 1, "zebra")
    );
}

#[test]
fn a_walk_sees_every_model_once() {
    let many = (0..2500).map(|number| model(&format!("{number}.x")));
    let _host = FakeHost::new::<Shelf>().with_models(many);
    let mut seen = Vec::new();
    let walked = library::for_each(&Selection::default(), Order::FileName, |model| {
        seen.push(model.file_name);
        Ok(())
    });
    assert_eq!(walked, Ok(()));
    let page = library::query(&Selection::default(), Order::Name, 0, 2000).expect("a library");
    assert_eq!((page.total, page.models.len()), (2500, 1000), "no page is longer");
    assert_eq!(seen.len(), 2500);
    assert_eq!((seen[0].as_str(), seen[2499].as_str()), ("0", "2499"));
}

#[test]
fn lookups_find_by_path_name_reference_part_and_hash() {
    let _host = host();
    let found = |key: Lookup| library::get(&key).expect("a library").map(|model| model.file_name);
    assert_eq!(found(Lookup::Path("/models/cat.x".into())).as_deref(), Some("cat"));
    assert_eq!(found(Lookup::Path("cat.x".into())), None);
    assert_eq!(found(Lookup::Name("any/where/zebra".into())).as_deref(), Some("zebra"));
    assert_eq!(found(Lookup::Name("bra".into())), None);
    assert_eq!(
        found(Lookup::Reference("styles/zebra.safetensors".into())).as_deref(),
        Some("zebra")
    );
    assert_eq!(found(Lookup::Reference("styles/ant".into())).as_deref(), Some("ant"));
    assert_eq!(found(Lookup::Reference("elsewhere/ant".into())).as_deref(), Some("ant"));
    assert_eq!(found(Lookup::PathPart("deep/ant.x".into())).as_deref(), Some("ant"));
    assert_eq!(found(Lookup::Hash("AB".repeat(5))).as_deref(), Some("zebra"));
    assert_eq!(found(Lookup::Hash("ab".repeat(32))).as_deref(), Some("zebra"));
    assert_eq!(found(Lookup::Hash("ab".into())), None);
}

#[test]
fn facets_count_the_most_frequent_first() {
    let _host = host();
    let facets = |kind, limit| library::facets(kind, limit).expect("a library");
    assert_eq!(facets(Facet::Tag, 0), [("anime".into(), 2), ("Style".into(), 1)]);
    assert_eq!(facets(Facet::Tag, 1), [("anime".into(), 2)]);
    assert_eq!(facets(Facet::Initial, 0), [("Z".into(), 2), ("漢".into(), 1)]);
}

#[test]
fn a_sample_depends_on_the_seed_alone() {
    let _host = host();
    let sample = |count, seed| library::random_sample(&Selection::default(), count, seed).expect("a library");
    assert_eq!(sample(2, 7), sample(2, 7));
    assert_eq!(sample(9, 7).len(), 3);
    assert!((0..20).any(|seed| sample(1, seed) != sample(1, 7)));
}

#[test]
fn patches_reach_the_model_and_its_entry() {
    let _host = host().with_sidecar("/models/cat.x", &json!({"rating": 1}));
    let patched = library::patch_metadata("/models/cat.x", &json!({"favorite": true, "tags": ["x"], "rating": 2}));
    let patched = patched.expect("a known path");
    assert!(patched.favorite);
    assert_eq!(patched.tags, ["x"]);
    let entry = library::entry("/models/cat.x")
        .expect("a library")
        .expect("a known path");
    let entry: Value = serde_json::from_str(&entry).expect("an object");
    assert_eq!((&entry["rating"], &entry["favorite"]), (&json!(2), &json!(true)));
    assert_eq!(
        library::patch_metadata("/x", &json!({})).expect_err("unknown").status(),
        404
    );
    assert_eq!(
        library::patch_metadata("/models/cat.x", &json!([]))
            .expect_err("no object")
            .status(),
        400
    );
    assert_eq!(library::entry("/x"), Ok(None));
}
