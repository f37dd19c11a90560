//! What the tests of changes share: requests as the server's own pages send them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Server};
use serde_json::Value;

/// `POST` to a route below `/api/lm/`, whatever the answer is.
pub async fn post(server: &Server, route: &str, body: Value) -> Result<(u16, Value)> {
    let call = Call::post(&format!("/api/lm/{route}"), &body).header("Sec-Fetch-Site", "same-origin");
    let reply = server.send(&call).await?;
    Ok((reply.status, reply.json()?))
}

/// The same, which must succeed.
pub async fn done(server: &Server, route: &str, body: Value) -> Result<Value> {
    let (status, answer) = post(server, route, body).await?;
    ensure!(status == 200 && answer["success"] == true, "{route}: {status} {answer}");
    Ok(answer)
}

/// All files below a folder with their bytes.
pub fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(wire(&path), std::fs::read(&path)?);
            }
        }
    }
    Ok(files)
}
