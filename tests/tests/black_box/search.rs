//! The search field.

use std::time::{Duration, Instant};

use anyhow::Result;
use modelshelf_tests::{Library, Model, Server, sorted_names};
use serde_json::json;

async fn server() -> Result<Server> {
    Library::of([
        Model::lora("amber_lantern")
            .name("Warm Light")
            .tags(&["cosy"])
            .civitai(json!({"creator": {"username": "Lanternfolk"}})),
        Model::lora("blue_hour").name("Amber Evening").tags(&["dusk"]),
        Model::lora("crystal").name("Kristall"),
    ])?
    .serve()
    .await
}

async fn found(server: &Server, query: &[(&str, &str)]) -> Result<Vec<String>> {
    Ok(sorted_names(&server.list("loras", query).await?))
}

#[tokio::test]
async fn a_search_looks_for_one_text_in_file_and_model_names_in_any_case() -> Result<()> {
    let server = server().await?;
    assert_eq!(
        found(&server, &[("search", "AMBER")]).await?,
        ["amber_lantern", "blue_hour"]
    );
    assert_eq!(found(&server, &[("search", "warm light")]).await?, ["amber_lantern"]);
    assert_eq!(found(&server, &[("search", "light warm")]).await?, [""; 0]);
    assert_eq!(found(&server, &[("search", "")]).await?.len(), 3);
    Ok(())
}

/// As our pages ask; clients of LoraManager rely on the text as a whole.
#[tokio::test]
async fn with_search_words_each_word_may_be_in_another_place_or_field() -> Result<()> {
    let server = Library::of([
        Model::lora("a").name("Amber old castle"),
        Model::lora("b").name("Castle").tags(&["amber"]),
        Model::lora("c").name("Old amber"),
        Model::lora("castle_d").name("Amber"),
    ])?
    .serve()
    .await?;
    let words = ("search_words", "true");
    assert_eq!(found(&server, &[("search", "amber castle")]).await?, [""; 0]);
    for text in ["amber castle", "CASTLE  amber ", "cast ambe"] {
        assert_eq!(found(&server, &[("search", text), words]).await?, ["a", "castle_d"]);
    }
    let tags = ("search_tags", "true");
    assert_eq!(
        found(&server, &[("search", "amber castle"), words, tags]).await?,
        ["a", "b", "castle_d"]
    );
    let ranked = [("search", "amber castle"), words, tags, ("sort_by", "relevance")];
    assert_eq!(names(&server.list("loras", &ranked).await?)[0], "b");
    assert_eq!(found(&server, &[("search", "amber tower"), words]).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn tags_and_creators_are_searched_only_when_asked_for() -> Result<()> {
    let server = server().await?;
    assert_eq!(found(&server, &[("search", "cosy")]).await?, [""; 0]);
    assert_eq!(
        found(&server, &[("search", "cosy"), ("search_tags", "true")]).await?,
        ["amber_lantern"]
    );
    assert_eq!(found(&server, &[("search", "lanternf")]).await?, [""; 0]);
    assert_eq!(
        found(&server, &[("search", "lanternf"), ("search_creator", "true")]).await?,
        ["amber_lantern"]
    );
    Ok(())
}

#[tokio::test]
async fn a_searched_field_can_be_left_out() -> Result<()> {
    let server = server().await?;
    assert_eq!(
        found(&server, &[("search", "amber"), ("search_filename", "false")]).await?,
        ["blue_hour"]
    );
    assert_eq!(
        found(&server, &[("search", "amber"), ("search_modelname", "false")]).await?,
        ["amber_lantern"]
    );
    Ok(())
}

#[tokio::test]
async fn a_fuzzy_search_forgives_a_slip_and_wants_every_word() -> Result<()> {
    let server = server().await?;
    assert_eq!(
        found(&server, &[("search", "kristal"), ("fuzzy_search", "true")]).await?,
        ["crystal"]
    );
    assert_eq!(
        found(&server, &[("search", "krystall"), ("fuzzy_search", "true")]).await?,
        ["crystal"]
    );
    assert_eq!(found(&server, &[("search", "krystall")]).await?, [""; 0]);
    assert_eq!(
        found(&server, &[("search", "light warm"), ("fuzzy_search", "true")]).await?,
        ["amber_lantern"]
    );
    assert_eq!(
        found(&server, &[("search", "warm submarine"), ("fuzzy_search", "true")]).await?,
        [""; 0]
    );
    assert_eq!(
        found(&server, &[("search", "light warm"), ("fuzzy", "true")]).await?,
        ["amber_lantern"]
    );
    Ok(())
}

/// Names in the order in which they are answered.
fn names(page: &serde_json::Value) -> Vec<&str> {
    let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item["file_name"].as_str()).collect()
}

#[tokio::test]
async fn trigger_words_and_descriptions_are_searched_when_asked_for_and_after_a_restart() -> Result<()> {
    let library = Library::of([
        Model::lora("a").civitai(json!({"id": 1, "modelId": 2, "trainedWords": ["zorblax style", "glow"]})),
        Model::lora("b")
            .sidecar()
            .side("modelDescription", "<p>Trained on <b>Gouache</b> &amp; ink</p>"),
        Model::lora("c").sidecar(),
    ])?;
    let data = library.path().join("data");
    let mut server = library.options().data_dir(&data).serve().await?;
    for restarted in [false, true] {
        let words = ("search_trigger_words", "true");
        assert_eq!(found(&server, &[("search", "zorblax")]).await?, [""; 0], "{restarted}");
        assert_eq!(found(&server, &[("search", "ZORBLAX s"), words]).await?, ["a"]);
        let described = ("search_description", "true");
        assert_eq!(found(&server, &[("search", "gouache")]).await?, [""; 0]);
        assert_eq!(found(&server, &[("search", "ink goua"), described]).await?, ["b"]);
        assert_eq!(found(&server, &[("search", "\" OR *"), described]).await?, [""; 0]);
        server.stop().await?;
        server = library.options().data_dir(&data).serve().await?;
    }
    // A description follows its model's sidecar.
    let sidecar = library.root("loras").join("b.metadata.json");
    let text = std::fs::read_to_string(&sidecar)?.replace("Gouache", "Charcoal");
    std::fs::write(&sidecar, text)?;
    server.scan("loras", false).await?;
    // Descriptions are on their way to the disk when a scan has ended; one write brings both.
    let described = ("search_description", "true");
    let end = Instant::now() + Duration::from_secs(20);
    while found(&server, &[("search", "charcoal"), described]).await? != ["b"] {
        anyhow::ensure!(Instant::now() < end, "the new description is not found");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(found(&server, &[("search", "gouache"), described]).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn the_best_match_comes_first_and_pages_go_on_where_the_last_one_ended() -> Result<()> {
    let server = Library::of([
        Model::lora("1").name("old amber"),
        Model::lora("2").name("Amber"),
        Model::lora("3").name("camber"),
        Model::lora("4").name("amber glow"),
        Model::lora("amber_x").name("zzz"),
        Model::lora("6").name("nothing"),
    ])?
    .serve()
    .await?;
    let all = [("search", "amber"), ("sort_by", "relevance")];
    let page = server.list("loras", &all).await?;
    assert_eq!(
        (names(&page), &page["total"]),
        (vec!["2", "4", "amber_x", "1", "3"], &json!(5))
    );
    let mut paged = Vec::new();
    for number in ["1", "2", "3", "4"] {
        let page = [all[0], all[1], ("page", number), ("page_size", "2")];
        let page = server.list("loras", &page).await?;
        assert_eq!((&page["total"], &page["total_pages"]), (&json!(5), &json!(3)));
        paged.extend(names(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(paged, ["2", "4", "amber_x", "1", "3"]);
    // Without a search there is nothing to fit: by name.
    let page = server
        .list("loras", &[("sort_by", "relevance"), ("page_size", "1")])
        .await?;
    assert_eq!(names(&page), ["2"]);
    Ok(())
}
