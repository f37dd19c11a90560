//! Replacing previews: the new one takes the place of all old ones, and an undo brings these back to the byte.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use image::{DynamicImage, ImageFormat};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Reply, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::acts::{done, files, post};

/// Settings with which a preview may come from this machine.
pub const PRIVATE: &str = "[previews]\nprivate_addresses = true\n[scan]\nwatch = false\nstable_seconds = 0.0\n";

const BOUNDARY: &str = "----a boundary";

fn picture(width: u32, format: ImageFormat) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(width, 20).write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// A form of these fields; one with a file name is a file.
fn form(fields: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, value) in fields {
        let file = file.map_or(String::new(), |file| {
            format!("; filename=\"{file}\"\r\nContent-Type: image/png")
        });
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

async fn send(server: &Server, body: Vec<u8>) -> Result<Reply> {
    let call = Call::new("POST", "/api/lm/loras/replace-preview")
        .header("Content-Type", &format!("multipart/form-data; boundary=\"{BOUNDARY}\""))
        .header("Sec-Fetch-Site", "same-origin")
        .body(body);
    server.send(&call).await
}

async fn replace(server: &Server, path: &Path, file: &str, bytes: &[u8], level: &str) -> Result<Value> {
    let model = wire(path);
    let fields: [(&str, Option<&str>, &[u8]); 3] = [
        ("nsfw_level", None, level.as_bytes()),
        ("preview_file", Some(file), bytes),
        ("model_path", None, model.as_bytes()),
    ];
    let reply = send(server, form(&fields)).await?;
    anyhow::ensure!(reply.status == 200, "{} {}", reply.status, reply.text());
    reply.json()
}

#[tokio::test]
async fn a_picture_replaces_every_preview_and_an_undo_brings_them_back_to_the_byte() -> Result<()> {
    let library = Library::new()?;
    let path = library.add(&Model::lora("a/m.v1").preview("PNG").side("theirs", json!({"x": [1]})))?;
    library.add(&Model::lora("a/m").preview("png"))?;
    let folder = library.root("loras").join("a");
    std::fs::write(folder.join("m.v1.preview.jpg"), "an old one")?;
    std::fs::write(folder.join("m.v1.example.0.jpeg"), "another program's")?;
    let before = files(&library.root("loras"))?;
    let server = library.serve().await?;
    let listed = server.item("loras", "m.v1").await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;

    let answer = replace(&server, &path, "x.jpg", &picture(960, ImageFormat::Jpeg)?, "4").await?;
    let new = folder.join("m.v1.webp");
    assert_eq!(answer["preview_nsfw_level"], 4);
    let url = answer["preview_url"].as_str().context("preview_url")?;
    let shown = server.get(url).await?;
    assert_eq!((shown.status, shown.header("content-type")), (200, "image/webp"));
    let stored = image::load_from_memory(&shown.body)?;
    assert_eq!((stored.width(), stored.height()), (480, 10));
    assert_eq!(shown.body, std::fs::read(&new)?);
    socket.find(|message| message["type"] == "models_changed").await?;

    // The four views agree.
    let sidecar: Value = serde_json::from_slice(&std::fs::read(folder.join("m.v1.metadata.json"))?)?;
    assert_eq!(
        json!([sidecar["preview_url"], sidecar["preview_nsfw_level"], sidecar["theirs"]]),
        json!([wire(&new), 4, {"x": [1]}])
    );
    let item = server.item("loras", "m.v1").await?;
    assert_eq!(
        (&item["preview_url"], &item["preview_nsfw_level"]),
        (&answer["preview_url"], &json!(4))
    );
    assert_eq!(item, library.serve().await?.item("loras", "m.v1").await?);
    let left: Vec<String> = std::fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("m.v1."))
        .collect();
    assert_eq!(
        left.len(),
        4,
        "model, sidecar, the new preview, another program's: {left:?}"
    );
    assert!(folder.join("m.png").exists(), "another model's preview stays");

    let undone = done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
    assert_eq!(undone["conflicts"], json!([]));
    assert_eq!(files(&library.root("loras"))?, before);
    assert_eq!(server.item("loras", "m.v1").await?, listed);
    let again = done(&server, "undo", json!({"id": undone["undo_id"]})).await?;
    // But for the time of the file, which is in that address.
    let (mut redone, mut done_first) = (server.item("loras", "m.v1").await?, item);
    for item in [&mut redone, &mut done_first] {
        item["media_url"] = Value::Null;
    }
    assert_eq!(redone, done_first);
    assert_eq!(std::fs::read(&new)?, shown.body);
    done(&server, "undo", json!({"id": again["undo_id"]})).await?;
    assert_eq!(files(&library.root("loras"))?, before);
    Ok(())
}

#[tokio::test]
async fn what_a_file_is_is_told_by_its_content_and_videos_and_what_moves_stay_as_they_are() -> Result<()> {
    let library = Library::new()?;
    let path = library.add(&Model::new("loras", "m"))?;
    let server = library.serve().await?;
    let mp4 = [b"\0\0\0\x18ftypisom", &[7u8; 64][..]].concat();
    let quicktime = [b"\0\0\0\x18ftypqt  ", &[8u8; 64][..]].concat();
    let gif = picture(960, ImageFormat::Gif)?;
    for (bytes, name, ending) in [
        (&mp4, "a.png", "mp4"),
        (&quicktime, "a.mov", "mov"),
        (&gif, "a.jpg", "gif"),
        (&quicktime, "b.mov", "mov"),
        (&mp4, "b.mp4", "mp4"),
    ] {
        replace(&server, &path, name, bytes, "no number").await?;
        assert_eq!(&std::fs::read(path.with_extension(ending))?, bytes, "{name}");
        let item = server.item("loras", "m").await?;
        assert_eq!(item["preview_nsfw_level"], 0);
        let previews = std::fs::read_dir(library.root("loras"))?.flatten();
        let previews = previews.filter(|entry| entry.file_name().to_string_lossy().starts_with("m."));
        assert_eq!(previews.count(), 3, "{name}: the model, its sidecar and one preview");
    }
    // What only the sidecar names goes with its model, too.
    replace(&server, &path, "c.mov", &quicktime, "1").await?;
    done(&server, "loras/delete", json!({"file_path": wire(&path)})).await?;
    assert!(!path.with_extension("mov").exists());
    Ok(())
}

#[tokio::test]
async fn what_can_t_be_a_preview_changes_nothing() -> Result<()> {
    let library = Library::new()?;
    let path = library.add(&Model::lora("m").preview("png"))?;
    let outside = library.path().join("m.safetensors");
    std::fs::write(&outside, "x")?;
    let server = library.serve().await?;
    let before = files(library.path())?;
    let good = picture(20, ImageFormat::Png)?;
    let (own, other, never) = (
        wire(&path),
        wire(&outside),
        wire(&path.with_file_name("never.safetensors")),
    );
    let (own, other, never) = (own.as_bytes(), other.as_bytes(), never.as_bytes());
    let big = vec![0; 65 << 20];
    for (file, model, status) in [
        (Some(&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..]), Some(own), 400),
        (Some(&good[..good.len() / 2]), Some(own), 400),
        (Some(&b""[..]), Some(own), 400),
        (None, Some(own), 400),
        (Some(&good[..]), None, 400),
        (Some(&good[..]), Some(other), 400),
        (Some(&good[..]), Some(never), 404),
        (Some(&big[..]), Some(own), 413),
    ] {
        let mut fields = Vec::new();
        fields.extend(file.map(|file| ("preview_file", Some("a.png"), file)));
        fields.extend(model.map(|model| ("model_path", None, model)));
        let reply = send(&server, form(&fields)).await?;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.json()?["success"], false);
    }
    let (status, _) = post(&server, "loras/replace-preview", json!({})).await?;
    assert_eq!(status, 400);
    let foreign = Call::new("POST", "/api/lm/loras/replace-preview")
        .header("Content-Type", &format!("multipart/form-data; boundary=\"{BOUNDARY}\""))
        .header("Sec-Fetch-Site", "cross-site")
        .body(form(&[
            ("preview_file", Some("a.png"), &good),
            ("model_path", None, own),
        ]));
    assert_eq!(server.send(&foreign).await?.status, 403);
    assert_eq!(files(library.path())?, before);
    let history = server.get_json("/api/lm/history", &[]).await?;
    assert_eq!(history["total"], 0);
    Ok(())
}

/// A web server that answers each path once it is asked, until the test ends.
pub async fn web(answers: Vec<(&'static str, String, Vec<u8>)>) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 1024];
                match stream.read(&mut part).await {
                    Ok(read) if read > 0 => request.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
            let target = String::from_utf8_lossy(&request)
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .to_owned();
            let found = answers.iter().find(|(path, ..)| *path == target);
            let (head, body) = found.map_or(("404 Not Found", &[][..]), |(_, head, body)| (head, body));
            let head = format!(
                "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body).await;
        }
    });
    Ok(address)
}

#[tokio::test]
async fn a_preview_comes_from_an_address_of_the_web_and_never_from_a_private_one_by_itself() -> Result<()> {
    let library = Library::new()?;
    let path = library.add(&Model::lora("m"))?;
    let ok = "200 OK".to_owned();
    let address = web(vec![
        ("/a%20b.png?x=1", ok.clone(), picture(700, ImageFormat::Png)?),
        ("/page", ok, b"<!doctype html>".to_vec()),
        ("/moved", "302 Found\r\nLocation: /a%20b.png?x=1".to_owned(), Vec::new()),
        (
            "/away",
            "302 Found\r\nLocation: file:///etc/passwd".to_owned(),
            Vec::new(),
        ),
    ])
    .await?;
    let server = library.serve().await?;
    let body = |address: &str| json!({"model_path": wire(&path), "image_url": address, "nsfw_level": 8});
    let route = "loras/set-preview-from-url";
    let local = address.replace("127.0.0.1", "localhost");
    for private in [&address, &local] {
        let (status, answer) = post(&server, route, body(&format!("{private}/a%20b.png?x=1"))).await?;
        assert_eq!(status, 502, "{answer}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            error.starts_with("Failed to download image: ") && error.contains("private network"),
            "{error}"
        );
    }
    for (body, error) in [
        (json!({"model_path": wire(&path)}), "Image URL is required"),
        (json!({"image_url": "http://a/b"}), "Model path is required"),
    ] {
        assert_eq!(
            post(&server, route, body).await?,
            (400, json!({"success": false, "error": error}))
        );
    }
    server.stop().await?;

    let data = library.path().join("data");
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("settings.toml"), PRIVATE)?;
    let server = library.options().data_dir(&data).serve().await?;
    for target in ["/a%20b.png?x=1", "/moved"] {
        let answer = done(&server, route, body(&format!("{address}{target}"))).await?;
        assert_eq!(answer["preview_nsfw_level"], 8);
        assert_eq!(
            image::load_from_memory(&std::fs::read(path.with_extension("webp"))?)?.width(),
            480
        );
        done(&server, "undo", json!({"id": answer["undo_id"]})).await?;
        assert!(!path.with_extension("webp").exists());
    }
    for (target, status) in [("/page", 400), ("/away", 502), ("/nothing", 502)] {
        let (code, answer) = post(&server, route, body(&format!("{address}{target}"))).await?;
        assert_eq!(code, status, "{answer}");
    }
    Ok(())
}
