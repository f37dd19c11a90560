//! The type as the host and its clients see it.

use super::*;
use modelshelf_plugin_sdk::testing::{FakeHost, model};
use modelshelf_plugin_sdk::{Header, Model, QueryFilter, Tensor};

fn facts(tensors: &[(&str, &[u64])]) -> FileFacts {
    let tensor = |(name, shape): &(&str, &[u64])| Tensor {
        name: (*name).into(),
        dtype: "F32".into(),
        shape: shape.to_vec(),
    };
    let header = Header {
        tensors: tensors.iter().map(tensor).collect(),
        ..Header::default()
    };
    FileFacts {
        header: Some(header),
        ..FileFacts::default()
    }
}

#[test]
fn info_answers_the_whole_entry_or_404() {
    let host = FakeHost::new::<Embedding>().with_models([model("neg/easy.pt")]);
    assert_eq!(
        host.routes(),
        [("GET".to_owned(), "/api/lm/embeddings/info/{name}".to_owned())]
    );
    for name in ["easy", "easy.pt", "neg%2Feasy"] {
        let answer = host.get(&format!("/api/lm/embeddings/info/{name}"));
        assert_eq!(
            (answer.status, &answer.json()["file_path"]),
            (200, &json!("/models/neg/easy.pt")),
            "{name}"
        );
    }
    let unknown = host.get("/api/lm/embeddings/info/hard");
    assert_eq!(
        (unknown.status, unknown.json()),
        (404, json!({"error": "Embedding not found"}))
    );
}

#[test]
fn a_file_is_an_embedding_unless_its_sidecar_says_another_word() {
    let with_type = FileFacts {
        sidecar: r#"{"sub_type":"Hypernetwork"}"#.into(),
        ..FileFacts::default()
    };
    let unusable = FileFacts {
        sidecar: r#"{"sub_type":7}"#.into(),
        ..FileFacts::default()
    };
    let derived = Embedding::derive(&[FileFacts::default(), with_type, unusable]);
    let sub_types: Vec<&str> = derived.iter().map(|derived| derived.sub_type.as_str()).collect();
    assert_eq!(sub_types, ["embedding", "hypernetwork", "embedding"]);
    assert!(derived.iter().all(|derived| derived.fields == "{}"));
    assert!(
        derived
            .iter()
            .all(|derived| derived.problem.is_none() && derived.base_model_hint.is_none())
    );
}

#[test]
fn the_header_shows_base_model_and_strays() {
    let derived = Embedding::derive_one(&facts(&[("emb_params", &[4, 768])]));
    assert_eq!(
        (derived.base_model_hint.as_deref(), derived.problem),
        (Some("SD 1.5"), None)
    );
    let lora = facts(&[(
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
        &[8, 768],
    )]);
    assert!(
        Embedding::derive_one(&lora)
            .problem
            .is_some_and(|problem| problem.contains("LoRA"))
    );
    let full = facts(&[("model.diffusion_model.input_blocks.0.0.weight", &[320, 4, 3, 3])]);
    assert!(
        Embedding::derive_one(&full)
            .problem
            .is_some_and(|problem| problem.contains("checkpoint"))
    );
}

#[test]
fn paths_have_no_spaces() {
    let placement = &Embedding::organise(&[OrganiseInput::default()])[0];
    assert_eq!(
        (placement.spaces.as_deref(), placement.root_key.as_str()),
        (Some("_"), "embeddings")
    );
    assert_eq!(placement.placeholders.len(), 5);
}

#[test]
fn items_and_listing_have_nothing_of_their_own() {
    assert_eq!(Embedding::format_one(&Model::default()), "{}");
    assert_eq!(Embedding::parse_query(&[]), Ok(QueryFilter::default()));
    assert_eq!(Embedding::describe().usage_bucket, None);
}

#[test]
fn only_textual_inversions_are_accepted() {
    assert_eq!(Embedding::validate_remote_type("TextualInversion"), Ok(()));
    let refused = Embedding::validate_remote_type("LORA").expect_err("another type");
    assert_eq!(
        refused.to_string(),
        "Model type mismatch. Expected TextualInversion, got LORA"
    );
}
