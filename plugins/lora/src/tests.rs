//! The type as the host and its clients see it.

use super::*;
use modelshelf_plugin_sdk::testing::{FakeHost, model};
use modelshelf_plugin_sdk::{
    FileSelection, Header, Initial, MergeInput, OrganiseInput, RemoteIdentity, SelectInput, Tensor,
};
use serde_json::Value;

mod sampling;

fn library() -> FakeHost {
    FakeHost::new::<Lora>().with_models([
        Model {
            model_name: "Aqua 10".into(),
            base_model: "Pony".into(),
            trigger_words: vec!["aqua, blue".into(), "wet".into()],
            fields: r#"{"usage_tips":"{\"strength\":0.8}"}"#.into(),
            tags: vec!["style".into()],
            ..model("styles/aqua.safetensors")
        },
        Model {
            model_name: "aqua 9".into(),
            trigger_words: vec!["nine".into()],
            ..model("zeta.safetensors")
        },
        Model {
            model_name: "7 seas".into(),
            favorite: true,
            ..model("styles/deep/b.safetensors")
        },
    ])
}

#[test]
fn the_routes_are_those_of_the_contract() {
    let routes = FakeHost::new::<Lora>().routes();
    let routes: Vec<String> = routes
        .into_iter()
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    assert_eq!(
        routes,
        [
            "GET /api/lm/loras/letter-counts",
            "GET /api/lm/loras/get-trigger-words",
            "GET /api/lm/loras/usage-tips-by-path",
            "POST /api/lm/loras/random-sample",
            "POST /api/lm/loras/cycler-list",
            "POST /api/lm/loras/get_trigger_words",
        ]
    );
}

#[test]
fn letter_counts_have_every_class() {
    let answer = library().get("/api/lm/loras/letter-counts");
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let counts = body["letter_counts"].as_object().expect("an object");
    assert_eq!(counts.len(), 29);
    let keys: Vec<&str> = counts.keys().map(String::as_str).collect();
    assert_eq!(
        (keys[0], keys[1], keys[26], keys[27], keys[28]),
        ("#", "A", "Z", "@", "漢")
    );
    assert_eq!(
        (&counts["A"], &counts["#"], &counts["B"]),
        (&json!(2), &json!(1), &json!(0))
    );
    assert_eq!(body["success"], true);
}

#[test]
fn trigger_words_are_found_by_name_or_path_and_unknown_names_have_none() {
    let host = library();
    let words =
        |name: &str| host.get(&format!("/api/lm/loras/get-trigger-words?name={name}")).json()["trigger_words"].take();
    assert_eq!(words("aqua"), json!(["aqua, blue", "wet"]));
    assert_eq!(words("any/where/aqua"), json!(["aqua, blue", "wet"]));
    assert_eq!(words("styles%5Caqua"), json!(["aqua, blue", "wet"]));
    assert_eq!(words("nothing"), json!([]));
    assert_eq!(host.get("/api/lm/loras/get-trigger-words").status, 400);
    assert_eq!(host.get("/api/lm/loras/get-trigger-words?name=").status, 400);
}

#[test]
fn usage_tips_are_found_by_a_part_of_the_path() {
    let host = library();
    let tips = |path: &str| {
        host.get(&format!("/api/lm/loras/usage-tips-by-path?relative_path={path}"))
            .json()
    };
    assert_eq!(
        tips("styles/aqua.safetensors"),
        json!({"success": true, "usage_tips": "{\"strength\":0.8}"})
    );
    assert_eq!(
        tips("styles%5Caqua"),
        json!({"success": true, "usage_tips": "{\"strength\":0.8}"})
    );
    assert_eq!(tips("zeta"), json!({"success": true, "usage_tips": ""}));
    assert_eq!(tips("unknown"), json!({"success": true, "usage_tips": ""}));
    assert_eq!(host.get("/api/lm/loras/usage-tips-by-path").status, 400);
}

#[test]
fn the_cycler_lists_a_pool_in_plain_text_order() {
    let host = library();
    let by_file = host.post("/api/lm/loras/cycler-list", &json!({}));
    assert_eq!(
        by_file.json(),
        json!({"success": true, "count": 3, "loras": [
            {"file_name": "styles/aqua", "model_name": "Aqua 10", "folder": "styles"},
            {"file_name": "styles/deep/b", "model_name": "7 seas", "folder": "styles/deep"},
            {"file_name": "zeta", "model_name": "aqua 9", "folder": ""},
        ]})
    );
    let names = |body: Value| -> Vec<String> {
        let answer = host.post("/api/lm/loras/cycler-list", &body).json();
        let loras = answer["loras"].as_array().expect("a list");
        loras
            .iter()
            .filter_map(|lora| Some(lora["model_name"].as_str()?.to_owned()))
            .collect()
    };
    assert_eq!(names(json!({"sort_by": "model_name"})), ["7 seas", "Aqua 10", "aqua 9"]);
    assert_eq!(names(json!({"pool_config": {"baseModels": ["Pony"]}})), ["Aqua 10"]);
    assert_eq!(
        names(json!({"pool_config": {"folders": {"include": ["sty"], "exclude": ["styles/d"]}}})),
        ["Aqua 10"]
    );
    assert_eq!(names(json!({"pool_config": {"favoritesOnly": true}})), ["7 seas"]);
    assert_eq!(
        host.post("/api/lm/loras/cycler-list", &json!({"pool_config": 1}))
            .status,
        400
    );
    assert_eq!(
        host.send("POST", "/api/lm/loras/cycler-list", b"{".to_vec()).status,
        400
    );
}

#[test]
fn trigger_words_go_to_every_node() {
    let host = library();
    let body = json!({"lora_names": ["aqua", "unknown", "zeta"], "node_ids": [5, {"node_id": "6", "graph_id": "g"}]});
    let answer = host.post("/api/lm/loras/get_trigger_words", &body);
    assert_eq!((answer.status, answer.json()), (200, json!({"success": true})));
    let message = "aqua, blue,, wet,, nine";
    assert_eq!(
        host.events(),
        [
            json!({"type": "trigger_word_update", "id": 5, "message": message}),
            json!({"type": "trigger_word_update", "id": 6, "message": message, "graph_id": "g"}),
        ]
    );
}

#[test]
fn a_bad_node_updates_none() {
    let host = library();
    let answer = host.post(
        "/api/lm/loras/get_trigger_words",
        &json!({"lora_names": ["aqua"], "node_ids": [5, null]}),
    );
    assert_eq!(answer.status, 400);
    assert_eq!(host.events(), [Value::Null; 0]);
    assert_eq!(
        host.post("/api/lm/loras/get_trigger_words", &json!({"lora_names": "aqua"}))
            .status,
        400
    );
    assert_eq!(
        host.post("/api/lm/loras/get_trigger_words", &json!({})).json(),
        json!({"success": true})
    );
}

#[test]
fn derive_takes_sub_type_tips_and_base_model() {
    let file = FileFacts {
        sidecar: r#"{"usage_tips":"{}","notes":"x"}"#.into(),
        remote: RemoteIdentity {
            model_type: "LoCon".into(),
            ..RemoteIdentity::default()
        },
        header: Some(Header {
            metadata: vec![("ss_base_model_version".into(), "sdxl_base_v1-0".into())],
            ..Header::default()
        }),
        ..FileFacts::default()
    };
    let derived = Lora::derive(&[file, FileFacts::default()]);
    assert_eq!(derived[0].sub_type, "locon");
    assert_eq!(derived[0].base_model_hint.as_deref(), Some("SDXL 1.0"));
    assert_eq!(derived[0].fields, r#"{"usage_tips":"{}"}"#);
    assert_eq!(
        (derived[1].sub_type.as_str(), &derived[1].base_model_hint),
        ("lora", &None)
    );
    assert!(derived.iter().all(|derived| derived.problem.is_none()));
}

#[test]
fn a_checkpoint_among_loras_is_a_problem() {
    let tensor = Tensor {
        name: "model.diffusion_model.input_blocks.0.0.weight".into(),
        dtype: "F16".into(),
        shape: vec![320, 4, 3, 3],
    };
    let header = Some(Header {
        tensors: vec![tensor],
        ..Header::default()
    });
    let derived = Lora::derive_one(&FileFacts {
        header,
        ..FileFacts::default()
    });
    assert!(derived.problem.is_some_and(|problem| problem.contains("checkpoint")));
}

#[test]
fn a_listed_item_has_tips_and_uses() {
    let model = Model {
        usage_count: 3,
        fields: r#"{"usage_tips":"{\"strength\":1}"}"#.into(),
        ..Model::default()
    };
    let listed: Value = serde_json::from_str(&Lora::format_one(&model)).expect("an object");
    assert_eq!(listed, json!({"usage_tips": "{\"strength\":1}", "usage_count": 3}));
}

#[test]
fn the_listing_s_parameters_are_understood() {
    let parse = |pairs: &[(&str, &str)]| {
        let pairs: Vec<Pair> = pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect();
        Lora::parse_query(&pairs).expect("no parameter is refused")
    };
    assert_eq!(parse(&[]), QueryFilter::default());
    assert_eq!(parse(&[("first_letter", "b")]).initial, Some(Initial::Letter('b')));
    assert_eq!(parse(&[("first_letter", "#")]).initial, Some(Initial::Digit));
    assert_eq!(parse(&[("fuzzy", "TRUE")]).fuzzy, Some(true));
    assert_eq!(parse(&[("fuzzy", "no")]).fuzzy, Some(false));
    assert_eq!(parse(&[("lora_hash", "AB")]).hashes, ["ab"]);
    assert_eq!(parse(&[("lora_hashes", "AB,Cd")]).hashes, ["ab", "cd"]);
    let names = parse(&[
        ("name_pattern_include", "a"),
        ("name_pattern_include", "b"),
        ("name_pattern_exclude", "c"),
        ("name_pattern_use_regex", "true"),
    ]);
    assert_eq!(
        names.names,
        NamePatterns {
            include: vec!["a".into(), "b".into()],
            exclude: vec!["c".into()],
            regex: true
        }
    );
}

#[test]
fn provider_types_and_shared_rules_are_those_of_loras() {
    for remote_type in ["LORA", "LoCon", "dora"] {
        assert_eq!(Lora::validate_remote_type(remote_type), Ok(()));
    }
    let refused = Lora::validate_remote_type("Checkpoint").expect_err("another type");
    assert_eq!(
        refused.to_string(),
        "Model type mismatch. Expected LORA, LoCon, or DORA, got Checkpoint"
    );

    let version = SelectInput {
        remote_version: r#"{"files":[{"type":"Model"}]}"#.into(),
        choice: None,
    };
    assert_eq!(
        Lora::select_file(&[version]),
        [Ok(FileSelection {
            file: 0,
            root_key: "loras".into()
        })]
    );
    assert_eq!(Lora::organise(&[OrganiseInput::default()])[0].root_key, "loras");
    assert!(Lora::merge_remote(&[MergeInput::default()])[0].is_ok());
}
