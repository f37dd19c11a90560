//! The envelope and the items of a listing.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use modelshelf_tests::http::encode;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, names};
use serde_json::{Value, json};

fn many(count: usize) -> Result<Library> {
    Library::of((0..count).map(|number| Model::lora(&format!("m{number:03}"))))
}

#[tokio::test]
async fn a_listing_has_twenty_items_on_its_first_page_unless_asked_otherwise() -> Result<()> {
    let server = many(45)?.serve().await?;
    let page = server.get_json("/api/lm/loras/list", &[]).await?;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(20));
    for (name, value) in [("total", 45), ("page", 1), ("page_size", 20), ("total_pages", 3)] {
        assert_eq!(page[name], value, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn pages_put_together_are_the_whole_listing_without_gaps_or_repeats() -> Result<()> {
    let server = many(45)?.serve().await?;
    let mut seen = Vec::new();
    for page in ["1", "2", "3", "4"] {
        seen.extend(names(
            &server.list("loras", &[("page", page), ("page_size", "12")]).await?,
        ));
    }
    let expected: Vec<String> = (0..45).map(|number| format!("m{number:03}")).collect();
    assert_eq!(seen, expected);
    Ok(())
}

#[tokio::test]
async fn a_page_past_the_end_has_no_items_and_the_true_total() -> Result<()> {
    let server = many(3)?.serve().await?;
    let page = server.list("loras", &[("page", "9")]).await?;
    assert_eq!(
        (&page["items"], &page["total"], &page["page"]),
        (&json!([]), &json!(3), &json!(9))
    );
    let page = server.list("loras", &[("page", "9223372036854775807")]).await?;
    assert_eq!(page["items"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_page_holds_at_most_one_hundred_items() -> Result<()> {
    let server = many(120)?.serve().await?;
    let page = server.list("loras", &[("page_size", "5000")]).await?;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(100));
    assert_eq!((&page["page_size"], &page["total_pages"]), (&json!(100), &json!(2)));
    Ok(())
}

#[tokio::test]
async fn a_number_that_does_not_parse_is_400_and_names_the_parameter() -> Result<()> {
    let server = many(1)?.serve().await?;
    for name in ["page", "page_size"] {
        for value in ["x", "1.5", "99999999999999999999"] {
            let reply = server
                .send(&Call::get("/api/lm/loras/list").query(&[(name, value)]))
                .await?;
            let answer = reply.json()?;
            assert_eq!(
                (reply.status, &answer["success"]),
                (400, &json!(false)),
                "{name}={value}: {answer}"
            );
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(error.contains(name), "{error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_item_has_the_fields_of_its_type_with_the_sidecars_values() -> Result<()> {
    let library = Library::new()?;
    let version = json!({
        "id": 11, "modelId": 22, "name": "v3", "trainedWords": ["amber light"], "baseModel": "SDXL 1.0", "description": "long",
        "files": [], "images": [], "model": {"name": "Amber", "type": "LoCon"}, "creator": {"username": "someone"},
    });
    let model = Model::lora("SDXL/deep/amber")
        .name("Amber Lantern")
        .base("SDXL 1.0")
        .tags(&["style", "warm light"])
        .side("notes", "half strength")
        .side("usage_tips", r#"{"strength":0.7}"#)
        .side("preview_nsfw_level", 2)
        .side("hf_url", "https://huggingface.co/someone/amber")
        .favorite()
        .modified(1_700_000_123.5)
        .civitai(version)
        .preview("png");
    let file = library.add(&model)?;
    let server = library.serve().await?;
    let item = server.item("loras", "amber").await?;
    let preview = wire(&file.with_extension("png"));
    let expected = json!({
        "model_name": "Amber Lantern",
        "file_name": "amber",
        "preview_url": format!("/api/lm/previews?path={}", percent_encoded_path(&preview)),
        "preview_nsfw_level": 2,
        "base_model": "SDXL 1.0",
        "folder": "SDXL/deep",
        "sha256": modelshelf_tests::model::sha256(&std::fs::read(&file)?),
        "file_path": wire(&file),
        "file_size": file.metadata()?.len(),
        "modified": 1_700_000_123.5,
        "tags": ["style", "warm light"],
        "from_civitai": true,
        "usage_count": 0,
        "usage_tips": r#"{"strength":0.7}"#,
        "notes": "half strength",
        "favorite": true,
        "exclude": false,
        "update_available": false,
        "skip_metadata_refresh": false,
        "sub_type": "locon",
        "civitai": {"id": 11, "modelId": 22, "name": "v3", "trainedWords": ["amber light"]},
        "auto_tags": [],
        "version_count": null,
        "hf_url": "https://huggingface.co/someone/amber",
    });
    for (name, value) in expected.as_object().context("object")? {
        assert_eq!(item.get(name), Some(value), "{name}");
    }
    Ok(())
}

// Letters, digits and the four marks that never need it stay as they are.
fn percent_encoded_path(path: &str) -> String {
    path.chars()
        .map(|c| {
            if "-._~".contains(c) {
                c.to_string()
            } else {
                encode(&c.to_string())
            }
        })
        .collect()
}

#[tokio::test]
async fn what_a_sidecar_does_not_say_has_its_contract_value() -> Result<()> {
    let library = Library::of([Model::lora("bare"), Model::new("embeddings", "word").sidecar()])?;
    let server = library.serve().await?;
    let lora = server.item("loras", "bare").await?;
    let expected = json!({
        "model_name": "bare", "preview_url": "", "folder": "", "tags": [], "civitai": {}, "notes": "", "hf_url": "",
        "sub_type": "lora", "usage_tips": "{}", "favorite": false,
    });
    for (name, value) in expected.as_object().context("object")? {
        assert_eq!(lora.get(name), Some(value), "{name}");
    }
    let embedding = server.item("embeddings", "word").await?;
    assert_eq!(embedding["sub_type"], "embedding");
    assert_eq!(embedding.get("usage_tips"), None);
    assert_eq!(embedding.get("usage_count"), None);
    Ok(())
}

#[tokio::test]
async fn every_type_lists_all_fields_that_the_contract_names() -> Result<()> {
    let library = Library::of([
        Model::lora("l"),
        Model::new("checkpoints", "c").sidecar(),
        Model::new("embeddings", "e").sidecar(),
    ])?;
    let server = library.serve().await?;
    let common: BTreeSet<&str> = "model_name file_name preview_url preview_nsfw_level base_model folder sha256 file_path \
        file_size modified tags from_civitai notes favorite exclude update_available skip_metadata_refresh sub_type civitai \
        auto_tags version_count hf_url"
        .split_whitespace()
        .collect();
    for (prefix, extra) in [
        ("loras", &["usage_count", "usage_tips"][..]),
        ("checkpoints", &["usage_count"]),
        ("embeddings", &[]),
    ] {
        let page = server.list(prefix, &[]).await?;
        let item = page["items"][0].as_object().context("an item")?;
        for name in common.iter().chain(extra) {
            assert!(item.contains_key(*name), "{prefix}: {name} is missing in {item:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn excluded_models_are_in_the_excluded_listing_and_nowhere_else() -> Result<()> {
    let library = Library::of([
        Model::lora("kept").tags(&["shown"]),
        Model::lora("hidden").tags(&["secret"]).side("exclude", true),
    ])?;
    let server = library.serve().await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["kept"]);
    let excluded = server.get_json("/api/lm/loras/excluded", &[]).await?;
    assert_eq!(names(&excluded), ["hidden"]);
    assert_eq!(
        (&excluded["items"][0]["exclude"], &excluded["total"]),
        (&json!(true), &json!(1))
    );
    let tags = server.get_json("/api/lm/loras/top-tags", &[]).await?;
    assert_eq!(tags["tags"], json!([{"tag": "shown", "count": 1}]));
    let found = server
        .get_json("/api/lm/loras/excluded", &[("search", "nothing")])
        .await?;
    assert_eq!(found["total"], 0);
    Ok(())
}

#[tokio::test]
async fn names_in_any_script_and_with_any_character_come_out_as_they_are() -> Result<()> {
    let odd = [
        "v1.5.2 final",
        "100%20 done",
        "a#b",
        "it's \"quoted\"",
        "日本語モデル",
        "Ünïcödé",
        "emoji 🎨",
        "trailing.dot.",
        "-dash",
        "под снегом",
        "a+b&c=d",
    ];
    let library = Library::of(
        odd.iter()
            .map(|name| Model::lora(&format!("odd names/{name}")).preview("png")),
    )?;
    let server = library.serve().await?;
    let page = server.list("loras", &[]).await?;
    assert_eq!(page["total"], odd.len());
    for name in odd {
        let item = server.item("loras", name).await?;
        assert_eq!(item["folder"], "odd names");
        let preview = item["preview_url"].as_str().context("text")?;
        assert_eq!(server.get(preview).await?.status, 200, "{name}: {preview}");
        let found = server.list("loras", &[("search", name)]).await?;
        assert_eq!(names(&found), [name]);
        let path = item["file_path"].as_str().context("text")?;
        let described: Value = server
            .get_json("/api/lm/loras/model-description", &[("file_path", path)])
            .await?;
        assert_eq!(described["success"], true);
    }
    Ok(())
}

#[tokio::test]
async fn an_unchanged_listing_is_not_sent_again_and_a_changed_one_is() -> Result<()> {
    let library = many(3)?;
    let server = library.serve().await?;
    let first = server.get("/api/lm/loras/list").await?;
    let again = Call::get("/api/lm/loras/list").header("If-None-Match", first.header("etag"));
    let reply = server.send(&again).await?;
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    library.add(&Model::lora("new"))?;
    server.scan("loras", false).await?;
    let reply = server.send(&again).await?;
    assert_eq!((reply.status, &reply.json()?["total"]), (200, &json!(4)));
    Ok(())
}
