//! Previews in the width that a page asks for.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use image::{ImageFormat, Rgb, RgbImage};
use modelshelf_tests::model::beside;
use modelshelf_tests::{Call, Library, Model, Reply, Server};

/// A picture that compresses badly, so that its thumbnails have a size that counts.
fn noise(width: u32, height: u32, seed: u32, format: ImageFormat) -> Result<Vec<u8>> {
    let pixels = RgbImage::from_fn(width, height, |x, y| {
        let spread = (x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca6b) ^ seed).wrapping_mul(0xc2b2_ae35);
        Rgb([(spread >> 24) as u8, (spread >> 16) as u8, (spread >> 8) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// A model with this preview.
fn add(library: &Library, name: &str, extension: &str, preview: &[u8]) -> Result<()> {
    library.add(&Model::lora(name))?;
    std::fs::write(beside(&library.root("loras").join(name), extension), preview)?;
    Ok(())
}

async fn url(server: &Server, name: &str) -> Result<String> {
    let item = server.item("loras", name).await?;
    Ok(item["media_url"].as_str().context("media_url")?.to_owned())
}

fn size(reply: &Reply) -> Result<(u32, u32)> {
    let picture = image::load_from_memory(&reply.body)?;
    Ok((picture.width(), picture.height()))
}

/// All files below a folder: their number, and their bytes in all.
fn weigh(folder: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            let below = weigh(&entry.path());
            (files, bytes) = (files + below.0, bytes + below.1);
        } else {
            files += 1;
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    (files, bytes)
}

#[tokio::test]
async fn a_preview_comes_in_the_width_that_is_asked_for_and_never_larger() -> Result<()> {
    let library = Library::new()?;
    add(&library, "large", "png", &noise(900, 600, 1, ImageFormat::Png)?)?;
    let small = noise(200, 300, 2, ImageFormat::Png)?;
    add(&library, "small", "png", &small)?;
    let server = library.serve().await?;
    let large = url(&server, "large").await?;
    for (asked, width) in [(1, 160), (160, 160), (161, 240), (300, 320), (700, 900), (5000, 900)] {
        let reply = server.get(&format!("{large}&w={asked}")).await?;
        let height = (f64::from(width) / 1.5).round() as u32;
        assert_eq!((reply.status, size(&reply)?), (200, (width, height)), "{asked}");
        let content_type = if width == 900 { "image/png" } else { "image/jpeg" };
        assert_eq!(reply.header("content-type"), content_type, "{asked}");
        assert_eq!(reply.header("cache-control"), "private, max-age=31536000, immutable");
    }
    let reply = server.get(&format!("{}&w=320", url(&server, "small").await?)).await?;
    assert_eq!((reply.header("content-type"), &reply.body), ("image/png", &small));
    for wrong in ["0", "-5", "wide", ""] {
        assert_eq!(server.get(&format!("{large}&w={wrong}")).await?.status, 400, "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn a_thumbnail_is_not_sent_again_and_a_changed_preview_gives_another() -> Result<()> {
    let library = Library::new()?;
    add(&library, "amber", "jpg", &noise(900, 600, 1, ImageFormat::Jpeg)?)?;
    let server = library.serve().await?;
    let target = format!("{}&w=160", url(&server, "amber").await?);
    let first = server.get(&target).await?;
    let etag = first.header("etag").to_owned();
    let again = server.send(&Call::get(&target).header("If-None-Match", &etag)).await?;
    assert_eq!(
        (again.status, again.body.len(), again.header("etag")),
        (304, 0, etag.as_str())
    );
    // Each width is something else to a browser's cache.
    let wider = server.get(&target.replace("w=160", "w=320")).await?;
    assert_ne!(wider.header("etag"), etag);
    std::fs::write(
        library.root("loras").join("amber.jpg"),
        noise(900, 300, 9, ImageFormat::Jpeg)?,
    )?;
    let changed = server.send(&Call::get(&target).header("If-None-Match", &etag)).await?;
    assert_eq!((changed.status, size(&changed)?), (200, (160, 53)));
    Ok(())
}

#[tokio::test]
async fn hostile_previews_are_refused_with_a_reason_within_bounded_memory() -> Result<()> {
    let library = Library::new()?;
    let whole = noise(400, 400, 1, ImageFormat::Png)?;
    // Tiny files of many pixels; the larger one would take 537 MB decoded and as much again in other forms.
    let bomb = |side: u32| -> Result<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        image::GrayAlphaImage::new(side, side).write_to(&mut bytes, ImageFormat::Png)?;
        Ok(bytes.into_inner())
    };
    let mut header = whole.clone();
    header[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let hostile: [(&str, &str, Vec<u8>, &str); 8] = [
        ("cut", "png", whole[..whole.len() / 2].to_vec(), "broken"),
        ("zero", "png", Vec::new(), "empty"),
        (
            "vector",
            "png",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
            "no JPEG",
        ),
        ("text", "jpg", b"not a picture".to_vec(), "no JPEG"),
        ("header", "png", header, "broken"),
        (
            "riff",
            "webp",
            b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff".to_vec(),
            "broken",
        ),
        (
            "gif",
            "gif",
            b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02".to_vec(),
            "pixels",
        ),
        ("bomb", "png", bomb(16_384)?, "pixels"),
    ];
    for (name, extension, bytes, _) in &hostile {
        add(&library, name, extension, bytes)?;
    }
    // What is large but allowed. Not larger: without optimisation a server takes seconds for it.
    for number in 0..3 {
        add(&library, &format!("large{number}"), "png", &bomb(2_400)?)?;
    }
    // The wrong ending for what it is.
    add(&library, "misnamed", "jpg", &whole)?;
    let server = library.serve().await?;
    for (name, extension, _, reason) in &hostile {
        for _ in 0..2 {
            let reply = server.get(&format!("{}&w=160", url(&server, name).await?)).await?;
            let error = reply.json()?["error"].as_str().unwrap_or_default().to_owned();
            assert_eq!(reply.status, 415, "{name}: {error}");
            assert!(error.contains(&format!("{name}.{extension}")), "{name}: {error}");
            assert!(
                error.contains(reason) && error.contains("Replace it"),
                "{name}: {error}"
            );
            assert_eq!(reply.header("cache-control"), "no-store");
        }
    }
    let misnamed = server
        .get(&format!("{}&w=160", url(&server, "misnamed").await?))
        .await?;
    assert_eq!((misnamed.status, size(&misnamed)?), (200, (160, 160)));
    let mut targets = Vec::new();
    for number in 0..3 {
        targets.push(format!("{}&w=160", url(&server, &format!("large{number}")).await?));
    }
    let asked = futures_util::future::join_all(targets.iter().map(|target| server.get(target))).await;
    for reply in asked {
        assert_eq!(reply?.status, 200);
    }
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .context("VmHWM")?;
        let peak: u64 = peak.trim().trim_end_matches(" kB").trim().parse()?;
        assert!(peak < 500 << 10, "{} MiB", peak >> 10);
    }
    Ok(())
}

#[tokio::test]
async fn the_thumbnails_on_disk_stay_within_their_bound() -> Result<()> {
    let library = Library::new()?;
    for number in 0..30 {
        let preview = noise(700, 700, number, ImageFormat::Jpeg)?;
        add(&library, &format!("m{number}"), "jpg", &preview)?;
    }
    let data = library.path().join("data");
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("settings.toml"), "[previews]\ncache_mib = 1\n")?;
    let server = library.options().data_dir(&data).serve().await?;
    let (mut made, mut first) = (0, String::new());
    for number in 0..30 {
        let target = format!("{}&w=320", url(&server, &format!("m{number}")).await?);
        let reply = server.get(&target).await?;
        assert_eq!(reply.status, 200);
        made += reply.body.len() as u64;
        if number == 0 {
            first = target;
        }
    }
    let (files, bytes) = weigh(&data.join("thumbnails"));
    assert!(made > 3 << 19, "too little to prove anything: {made}");
    assert!(bytes <= 1 << 20 && files > 5, "{files} files, {bytes} bytes");
    // What went is made again, also where somebody deleted everything.
    std::fs::remove_dir_all(data.join("thumbnails"))?;
    assert_eq!(size(&server.get(&first).await?)?, (320, 320));
    Ok(())
}

#[tokio::test]
async fn a_start_finds_the_thumbnails_of_the_last_run() -> Result<()> {
    let library = Library::new()?;
    add(&library, "amber", "png", &noise(900, 600, 1, ImageFormat::Png)?)?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let target = format!("{}&w=160", url(&server, "amber").await?);
    let first = server.get(&target).await?.body;
    server.stop().await?;
    assert_eq!(weigh(&data.join("thumbnails")).0, 1);
    let server = library.options().data_dir(&data).serve().await?;
    assert_eq!(server.get(&target).await?.body, first);
    assert_eq!(weigh(&data.join("thumbnails")).0, 1);
    Ok(())
}

#[tokio::test]
async fn a_video_is_sent_as_it_is_and_a_picture_beside_it_is_its_poster() -> Result<()> {
    let library = Library::new()?;
    let video = b"\0\0\0\x10ftypisom\0\0\0\0".to_vec();
    add(&library, "bare", "mp4", &video)?;
    // An image without this word in its name would be the preview itself.
    add(&library, "pair", "preview.mp4", &video)?;
    std::fs::write(
        library.root("loras").join("pair.preview.jpg"),
        noise(700, 700, 1, ImageFormat::Jpeg)?,
    )?;
    library.add(
        &Model::lora("pair").side(
            "preview_url",
            library
                .root("loras")
                .join("pair.preview.mp4")
                .to_string_lossy()
                .into_owned(),
        ),
    )?;
    let server = library.serve().await?;
    for name in ["bare", "pair"] {
        let item = server.item("loras", name).await?;
        assert_eq!(item["media_type"], "video", "{name}");
        let reply = server.get(&format!("{}&w=160", url(&server, name).await?)).await?;
        assert_eq!(
            (reply.header("content-type"), &reply.body),
            ("video/mp4", &video),
            "{name}"
        );
    }
    let bare = server
        .get(&format!("{}&w=160&poster=true", url(&server, "bare").await?))
        .await?;
    assert_eq!((bare.status, bare.body.len()), (204, 0));
    let pair = server
        .get(&format!("{}&w=160&poster=true", url(&server, "pair").await?))
        .await?;
    assert_eq!((pair.status, size(&pair)?), (200, (160, 160)));
    Ok(())
}
