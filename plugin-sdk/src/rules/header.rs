//! What a safetensors header says of its file.
//!
//! Trainers write the base model into the header's metadata; where they don't, names and widths of some tensors give it
//! away. A descriptor asks for both:
//!
//! ```
//! use modelshelf_plugin_sdk::{Descriptor, rules::header};
//!
//! let descriptor = Descriptor::new("vae", "vaes", "VAEs").headers(header::METADATA_KEYS, header::WEIGHT_TENSORS);
//! ```

use crate::request::first_value;
use crate::{Header, Tensor};

use super::tensors;
pub use super::tensors::{
    ADAPTER_TENSORS, EMBEDDING_TENSORS, FULL_MODEL_TENSORS, WEIGHT_TENSORS, is_adapter, is_full_model,
};

/// The metadata that [`base_model`] reads.
pub const METADATA_KEYS: [&str; 2] = ["ss_base_model_version", "modelspec.architecture"];

/// Parts of a header's text and the base model that the first contained one stands for. Besides what providers write,
/// these are the words of kohya's trainers, of ai-toolkit and of the Stability model specification.
const PARTS: [(&str, &str); 50] = [
    ("sd_1.5", "SD 1.5"),
    ("sd-v1-5", "SD 1.5"),
    ("sd_v1", "SD 1.5"),
    ("stable-diffusion-v1", "SD 1.5"),
    ("sd-v2-1", "SD 2.1"),
    ("sd_2.1", "SD 2.1"),
    ("sdxl", "SDXL 1.0"),
    ("sd_xl", "SDXL 1.0"),
    ("stable-diffusion-xl", "SDXL 1.0"),
    ("sd-v2", "SD 2.0"),
    ("sd_v2", "SD 2.0"),
    ("sd_2.0", "SD 2.0"),
    ("stable-diffusion-v2", "SD 2.0"),
    ("3.5-large-turbo", "SD 3.5 Large Turbo"),
    ("3.5-large", "SD 3.5 Large"),
    ("3.5_large", "SD 3.5 Large"),
    ("3.5-medium", "SD 3.5 Medium"),
    ("3.5_medium", "SD 3.5 Medium"),
    ("stable-diffusion-3", "SD 3"),
    ("sd_3", "SD 3"),
    ("sd3", "SD 3"),
    ("kontext", "Flux.1 Kontext"),
    ("flux-1-schnell", "Flux.1 S"),
    ("flux1-schnell", "Flux.1 S"),
    ("flux_schnell", "Flux.1 S"),
    ("flux.1 s", "Flux.1 S"),
    ("flux1", "Flux.1 D"),
    ("flux-1", "Flux.1 D"),
    ("flux.1", "Flux.1 D"),
    ("flux-2-dev", "Flux.2 D"),
    ("flux2-dev", "Flux.2 D"),
    ("chroma", "Chroma"),
    ("illustrious", "Illustrious"),
    ("noobai", "NoobAI"),
    ("pony", "Pony"),
    ("hunyuan_video", "Hunyuan Video"),
    ("hunyuan-video", "Hunyuan Video"),
    ("hunyuanvideo", "Hunyuan Video"),
    ("qwen_image", "Qwen"),
    ("qwen-image", "Qwen"),
    ("lumina-2", "Lumina"),
    ("lumina2", "Lumina"),
    ("hidream", "HiDream"),
    ("auraflow", "AuraFlow"),
    ("kolors", "Kolors"),
    ("wan2", "Wan Video"),
    ("wan_2", "Wan Video"),
    ("wan-2", "Wan Video"),
    ("wan 2", "Wan Video"),
    ("ltxv", "LTXV"),
];

impl Header {
    /// The value of a metadata key, when the descriptor asked for it and the file has it.
    pub fn metadata_value(&self, key: &str) -> Option<&str> {
        first_value(&self.metadata, key)
    }

    /// The first handed-over tensor whose name contains this text.
    pub fn tensor_like(&self, part: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name.contains(part))
    }
}

/// The base model that a header shows; none when it shows nothing.
///
/// What a trainer wrote counts first: a known word in one of [`METADATA_KEYS`], then an unknown word as it stands in
/// `ss_base_model_version`. Only a header that says nothing is judged by its tensors, which can't tell a base model from
/// another of the same shape (Pony is SDXL to them).
pub fn base_model(header: &Header) -> Option<String> {
    let version = said(header, "ss_base_model_version");
    let architecture = said(header, "modelspec.architecture");
    let known = version
        .and_then(known_name)
        .or_else(|| architecture.and_then(known_name));
    let found = known.or(version).or_else(|| tensors::base_model(header));
    found.map(str::to_owned)
}

fn said<'a>(header: &'a Header, key: &str) -> Option<&'a str> {
    // kohya writes the text "None" for a value that it does not have.
    header
        .metadata_value(key)
        .map(str::trim)
        .filter(|text| !text.is_empty() && *text != "None")
}

fn known_name(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let listed = PARTS
        .iter()
        .find(|(part, _)| has_part(&lower, part))
        .map(|(_, name)| *name);
    listed.or_else(|| {
        // Short enough to stand inside other words, so that it only counts on its own.
        let il = lower
            .split(|letter: char| !letter.is_alphanumeric())
            .any(|word| word == "il");
        il.then_some("Illustrious")
    })
}

/// `text.contains(part)`, without the preparation that only pays for long texts: this runs for every part and file.
fn has_part(text: &str, part: &str) -> bool {
    text.as_bytes()
        .windows(part.len())
        .any(|window| window == part.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(metadata: &[(&str, &str)], tensors: &[(&str, &[u64])]) -> Header {
        Header {
            metadata: metadata
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            tensors: tensors
                .iter()
                .map(|(name, shape)| Tensor {
                    name: (*name).into(),
                    dtype: "F16".into(),
                    shape: shape.to_vec(),
                })
                .collect(),
            tensor_count: 100,
        }
    }

    fn version(text: &str) -> Option<String> {
        base_model(&header(&[("ss_base_model_version", text)], &[]))
    }

    #[test]
    fn trainers_words_are_known() {
        let cases = [
            ("sd_v1", "SD 1.5"),
            ("sd_1.5", "SD 1.5"),
            ("sd_v2", "SD 2.0"),
            ("sd-v2-1", "SD 2.1"),
            ("sdxl_base_v1-0", "SDXL 1.0"),
            ("SDXL_1.0", "SDXL 1.0"),
            ("sd3", "SD 3"),
            ("sd3m", "SD 3"),
            ("flux1", "Flux.1 D"),
            ("flux_kontext", "Flux.1 Kontext"),
            ("qwen_image", "Qwen"),
            ("wan2.1", "Wan Video"),
            ("illustrious-v1", "Illustrious"),
            ("wai il v14", "Illustrious"),
            ("pony", "Pony"),
        ];
        for (text, name) in cases {
            assert_eq!(version(text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn an_unknown_word_stays_and_none_is_none() {
        assert_eq!(version("vanilla net").as_deref(), Some("vanilla net"));
        assert_eq!(version(" "), None);
        assert_eq!(version("None"), None);
    }

    #[test]
    fn the_architecture_counts_when_the_version_is_unknown() {
        let cases = [
            ("stable-diffusion-v1/lora", "SD 1.5"),
            ("stable-diffusion-v2-768-v/textual-inversion", "SD 2.0"),
            ("stable-diffusion-xl-v1-base/lora", "SDXL 1.0"),
            ("stable-diffusion-3-medium", "SD 3"),
            ("stable-diffusion-3.5-large", "SD 3.5 Large"),
            ("flux-1-dev/lora", "Flux.1 D"),
            ("flux-1-schnell", "Flux.1 S"),
        ];
        for (text, name) in cases {
            let both = header(
                &[("ss_base_model_version", "mine"), ("modelspec.architecture", text)],
                &[],
            );
            assert_eq!(base_model(&both).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn tensors_count_only_when_the_metadata_says_nothing() {
        let unet = (
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            &[16, 768][..],
        );
        assert_eq!(base_model(&header(&[], &[unet])).as_deref(), Some("SD 1.5"));
        assert_eq!(
            base_model(&header(&[("ss_base_model_version", "sdxl")], &[unet])).as_deref(),
            Some("SDXL 1.0")
        );
        assert_eq!(base_model(&header(&[], &[])), None);
    }
}
