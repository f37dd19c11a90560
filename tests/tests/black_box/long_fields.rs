//! Fields of metadata files that are far too long for a list.

use anyhow::{Context, Result, ensure};
use modelshelf_tests::{Call, Library, Model};
use serde_json::{Value, json};

const MARK: &str = "… [cut: the metadata file has the rest]";

#[tokio::test]
async fn a_list_has_the_beginning_of_a_long_field_and_the_file_keeps_all_of_it() -> Result<()> {
    let notes = "n".repeat(50 << 20);
    let many: Vec<String> = (0..50_000).map(|index| format!("tag{index}")).collect();
    let tags: Vec<&str> = many.iter().map(String::as_str).collect();
    let library = Library::of([
        Model::lora("amber")
            .side("notes", notes.as_str())
            .tags(&tags)
            .side("x_theirs", "t".repeat(1 << 20)),
        Model::lora("plain").side("notes", "short"),
    ])?;
    let server = library.serve().await?;
    let reply = server.get("/api/lm/loras/list?sort_by=name&page_size=100").await?;
    ensure!(reply.body.len() < 200 << 10, "{}", reply.body.len());
    let page = reply.json()?;
    let (amber, plain) = (&page["items"][0], &page["items"][1]);
    ensure!(amber["notes"].as_str().is_some_and(|notes| notes.ends_with(MARK)));
    ensure!(
        amber["tags"]
            .as_array()
            .is_some_and(|tags| tags.len() < 2_000 && tags.last() == Some(&json!(MARK)))
    );
    let problem = amber["problem"].as_str().context("problem")?;
    ensure!(problem.contains("notes") && problem.contains("tags"), "{problem}");
    ensure!(plain["notes"] == "short" && plain["problem"].is_null());
    // A page that shows the cut field can't write it back.
    let path = amber["file_path"].as_str().context("path")?;
    let save = |notes: &Value| {
        Call::post(
            "/api/lm/loras/save-metadata",
            &json!({"file_path": path, "notes": notes}),
        )
    };
    let refused = server.send(&save(&amber["notes"])).await?;
    ensure!(
        refused.status == 400 && refused.text().contains("`notes`"),
        "{}",
        refused.text()
    );
    // Other edits keep all of it.
    server
        .post_json(
            "/api/lm/loras/save-metadata",
            &json!({"file_path": path, "favorite": true}),
        )
        .await?;
    let sidecar = library.root("loras").join("amber.metadata.json");
    let kept: Value = serde_json::from_slice(&std::fs::read(&sidecar)?)?;
    ensure!(kept["notes"] == notes.as_str() && kept["tags"].as_array().map(Vec::len) == Some(50_000));
    ensure!(kept["favorite"] == true && kept["x_theirs"].as_str().map(str::len) == Some(1 << 20));
    let reply = server.send(&save(&json!("new"))).await?;
    ensure!(reply.status == 200, "{}", reply.text());
    Ok(())
}
