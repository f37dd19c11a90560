//! What the tests of changes share: requests as the server's own pages send them.

use anyhow::{Result, ensure};
pub use modelshelf_tests::views::files;
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
