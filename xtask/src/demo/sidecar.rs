//! Sidecars as ComfyUI-Lora-Manager writes them.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::catalogue::Entry;
use super::random::Random;
use super::weights::Written;

const CREATORS: [&str; 7] = [
    "lanternfolk",
    "inkwell_studio",
    "northlight",
    "paperfox",
    "mossgarden",
    "tidewright",
    "gridline",
];

const NOTES: [&str; 4] = [
    "Best around 0.7. Falls apart above 1.0.",
    "Try together with a soft focus LoRA.",
    "Ask before using it for anything printed.",
    "Trained on too few images: faces drift.",
];

// Most pictures are for everybody; a few are not, so that the filters have something to do.
const LEVELS: [u32; 12] = [1, 1, 1, 0, 1, 2, 1, 1, 4, 1, 1, 8];

/// The sidecar's text.
///
/// # Errors
/// When a path is no text.
pub fn text(
    index: usize,
    entry: &Entry,
    file: &Path,
    written: &Written,
    preview: Option<&Path>,
    random: &mut Random,
) -> Result<String> {
    let path = |path: &Path| path.to_string_lossy().replace('\\', "/");
    let is_checkpoint = matches!(entry.kind, "checkpoints" | "unet");
    let tags: Vec<&str> = entry.tags.split(',').filter(|tag| !tag.is_empty()).collect();
    let words: Vec<&str> = entry.words.split('|').filter(|word| !word.is_empty()).collect();
    let from_provider = !index.is_multiple_of(6);
    let mut side = json!({
        "file_name": entry.stem,
        "model_name": entry.name,
        "file_path": path(file),
        "size": written.size,
        // One every day or so, up to a fixed day.
        "modified": 1_780_000_000.0 - index as f64 * 86_400.0 - random.below(40_000) as f64,
        "sha256": if is_checkpoint { "" } else { written.sha256.as_str() },
        "base_model": entry.base,
        "preview_url": preview.map(path).unwrap_or_default(),
        "preview_nsfw_level": LEVELS[index % LEVELS.len()],
        "notes": if index % 5 == 2 { NOTES[index / 5 % NOTES.len()] } else { "" },
        "from_civitai": from_provider,
        "civitai": if from_provider { provider_version(index, entry, written, &tags, &words) } else { json!({}) },
        "tags": tags,
        "modelDescription": description(entry),
        "civitai_deleted": false,
        "favorite": index % 7 == 3,
        "exclude": false,
        "db_checked": false,
        "skip_metadata_refresh": false,
        "metadata_source": if from_provider { json!("civitai_api") } else { Value::Null },
        "last_checked_at": 0,
        "hash_status": if is_checkpoint { "pending" } else { "completed" },
    });
    match entry.kind {
        "loras" => side["usage_tips"] = usage_tips(index).into(),
        "unet" => side["sub_type"] = "diffusion_model".into(),
        "embeddings" => side["sub_type"] = "embedding".into(),
        _ => side["sub_type"] = "checkpoint".into(),
    }
    Ok(serde_json::to_string_pretty(&side)?)
}

fn usage_tips(index: usize) -> String {
    match index % 3 {
        0 => json!({"strength": 0.8, "strength_min": 0.5, "strength_max": 1.0}).to_string(),
        1 => json!({"strength": 0.65, "clip_skip": 2}).to_string(),
        _ => "{}".to_owned(),
    }
}

fn description(entry: &Entry) -> String {
    let about = match entry.kind {
        "loras" => "A small network to put on top of a base model.",
        "embeddings" => "A textual inversion: write its name into the prompt.",
        _ => "A full model.",
    };
    let words = entry.words.replace('|', ", ");
    let use_it = if words.is_empty() {
        String::new()
    } else {
        format!("<p>Use it with <code>{words}</code>.</p>")
    };
    format!(
        "<p><strong>{}</strong>. {about} Made up for the demonstration library: the weights are empty.</p>{use_it}",
        entry.name
    )
}

fn provider_version(index: usize, entry: &Entry, written: &Written, tags: &[&str], words: &[&str]) -> Value {
    let kind = match entry.kind {
        "loras" if index % 11 == 4 => "LoCon",
        "loras" if index % 11 == 7 => "DoRA",
        "loras" => "LORA",
        "embeddings" => "TextualInversion",
        _ => "Checkpoint",
    };
    // Entries of one name are versions of one model.
    let model_id = 90_000
        + entry
            .name
            .bytes()
            .fold(0u64, |sum, byte| (sum * 31 + u64::from(byte)) % 9_000);
    let commercial: &[&str] = if index.is_multiple_of(3) {
        &["Image", "RentCivit"]
    } else {
        &["Image", "RentCivit", "Rent", "Sell"]
    };
    json!({
        "id": 700_000 + index,
        "modelId": model_id,
        "name": if entry.stem.ends_with("v2") { "v2.0" } else { "v1.0" },
        "baseModel": entry.base,
        "type": kind,
        "nsfwLevel": LEVELS[index % LEVELS.len()],
        "createdAt": "2026-05-02T09:30:00.000Z",
        "publishedAt": "2026-05-02T10:00:00.000Z",
        "trainedWords": words,
        "model": {
            "name": entry.name,
            "type": kind,
            "nsfw": false,
            "poi": false,
            "tags": tags,
            "allowNoCredit": index % 4 != 1,
            "allowCommercialUse": commercial,
            "allowDerivatives": true,
            "allowDifferentLicense": index.is_multiple_of(2),
        },
        "creator": {"username": CREATORS[index % CREATORS.len()], "image": null},
        "files": [{
            "id": 800_000 + index,
            "name": format!("{}.{}", entry.stem, entry.extension()),
            "type": "Model",
            "sizeKB": written.size as f64 / 1024.0,
            "primary": true,
            "hashes": {"SHA256": written.sha256.to_uppercase()},
            "metadata": {"format": "SafeTensor", "size": "pruned", "fp": "fp16"},
        }],
        "images": [],
    })
}
