//! Routes that later versions serve: they are there, and say so.

use anyhow::Result;
use modelshelf_tests::{Call, Library};
use serde_json::json;

/// Method and path below `/api/lm/`.
const COMMON: &[(&str, &str)] = &[
    ("GET", "base-models"),
    ("GET", "get-usage-stats"),
    ("POST", "update-usage-stats"),
    ("GET", "model-versions-status"),
];

#[tokio::test]
async fn a_route_of_a_later_version_answers_501_and_says_what_it_waits_for() -> Result<()> {
    let server = Library::new()?.serve().await?;
    for (method, path) in COMMON {
        let target = format!("/api/lm/{path}");
        let call = match *method {
            "POST" => Call::post(&target, &json!({})),
            _ => Call::get(&target).header("Sec-Fetch-Site", "same-origin"),
        };
        let reply = server.send(&call).await?;
        let answer = reply.json()?;
        assert_eq!(
            (reply.status, &answer["success"]),
            (501, &json!(false)),
            "{method} {target}: {answer}"
        );
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains("not served yet"), "{target}: {error}");
    }
    Ok(())
}
