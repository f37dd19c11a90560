//! Routes that later versions serve: they are there, and say so.

use anyhow::Result;
use modelshelf_tests::{Call, Library};
use serde_json::json;

/// Method and path below `/api/lm/`, of each type.
const OF_A_TYPE: &[(&str, &str)] = &[
    ("POST", "fetch-civitai"),
    ("POST", "fetch-all-civitai"),
    ("POST", "relink-civitai"),
    ("GET", "civitai/versions/1"),
    ("GET", "civitai/model/version/1"),
    ("GET", "civitai/model/hash/aa"),
    ("POST", "updates/refresh"),
    ("POST", "updates/fetch-missing-license"),
    ("POST", "updates/ignore"),
    ("POST", "updates/ignore-version"),
    ("GET", "updates/status/1"),
    ("GET", "updates/versions/1"),
];

const COMMON: &[(&str, &str)] = &[
    ("POST", "settings"),
    ("GET", "base-models"),
    ("GET", "get-usage-stats"),
    ("POST", "update-usage-stats"),
    ("GET", "model-versions-status"),
    ("GET", "model-version-download-status"),
    ("POST", "model-version-download-status"),
    ("GET", "set-model-version-download-status"),
    ("POST", "download-model"),
    ("GET", "download-model-get"),
    ("GET", "cancel-download-get"),
    ("GET", "skip-download"),
    ("GET", "pause-download"),
    ("GET", "resume-download"),
    ("GET", "download-progress/x"),
    ("GET", "downloads/queue"),
    ("GET", "downloads/queue/add"),
    ("GET", "downloads/queue/remove"),
    ("GET", "downloads/queue/move-to-top"),
    ("GET", "downloads/queue/move-to-end"),
    ("GET", "downloads/queue/clear"),
    ("GET", "downloads/queue/complete"),
    ("GET", "downloads/queue/status"),
    ("GET", "downloads/history"),
    ("GET", "downloads/history/clear"),
    ("GET", "downloads/history/delete"),
    ("GET", "downloads/history/retry"),
    ("GET", "downloads/history/retry-all"),
    ("GET", "downloads/stats"),
];

#[tokio::test]
async fn a_route_of_a_later_version_answers_501_and_says_what_it_waits_for() -> Result<()> {
    let server = Library::new()?.serve().await?;
    let mut targets: Vec<(&str, String)> = COMMON
        .iter()
        .map(|(method, path)| (*method, format!("/api/lm/{path}")))
        .collect();
    for prefix in ["loras", "checkpoints", "embeddings"] {
        targets.extend(
            OF_A_TYPE
                .iter()
                .map(|(method, path)| (*method, format!("/api/lm/{prefix}/{path}"))),
        );
    }
    for (method, target) in targets {
        let call = match method {
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
