//! The stand-in for CivitAI to be tried by hand: it knows the models of a demonstration library, newer versions of some, and
//! some that are not there yet, and a server is set to it. `cargo xtask demo` builds everything and runs it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::binary;
use crate::civitai::{CatalogFile, CatalogModel, CatalogVersion, Civitai, Storage};
use crate::model::{beside, sha256};

/// How fast files come from one answer, in bytes a second, so that there is something to see.
const RATE: u64 = 6_000_000;
/// Ids of the models that are not in the library.
const NEW: u64 = 500_001;
const LARGE: u64 = 500_002;
/// Added to the id of a version for the one that is newer.
const NEWER: u64 = 100_000;
/// Models that the library does not know are known under ids from here on.
const UNKNOWN: u64 = 95_000_000;
/// Files up to this size are read to learn what they are.
const READ: u64 = 64 << 20;
/// How long the server may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the library in this folder, whose roots are named as settings name them, until somebody presses Ctrl-C. Further
/// arguments are the server's.
///
/// # Errors
/// When the library can't be read, or the server does not start or ends by itself.
pub async fn run(folder: &Path, arguments: &[String]) -> Result<()> {
    let (catalogue, with_updates) = catalogue(folder)?;
    let civitai = Civitai::start(catalogue).await?;
    civitai.list_base_models(&["Demonstration 1"]);
    civitai.give_out(Storage {
        rate: Some(RATE),
        ..Storage::default()
    });
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let settings = data.join("demo.toml");
    std::fs::write(&settings, civitai.settings())?;
    let mut command = Command::new(binary::find()?);
    for kind in crate::library::ROOTS {
        command
            .arg("--root")
            .arg(format!("{kind}={}", folder.join(kind).display()));
    }
    command.arg("--config").arg(&settings);
    if !arguments.iter().any(|argument| argument.starts_with("--data-dir")) {
        command.arg("--data-dir").arg(&data);
    }
    let mut server = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(server.stdout.take().context("no standard output")?);
    let base = civitai.base();
    // Its output is passed on for as long as it runs.
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            println!("{line}");
            if let Some(url) = line.strip_prefix("listening on ") {
                println!("{}", guide(url.trim(), &base, with_updates));
            }
        }
    });
    let ended = tokio::select! {
        ended = ended(&mut server) => ended?,
        () = asked_to_end() => None,
    };
    if let Some(status) = ended {
        bail!("the server ended by itself ({status})");
    }
    println!("ending");
    stop(&mut server).await
}

fn guide(url: &str, base: &str, with_updates: usize) -> String {
    format!(
        "
Open {url}
A stand-in for CivitAI answers at {base}; nothing is asked of the real one. To try:

  download    press Download and paste  https://civitai.com/models/{NEW}
              two more versions of it:  https://civitai.com/models/{NEW}?modelVersionId={}
              one of 256 MiB, to pause and resume, or to end all this meanwhile and start it again:
                                        https://civitai.com/models/{LARGE}
  metadata    press Fetch metadata: files that nobody knew get names, tags, descriptions and previews
  updates     look for updates: {with_updates} models have a newer version
  by hand     curl -s '{base}/models/{NEW}'

Ctrl-C ends both.
",
        NEW * 10 + 1
    )
}

/// What the stand-in knows, and of how many models of the library it has a newer version.
fn catalogue(folder: &Path) -> Result<(Vec<CatalogModel>, usize)> {
    let mut models: BTreeMap<u64, CatalogModel> = BTreeMap::new();
    let mut files = Vec::new();
    for kind in crate::library::ROOTS {
        collect(&folder.join(kind), &mut files)?;
    }
    files.sort();
    for (number, file) in files.iter().enumerate() {
        let side = beside(&file.with_extension(""), "metadata.json");
        let side: Value = match std::fs::read(side) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(_) => Value::Null,
        };
        match side["civitai"]["id"].as_u64() {
            Some(id) => learn(&mut models, id, &side),
            None => meet(&mut models, UNKNOWN + number as u64, file, &side)?,
        }
    }
    let mut with_updates = 0;
    for model in models
        .values_mut()
        .filter(|model| model.id < UNKNOWN && model.id % 3 == 0)
    {
        let newest = model
            .versions
            .iter()
            .map(|version| version.id)
            .max()
            .unwrap_or_default();
        let base = model.versions.first().map(|version| version.base_model.clone());
        let mut version = pictured(
            newest + NEWER,
            "a newer one",
            &format!("{} newer", model.name),
            12 << 20,
        );
        version.base_model = base.unwrap_or_default();
        model.versions.insert(0, version);
        with_updates += 1;
    }
    let versions = [(2, "v3"), (1, "v2"), (0, "v1")];
    let new =
        versions.map(|(number, name)| pictured(NEW * 10 + number, name, &format!("paper boats {name}"), 24 << 20));
    let mut large = pictured(LARGE * 10, "v1", "slow river", 0);
    large.files = vec![CatalogFile::patterned(LARGE * 100, "slow_river.safetensors", 256 << 20)];
    let describe = |id: u64, name: &str, kind: &str| {
        let mut model = CatalogModel::new(id, name, kind);
        model.description = format!("<p><strong>{name}</strong> is made up. Its weights are noise.</p>");
        model
    };
    models.insert(NEW, describe(NEW, "Paper Boats", "LORA").versions(new));
    models.insert(LARGE, describe(LARGE, "Slow River", "Checkpoint").versions([large]));
    Ok((models.into_values().collect(), with_updates))
}

/// Model files of a folder and below.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if matches!(
            path.extension().and_then(|ending| ending.to_str()),
            Some("safetensors" | "gguf")
        ) {
            files.push(path);
        }
    }
    Ok(())
}

/// A version that a sidecar tells of.
fn learn(models: &mut BTreeMap<u64, CatalogModel>, id: u64, side: &Value) {
    let stored = &side["civitai"];
    let Some(model_id) = stored["modelId"].as_u64() else {
        return;
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let model = models.entry(model_id).or_insert_with(|| {
        let mut model = CatalogModel::new(
            model_id,
            &text(&stored["model"]["name"]),
            &text(&stored["model"]["type"]),
        );
        model.creator = text(&stored["creator"]["username"]);
        model.description = text(&side["modelDescription"]);
        model.versions.clear();
        model
    });
    if model.version(id).is_none() {
        let hash = text(&stored["files"][0]["hashes"]["SHA256"]).to_lowercase();
        let mut version = CatalogVersion::new(id, &text(&stored["name"]))
            .base(&text(&stored["baseModel"]))
            .sha256(&hash);
        version.words = texts(&stored["trainedWords"]);
        model.versions.insert(0, version);
    }
}

/// A file of which the library knows nothing from a provider.
fn meet(models: &mut BTreeMap<u64, CatalogModel>, id: u64, file: &Path, side: &Value) -> Result<()> {
    let hash = match side["sha256"].as_str().filter(|hash| !hash.is_empty()) {
        Some(hash) => hash.to_owned(),
        None if file.metadata()?.len() <= READ => sha256(&std::fs::read(file)?),
        None => return Ok(()),
    };
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    // Half a file is no version of anything.
    if stem.starts_with("broken") {
        return Ok(());
    }
    let words: Vec<&str> = stem.split(['_', '-', ' ']).filter(|word| !word.is_empty()).collect();
    let kind = match file.to_string_lossy() {
        path if path.contains("/embeddings/") => "TextualInversion",
        path if path.contains("/loras/") => "LORA",
        _ => "Checkpoint",
    };
    let name = words.join(" ");
    let mut version = pictured(id * 10, "v1", &name, 0).sha256(&hash);
    version.base_model = side["base_model"]
        .as_str()
        .filter(|base| *base != "Unknown")
        .unwrap_or("SDXL 1.0")
        .to_owned();
    let mut model = CatalogModel::new(id, &format!("{name}, as the provider knows it"), kind);
    model.description = format!("<p>The stand-in knows <em>{name}</em> by the hash of its file.</p>");
    models.insert(id, model.versions([version]));
    Ok(())
}

/// A version with a picture, and with a file of this size unless that is 0.
fn pictured(id: u64, name: &str, file: &str, size: u64) -> CatalogVersion {
    let mut version = CatalogVersion::new(id, name);
    let file = file.replace(' ', "_");
    if size > 0 {
        version.files = vec![CatalogFile::patterned(id * 10, &format!("{file}.safetensors"), size)];
    }
    version.images =
        vec![json!({"url": format!("/images/{file}.png"), "type": "image", "nsfwLevel": 1, "width": 64, "height": 96})];
    version
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
}

/// Waits until a process has ended.
async fn ended(server: &mut Child) -> Result<Option<std::process::ExitStatus>> {
    loop {
        if let Some(status) = server.try_wait()? {
            return Ok(Some(status));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends the server as Ctrl-C in a terminal does, which reaches it as well.
async fn stop(server: &mut Child) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    // The standard library sends no signal but the one that can't be caught.
    let _ = Command::new("kill").args(["-TERM", &server.id().to_string()]).status();
    while server.try_wait()?.is_none() {
        if Instant::now() > end {
            server.kill()?;
            server.wait()?;
            bail!("the server did not end in time, and was killed");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Ends with Ctrl-C, or SIGTERM.
async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
