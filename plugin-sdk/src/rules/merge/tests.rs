use super::*;
use serde_json::json;

fn merged(sidecar: Value, remote: Value) -> Value {
    merged_from(sidecar, remote, "civitai_api", &[])
}

fn merged_from(sidecar: Value, remote: Value, source: &str, edited: &[&str]) -> Value {
    let input = MergeInput {
        sidecar: sidecar.to_string(),
        remote_version: remote.to_string(),
        source: source.into(),
        edited: edited.iter().map(|field| (*field).into()).collect(),
    };
    serde_json::from_str(&merge_remote(&input).expect("both are objects")).expect("an object")
}

fn remote() -> Value {
    json!({
        "id": 7, "modelId": 3, "name": "v2", "baseModel": "SDXL Lightning", "trainedWords": ["b", "c"],
        "model": {"name": "Provider's name", "type": "LORA", "description": "<p>x</p>", "tags": ["style"], "allowNoCredit": false,
            "creator": {"username": "ann"}},
        "files": [{"hashes": {"SHA256": "AA", "AutoV3": "0123456789ABCDEF"}}],
        "images": [{"url": "u", "meta": {"comfy": "{}", "seed": 1}}],
    })
}

#[test]
fn an_empty_sidecar_takes_everything() {
    let set = merged(json!({"sha256": "aa"}), remote());
    assert_eq!(set["model_name"], "Provider's name");
    assert_eq!(set["modelDescription"], "<p>x</p>");
    assert_eq!(set["tags"], json!(["style"]));
    assert_eq!(set["base_model"], "SDXL 1.0");
    assert_eq!(set["autov3"], "0123456789ab");
    assert_eq!(set["civitai"]["id"], 7);
    assert_eq!(set["civitai"]["creator"], json!({"username": "ann"}));
    assert_eq!(set["civitai"]["images"][0]["meta"], json!({"seed": 1}));
}

#[test]
fn name_and_base_model_follow_the_provider_and_the_rest_only_fills() {
    let sidecar = json!({"model_name": "old", "base_model": "Pony", "tags": ["mine"], "modelDescription": "d",
        "civitai": {"creator": {"username": "bob"}}});
    let set = merged(sidecar, remote());
    assert_eq!(set["model_name"], "Provider's name");
    assert_eq!(set["base_model"], "SDXL 1.0");
    assert_eq!(set.get("tags"), None);
    assert_eq!(set.get("modelDescription"), None);
    assert_eq!(set["civitai"]["creator"], json!({"username": "bob"}));
}

#[test]
fn a_provider_without_a_base_model_changes_none() {
    let mut remote = remote();
    remote["baseModel"] = json!("");
    assert_eq!(merged(json!({"base_model": "Pony"}), remote).get("base_model"), None);
}

#[test]
fn what_a_person_edited_stays() {
    let sidecar = json!({"model_name": "mine", "base_model": "Mine", "tags": [], "modelDescription": "",
        "civitai": {"trainedWords": ["only this"]}});
    let edited = [
        "model_name",
        "base_model",
        "tags",
        "modelDescription",
        "civitai.trainedWords",
    ];
    let set = merged_from(sidecar, remote(), "civitai_api", &edited);
    assert_eq!(
        set.as_object().expect("an object").keys().collect::<Vec<_>>(),
        ["civitai"]
    );
    assert_eq!(set["civitai"]["trainedWords"], json!(["only this"]));
}

#[test]
fn words_that_a_person_removed_stay_removed() {
    let set = merged_from(
        json!({"civitai": {"id": 7}}),
        remote(),
        "civitai_api",
        &["trainedWords"],
    );
    assert_eq!(set["civitai"].get("trainedWords"), None);
}

#[test]
fn trigger_words_are_united_and_other_members_replaced_or_kept() {
    let sidecar =
        json!({"civitai": {"id": 6, "trainedWords": ["a", "b"], "customImages": [1], "source": "civarchive"}});
    let civitai = &merged(sidecar, remote())["civitai"];
    assert_eq!(civitai["trainedWords"], json!(["a", "b", "c"]));
    assert_eq!(civitai["id"], 7);
    assert_eq!(civitai["customImages"], json!([1]));
    assert_eq!(civitai.get("source"), None, "the API's word now");
}

#[test]
fn an_archive_does_not_replace_the_api() {
    let api = json!({"civitai": {"id": 6, "files": [], "images": [], "model": {"name": "kept"}}});
    for source in ["civarchive", "archive_db"] {
        let set = merged_from(api.clone(), remote(), source, &[]);
        assert_eq!(set["civitai"]["id"], 6);
        assert_eq!(set["civitai"]["model"], json!({"name": "kept", "allowNoCredit": false}));
        assert_eq!(set["model_name"], "Provider's name");
    }
    let mut archived = api;
    archived["civitai"]["source"] = json!("archive_db");
    assert_eq!(merged_from(archived, remote(), "civarchive", &[])["civitai"]["id"], 7);
}

#[test]
fn an_archive_is_marked_and_a_licence_is_not_lost() {
    let sidecar = json!({"civitai": {"model": {"allowDerivatives": false, "allowNoCredit": true}}});
    let civitai = &merged_from(sidecar, remote(), "civarchive", &[])["civitai"];
    assert_eq!(civitai["source"], "civarchive");
    assert_eq!(civitai["model"]["allowDerivatives"], false);
    assert_eq!(civitai["model"]["allowNoCredit"], false);
    assert_eq!(civitai["model"]["type"], "LORA");
}

#[test]
fn autov3_is_taken_only_for_this_file_and_only_when_missing() {
    assert_eq!(merged(json!({"sha256": "bb"}), remote()).get("autov3"), None);
    assert_eq!(
        merged(json!({"sha256": "aa", "autov3": "ffffffffffff"}), remote()).get("autov3"),
        None
    );
    assert_eq!(
        merged(json!({"sha256": "aa", "autov3": null}), remote())["autov3"],
        "0123456789ab"
    );
    let mut nothing = remote();
    nothing["files"][0]["hashes"]["AutoV3"] = json!("E3B0C44298FC");
    assert_eq!(merged(json!({"sha256": "aa"}), nothing).get("autov3"), None);
}

#[test]
fn members_of_unexpected_types_are_no_error() {
    let set = merged(
        json!({"civitai": "x", "tags": 3}),
        json!({"model": [], "images": {}, "files": 1, "trainedWords": "w"}),
    );
    assert_eq!(set["civitai"]["trainedWords"], "w");
}

#[test]
fn broken_json_is_an_error_of_its_side() {
    let broken_remote = MergeInput {
        remote_version: "[]".into(),
        ..MergeInput::default()
    };
    assert_eq!(merge_remote(&broken_remote).expect_err("no object").status(), 400);
    let broken_sidecar = MergeInput {
        sidecar: "{".into(),
        ..MergeInput::default()
    };
    assert_eq!(merge_remote(&broken_sidecar).expect_err("no JSON").status(), 500);
}
