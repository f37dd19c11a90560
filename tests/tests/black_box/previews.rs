//! Preview files over HTTP.

use anyhow::{Context, Result};
use modelshelf_tests::http::encode;
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Server};

struct Shown {
    server: Server,
    library: Library,
    url: String,
    bytes: Vec<u8>,
}

async fn shown() -> Result<Shown> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("deep folder/amber").preview("png"))?;
    let server = library.serve().await?;
    let item = server.item("loras", "amber").await?;
    Ok(Shown {
        url: item["preview_url"].as_str().context("preview_url")?.to_owned(),
        bytes: std::fs::read(file.with_extension("png"))?,
        server,
        library,
    })
}

#[tokio::test]
async fn a_preview_is_served_whole_with_its_type_and_a_day_of_caching() -> Result<()> {
    let shown = shown().await?;
    let reply = shown.server.get(&shown.url).await?;
    assert_eq!((reply.status, reply.header("content-type")), (200, "image/png"));
    assert_eq!(reply.body, shown.bytes);
    assert_eq!(reply.header("cache-control"), "private, max-age=86400");
    assert_eq!(reply.header("accept-ranges"), "bytes");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    let head = shown.server.send(&Call::new("HEAD", &shown.url)).await?;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, shown.bytes.len().to_string().as_str())
    );
    Ok(())
}

#[tokio::test]
async fn a_part_of_a_preview_is_served_on_request() -> Result<()> {
    let shown = shown().await?;
    let length = shown.bytes.len();
    let last = length - 1;
    for (range, expected) in [
        ("bytes=0-9", 0..10),
        ("bytes=10-", 10..length),
        ("bytes=-4", length - 4..length),
    ] {
        let reply = shown.server.send(&Call::get(&shown.url).header("Range", range)).await?;
        assert_eq!(
            (reply.status, &reply.body[..]),
            (206, &shown.bytes[expected.clone()]),
            "{range}"
        );
        let content_range = format!("bytes {}-{}/{length}", expected.start, expected.end - 1);
        assert_eq!(reply.header("content-range"), content_range);
    }
    let reply = shown
        .server
        .send(&Call::get(&shown.url).header("Range", &format!("bytes={}-", last + 100)))
        .await?;
    assert_eq!(reply.status, 416);
    Ok(())
}

#[tokio::test]
async fn an_unchanged_preview_is_not_sent_again_and_a_changed_one_is() -> Result<()> {
    let shown = shown().await?;
    let etag = shown.server.get(&shown.url).await?.header("etag").to_owned();
    assert!(!etag.is_empty());
    let again = Call::get(&shown.url).header("If-None-Match", &etag);
    let reply = shown.server.send(&again).await?;
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    std::fs::write(
        shown.library.root("loras").join("deep folder/amber.png"),
        b"another image of another size",
    )?;
    let reply = shown.server.send(&again).await?;
    assert_eq!(
        (reply.status, &reply.body[..]),
        (200, &b"another image of another size"[..])
    );
    Ok(())
}

#[tokio::test]
async fn previews_outside_the_roots_are_refused_after_links_and_dots_are_resolved() -> Result<()> {
    let shown = shown().await?;
    let root = wire(&shown.library.root("loras"));
    let secret = shown.library.path().join("secret.png");
    std::fs::write(&secret, b"secret")?;
    let mut refused = vec![
        wire(&secret),
        format!("{root}/../secret.png"),
        format!("{root}/deep folder/../../secret.png"),
        format!("{root}/..%2Fsecret.png"),
        "/etc/passwd".to_owned(),
        "../secret.png".to_owned(),
        format!("{root}/../loras/../secret.png"),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, shown.library.root("loras").join("link.png"))?;
        refused.push(format!("{root}/link.png"));
    }
    for path in refused {
        let reply = shown
            .server
            .get(&format!("/api/lm/previews?path={}", encode(&path)))
            .await?;
        assert!(matches!(reply.status, 403 | 404), "{path}: {}", reply.status);
        assert!(
            !reply.text().contains("secret") && !reply.text().contains("root:"),
            "{path}"
        );
    }
    let reply = shown
        .server
        .get(&format!("/api/lm/previews?path={}", encode(&wire(&secret))))
        .await?;
    assert_eq!(reply.status, 403);
    Ok(())
}

#[tokio::test]
async fn a_missing_path_is_400_and_a_missing_file_404() -> Result<()> {
    let shown = shown().await?;
    assert_eq!(shown.server.get("/api/lm/previews").await?.status, 400);
    let absent = wire(&shown.library.root("loras").join("absent.png"));
    assert_eq!(
        shown
            .server
            .get(&format!("/api/lm/previews?path={}", encode(&absent)))
            .await?
            .status,
        404
    );
    let folder = wire(&shown.library.root("loras").join("deep folder"));
    assert!(matches!(
        shown
            .server
            .get(&format!("/api/lm/previews?path={}", encode(&folder)))
            .await?
            .status,
        403 | 404
    ));
    Ok(())
}

#[tokio::test]
async fn the_versioned_url_of_a_preview_is_kept_for_good_and_changes_with_its_content() -> Result<()> {
    let shown = shown().await?;
    let media = async || -> Result<String> {
        Ok(shown.server.item("loras", "amber").await?["media_url"]
            .as_str()
            .context("media_url")?
            .to_owned())
    };
    let first = media().await?;
    let reply = shown.server.get(&first).await?;
    assert_eq!((reply.status, &reply.body), (200, &shown.bytes));
    assert!(
        reply.header("cache-control").contains("immutable"),
        "{}",
        reply.header("cache-control")
    );
    std::fs::write(
        shown.library.root("loras").join("deep folder/amber.png"),
        b"another image of another size",
    )?;
    shown.server.scan("loras", false).await?;
    let second = media().await?;
    assert_ne!(first, second);
    assert_eq!(shown.server.get(&second).await?.body, b"another image of another size");
    assert_eq!(
        shown.server.get("/api/lm/loras/media/0000000000000000").await?.status,
        404
    );
    Ok(())
}

#[tokio::test]
async fn only_images_and_videos_are_previews() -> Result<()> {
    let shown = shown().await?;
    for name in ["amber.safetensors", "amber.metadata.json"] {
        let path = wire(&shown.library.root("loras").join("deep folder").join(name));
        let reply = shown
            .server
            .get(&format!("/api/lm/previews?path={}", encode(&path)))
            .await?;
        assert!(matches!(reply.status, 403 | 404), "{name}: {}", reply.status);
    }
    Ok(())
}
