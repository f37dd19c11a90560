//! Routes of LoraManager whose features Modelshelf does not have: they say so by name.

use anyhow::Result;
use modelshelf_tests::{Call, Library};
use serde_json::json;

/// Method, path below `/api/lm/`, and the name of the feature that is missing.
const MISSING: &[(&str, &str, &str)] = &[
    ("GET", "get-usage-stats", "usage statistics"),
    ("POST", "update-usage-stats", "usage statistics"),
    ("GET", "stats/collection-overview", "statistics of the library"),
    ("GET", "stats/insights", "statistics of the library"),
    ("GET", "recipes", "recipes"),
    ("GET", "recipes/for-lora", "recipes"),
    ("POST", "recipes/save-from-widget", "recipes"),
    ("GET", "recipe/a/syntax", "recipes"),
    ("DELETE", "recipe/a", "recipes"),
    ("PUT", "recipe/a/update", "recipes"),
    ("POST", "download-example-images", "example images"),
    ("POST", "cleanup-example-image-folders", "example images"),
    ("POST", "example-images/set-nsfw-level", "example images"),
    ("GET", "model-example-files", "example images"),
    ("GET", "doctor/diagnostics", "diagnostics"),
    ("POST", "doctor/repair-cache", "diagnostics"),
    ("GET", "backup/status", "backups"),
    ("POST", "backup/import", "backups"),
    ("GET", "llm/models", "language models"),
    ("POST", "agent/execute/tag", "agent skills"),
    ("POST", "perform-update", "updates of itself"),
    ("POST", "switch-channel", "updates of itself"),
    ("POST", "wildcards/open-location", "wildcard files"),
    ("GET", "example-workflows/Default", "example workflows"),
];

#[tokio::test]
async fn a_route_of_a_missing_feature_answers_501_and_names_the_feature() -> Result<()> {
    let server = Library::new()?.serve().await?;
    for (method, path, feature) in MISSING {
        let target = format!("/api/lm/{path}");
        let call = match *method {
            "GET" => Call::get(&target),
            method => Call::new(method, &target).header("Sec-Fetch-Site", "same-origin"),
        };
        let reply = server.send(&call).await?;
        let answer = reply.json()?;
        assert_eq!(
            (reply.status, &answer["success"]),
            (501, &json!(false)),
            "{method} {target}: {answer}"
        );
        assert_eq!(
            answer["error"],
            format!("{method} {target} is not served: Modelshelf has no {feature}. Nothing was changed."),
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_foreign_page_is_refused_before_it_learns_what_is_missing() -> Result<()> {
    let server = Library::new()?.serve().await?;
    for (method, path, _) in MISSING.iter().filter(|(method, ..)| *method != "GET") {
        let call = Call::new(method, &format!("/api/lm/{path}")).header("Sec-Fetch-Site", "cross-site");
        assert_eq!(server.send(&call).await?.status, 403, "{method} {path}");
    }
    Ok(())
}
