//! Weight files with the headers of real architectures.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::catalogue::Entry;
use super::random::Random;

/// What the sidecar says of a written file.
pub struct Written {
    pub size: u64,
    pub sha256: String,
}

/// A tensor: name, element type, dimensions.
type Tensor = (String, &'static str, Vec<u64>);

/// Writes the entry's file.
///
/// # Errors
/// When the file can't be written.
pub fn write(path: &Path, entry: &Entry, random: &mut Random) -> io::Result<Written> {
    let header = if entry.extension() == "gguf" {
        gguf_header(entry)
    } else {
        safetensors_header(entry, random)
    };
    let Header { mut bytes, data } = header;
    // Zeros but for the first bytes, so that no two files are equal unless they are copies.
    bytes.extend_from_slice(&random.next().to_le_bytes());
    let size = bytes.len() as u64 - 8 + data;

    let mut file = File::create(path)?;
    file.write_all(&bytes)?;
    file.set_len(size)?;
    Ok(Written {
        size,
        sha256: hash(&bytes, size),
    })
}

/// A file as an interrupted download leaves it: the header says more than there is.
pub fn broken_off() -> Vec<u8> {
    let mut bytes = 48_120u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(
        br#"{"__metadata__":{"ss_base_model_version":"sdxl_base_v1-0","ss_network_dim":"32"},"lora_unet_in"#,
    );
    bytes
}

struct Header {
    bytes: Vec<u8>,
    /// Bytes of tensor data behind it; at least 8.
    data: u64,
}

fn hash(start: &[u8], size: u64) -> String {
    let mut hasher = Sha256::new();
    hasher.update(start);
    let zeros = [0u8; 1 << 16];
    let mut left = size - start.len() as u64;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        hasher.update(&zeros[..part as usize]);
        left -= part;
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn safetensors_header(entry: &Entry, random: &mut Random) -> Header {
    let rank = [8, 16, 32, 64][random.below(4) as usize];
    let (metadata, tensors) = match entry.kind {
        "loras" => (lora_metadata(entry, rank, random), lora_tensors(entry.base, rank)),
        "embeddings" => (Map::new(), embedding_tensors(entry.base)),
        _ => (checkpoint_metadata(entry), checkpoint_tensors(entry.base)),
    };
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), Value::Object(metadata));
    }
    let mut end = 0;
    for (name, dtype, shape) in tensors {
        let element = match dtype {
            "F32" => 4,
            "F8_E4M3" => 1,
            _ => 2,
        };
        let start = end;
        end += shape.iter().product::<u64>() * element;
        header.insert(
            name,
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    // The format aligns the data to 8 bytes by spaces behind the header.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    Header { bytes, data: end }
}

/// What kohya's trainer writes.
fn lora_metadata(entry: &Entry, rank: u64, random: &mut Random) -> Map<String, Value> {
    let (base, architecture, resolution) = match entry.base {
        "SD 1.5" => ("sd_v1", "stable-diffusion-v1", "(512, 512)"),
        "Flux.1 D" => ("flux1", "flux-1-dev", "(1024, 1024)"),
        base if base.starts_with("Wan") => ("wan2.2", "wan-video-14b", "(832, 480)"),
        _ => ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "(1024, 1024)"),
    };
    let images = 20 + random.below(180);
    let folder = format!("10_{}", entry.stem);
    let mut words = Map::new();
    for (place, word) in entry
        .words
        .split('|')
        .chain(entry.tags.split(','))
        .filter(|w| !w.is_empty())
        .enumerate()
    {
        words.insert(word.to_owned(), json!(images * 9 / (10 + 3 * place as u64)));
    }
    let frequency = json!({ &folder: words });
    let folders = json!({ folder: {"n_repeats": 10, "img_count": images} });
    let text = |value: String| Value::String(value);
    [
        ("ss_base_model_version", text(base.into())),
        ("ss_network_module", text("networks.lora".into())),
        ("ss_network_dim", text(rank.to_string())),
        ("ss_network_alpha", text((rank / 2).to_string())),
        ("ss_output_name", text(entry.stem.into())),
        ("ss_resolution", text(resolution.into())),
        ("ss_num_train_images", text((images * 10).to_string())),
        ("ss_num_epochs", text("10".into())),
        ("ss_steps", text((images * 50).to_string())),
        ("ss_learning_rate", text("0.0004".into())),
        ("ss_unet_lr", text("0.0004".into())),
        ("ss_text_encoder_lr", text("5e-05".into())),
        ("ss_optimizer", text("bitsandbytes.optim.adamw.AdamW8bit".into())),
        ("ss_clip_skip", text("2".into())),
        ("ss_mixed_precision", text("bf16".into())),
        ("ss_sd_model_name", text(format!("{architecture}.safetensors"))),
        ("ss_tag_frequency", text(frequency.to_string())),
        ("ss_dataset_dirs", text(folders.to_string())),
        ("modelspec.architecture", text(format!("{architecture}/lora"))),
        ("modelspec.title", text(entry.name.into())),
        (
            "sshs_model_hash",
            text(format!(
                "{:016x}{:016x}{:016x}{:016x}",
                random.next(),
                random.next(),
                random.next(),
                random.next()
            )),
        ),
        ("sshs_legacy_hash", text(format!("{:08x}", random.next() as u32))),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn lora_tensors(base: &str, rank: u64) -> Vec<Tensor> {
    // Module, inputs, outputs.
    let modules: &[(&str, u64, u64)] = match base {
        "SD 1.5" => &[
            ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 768, 768),
            (
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
                768,
                320,
            ),
            (
                "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_v",
                768,
                640,
            ),
            (
                "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q",
                1280,
                1280,
            ),
        ],
        "Flux.1 D" => &[
            ("lora_unet_double_blocks_0_img_attn_proj", 3072, 3072),
            ("lora_unet_double_blocks_0_img_attn_qkv", 3072, 9216),
            ("lora_unet_single_blocks_0_linear1", 3072, 21504),
        ],
        base if base.starts_with("Wan") => &[
            ("lora_unet_blocks_0_self_attn_q", 5120, 5120),
            ("lora_unet_blocks_0_cross_attn_k_img", 5120, 5120),
            ("lora_unet_blocks_0_ffn_0", 5120, 13824),
        ],
        _ => &[
            ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 768, 768),
            ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 1280, 1280),
            ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640),
            ("lora_unet_middle_block_1_transformer_blocks_0_attn2_to_v", 2048, 1280),
        ],
    };
    let mut tensors = Vec::new();
    for (module, inputs, outputs) in modules {
        tensors.push((format!("{module}.lora_down.weight"), "BF16", vec![rank, *inputs]));
        tensors.push((format!("{module}.lora_up.weight"), "BF16", vec![*outputs, rank]));
        tensors.push((format!("{module}.alpha"), "BF16", vec![]));
    }
    tensors
}

fn checkpoint_metadata(entry: &Entry) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("format".into(), json!("pt"));
    metadata.insert("modelspec.title".into(), json!(entry.name));
    metadata
}

/// A few tensors by which each architecture is told apart, in their real dimensions.
fn checkpoint_tensors(base: &str) -> Vec<Tensor> {
    let tensors: &[(&str, &'static str, &[u64])] = match base {
        "SD 1.5" => &[
            (
                "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
                "F16",
                &[77, 768],
            ),
            ("first_stage_model.quant_conv.weight", "F16", &[8, 8, 1, 1]),
            ("model.diffusion_model.input_blocks.0.0.weight", "F16", &[320, 4, 3, 3]),
            (
                "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
                "F16",
                &[320, 768],
            ),
            ("model.diffusion_model.out.2.weight", "F16", &[4, 320, 3, 3]),
        ],
        "Flux.1 D" => &[
            ("double_blocks.0.img_attn.norm.query_norm.scale", "F8_E4M3", &[128]),
            ("double_blocks.0.img_attn.proj.weight", "F8_E4M3", &[3072, 3072]),
            ("guidance_in.in_layer.weight", "F8_E4M3", &[3072, 256]),
            ("img_in.weight", "F8_E4M3", &[3072, 64]),
            ("txt_in.weight", "F8_E4M3", &[3072, 4096]),
        ],
        base if base.starts_with("Wan") => &[
            ("blocks.0.cross_attn.k_img.weight", "BF16", &[5120, 5120]),
            ("head.modulation", "F32", &[1, 2, 5120]),
            ("patch_embedding.weight", "BF16", &[5120, 36, 1, 2, 2]),
        ],
        _ => &[
            (
                "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
                "F16",
                &[77, 768],
            ),
            ("conditioner.embedders.1.model.positional_embedding", "F16", &[77, 1280]),
            ("first_stage_model.quant_conv.weight", "F16", &[8, 8, 1, 1]),
            ("model.diffusion_model.input_blocks.0.0.weight", "F16", &[320, 4, 3, 3]),
            (
                "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
                "F16",
                &[640, 2048],
            ),
            ("model.diffusion_model.label_emb.0.0.weight", "F16", &[1280, 2816]),
        ],
    };
    tensors
        .iter()
        .map(|(name, dtype, shape)| ((*name).to_owned(), *dtype, shape.to_vec()))
        .collect()
}

fn embedding_tensors(base: &str) -> Vec<Tensor> {
    if base == "SDXL 1.0" {
        vec![
            ("clip_g".into(), "F32", vec![8, 1280]),
            ("clip_l".into(), "F32", vec![8, 768]),
        ]
    } else {
        vec![("emb_params".into(), "F32", vec![8, 768])]
    }
}

/// The start of a GGUF file of version 3: no tensors, two keys.
fn gguf_header(entry: &Entry) -> Header {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(2u64.to_le_bytes());
    for (key, value) in [("general.architecture", "flux"), ("general.name", entry.name)] {
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        text(&mut bytes, key);
        // 8 is the type of a text.
        bytes.extend(8u32.to_le_bytes());
        text(&mut bytes, value);
    }
    Header { bytes, data: 1 << 20 }
}
