//! What is in the library.

use super::motifs::Motif::{self, *};

/// The kinds of roots, as settings name them.
pub const KINDS: [&str; 4] = ["loras", "checkpoints", "unet", "embeddings"];

/// One model.
pub struct Entry {
    pub kind: &'static str,
    /// Below the root of its kind.
    pub folder: &'static str,
    /// The file's name without extension.
    pub stem: &'static str,
    /// The name that a person reads.
    pub name: &'static str,
    pub base: &'static str,
    /// Comma separated.
    pub tags: &'static str,
    /// Trigger words, separated by `|`.
    pub words: &'static str,
    /// What the preview shows; none without a preview.
    pub motif: Option<Motif>,
    /// Its main colour, in turns.
    pub hue: f32,
    /// Without one the server finds a file it knows nothing of.
    pub sidecar: bool,
}

impl Entry {
    /// The file's extension.
    pub fn extension(&self) -> &'static str {
        if self.stem.ends_with("Q4_K_M") {
            "gguf"
        } else {
            "safetensors"
        }
    }
}

type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Motif,
    f32,
);

/// All models, in a fixed order.
pub fn entries() -> Vec<Entry> {
    let with_sidecar = [
        ("loras", LORAS),
        ("checkpoints", CHECKPOINTS),
        ("unet", UNET),
        ("embeddings", EMBEDDINGS),
    ]
    .into_iter()
    .flat_map(|(kind, rows)| rows.iter().map(move |row| (kind, row)))
    .map(|(kind, &(folder, stem, name, base, tags, words, motif, hue))| Entry {
        kind,
        folder,
        stem,
        name,
        base,
        tags,
        words,
        motif: Some(motif),
        hue,
        sidecar: true,
    });
    let bare = BARE.iter().map(|&(kind, stem, base)| Entry {
        kind,
        folder: "unsorted",
        stem,
        name: stem,
        base,
        tags: "",
        words: "",
        motif: None,
        hue: 0.0,
        sidecar: false,
    });
    with_sidecar.chain(bare).collect()
}

// One model a line, whatever its length: these are tables.
#[rustfmt::skip]
const LORAS: &[Row] = &[
    ("SDXL/style", "amber_lantern_v1", "Amber Lantern", "SDXL 1.0", "style,lighting,cinematic", "amber lantern light", Lights, 0.09),
    ("SDXL/style", "amber_lantern_v2", "Amber Lantern", "SDXL 1.0", "style,lighting,cinematic", "amber lantern light", Lights, 0.07),
    ("SDXL/style", "paper_cut_poster", "Paper Cut Poster", "SDXL 1.0", "style,vintage", "papercut poster|flat shapes", Poster, 0.02),
    ("SDXL/style", "mist_and_ridges", "Mist & Ridges", "SDXL 1.0", "style,landscape,background", "misty ridges", Hills, 0.06),
    ("SDXL/style", "woodblock_sea", "Woodblock Sea", "SDXL 1.0", "style,vintage,landscape", "woodblock print", Waves, 0.56),
    ("SDXL/concept", "crystal_bloom", "Crystal Bloom", "SDXL 1.0", "concept,fantasy,detail", "crystal bloom", Crystal, 0.78),
    ("SDXL/concept", "ringed_worlds", "Ringed Worlds", "SDXL 1.0", "concept,scifi,background", "ringed planet|starfield", Planet, 0.6),
    ("SDXL/tool", "detail_slider_xl", "Detail Slider XL", "SDXL 1.0", "tool,detail", "", Crystal, 0.5),
    ("SDXL/tool", "soft_focus_xl", "Soft Focus XL", "SDXL 1.0", "tool,lighting", "soft focus", Lights, 0.92),
    ("Pony/character", "iris_vale", "Iris Vale", "Pony", "character,woman,fantasy", "iris vale|violet cloak", Portrait, 0.75),
    ("Pony/character", "captain_rowan", "Captain Rowan", "Pony", "character,man,scifi", "captain rowan|flight jacket", Portrait, 0.58),
    ("Pony/character", "captain_rowan_summer", "Captain Rowan, Summer", "Pony", "character,man,clothing", "captain rowan|linen shirt", Portrait, 0.12),
    ("Pony/style", "neon_alley", "Neon Alley", "Pony", "style,background,scifi", "neon alley at night", City, 0.83),
    ("Pony/style", "pastel_petals", "Pastel Petals", "Pony", "style,cute", "pastel petals", Flower, 0.94),
    ("Illustrious/character", "mira_of_the_tides", "Mira of the Tides", "Illustrious", "character,woman,anime", "mira tides|shell hairpin", Portrait, 0.5),
    ("Illustrious/character", "kestrel_knight", "Kestrel Knight", "Illustrious", "character,man,fantasy,anime", "kestrel knight|feathered helm", Portrait, 0.62),
    ("Illustrious/character", "ms_hallow", "Ms. Hallow", "Illustrious", "character,woman,dark", "ms hallow|black veil", Portrait, 0.88),
    ("Illustrious/style", "gouache_days", "Gouache Days", "Illustrious", "style,anime,cute", "gouache painting", Hills, 0.3),
    ("Illustrious/style", "inkstone", "Inkstone", "Illustrious", "style,dark,detail", "inkstone lineart", Waves, 0.64),
    ("Illustrious/clothing", "winter_wool", "Winter Wool", "Illustrious", "clothing,detail", "wool coat|knitted scarf", Poster, 0.99),
    ("Illustrious/poses", "leaping_poses", "Leaping Poses", "Illustrious", "poses,action", "mid-air leap", Poster, 0.45),
    ("SD1.5/style", "old_film_grain", "Old Film Grain", "SD 1.5", "style,vintage,photorealistic", "35mm film grain", City, 0.1),
    ("SD1.5/style", "synth_horizon", "Synth Horizon", "SD 1.5", "style,scifi,vintage", "synthwave horizon", Horizon, 0.8),
    ("SD1.5/style", "field_of_poppies", "Field of Poppies", "SD 1.5", "style,landscape", "poppy field", Flower, 0.0),
    ("SD1.5/background", "harbour_morning", "Harbour Morning", "SD 1.5", "background,landscape", "harbour at dawn", Hills, 0.04),
    ("SD1.5/vehicle", "tin_toy_rockets", "Tin Toy Rockets", "SD 1.5", "vehicle,vintage,objects", "tin toy rocket", Planet, 0.03),
    ("SD1.5/buildings", "terrace_houses", "Terrace Houses", "SD 1.5", "buildings,background", "terrace houses", City, 0.6),
    ("Flux/style", "quiet_portraits", "Quiet Portraits", "Flux.1 D", "style,portrait,photorealistic", "quiet portrait", Portrait, 0.08),
    ("Flux/style", "glasshouse", "Glasshouse", "Flux.1 D", "style,lighting,landscape", "glasshouse light", Flower, 0.38),
    ("Flux/style", "midnight_signal", "Midnight Signal", "Flux.1 D", "style,cinematic,dark", "midnight signal", Horizon, 0.68),
    ("Flux/concept", "prism_shards", "Prism Shards", "Flux.1 D", "concept,detail", "prism shards", Crystal, 0.9),
    ("Flux/concept", "moss_giants", "Moss Giants", "Flux.1 D", "concept,fantasy,landscape", "moss giant", Hills, 0.35),
    ("Flux/animal", "paper_foxes", "Paper Foxes", "Flux.1 D", "animal,cute,style", "paper fox", Poster, 0.06),
    ("Wan/motion", "calm_orbit_HIGH", "Calm Orbit (high noise)", "Wan Video 2.2 I2V-A14B", "action,cinematic", "calm orbit", Planet, 0.7),
    ("Wan/motion", "calm_orbit_LOW", "Calm Orbit (low noise)", "Wan Video 2.2 I2V-A14B", "action,cinematic", "calm orbit", Planet, 0.72),
    ("Wan/motion", "wave_loop_T2V", "Wave Loop", "Wan Video 14B t2v", "action,background", "looping waves", Waves, 0.52),
];

#[rustfmt::skip]
const CHECKPOINTS: &[Row] = &[
    ("SDXL", "lumen_xl_v30", "Lumen XL", "SDXL 1.0", "base model,photorealistic", "", Lights, 0.13),
    ("SDXL", "lumen_xl_v40_lightning", "Lumen XL", "SDXL 1.0", "base model,photorealistic", "", Lights, 0.16),
    ("SDXL", "harbour_xl", "Harbour XL", "SDXL 1.0", "base model,landscape", "", Hills, 0.58),
    ("Pony", "clover_pony_v6", "Clover Pony", "Pony", "base model,anime", "", Flower, 0.3),
    ("Illustrious", "northern_ink_v11", "Northern Ink", "Illustrious", "base model,anime", "", Waves, 0.6),
    ("Illustrious", "sugar_comet", "Sugar Comet", "Illustrious", "base model,anime,cute", "", Planet, 0.95),
    ("SD1.5", "granite_v5_pruned", "Granite", "SD 1.5", "base model,photorealistic", "", City, 0.55),
    ("SD1.5", "daydream_mix", "Daydream Mix", "SD 1.5", "base model,anime", "", Horizon, 0.86),
];

#[rustfmt::skip]
const UNET: &[Row] = &[
    ("", "aurora_dev_fp8", "Aurora Dev fp8", "Flux.1 D", "base model", "", Crystal, 0.42),
    ("", "aurora_dev_Q4_K_M", "Aurora Dev Q4", "Flux.1 D", "base model", "", Crystal, 0.46),
    ("Wan", "river_I2V_14B_HIGH", "River I2V (high noise)", "Wan Video 2.2 I2V-A14B", "base model,action", "", Waves, 0.48),
    ("Wan", "river_I2V_14B_LOW", "River I2V (low noise)", "Wan Video 2.2 I2V-A14B", "base model,action", "", Waves, 0.46),
];

#[rustfmt::skip]
const EMBEDDINGS: &[Row] = &[
    ("negative", "easy_on_the_hands", "Easy on the Hands", "SD 1.5", "negative,tool", "easy_on_the_hands", Poster, 0.6),
    ("negative", "clean_lines_neg", "Clean Lines (negative)", "SD 1.5", "negative,tool", "clean_lines_neg", Poster, 0.35),
    ("negative", "xl_blur_neg", "XL Blur (negative)", "SDXL 1.0", "negative,tool", "xl_blur_neg", Lights, 0.6),
    ("style", "candle_mood", "Candle Mood", "SD 1.5", "style,lighting", "candle_mood", Lights, 0.06),
    ("style", "dusk_palette", "Dusk Palette", "SDXL 1.0", "style,landscape", "dusk_palette", Horizon, 0.9),
    ("character", "old_gardener", "The Old Gardener", "SD 1.5", "character,man", "old_gardener", Portrait, 0.28),
];

/// Files that came without anything: kind, stem, and the base model that their header shows.
const BARE: &[(&str, &str, &str)] = &[
    ("loras", "my_first_training-000008", "SDXL 1.0"),
    ("loras", "cat_test_rank16", "SD 1.5"),
    ("loras", "pytorch_lora_weights", "Flux.1 D"),
    ("checkpoints", "merge_0412_a_b_0.35", "SDXL 1.0"),
    ("embeddings", "mystyle-1500", "SD 1.5"),
];
