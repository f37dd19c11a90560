//! Messages that pages of LoraManager wait for, in the words that they match.

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{Civitai, Fault};
use modelshelf_tests::{Call, Library, Model};
use serde_json::{Value, json};

/// The page shows `current_name` and counts of each message, and ends with the last one.
#[tokio::test]
async fn fetch_all_tells_of_each_model_and_answers_after_its_last_message() -> Result<()> {
    let library = Library::of((0..60).map(|number| Model::lora(&format!("m{number:02}"))))?;
    let civitai = Civitai::start([]).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let answer = server.post_json("/api/lm/loras/fetch-all-civitai", &json!({})).await?;
    assert_eq!(answer["failure_count"], 60, "{answer}");
    let mut named = std::collections::BTreeSet::new();
    let (mut processed, mut first) = (0, None);
    loop {
        let message = socket.find(|message| message.get("type").is_none()).await?;
        if message["status"] == "completed" {
            break;
        }
        assert!(["started", "processing"].contains(&message["status"].as_str().unwrap_or_default()));
        let now = message["processed"].as_u64().context("processed")?;
        assert!(now >= processed, "{message}");
        processed = now;
        if let Some(name) = message["current_name"].as_str() {
            first.get_or_insert(now);
            named.insert(name.to_owned());
        }
    }
    assert_eq!((named.len(), processed, first), (60, 60, Some(0)));
    Ok(())
}

#[tokio::test]
async fn fetch_all_at_a_provider_that_fails_says_with_which_model_it_is_busy_and_why_it_ends() -> Result<()> {
    let library = Library::of([Model::lora("m")])?;
    let civitai = Civitai::start([]).await?;
    civitai.fail(Fault::status("/api", 503));
    let server = library.options().civitai(&civitai).serve().await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let answer = server.post_json("/api/lm/loras/fetch-all-civitai", &json!({})).await?;
    assert_eq!(answer["success"], false);
    let busy = socket.find(|message| message["status"] == "processing").await?;
    assert_eq!(busy["current_name"], "m");
    let end = socket.find(|message| message["status"] == "error").await?;
    assert!(
        end["error"].as_str().is_some_and(|error| error.contains("503")),
        "{end}"
    );
    Ok(())
}

/// Its dialogs read `status` of any message without looking at `type`.
#[tokio::test]
async fn an_activity_has_no_field_that_ends_a_dialog_of_lora_manager() -> Result<()> {
    let library = Library::of([Model::new("checkpoints", "c").sidecar()])?;
    let server = library.serve().await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    server.post_json("/api/lm/hashing/pause", &json!({})).await?;
    let path = server.item("checkpoints", "c").await?["file_path"].clone();
    server
        .post_json("/api/lm/checkpoints/hash", &json!({ "file_paths": [path] }))
        .await?;
    server.post_json("/api/lm/checkpoints/cancel-task", &json!({})).await?;
    let told = socket
        .find(|message| message["type"] == "activity" && message["state"] == "cancelled")
        .await?;
    for field in ["status", "progress", "processed", "success", "stage", "error"] {
        assert!(told.get(field).is_none(), "{told}");
    }
    Ok(())
}

/// The page of a first start computes its remaining time from these texts.
#[tokio::test]
async fn the_first_reading_says_how_many_files_there_are_and_how_many_are_read() -> Result<()> {
    let library = Library::of((0..400).map(|number| Model::new("loras", &format!("m{number}"))))?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).start().await?;
    let mut socket = server.socket("/ws/init-progress").await?;
    let details = |message: &Value| message["details"].as_str().unwrap_or_default().to_owned();
    loop {
        let message = socket.find(|message| message["pageType"] == "loras").await?;
        let text = details(&message);
        match message["stage"].as_str().unwrap_or_default() {
            "count_models" => assert_eq!(text, "Found 400 lora files"),
            "process_models" => {
                let counts = text.strip_prefix("Processing lora files: ").context(text.clone())?;
                let (read, of) = counts.split_once('/').context(text.clone())?;
                assert!(read.parse::<u32>()? <= 400 && of == "400", "{text}");
            }
            _ => {}
        }
        if message["status"] == "complete" {
            assert_eq!(text, "Completed! Found 400 lora files.");
            break;
        }
    }
    server.stop().await?;
    let server = library.options().data_dir(&data).serve().await?;
    let mut socket = server.socket("/ws/init-progress").await?;
    let message = socket.find(|message| message["pageType"] == "loras").await?;
    assert_eq!(details(&message), "Completed! Found 400 lora files.");
    Ok(())
}

#[tokio::test]
async fn auto_organise_answers_after_its_last_message() -> Result<()> {
    let library = Library::of((0..20).map(|number| Model::lora(&format!("m{number}")).base("SDXL 1.0").tags(&["t"])))?;
    let server = library.serve().await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let address = server.address();
    let organise = async move {
        let call = Call::post("/api/lm/loras/auto-organize", &json!({}));
        call.send(address).await?.json()
    };
    let told = socket.find(|message| message["type"] == "auto_organize_progress" && message["status"] == "completed");
    let mut organise = std::pin::pin!(organise);
    // Biased: a message that is there is read before the answer.
    let message = tokio::select! {
        biased;
        message = told => message?,
        answer = &mut organise => anyhow::bail!("the answer came before the message: {}", answer?),
    };
    let answer = organise.await?;
    assert_eq!(
        (&answer["summary"]["success"], &message["success"]),
        (&json!(20), &json!(20))
    );
    Ok(())
}
