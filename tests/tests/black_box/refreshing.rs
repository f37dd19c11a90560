//! Metadata of many models from a provider.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use modelshelf_tests::civitai::{Civitai, Fault};
use modelshelf_tests::{Call, Library, Model, Server};
use serde_json::{Value, json};

use super::remote_metadata::{known, sidecar};

const ALL: &str = "/api/lm/loras/fetch-all-civitai";

/// Models in a library, and a provider that knows them.
async fn models(count: u64) -> Result<(Library, Vec<PathBuf>, Civitai)> {
    let library = Library::new()?;
    let (mut files, mut catalogue) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let file = library.add(&Model::lora(&format!("f{}/m{number:04}", number % 7)))?;
        catalogue.push(known(number, &format!("Model {number}"), &file)?);
        files.push(file);
    }
    Ok((library, files, Civitai::start(catalogue).await?))
}

async fn progress(server: &Server) -> Result<Value> {
    let answer = server.get_json("/api/lm/loras/fetch-all-civitai-progress", &[]).await?;
    Ok(answer["progress"].clone())
}

#[tokio::test]
async fn all_models_that_need_it_are_asked_about_in_batches_and_progress_is_told() -> Result<()> {
    let (library, files, civitai) = models(130).await?;
    for (name, field, value) in [
        ("skipped", "skip_metadata_refresh", json!(true)),
        ("elsewhere", "hf_url", json!("https://huggingface.co/a/b")),
        ("gone", "civitai_deleted", json!(true)),
    ] {
        library.add(
            &Model::lora(name)
                .side(field, value)
                .side("from_civitai", name != "gone"),
        )?;
    }
    library.add(&Model::lora("quiet/below/x"))?;
    library.add(&Model::lora("unknown"))?;
    let server = library
        .options()
        .settings("metadata_refresh_skip_paths = ['quiet']")
        .civitai(&civitai)
        .serve()
        .await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let answer = server.post_json(ALL, &json!({})).await?;
    assert_eq!(
        (&answer["success"], &answer["updated"], &answer["processed"]),
        (&json!(true), &json!(130), &json!(131)),
        "{answer}"
    );
    assert_eq!((&answer["total"], &answer["skipped_count"]), (&json!(135), &json!(4)));
    assert_eq!(
        answer["failures"],
        json!([{"name": "unknown", "error": "Model not found"}])
    );
    let started = socket.find(|message| message["task"] == "fetch_all").await?;
    assert_eq!(
        (&started["status"], &started["total"]),
        (&json!("started"), &json!(135))
    );
    assert!(started.get("type").is_none());
    let step = socket.find(|message| message["status"] == "processing").await?;
    assert!(step["current_name"].is_string() && step["handled"].is_u64(), "{step}");
    let end = socket.find(|message| message["status"] == "completed").await?;
    assert_eq!((&end["success"], &end["failure_count"]), (&json!(130), &json!(1)));
    assert_eq!(progress(&server).await?, end);
    // Two batches by hash, and their models; one that nobody knows is asked for alone.
    let posts = civitai.asked().iter().filter(|own| own.method == "POST").count();
    assert_eq!((posts, civitai.count("/models?ids=")), (2, 2));
    assert!(civitai.asked().len() <= 8, "{:?}", civitai.asked());
    assert_eq!(sidecar(&files[77])?["civitai"]["modelId"], 78);

    // A second run asks for nothing that is known.
    civitai.forget();
    let answer = server.post_json(ALL, &json!({})).await?;
    assert_eq!((&answer["processed"], &answer["success"]), (&json!(0), &json!(true)));
    assert!(civitai.asked().is_empty());
    // These, whatever is known of them.
    let answer = server.post_json(ALL, &json!({ "file_paths": [files[0]] })).await?;
    assert_eq!((&answer["updated"], &answer["total"]), (&json!(1), &json!(1)));
    Ok(())
}

#[tokio::test]
async fn without_the_batch_route_models_are_asked_about_one_by_one() -> Result<()> {
    let (library, _, civitai) = models(12).await?;
    for file in civitai_faults() {
        civitai.fail(file);
    }
    let server = library.options().civitai(&civitai).serve().await?;
    let answer = server.post_json(ALL, &json!({})).await?;
    assert_eq!(answer["updated"], 12, "{answer}");
    Ok(())
}

/// The route for many is not there.
fn civitai_faults() -> [Fault; 1] {
    [Fault::status("/model-versions/by-hash", 405).times(1)]
}

#[tokio::test]
async fn a_run_that_the_provider_slows_down_or_blocks_ends_without_harm() -> Result<()> {
    let (library, files, civitai) = models(5).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    civitai.fail(Fault::page("/api/v1", 403));
    let answer = server.post_json(ALL, &json!({})).await?;
    assert_eq!((&answer["success"], &answer["updated"]), (&json!(false), &json!(0)));
    assert!(
        answer["message"].as_str().unwrap_or_default().contains("web page"),
        "{answer}"
    );
    assert_eq!(progress(&server).await?["status"], "error");
    civitai.mend();
    civitai.fail(Fault::limited("/api/v1", "3600"));
    let answer = server.post_json(ALL, &json!({})).await?;
    assert_eq!(answer["success"], false);
    assert_eq!(progress(&server).await?["status"], "rate_limited");
    for file in &files {
        assert_eq!(sidecar(file)?["civitai_deleted"], false);
    }
    Ok(())
}

#[tokio::test]
async fn a_run_can_be_cancelled_and_only_one_runs_at_a_time() -> Result<()> {
    let (library, _, civitai) = models(250).await?;
    let server = library.options().civitai(&civitai).serve().await?;
    let mut socket = server.socket("/ws/fetch-progress").await?;
    // The provider asks for a pause, so that the run is under way for a while.
    civitai.fail(Fault::limited("/api/v1", "2").times(1));
    let address = server.address();
    let running = tokio::spawn(async move { Call::post(ALL, &json!({})).send(address).await });
    socket.find(|message| message["status"] == "started").await?;
    assert_eq!(server.send(&Call::post(ALL, &json!({}))).await?.status, 409);
    server.post_json("/api/lm/loras/cancel-task", &json!({})).await?;
    let answer = running.await??.json()?;
    assert_eq!(answer["success"], false, "{answer}");
    assert_eq!(progress(&server).await?["status"], "cancelled");
    // The flag is the run's own: the next one is not stopped by it.
    let answer = server.post_json(ALL, &json!({})).await?;
    assert_eq!(answer["success"], true, "{answer}");
    assert!(answer["updated"].as_u64().unwrap_or_default() > 0);
    Ok(())
}

#[tokio::test]
async fn a_run_that_is_killed_is_taken_up_without_asking_again_for_what_is_known() -> Result<()> {
    let (library, files, civitai) = models(400).await?;
    let data = library.path().join("data");
    let server = library
        .options()
        .civitai(&civitai)
        .data_dir(&data)
        .silent()
        .serve()
        .await?;
    let address = server.address();
    let running = tokio::spawn(async move { Call::post(ALL, &json!({})).send(address).await });
    // Killed when some of it is done.
    let until = Instant::now() + Duration::from_secs(30);
    while progress(&server).await?["success"].as_u64().unwrap_or_default() < 100 {
        anyhow::ensure!(Instant::now() < until, "no progress");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.kill();
    let _ = running.await?;
    let has_it = |file: &PathBuf| Ok::<_, anyhow::Error>(sidecar(file)?["civitai"]["id"].is_u64());
    let known: Vec<bool> = files.iter().map(has_it).collect::<Result<_>>()?;
    let count = known.iter().filter(|known| **known).count();
    assert!(count >= 75, "{count}");
    civitai.forget();

    let server = library.options().civitai(&civitai).data_dir(&data).serve().await?;
    server.scan("loras", false).await?;
    let answer = server.post_json(ALL, &json!({})).await?;
    assert_eq!(answer["success"], true, "{answer}");
    let asked = civitai.asked();
    let hashes = asked.iter().filter_map(|own| own.body.as_ref()?.as_array()).flatten();
    let mut times: HashMap<String, u32> = HashMap::new();
    for hash in hashes {
        *times.entry(hash.as_str().context("text")?.to_lowercase()).or_default() += 1;
    }
    assert!(
        times.len() <= files.len() - count,
        "{} of {}",
        times.len(),
        files.len() - count
    );
    for file in &files {
        let sidecar = sidecar(file)?;
        assert!(sidecar["civitai"]["id"].is_u64(), "{}", file.display());
        let hash = sidecar["sha256"].as_str().context("hash")?;
        assert!(times.get(hash).is_none_or(|times| *times == 1));
    }
    Ok(())
}
