//! The type as the host and its clients see it.

use super::*;
use modelshelf_plugin_sdk::testing::{FakeHost, model};
use modelshelf_plugin_sdk::{FileChoice, Header, Tensor};
use serde_json::Value;

fn checkpoint(path: &str) -> Model {
    Model {
        sub_type: CHECKPOINT.into(),
        base_model: "SDXL 1.0".into(),
        ..model(path)
    }
}

fn library() -> FakeHost {
    FakeHost::new::<Checkpoint>().with_models([
        checkpoint("sdxl/base.safetensors"),
        checkpoint("Anything v3.ckpt"),
        Model {
            file_path: "/unet/flux.safetensors".into(),
            sub_type: DIFFUSION_MODEL.into(),
            root_key: DIFFUSION_MODEL_ROOT.into(),
            base_model: "Flux.1 D".into(),
            ..model("flux.safetensors")
        },
    ])
}

fn online() -> FakeHost {
    library().with_roots([
        ("/models", CHECKPOINT_ROOT, true),
        ("/more", CHECKPOINT_ROOT, true),
        ("/models", CHECKPOINT_ROOT, true),
        ("/unet", DIFFUSION_MODEL_ROOT, true),
    ])
}

#[test]
fn the_routes_are_those_of_the_contract() {
    let routes = FakeHost::new::<Checkpoint>().routes();
    let paths: Vec<String> = routes
        .into_iter()
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    assert_eq!(
        paths,
        [
            "GET /api/lm/checkpoints/info/{name}",
            "GET /api/lm/checkpoints/checkpoints_roots",
            "GET /api/lm/checkpoints/unet_roots",
            "GET /api/lm/checkpoints/loader-pool",
        ]
    );
}

#[test]
fn info_answers_the_whole_entry() {
    let host = library().with_sidecar("/models/sdxl/base.safetensors", &json!({"civitai": {"id": 4}}));
    for name in ["base", "base.safetensors", "sdxl%2Fbase"] {
        let answer = host.get(&format!("/api/lm/checkpoints/info/{name}"));
        assert_eq!(answer.status, 200, "{name}");
        let entry = answer.json();
        assert_eq!(
            (&entry["file_path"], &entry["civitai"]["id"]),
            (&json!("/models/sdxl/base.safetensors"), &json!(4))
        );
        assert_eq!(entry.get("success"), None);
    }
    assert_eq!(host.get("/api/lm/checkpoints/info/Anything%20v3").status, 200);
}

#[test]
fn info_of_an_unknown_name_is_404_with_the_body_that_clients_know() {
    let answer = library().get("/api/lm/checkpoints/info/nothing");
    assert_eq!(
        (answer.status, answer.json()),
        (404, json!({"error": "Checkpoint not found"}))
    );
}

#[test]
fn both_kinds_of_roots_have_a_route() {
    let host = online();
    let checkpoints = host.get("/api/lm/checkpoints/checkpoints_roots").json();
    assert_eq!(checkpoints, json!({"success": true, "roots": ["/models", "/more"]}));
    assert_eq!(
        host.get("/api/lm/checkpoints/unet_roots").json(),
        json!({"success": true, "roots": ["/unet"]})
    );
}

#[test]
fn the_loader_pool_is_one_sub_type_by_name() {
    let host = online();
    let expected = json!({"items": [
        {"name": "Anything v3.ckpt", "base_model": "SDXL 1.0"},
        {"name": "sdxl/base.safetensors", "base_model": "SDXL 1.0"},
    ]});
    assert_eq!(host.get("/api/lm/checkpoints/loader-pool").json(), expected);
    assert_eq!(
        host.get("/api/lm/checkpoints/loader-pool?sub_type=checkpoint").json(),
        expected
    );
    let diffusion = host
        .get("/api/lm/checkpoints/loader-pool?sub_type=diffusion_model")
        .json();
    assert_eq!(
        diffusion,
        json!({"items": [{"name": "flux.safetensors", "base_model": "Flux.1 D"}]})
    );
}

#[test]
fn the_loader_pool_leaves_out_what_is_offline() {
    let host = library().with_roots([
        ("/models/", CHECKPOINT_ROOT, false),
        ("/unet", DIFFUSION_MODEL_ROOT, true),
    ]);
    assert_eq!(host.get("/api/lm/checkpoints/loader-pool").json(), json!({"items": []}));
    let diffusion = host
        .get("/api/lm/checkpoints/loader-pool?sub_type=diffusion_model")
        .json();
    assert_eq!(diffusion["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_loader_pool_refuses_other_sub_types() {
    for sub_type in ["lora", "", "Checkpoint"] {
        let answer = online().get(&format!("/api/lm/checkpoints/loader-pool?sub_type={sub_type}"));
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"error": "invalid sub_type"})),
            "{sub_type}"
        );
    }
}

#[test]
fn the_root_decides_the_sub_type() {
    let file = |root: &str, sidecar: &str| FileFacts {
        root_key: root.into(),
        sidecar: sidecar.into(),
        ..FileFacts::default()
    };
    let derived = Checkpoint::derive(&[
        file("checkpoints", r#"{"sub_type":"diffusion_model"}"#),
        file("unet", r#"{"sub_type":"checkpoint"}"#),
        file("", "{}"),
    ]);
    let sub_types: Vec<&str> = derived.iter().map(|derived| derived.sub_type.as_str()).collect();
    assert_eq!(sub_types, ["checkpoint", "diffusion_model", "checkpoint"]);
    assert!(derived.iter().all(|derived| derived.fields == "{}"));
}

#[test]
fn the_header_shows_base_model_and_strays() {
    let file = |name: &str, shape: &[u64]| {
        let tensor = Tensor {
            name: name.into(),
            dtype: "F16".into(),
            shape: shape.to_vec(),
        };
        FileFacts {
            header: Some(Header {
                tensors: vec![tensor],
                ..Header::default()
            }),
            ..FileFacts::default()
        }
    };
    let key = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight";
    let full = Checkpoint::derive_one(&file(key, &[640, 2048]));
    assert_eq!(
        (full.base_model_hint.as_deref(), full.problem),
        (Some("SDXL 1.0"), None)
    );
    let lora = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight";
    let stray = Checkpoint::derive_one(&file(lora, &[8, 2048]));
    assert!(stray.problem.is_some_and(|problem| problem.contains("LoRA")));
}

#[test]
fn a_listed_item_has_its_uses() {
    let listed: Value = serde_json::from_str(&Checkpoint::format_one(&Model {
        usage_count: 2,
        ..Model::default()
    }))
    .expect("an object");
    assert_eq!(listed, json!({"usage_count": 2}));
}

#[test]
fn hashes_are_the_only_parameters() {
    let pairs = [("checkpoint_hashes".to_owned(), "AA,bb".to_owned())];
    let filter = Checkpoint::parse_query(&pairs).expect("understood");
    assert_eq!(
        filter,
        QueryFilter {
            hashes: vec!["aa".into(), "bb".into()],
            ..QueryFilter::default()
        }
    );
    let pairs = [pairs[0].clone(), ("checkpoint_hash".to_owned(), "CC".to_owned())];
    assert_eq!(Checkpoint::parse_query(&pairs).expect("understood").hashes, ["cc"]);
}

#[test]
fn a_sub_type_is_filed_below_its_own_roots() {
    let input = |sub_type: &str| OrganiseInput {
        sub_type: sub_type.into(),
        ..OrganiseInput::default()
    };
    let placements = Checkpoint::organise(&[input(CHECKPOINT), input(DIFFUSION_MODEL), input("")]);
    let roots: Vec<&str> = placements.iter().map(|placement| placement.root_key.as_str()).collect();
    assert_eq!(roots, ["checkpoints", "unet", "checkpoints"]);
    assert_eq!(placements[0].placeholders.len(), 5);
}

#[test]
fn a_download_goes_where_its_architecture_is_loaded_from() {
    let root = |version: Value, choice: Option<FileChoice>| {
        let input = SelectInput {
            remote_version: version.to_string(),
            choice,
        };
        Checkpoint::select_file_one(&input).map(|selection| (selection.file, selection.root_key))
    };
    let model = json!([{"id": 1, "type": "Model"}, {"id": 2, "type": "Pruned Model", "primary": true}]);
    let by_base = |base_model: &str| root(json!({"baseModel": base_model, "files": model}), None);
    assert_eq!(by_base("SDXL 1.0"), Ok((1, "checkpoints".into())));
    for base_model in [
        "Flux.1 D",
        "Flux.2 Klein 9B-base",
        "Wan Video 2.2 TI2V-5B",
        "Qwen",
        "LTXV 2.3",
        "ZImageTurbo",
    ] {
        assert_eq!(by_base(base_model), Ok((1, "unet".into())), "{base_model}");
    }
    for file_type in ["UNet", "Diffusion Model"] {
        let files = json!([{"id": 1, "type": "Model", "primary": true}, {"id": 2, "type": file_type}]);
        let version = json!({"baseModel": "SDXL 1.0", "files": files});
        assert_eq!(
            root(version, None),
            Ok((0, "unet".into())),
            "any file of the version counts"
        );
    }
    let first = FileChoice {
        id: Some(1),
        ..FileChoice::default()
    };
    assert_eq!(
        root(json!({"files": model}), Some(first)),
        Ok((0, "checkpoints".into()))
    );
    assert_eq!(
        root(json!({"files": []}), None).expect_err("nothing to take").status(),
        404
    );
}

#[test]
fn only_checkpoints_are_accepted() {
    assert_eq!(Checkpoint::validate_remote_type("Checkpoint"), Ok(()));
    let refused = Checkpoint::validate_remote_type("LORA").expect_err("another type");
    assert_eq!(
        refused.to_string(),
        "Model type mismatch. Expected Checkpoint, got LORA"
    );
}
