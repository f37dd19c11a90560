//! What the sandbox costs: an instance with an empty call, and `derive` for each item,
//! against the same rules of the same crate run natively. One JSON line for each number.
//!
//! `cargo run --release -p host --example plugin_bench`, after `cargo xtask plugins`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelshelf_host::plugins::bindings::modelshelf::plugin::rule_types::FileFacts;
use modelshelf_host::plugins::bindings::{Header, RemoteIdentity};
use modelshelf_host::plugins::limits::AllLimits;
use modelshelf_host::plugins::{CodeCache, Compiler, Plugin, PluginEngine, builtin};
use modelshelf_plugin_sdk as sdk;
use modelshelf_plugin_sdk::ModelType;

/// Items in a batch, as many as a scan hands over.
const BATCH: usize = 128;
/// Batches timed, in rounds of native and sandboxed side by side.
const ROUNDS: usize = 200;
/// Calls timed.
const CALLS: usize = 20_000;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bench())
}

async fn bench() -> anyhow::Result<()> {
    let engine = Arc::new(PluginEngine::new(AllLimits::default())?);
    let folder = tempfile::tempdir()?;
    let cache = Arc::new(CodeCache::new(
        folder.path().join("compiled"),
        engine.engine(),
        Compiler::in_this_process(),
    ));
    let (name, wasm) = builtin::BUILTIN
        .iter()
        .find(|(name, _)| *name == "lora")
        .ok_or_else(|| {
            anyhow::anyhow!("the built-in plugins are not embedded; run `cargo xtask plugins` and build again")
        })?;

    let started = Instant::now();
    let plugin = Plugin::load(&engine, &cache, name, wasm).await?;
    say("load plugin, compiling", started.elapsed().as_secs_f64() * 1e3, "ms");
    let started = Instant::now();
    black_box(Plugin::load(&engine, &cache, name, wasm).await?);
    say(
        "load plugin, compiled before",
        started.elapsed().as_secs_f64() * 1e3,
        "ms",
    );

    let mut calls = Vec::with_capacity(CALLS);
    let nothing: Arc<[FileFacts]> = Arc::new([]);
    for _ in 0..CALLS {
        let started = Instant::now();
        black_box(plugin.derive_here(nothing.clone()).await?);
        calls.push(started.elapsed());
    }
    calls.sort_unstable();
    say("fresh instance and empty call, median", micros(calls[CALLS / 2]), "µs");
    say(
        "fresh instance and empty call, p99",
        micros(calls[CALLS * 99 / 100]),
        "µs",
    );

    let facts: Arc<[FileFacts]> = (0..BATCH).map(fact).collect();
    let native: Vec<sdk::FileFacts> = facts.iter().map(to_native).collect();
    let (mut inside, mut outside) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let started = Instant::now();
        black_box(plugin.derive_here(facts.clone()).await?);
        inside.push(started.elapsed());
        let started = Instant::now();
        black_box(modelshelf_lora::Lora::derive(black_box(&native)));
        outside.push(started.elapsed());
    }
    inside.sort_unstable();
    outside.sort_unstable();
    let (inside, outside) = (
        micros(inside[ROUNDS / 2]) / BATCH as f64,
        micros(outside[ROUNDS / 2]) / BATCH as f64,
    );
    say("derive, sandboxed, median for each item", inside, "µs");
    say("derive, native, median for each item", outside, "µs");
    say("derive, cost of the sandbox for each item", inside - outside, "µs");
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn say(name: &str, value: f64, unit: &str) {
    println!(
        "{}",
        serde_json::json!({ "name": name, "value": (value * 100.0).round() / 100.0, "unit": unit })
    );
}

/// A file as a trained LoRA with a sidecar looks.
fn fact(index: usize) -> FileFacts {
    FileFacts {
        relative_path: format!("SDXL/style/watercolor_{index:05}.safetensors"),
        file_name: format!("watercolor_{index:05}"),
        root_key: "loras".into(),
        size: 228_455_604,
        base_model: "SDXL 1.0".into(),
        tags: vec!["style".into(), "watercolor".into(), "painting".into()],
        remote: RemoteIdentity {
            version_id: Some(100_000 + index as u64),
            model_id: Some(50_000),
            version_name: "v1.0".into(),
            creator: "somebody".into(),
            model_type: "LORA".into(),
        },
        header: Some(Header {
            metadata: vec![
                ("ss_base_model_version".into(), "sdxl_base_v1-0".into()),
                (
                    "modelspec.architecture".into(),
                    "stable-diffusion-xl-v1-base/lora".into(),
                ),
            ],
            tensors: Vec::new(),
            tensor_count: 2166,
        }),
        sidecar: r#"{"usage_tips":"{\"strength\": 0.8}","x_unknown_field":{"kept":1}}"#.into(),
    }
}

fn to_native(facts: &FileFacts) -> sdk::FileFacts {
    sdk::FileFacts {
        relative_path: facts.relative_path.clone(),
        file_name: facts.file_name.clone(),
        root_key: facts.root_key.clone(),
        size: facts.size,
        base_model: facts.base_model.clone(),
        tags: facts.tags.clone(),
        remote: sdk::RemoteIdentity {
            version_id: facts.remote.version_id,
            model_id: facts.remote.model_id,
            version_name: facts.remote.version_name.clone(),
            creator: facts.remote.creator.clone(),
            model_type: facts.remote.model_type.clone(),
        },
        header: facts.header.as_ref().map(|header| sdk::Header {
            metadata: header.metadata.clone(),
            tensors: Vec::new(),
            tensor_count: header.tensor_count,
        }),
        sidecar: facts.sidecar.clone(),
    }
}
