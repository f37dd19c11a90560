//! What a listing can be narrowed by.

use anyhow::Result;
use modelshelf_tests::{Call, Library, Model, Server, sorted_names};
use serde_json::{Value, json};

/// Query parameters, and the files that they list.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// Asserts that each query lists exactly these files.
async fn expect(server: &Server, prefix: &str, cases: &[Case<'_>]) -> Result<()> {
    for (query, expected) in cases {
        let page = server.list(prefix, query).await?;
        assert_eq!(sorted_names(&page), *expected, "{query:?}");
        assert_eq!(page["total"], expected.len(), "{query:?}");
    }
    Ok(())
}

fn folders() -> Result<Library> {
    Library::of(["top", "a/one", "a/b/two", "a/b/c/three", "ab/four"].map(Model::lora))
}

#[tokio::test]
async fn a_folder_holds_what_is_below_it_and_not_what_only_begins_alike() -> Result<()> {
    let server = folders()?.serve().await?;
    expect(
        &server,
        "loras",
        &[
            (&[("folder", "a")], &["one", "three", "two"]),
            (&[("folder", "a"), ("recursive", "false")], &["one"]),
            (&[("folder", "a/b")], &["three", "two"]),
            (&[("folder", "")], &["four", "one", "three", "top", "two"]),
            (&[("folder", ""), ("recursive", "false")], &["top"]),
            (&[("folder", "A")], &[]),
            (&[("folder", "nowhere")], &[]),
        ],
    )
    .await
}

#[tokio::test]
async fn included_folders_are_united_and_excluded_ones_win() -> Result<()> {
    let server = folders()?.serve().await?;
    expect(
        &server,
        "loras",
        &[
            (
                &[("folder_include", "ab"), ("folder_include", "a/b/c")],
                &["four", "three"],
            ),
            (&[("folder_include", "a"), ("recursive", "false")], &["one"]),
            (&[("folder_exclude", "a")], &["four", "top"]),
            (&[("folder_include", "a"), ("folder_exclude", "a/b")], &["one"]),
        ],
    )
    .await
}

#[tokio::test]
async fn copies_in_included_folders_are_all_listed() -> Result<()> {
    let library = Library::of([Model::lora("a/same").seed(1), Model::lora("b/same copy").seed(1)])?;
    let server = library.serve().await?;
    expect(
        &server,
        "loras",
        &[(
            &[("folder_include", "a"), ("folder_include", "b")],
            &["same", "same copy"],
        )],
    )
    .await
}

#[tokio::test]
async fn several_base_models_are_alternatives() -> Result<()> {
    let server = Library::of([
        Model::lora("one").base("SD 1.5"),
        Model::lora("two").base("SDXL 1.0"),
        Model::lora("three").base("Pony"),
    ])?
    .serve()
    .await?;
    expect(
        &server,
        "loras",
        &[
            (&[("base_model", "Pony")], &["three"]),
            (&[("base_model", "Pony"), ("base_model", "SD 1.5")], &["one", "three"]),
            (&[("base_model", "SD 1")], &[]),
        ],
    )
    .await
}

#[tokio::test]
async fn tags_are_compared_in_any_case_and_excluded_ones_win() -> Result<()> {
    let server = Library::of([
        Model::lora("both").tags(&["style", "anime"]),
        Model::lora("style").tags(&["style"]),
        Model::lora("anime").tags(&["anime"]),
        Model::lora("bare"),
    ])?
    .serve()
    .await?;
    expect(
        &server,
        "loras",
        &[
            (&[("tag_include", "STYLE")], &["both", "style"]),
            (
                &[("tag_include", "style"), ("tag_include", "anime")],
                &["anime", "both", "style"],
            ),
            (
                &[("tag_include", "style"), ("tag_include", "anime"), ("tag_logic", "all")],
                &["both"],
            ),
            (
                &[("tag_include", "style"), ("tag_include", "anime"), ("tag_logic", "odd")],
                &["anime", "both", "style"],
            ),
            (&[("tag_exclude", "anime")], &["bare", "style"]),
            (&[("tag_include", "style"), ("tag_exclude", "anime")], &["style"]),
            (
                &[("tag_include", "anime"), ("tag_exclude", "anime")],
                &["bare", "style"],
            ),
            (&[("tag_include", "__no_tags__")], &["bare"]),
            (
                &[("tag_include", "__no_tags__"), ("tag_include", "style")],
                &["bare", "both", "style"],
            ),
            (&[("tag_exclude", "__no_tags__")], &["anime", "both", "style"]),
            (&[("tag", "style")], &["both", "style"]),
            (&[("tags", "style,anime")], &["anime", "both", "style"]),
            (&[("tag", "style"), ("tags", "anime")], &["both", "style"]),
            (&[("tag_include", "unknown")], &[]),
        ],
    )
    .await
}

#[tokio::test]
async fn favourites_can_be_listed_alone() -> Result<()> {
    let server = Library::of([Model::lora("loved").favorite(), Model::lora("other")])?
        .serve()
        .await?;
    expect(
        &server,
        "loras",
        &[
            (&[("favorites_only", "true")], &["loved"]),
            (&[("favorites_only", "TRUE")], &["loved"]),
            (&[("favorites_only", "1")], &["loved", "other"]),
            (&[("favorites_only", "false")], &["loved", "other"]),
        ],
    )
    .await
}

fn of_type(path: &str, kind: &str) -> Model {
    Model::lora(path).civitai(json!({"id": 1, "modelId": 1, "model": {"type": kind}}))
}

#[tokio::test]
async fn sub_types_are_compared_in_any_case_under_both_names() -> Result<()> {
    let library = Library::of([
        of_type("plain", "LORA"),
        of_type("conv", "LoCon"),
        of_type("decomposed", "DoRA"),
        Model::new("checkpoints", "full").sidecar(),
        Model::new("unet", "diffusion").sidecar(),
    ])?;
    let server = library.serve().await?;
    expect(
        &server,
        "loras",
        &[
            (&[("model_type", "LoCon")], &["conv"]),
            (
                &[("model_type", "locon"), ("civitai_model_type", "DORA")],
                &["conv", "decomposed"],
            ),
        ],
    )
    .await?;
    expect(
        &server,
        "checkpoints",
        &[
            (&[("model_type", "checkpoint")], &["full"]),
            (&[("model_type", "diffusion_model")], &["diffusion"]),
            (&[], &["diffusion", "full"]),
        ],
    )
    .await
}

#[tokio::test]
async fn a_hash_finds_its_file_and_puts_every_other_filter_aside() -> Result<()> {
    let library = Library::new()?;
    let model = Model::lora("wanted").metadata("sshs_model_hash", "0xABCDEF0123456789abcdef");
    let file = library.add(&model)?;
    let other = library.add(&Model::lora("other").favorite())?;
    let hash = |file: &std::path::Path| std::fs::read(file).map(|bytes| modelshelf_tests::model::sha256(&bytes));
    let (wanted, other) = (hash(&file)?, hash(&other)?);
    let server = library.serve().await?;
    let both = json!([wanted, other]).to_string();
    let list = format!("{},{}", wanted.to_uppercase(), other);
    expect(
        &server,
        "loras",
        &[
            (&[("hash", &wanted)], &["wanted"]),
            (&[("hash", &wanted.to_uppercase())], &["wanted"]),
            (
                &[("hash", &wanted), ("favorites_only", "true"), ("search", "zzz")],
                &["wanted"],
            ),
            (&[("hashes", &both)], &["other", "wanted"]),
            (&[("hash", &wanted), ("hashes", &both)], &["wanted"]),
            (&[("hashes", "not json")], &["other", "wanted"]),
            (&[("lora_hash", &wanted)], &["wanted"]),
            (&[("lora_hashes", &list)], &["other", "wanted"]),
            (&[("hash", &other), ("lora_hash", &wanted)], &["wanted"]),
            (&[("hash", "abcdef012345")], &["wanted"]),
            (&[("hash", "00")], &[]),
        ],
    )
    .await
}

fn licensed(path: &str, model: Value) -> Model {
    Model::lora(path).civitai(json!({"id": 1, "modelId": 1, "model": model}))
}

#[tokio::test]
async fn licences_can_be_filtered_by_credit_and_by_sale() -> Result<()> {
    let server = Library::of([
        licensed(
            "free",
            json!({"allowNoCredit": true, "allowCommercialUse": ["Image", "Sell"]}),
        ),
        licensed("credit", json!({"allowNoCredit": false, "allowCommercialUse": []})),
    ])?
    .serve()
    .await?;
    expect(
        &server,
        "loras",
        &[
            (&[("credit_required", "false")], &["free"]),
            (&[("credit_required", "0")], &["free"]),
            (&[("credit_required", "true")], &["credit"]),
            (&[("allow_selling_generated_content", "true")], &["free"]),
            (&[("allow_selling_generated_content", "false")], &["credit"]),
        ],
    )
    .await
}

#[tokio::test]
async fn loras_can_be_filtered_by_name_patterns() -> Result<()> {
    let server = Library::of([
        Model::lora("abc_v1").name("First"),
        Model::lora("abc_v2").name("Second"),
        Model::lora("xyz").name("ABC of letters"),
    ])?
    .serve()
    .await?;
    expect(
        &server,
        "loras",
        &[
            (&[("name_pattern_include", "abc")], &["abc_v1", "abc_v2", "xyz"]),
            (
                &[("name_pattern_include", "abc"), ("name_pattern_exclude", "v2")],
                &["abc_v1", "xyz"],
            ),
            (
                &[
                    ("name_pattern_include", "^abc_v[12]$"),
                    ("name_pattern_use_regex", "true"),
                ],
                &["abc_v1", "abc_v2"],
            ),
            (&[("name_pattern_include", "^abc_v[12]$")], &[]),
            (
                &[("name_pattern_include", "abc_v[1"), ("name_pattern_use_regex", "true")],
                &[],
            ),
            (
                &[("name_pattern_include", "First"), ("name_pattern_include", "xyz")],
                &["abc_v1", "xyz"],
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn loras_can_be_filtered_by_the_class_of_their_first_letter() -> Result<()> {
    let server = Library::of([
        Model::lora("f1").name("amber"),
        Model::lora("f2").name("Azure"),
        Model::lora("f3").name("7 days"),
        Model::lora("f4").name("(brackets)"),
        Model::lora("f5").name("漢字"),
        Model::lora("f6").name("ひらがな"),
    ])?
    .serve()
    .await?;
    expect(
        &server,
        "loras",
        &[
            (&[("first_letter", "A")], &["f1", "f2"]),
            (&[("first_letter", "a")], &["f1", "f2"]),
            (&[("first_letter", "#")], &["f3"]),
            (&[("first_letter", "@")], &["f4"]),
            (&[("first_letter", "漢")], &["f5", "f6"]),
        ],
    )
    .await
}

#[tokio::test]
async fn tags_that_a_name_implies_are_computed_and_filtered_by() -> Result<()> {
    let server = Library::of([
        Model::lora("river_I2V_HIGH").base("Wan Video 14B i2v 480p"),
        Model::lora("flow_lightning").base("SDXL 1.0"),
        Model::lora("highlight").base("Wan Video"),
        Model::lora("typed").base("SDXL 1.0").tags(&["turbo"]),
    ])?
    .serve()
    .await?;
    assert_eq!(
        server.item("loras", "river_I2V_HIGH").await?["auto_tags"],
        json!(["HIGH", "I2V"])
    );
    assert_eq!(
        server.item("loras", "flow_lightning").await?["auto_tags"],
        json!(["Lightning"])
    );
    assert_eq!(server.item("loras", "highlight").await?["auto_tags"], json!([]));
    assert_eq!(server.item("loras", "typed").await?["auto_tags"], json!(["Turbo"]));
    expect(
        &server,
        "loras",
        &[
            (&[("auto_tag_include", "I2V")], &["river_I2V_HIGH"]),
            (
                &[("auto_tag_include", "I2V"), ("auto_tag_include", "Turbo")],
                &["river_I2V_HIGH", "typed"],
            ),
            (
                &[("auto_tag_exclude", "Lightning")],
                &["highlight", "river_I2V_HIGH", "typed"],
            ),
            (&[("auto_tag_include", "i2v")], &[]),
        ],
    )
    .await
}

#[tokio::test]
async fn filters_of_different_kinds_narrow_one_another() -> Result<()> {
    let server = Library::of([
        Model::lora("SDXL/one").base("SDXL 1.0").tags(&["style"]).favorite(),
        Model::lora("SDXL/two").base("SDXL 1.0").tags(&["style"]),
        Model::lora("SD15/three").base("SD 1.5").tags(&["style"]).favorite(),
    ])?
    .serve()
    .await?;
    let query = [
        ("base_model", "SDXL 1.0"),
        ("tag_include", "style"),
        ("favorites_only", "true"),
        ("search", "O"),
    ];
    expect(
        &server,
        "loras",
        &[
            (&query, &["one"]),
            (&[("folder", "SDXL"), ("tag_exclude", "style")], &[]),
        ],
    )
    .await
}

#[tokio::test]
async fn only_models_with_an_update_are_listed_on_request() -> Result<()> {
    let server = Library::of([Model::lora("any")])?.serve().await?;
    // Nothing is known of the provider's newer versions yet.
    expect(&server, "loras", &[(&[("update_available_only", "true")], &[])]).await
}

#[tokio::test]
async fn a_parameter_that_nobody_knows_changes_nothing() -> Result<()> {
    let server = Library::of([Model::lora("any")])?.serve().await?;
    let reply = server
        .send(&Call::get("/api/lm/loras/list").query(&[("colour", "blue")]))
        .await?;
    assert_eq!((reply.status, &reply.json()?["total"]), (200, &json!(1)));
    Ok(())
}
