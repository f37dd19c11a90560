//! The pages as documents; what they do is tested in a browser.

use anyhow::Result;
use modelshelf_tests::{Call, Library, Model};

#[tokio::test]
async fn the_start_page_leads_to_the_first_type() -> Result<()> {
    let server = Library::new()?.serve().await?;
    let reply = server.get("/").await?;
    assert_eq!((reply.status, reply.header("location")), (302, "/loras"));
    Ok(())
}

#[tokio::test]
async fn every_type_has_a_page_without_inline_script_or_style() -> Result<()> {
    let library = Library::of([Model::lora("<script>alert(1)</script>").name("<b>bold</b>")])?;
    let server = library.serve().await?;
    for prefix in ["loras", "checkpoints", "embeddings"] {
        let reply = server.get(&format!("/{prefix}")).await?;
        let html = reply.text();
        assert_eq!(
            (reply.status, reply.header("content-type").starts_with("text/html")),
            (200, true),
            "{prefix}"
        );
        assert!(
            html.starts_with("<!doctype html>") || html.starts_with("<!DOCTYPE html>"),
            "{html}"
        );
        assert!(html.contains("<html lang="), "{prefix}");
        for line in html.split("<script").skip(1) {
            let tag = line.split('>').next().unwrap_or_default();
            assert!(
                tag.contains("src=") || tag.contains("application/json"),
                "an inline script: <script{tag}>"
            );
        }
        assert!(
            !html.contains(" style=\"") && !html.contains("<style") && !html.contains(" onclick="),
            "{prefix}"
        );
        assert!(!html.contains("alert(1)"), "{prefix}");
    }
    Ok(())
}

#[tokio::test]
async fn everything_that_a_page_loads_is_there_and_is_not_sent_twice() -> Result<()> {
    let server = Library::new()?.serve().await?;
    // A template engine may write a slash as an entity.
    let html = server.get("/loras").await?.text().replace("&#x2f;", "/");
    let assets: Vec<&str> = ["src=\"/", "href=\"/"]
        .iter()
        .flat_map(|start| html.split(start).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|path| path.contains("static/"))
        .collect();
    assert!(
        assets.iter().any(|path| path.contains(".js")) && assets.iter().any(|path| path.contains(".css")),
        "{assets:?}"
    );
    for path in assets {
        let reply = server.get(&format!("/{path}")).await?;
        assert_eq!(reply.status, 200, "{path}");
        let etag = reply.header("etag").to_owned();
        assert!(!etag.is_empty(), "{path}");
        let again = server
            .send(&Call::get(&format!("/{path}")).header("If-None-Match", &etag))
            .await?;
        assert_eq!(again.status, 304, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_page_is_a_404_for_people() -> Result<()> {
    let server = Library::new()?.serve().await?;
    let reply = server.get("/no-such-page").await?;
    assert_eq!(reply.status, 404);
    assert!(
        reply.header("content-type").starts_with("text/html"),
        "{}",
        reply.header("content-type")
    );
    Ok(())
}

#[tokio::test]
async fn the_server_says_that_it_is_alive() -> Result<()> {
    let server = Library::new()?.options().start().await?;
    assert_eq!(server.get("/api/lm/health-check").await?.status, 200);
    Ok(())
}
