//! Previews that come along with metadata, for models that have none, and descriptions that are fit to be shown.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{CatalogModel, Civitai, Fault};
use modelshelf_tests::model::beside;
use modelshelf_tests::{Library, Model, Server};
use serde_json::{Value, json};

use super::remote_metadata::{known, sidecar};

async fn fetch(server: &Server, file: &Path) -> Result<Value> {
    let body = json!({ "file_path": file });
    let answer = server.post_json("/api/lm/loras/fetch-civitai", &body).await?;
    anyhow::ensure!(answer["success"] == true, "{answer}");
    Ok(answer["metadata"].clone())
}

/// A model at the provider with these images: name and NSFW level.
fn pictured(id: u64, file: &Path, images: &[(&str, u32)]) -> Result<CatalogModel> {
    let mut model = known(id, &format!("Model {id}"), file)?;
    model.versions[0].images = images
        .iter()
        .map(|(url, level)| json!({"url": url, "type": "image", "nsfwLevel": level}))
        .collect();
    Ok(model)
}

fn preview_of(file: &Path, ending: &str) -> PathBuf {
    beside(&file.with_extension(""), ending)
}

#[tokio::test]
async fn a_model_without_a_preview_gets_the_first_tame_one_and_an_undo_takes_it_away() -> Result<()> {
    let library = Library::new()?;
    let bare = library.add(&Model::lora("sub/a.b"))?;
    let own = library.add(&Model::lora("own").preview("png"))?;
    let before = (sidecar(&bare)?, std::fs::read(preview_of(&own, "png"))?);
    let images = [
        ("/images/wild.png", 16),
        ("/images/tame.png", 2),
        ("/images/later.png", 1),
    ];
    let civitai = Civitai::start([pictured(1, &bare, &images)?, pictured(2, &own, &images)?]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let item = fetch(&server, &bare).await?;
    let place = preview_of(&bare, "webp");
    assert_eq!(
        (civitai.count("/images/tame.png"), civitai.count("/images/wild.png")),
        (1, 0)
    );
    assert_eq!(image::open(&place)?.width(), 64);
    assert!(
        item["preview_url"].as_str().context("url")?.contains("a.b.webp"),
        "{item}"
    );
    assert_eq!(item["preview_nsfw_level"], 2);
    let now = sidecar(&bare)?;
    assert_eq!(
        (&now["preview_url"], &now["preview_nsfw_level"]),
        (&json!(place), &json!(2))
    );
    // It is asked for once, and one that is there stays.
    civitai.forget();
    fetch(&server, &bare).await?;
    fetch(&server, &own).await?;
    assert_eq!(civitai.count("/images/"), 0);
    assert_eq!(std::fs::read(preview_of(&own, "png"))?, before.1);

    let acts = server.get_json("/api/lm/history", &[]).await?;
    let act = acts["acts"]
        .as_array()
        .context("acts")?
        .iter()
        .rfind(|act| act["kind"] == "refresh");
    let id = &act.context("the first one")?["id"];
    // The act after it touched the same file; that one goes first.
    for act in acts["acts"]
        .as_array()
        .context("acts")?
        .iter()
        .filter(|act| act["id"] != *id)
    {
        server.post_json("/api/lm/undo", &json!({ "id": act["id"] })).await?;
    }
    server.post_json("/api/lm/undo", &json!({ "id": id })).await?;
    assert!(!place.exists());
    assert_eq!(sidecar(&bare)?, before.0);
    assert_eq!(server.item("loras", "a.b").await?["preview_url"], "");
    Ok(())
}

#[tokio::test]
async fn settings_say_which_picture_and_what_is_none_is_passed_over() -> Result<()> {
    let library = Library::new()?;
    let names = ["first", "page", "gone", "video", "none"];
    let files: Vec<PathBuf> = names
        .iter()
        .map(|name| library.add(&Model::lora(name)))
        .collect::<Result<_>>()?;
    let civitai = Civitai::start([]).await?;
    let page = civitai.shelve("page.png", b"<html>no picture</html>".to_vec());
    let video = civitai.shelve("clip.mp4", [b"\0\0\0\x18ftypisom".as_slice(), &[0; 64]].concat());
    let pictures = [
        vec![("/images/wild.png", 16), ("/images/tame.png", 1)],
        vec![(page.as_str(), 1)],
        vec![("/nowhere.png", 1)],
        vec![(video.as_str(), 1)],
        vec![],
    ];
    for (number, (file, images)) in files.iter().zip(&pictures).enumerate() {
        civitai.put(pictured(number as u64 + 1, file, images)?);
    }
    let server = library
        .options()
        .settings("blur_mature_content = false")
        .civitai(&civitai)
        .serve()
        .await?;
    let answer = server.post_json("/api/lm/loras/fetch-all-civitai", &json!({})).await?;
    assert_eq!(
        (&answer["updated"], &answer["failure_count"]),
        (&json!(5), &json!(0)),
        "{answer}"
    );
    assert_eq!(sidecar(&files[0])?["preview_nsfw_level"], 16);
    assert!(preview_of(&files[3], "mp4").is_file());
    for file in [&files[1], &files[2], &files[4]] {
        assert_eq!(sidecar(file)?["preview_url"], "", "{}", file.display());
        assert_eq!(sidecar(file)?["metadata_source"], "civitai_api");
    }
    let item = server.item("loras", "video").await?;
    assert_eq!(item["media_type"], "video", "{item}");
    Ok(())
}

#[tokio::test]
async fn a_host_of_pictures_that_is_down_is_not_asked_for_each_model() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([]).await?;
    let broken = civitai.shelve("broken.png", Vec::new());
    for number in 1..=40 {
        let file = library.add(&Model::lora(&format!("m{number}")))?;
        civitai.put(pictured(number, &file, &[(broken.as_str(), 1)])?);
    }
    civitai.fail(Fault::status("/shelf/", 503));
    let server = library.options().civitai(&civitai).serve().await?;
    let answer = server.post_json("/api/lm/loras/fetch-all-civitai", &json!({})).await?;
    assert_eq!(answer["updated"], 40, "{answer}");
    assert!(civitai.count("/shelf/") <= 8, "{}", civitai.count("/shelf/"));
    Ok(())
}

#[tokio::test]
async fn nothing_in_a_providers_description_runs_loads_or_restyles_in_a_page() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let hostile = "<p onclick='x()'>Use <b>it</b></p><script>alert(1)</script><img src=x onerror=alert(1)>\
        <a href='javascript:alert(1)'>a</a><a href='https://example.org/'>b</a><iframe src='//e'></iframe>\
        <style>p{display:none}</style><svg><script>1</script></svg><div style='position:fixed'>c</div>\
        <form action='//e'><input name=k></form><math><mtext></mtext></math><object data='//e'></object>";
    let mut model = known(1, "A", &file)?;
    model.description = hostile.to_owned();
    let civitai = Civitai::start([model]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    fetch(&server, &file).await?;
    let path = file.to_string_lossy().into_owned();
    let answer = server
        .get_json("/api/lm/loras/model-description", &[("file_path", &path)])
        .await?;
    // Tools get what the provider wrote, pages what is fit for them.
    assert_eq!(answer["description"], hostile);
    let safe = answer["safe_html"].as_str().context("safe_html")?;
    assert!(
        safe.contains("<b>it</b>") && safe.contains("https://example.org/"),
        "{safe}"
    );
    for part in [
        "script",
        "onclick",
        "onerror",
        "javascript:",
        "<img",
        "<iframe",
        "style",
        "<svg",
        "<form",
        "<input",
        "<object",
    ] {
        assert!(!safe.contains(part), "{part}: {safe}");
    }
    Ok(())
}
