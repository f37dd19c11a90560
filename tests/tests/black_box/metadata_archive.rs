//! The archive of metadata: brought, asked, replaced, taken away.

use std::path::Path;

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{Civitai, Fault};
use modelshelf_tests::model::sha256;
use modelshelf_tests::{Call, Library, Model, Reply, Server};
use serde_json::{Value, json};

/// A zip file with a database that knows one file.
fn archive(name: &str, sha256: &str) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.sqlite");
    rusqlite::Connection::open(&path)?.execute_batch(&format!(
        "CREATE TABLE models(id, name, type, username, data);
         CREATE TABLE model_versions(id, model_id, name, base_model, position, published_at, data);
         CREATE TABLE model_files(id, model_id, version_id, type, sha256, data);
         INSERT INTO models VALUES (7, '{name}', 'LORA', 'u', '{{}}');
         INSERT INTO model_versions VALUES (70, 7, 'v1', 'Pony', 0, '2024', '{{}}');
         INSERT INTO model_files VALUES (1, 7, 70, 'Model', '{}', '{{}}');",
        sha256.to_uppercase()
    ))?;
    zipped("civitai/civitai.sqlite", &std::fs::read(path)?)
}

/// A zip file with one file in it, as it is.
fn zipped(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let (length, size) = (u16::try_from(name.len())?, u32::try_from(content.len())?);
    // Versions, no flags, stored, no time.
    let mut about = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    about.extend(crc32fast::hash(content).to_le_bytes());
    about.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
    about.extend(length.to_le_bytes());
    let mut zip = [b"PK\x03\x04", about.as_slice(), &[0, 0], name.as_bytes(), content].concat();
    let start = u32::try_from(zip.len())?;
    let entry = [b"PK\x01\x02\x14\0", about.as_slice(), &[0; 16], name.as_bytes()].concat();
    zip.extend(&entry);
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend([u32::try_from(entry.len())?.to_le_bytes(), start.to_le_bytes()].concat());
    zip.extend([0, 0]);
    Ok(zip)
}

async fn download(server: &Server) -> Result<Reply> {
    server
        .send(&Call::post("/api/lm/download-metadata-archive", &json!({})))
        .await
}

async fn state(server: &Server) -> Result<Value> {
    server.get_json("/api/lm/metadata-archive-status", &[]).await
}

async fn serve(library: &Library, civitai: &Civitai, url: &str, data: &Path) -> Result<Server> {
    let settings = format!("{}\n[downloads]\nretry_seconds = 0.01\ntries = 2\n", civitai.settings());
    let settings = settings.replace("[providers]\n", &format!("[providers]\narchive_url = '{url}'\n"));
    library.options().settings(&settings).data_dir(data).serve().await
}

#[tokio::test]
async fn the_archive_is_brought_asked_and_taken_away() -> Result<()> {
    let library = Library::new()?;
    let file = library.add(&Model::lora("a"))?;
    let hash = sha256(&std::fs::read(&file)?);
    let civitai = Civitai::start([]).await?;
    let url = civitai.shelve("a.zip", archive("From the archive", &hash)?);
    let data = library.path().join("data");
    let server = serve(&library, &civitai, &url, &data).await?;
    assert_eq!(
        state(&server).await?,
        json!({"success": true, "isAvailable": false, "isEnabled": false, "databaseSize": 0, "databasePath": null})
    );
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let reply = download(&server).await?;
    let text = "Metadata archive database downloaded and extracted successfully";
    assert_eq!(reply.json()?, json!({"success": true, "message": text}));
    let told = socket
        .find(|message| message["type"] == "metadata_archive_download")
        .await?;
    assert!(told["stage"].is_string() && told["message"].is_string(), "{told}");
    let now = state(&server).await?;
    let place = data.join("civitai.sqlite");
    assert_eq!(
        (&now["isAvailable"], &now["isEnabled"], &now["databasePath"]),
        (&json!(true), &json!(true), &json!(place))
    );
    assert_eq!(now["databaseSize"], json!(place.metadata()?.len()));
    let body = json!({ "file_path": file });
    let answer = server.post_json("/api/lm/loras/fetch-civitai", &body).await?;
    assert_eq!(answer["metadata"]["model_name"], "From the archive", "{answer}");

    // Another one takes its place, and what is none does not.
    civitai.shelve("a.zip", archive("A newer one", &hash)?);
    assert_eq!(download(&server).await?.status, 200);
    let answer = server.post_json("/api/lm/loras/fetch-civitai", &body).await?;
    assert_eq!(answer["metadata"]["model_name"], "A newer one", "{answer}");
    let before = std::fs::read(&place)?;
    for bytes in [b"no zip".to_vec(), zipped("a.sqlite", &b"x".repeat(9_000))?] {
        civitai.shelve("a.zip", bytes);
        let reply = download(&server).await?;
        assert_eq!(
            (reply.status, &reply.json()?["success"]),
            (500, &json!(false)),
            "{}",
            reply.text()
        );
    }
    assert_eq!(std::fs::read(&place)?, before);
    let left: Vec<String> = std::fs::read_dir(&data)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("civitai.sqlite.") || name.contains("archive"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    let answer = server.post_json("/api/lm/remove-metadata-archive", &json!({})).await?;
    assert_eq!(answer["message"], "Metadata archive database removed successfully");
    let now = state(&server).await?;
    assert_eq!((&now["isAvailable"], &now["isEnabled"]), (&json!(false), &json!(false)));
    assert!(!place.exists());
    // There is nothing to remove, which is as it should be.
    server.post_json("/api/lm/remove-metadata-archive", &json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn the_archive_comes_from_its_host_alone_and_a_file_of_ones_own_is_left_alone() -> Result<()> {
    let library = Library::new()?;
    let civitai = Civitai::start([]).await?;
    civitai.shelve("a.zip", archive("x", "ab")?);
    let data = library.path().join("data");
    let server = serve(&library, &civitai, &civitai.leads_elsewhere("a.zip"), &data).await?;
    let reply = download(&server).await?;
    assert_eq!(reply.status, 500);
    assert!(
        reply.text().contains("not expected to come from there"),
        "{}",
        reply.text()
    );
    assert_eq!((civitai.count("/elsewhere/"), civitai.count("/shelf/")), (1, 0));
    civitai.fail(Fault::status("/elsewhere/", 404));
    assert_eq!(download(&server).await?.status, 500);
    drop(server);

    let own = library.path().join("mine.sqlite");
    std::fs::write(&own, "mine")?;
    let settings = civitai
        .settings()
        .replace("[providers]\n", &format!("[providers]\narchive_db = {own:?}\n"));
    let server = library.options().settings(&settings).serve().await?;
    for path in ["download-metadata-archive", "remove-metadata-archive"] {
        let reply = server.send(&Call::post(&format!("/api/lm/{path}"), &json!({}))).await?;
        assert_eq!(reply.status, 409, "{}", reply.text());
        assert!(reply.json()?["error"].as_str().context("error")?.contains("archive_db"));
    }
    assert_eq!(std::fs::read(&own)?, b"mine");
    // From another site nobody has this server download.
    let foreign = Call::post("/api/lm/download-metadata-archive", &json!({}))
        .header("Origin", "https://evil.example")
        .header("Sec-Fetch-Site", "cross-site");
    assert_eq!(server.send(&foreign).await?.status, 403);
    Ok(())
}
