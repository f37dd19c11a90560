//! A large library that is the same in every run.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use super::Options;
use crate::model::Model;
use crate::server::ServerOptions;

const WORDS: [&str; 48] = [
    "amber", "anime", "arcane", "ash", "azure", "baroque", "bloom", "bronze", "candle", "cinder", "cloud", "cobalt",
    "coral", "crystal", "dawn", "dream", "dusk", "ember", "fable", "feather", "fern", "film", "flare", "forest",
    "frost", "gilded", "glass", "grain", "halo", "harbor", "hazel", "iris", "ivory", "jade", "lantern", "lilac",
    "linen", "lunar", "marble", "meadow", "mist", "moss", "neon", "noir", "oak", "ocean", "onyx", "opal",
];

/// Tags that models have between none and five of.
pub const TAGS: [&str; 20] = [
    "character",
    "style",
    "concept",
    "clothing",
    "background",
    "action",
    "poses",
    "tool",
    "animal",
    "vehicle",
    "buildings",
    "anime",
    "photorealistic",
    "woman",
    "man",
    "fantasy",
    "scifi",
    "landscape",
    "portrait",
    "detail",
];

/// Base models, each of a fifth of the library, with what a header says of them.
pub const BASES: [(&str, &str); 5] = [
    ("SD 1.5", "sd_v1"),
    ("SDXL 1.0", "sdxl_base_v1-0"),
    ("Pony", "sdxl_base_v1-0"),
    ("Illustrious", "sdxl_base_v1-0"),
    ("Flux.1 D", "flux1"),
];

/// Terms to search for: words of names, parts of words, and texts that nothing has.
pub fn terms() -> Vec<String> {
    let parts = WORDS.iter().filter_map(|word| word.get(1..4)).map(str::to_owned);
    let pairs = (0..WORDS.len()).map(|place| format!("{} {}", WORDS[place], WORDS[(place * 7 + 3) % WORDS.len()]));
    let absent = (0..8).map(|number| format!("zzz{number}"));
    WORDS
        .iter()
        .map(|word| (*word).to_owned())
        .chain(parts)
        .chain(pairs)
        .chain(absent)
        .collect()
}

/// A library on the disk.
pub struct Data {
    folder: PathBuf,
}

impl Data {
    /// A server's options for it.
    pub fn options(&self) -> ServerOptions {
        ["loras", "checkpoints", "embeddings"]
            .iter()
            .fold(ServerOptions::default().silent(), |options, root| {
                options.root(root, &self.folder.join(root))
            })
    }
}

/// Writes a library of loras alone, each with a sidecar as a provider's metadata fills it, unless the folder
/// already holds one of this size.
///
/// # Errors
/// When the disk refuses.
pub fn make_large(folder: &Path, count: usize) -> Result<Data> {
    let (done, wanted) = (folder.join("made"), format!("{count} models, form 1"));
    if std::fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
        println!("{} is there from before", folder.display());
        return Ok(Data {
            folder: folder.to_owned(),
        });
    }
    for root in ["checkpoints", "embeddings"] {
        std::fs::create_dir_all(folder.join(root))?;
    }
    write("loras", count, folder, &large)?;
    std::fs::write(done, wanted)?;
    Ok(Data {
        folder: folder.to_owned(),
    })
}

/// Names of the models of [`make_large`]: the sidecar of one of them.
pub fn large_sidecar(data: &Data, number: usize) -> PathBuf {
    let file = large("loras", number).file(&data.folder);
    file.with_extension("metadata.json")
}

/// A model as [`model`] makes it, in one of some hundred or thousand folders, with a longer description and a size.
fn large(root: &str, number: usize) -> Model {
    let place = format!("{:04}", number / 400);
    let sentence = |salt: usize| WORDS[(number / 3 + salt * 7) % WORDS.len()];
    let description: Vec<&str> = (0..60).map(sentence).collect();
    model_in(root, number, true, Some(&place))
        .side("modelDescription", format!("<p>{}</p>", description.join(" ")))
        .side("size", 20_000_000 + (number * 7_919) % 400_000_000)
}

/// Writes the library, with or without sidecars.
///
/// # Errors
/// When the disk refuses.
pub fn make(folder: &Path, options: &Options, sidecars: bool) -> Result<Data> {
    let kinds = [
        ("loras", options.loras),
        ("checkpoints", options.checkpoints),
        ("embeddings", options.embeddings),
    ];
    for (root, count) in kinds {
        write(root, count, folder, &|root, number| model(root, number, sidecars))?;
    }
    Ok(Data {
        folder: folder.to_owned(),
    })
}

/// Writes so many models of a root, on all processors.
fn write(root: &str, count: usize, folder: &Path, model: &(dyn Fn(&str, usize) -> Model + Sync)) -> Result<()> {
    std::fs::create_dir_all(folder.join(root))?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mut own = (worker..count).step_by(workers);
                    own.try_for_each(|number| model(root, number).write(folder).map(|_| ()))
                })
            })
            .collect();
        let mut results = parts
            .into_iter()
            .map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.try_for_each(|result| result)
    })
}

/// The same number gives the same model; neighbours have little in common.
fn model(root: &str, number: usize, sidecar: bool) -> Model {
    model_in(root, number, sidecar, None)
}

/// The same in a folder of this name below those of its base model and tag.
fn model_in(root: &str, number: usize, sidecar: bool, below: Option<&str>) -> Model {
    let random =
        |salt: usize, limit: usize| (number.wrapping_mul(2_654_435_761) ^ salt.wrapping_mul(40_503)) / 64 % limit;
    let word = |salt: usize| WORDS[random(salt, WORDS.len())];
    let (base, header) = BASES[number % BASES.len()];
    let tags: Vec<&str> = (0..random(1, 6))
        .map(|place| TAGS[random(place + 2, TAGS.len())])
        .collect();
    let folder = match random(9, 10) {
        0 => String::new(),
        part if part < 4 => format!("{base}/"),
        _ => format!("{base}/{}/", TAGS[random(10, TAGS.len())]),
    };
    let folder = match below {
        Some(below) if !folder.is_empty() => format!("{base}/{below}/"),
        _ => folder,
    };
    let path = format!("{folder}{}_{}_{number:06}", word(11), word(12));
    let mut model = Model::new(root, &path).seed(number as u64);
    model = match root {
        "loras" => model
            .metadata("ss_base_model_version", header)
            .metadata("ss_network_dim", "32")
            .metadata("ss_network_alpha", "16")
            .metadata("ss_network_module", "networks.lora")
            .metadata("ss_output_name", word(13))
            .metadata(
                "ss_tag_frequency",
                &format!(r#"{{"1_{}":{{"{}":40,"{}":12}}}}"#, word(11), word(12), word(14)),
            )
            .tensor(
                "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
                "F16",
                &[4, 64],
            )
            .tensor(
                "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_up.weight",
                "F16",
                &[64, 4],
            ),
        "embeddings" => model.tensor("emb_params", "F32", &[2, 64]),
        _ => model.tensor("model.diffusion_model.input_blocks.0.0.weight", "F16", &[32, 4, 3, 3]),
    };
    if !sidecar {
        return model;
    }
    let name = format!("{} {} {number}", capital(word(11)), capital(word(15)));
    let version = json!({
        "id": 100_000 + number, "modelId": 50_000 + number / 3, "name": format!("v{}", number % 3 + 1), "baseModel": base,
        "trainedWords": [word(16), word(17)], "nsfwLevel": 1, "publishedAt": "2026-05-02T10:00:00.000Z",
        "model": {
            "name": name, "type": "LORA", "tags": tags, "allowNoCredit": !number.is_multiple_of(4), "allowCommercialUse": ["Image"],
            "allowDerivatives": true, "allowDifferentLicense": false,
        },
        "creator": {"username": format!("creator{:02}", random(18, 60))},
        "images": [{"type": "image", "nsfwLevel": 1, "width": 832, "height": 1216}],
        "files": [{"id": number, "type": "Model", "primary": true, "sizeKB": 228_000.0}],
    });
    model = model
        .name(&name)
        .base(base)
        .tags(&tags)
        .modified(1_700_000_000.0 + (number * 61) as f64)
        .side(
            "modelDescription",
            format!("<p>{} {} {} {}</p>", word(19), word(20), word(21), word(22)),
        )
        .side(
            "notes",
            if number.is_multiple_of(10) {
                format!("note {number}")
            } else {
                String::new()
            },
        )
        .civitai(version);
    if number.is_multiple_of(20) {
        model.favorite()
    } else {
        model
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
