//! Telling a file by the names and widths of its tensors.
//!
//! Each list holds parts of names that only a few tensors of a file have: the host hands over the first 16 that match, and
//! every tensor handed over costs more than all that is done with it. Widths are the second dimension: the input of a
//! linear layer, for adapters and full weights alike.

use crate::{Header, Tensor};

/// Parts of tensor names that tell an adapter (LoRA and its kin) and its base model.
pub const ADAPTER_TENSORS: [&str; 27] = [
    // UNets: cross attention reads the text encoder's width. Blocks that nearly every adapter has, in the names of kohya's
    // trainers (two spellings), LyCORIS and diffusers.
    "blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down",
    "blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down",
    "mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down",
    "blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.hada_w1_b",
    "blocks_4_1_transformer_blocks_0_attn2_to_k.hada_w1_b",
    "blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora",
    "blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down",
    // SD 3
    "joint_blocks_0_context_block_attn_qkv",
    "joint_blocks.0.context_block.attn.qkv",
    "joint_blocks_0_x_block_attn2",
    "joint_blocks.0.x_block.attn2",
    // Flux has 19 double and 38 single blocks, Hunyuan Video one and two more.
    "double_blocks_18_img_attn_qkv",
    "double_blocks.18.img_attn.qkv",
    "double_blocks_19_img_attn_qkv",
    "double_blocks.19.img_attn",
    "single_transformer_blocks.37.attn.to_q.",
    "single_transformer_blocks_37_attn_to_q.",
    "single_transformer_blocks.39.attn.to_q.",
    "single_transformer_blocks_39_attn_to_q.",
    // Qwen Image
    "transformer_blocks.0.img_mlp.net.0",
    "transformer_blocks_0_img_mlp_net_0",
    // Wan
    "blocks_0_cross_attn_k.",
    "blocks.0.cross_attn.k.",
    // HiDream
    "double_stream_blocks.0.block.attn1.to_q.",
    "double_stream_blocks_0_block_attn1_to_q.",
    // Full models, so that one in the wrong folder is seen.
    "model.diffusion_model.input_blocks.0.0.weight",
    "double_blocks.0.img_attn.qkv.weight",
];

/// Parts of tensor names that tell a full model and its base model, and a stray adapter.
pub const WEIGHT_TENSORS: [&str; 24] = [
    "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "model.diffusion_model.input_blocks.0.0.weight",
    "joint_blocks.0.context_block.attn.qkv.weight",
    "joint_blocks.0.x_block.attn2.qkv.weight",
    "double_blocks.0.img_attn.qkv.weight",
    "double_blocks.0.img_attn_qkv.weight",
    "double_stream_modulation_img.lin.weight",
    "distilled_guidance_layer.in_proj.weight",
    "guidance_in.in_layer.weight",
    "double_stream_blocks.0.block.attn1.to_q.weight",
    "transformer_blocks.0.img_mlp.net.0.proj.weight",
    "blocks.0.cross_attn.k.weight",
    // Adapters
    "blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down",
    "blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down",
    "blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora",
    "double_blocks_18_img_attn_qkv.lora_down",
    "double_blocks.18.img_attn.qkv.lora",
    "single_transformer_blocks.37.attn.to_q.lora",
    "single_transformer_blocks_37_attn_to_q.lora_down",
    "transformer_blocks.0.img_mlp.net.0.proj.lora",
    "transformer_blocks_0_img_mlp_net_0_proj.lora",
    "blocks_0_cross_attn_k.lora",
    "blocks.0.cross_attn.k.lora",
];

/// Parts of tensor names that tell a textual inversion and its base model, and files of other types.
pub const EMBEDDING_TENSORS: [&str; 6] = [
    "emb_params",
    "clip_g",
    "clip_l",
    "blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down",
    "blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down",
    "model.diffusion_model.input_blocks.0.0.weight",
];

/// Names of tensors that tell a full diffusion model, for types whose files are none.
pub const FULL_MODEL_TENSORS: [&str; 2] = [
    "model.diffusion_model.input_blocks.0.0.weight",
    "double_blocks.0.img_attn.qkv.weight",
];

/// Parts of names that only tensors of adapters have.
const ADAPTER_PARTS: [&str; 6] = [".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", "_lora.", ".hada_w"];

/// Whether the header holds an adapter such as a LoRA and no weights of a full model.
pub fn is_adapter(header: &Header) -> bool {
    let adapter = |tensor: &Tensor| ADAPTER_PARTS.iter().any(|part| tensor.name.contains(part));
    header.tensors.iter().any(adapter) && !is_full_model(header)
}

/// Whether the header holds the weights of a full diffusion model: one of [`FULL_MODEL_TENSORS`], which no adapter has.
pub fn is_full_model(header: &Header) -> bool {
    let [unet, flux] = FULL_MODEL_TENSORS;
    let tells = |tensor: &Tensor| tensor.name == unet || (tensor.name.ends_with(flux) && width(tensor) >= Some(1024));
    header.tensors.iter().any(tells)
}

fn width(tensor: &Tensor) -> Option<u64> {
    tensor.shape.get(1).copied()
}

/// Whether the second dimension is an adapter's rank and not a width.
fn is_rank_side(name: &str) -> bool {
    ["lora_B", "lora_up", "lora.up", "hada_w1_a", "hada_w2_a"]
        .iter()
        .any(|part| name.contains(part))
}

/// The base model that the tensors show, where they leave no doubt.
pub(super) fn base_model(header: &Header) -> Option<&'static str> {
    let rules = [unet, embedding, stable_diffusion_3, qwen, flux_and_kin, wan, hidream];
    rules.iter().find_map(|rule| rule(header))
}

fn width_of(header: &Header, parts: &[&str]) -> Option<u64> {
    let matches = |tensor: &&Tensor| parts.iter().any(|part| tensor.name.contains(part)) && !is_rank_side(&tensor.name);
    header.tensors.iter().filter(matches).find_map(width)
}

fn has(header: &Header, parts: &[&str]) -> bool {
    parts.iter().any(|part| header.tensor_like(part).is_some())
}

fn unet(header: &Header) -> Option<&'static str> {
    const BLOCKS: [&str; 6] = [
        "down_blocks",
        "up_blocks",
        "mid_block",
        "input_blocks",
        "output_blocks",
        "middle_block",
    ];
    const KEYS: [&str; 3] = ["attn2_to_k", "attn2.to_k", "attn2.processor.to_k"];
    let cross_attention = |tensor: &&Tensor| {
        KEYS.iter().any(|key| tensor.name.contains(key))
            && BLOCKS.iter().any(|block| tensor.name.contains(block))
            && !is_rank_side(&tensor.name)
    };
    header
        .tensors
        .iter()
        .filter(cross_attention)
        .find_map(|tensor| match width(tensor)? {
            768 => Some("SD 1.5"),
            1024 => Some("SD 2.0"),
            2048 => Some("SDXL 1.0"),
            _ => None,
        })
}

fn embedding(header: &Header) -> Option<&'static str> {
    let exact = |name: &str| header.tensors.iter().find(|tensor| tensor.name == name).and_then(width);
    match (exact("clip_g"), exact("clip_l"), exact("emb_params")) {
        (Some(1280), Some(768), _) => Some("SDXL 1.0"),
        (None, None, Some(768)) => Some("SD 1.5"),
        (None, None, Some(1024)) => Some("SD 2.0"),
        _ => None,
    }
}

fn stable_diffusion_3(header: &Header) -> Option<&'static str> {
    let parts = [
        "joint_blocks_0_context_block_attn_qkv",
        "joint_blocks.0.context_block.attn.qkv",
    ];
    match width_of(header, &parts)? {
        1536 if has(
            header,
            &["joint_blocks_0_x_block_attn2", "joint_blocks.0.x_block.attn2"],
        ) =>
        {
            Some("SD 3.5 Medium")
        }
        1536 => Some("SD 3"),
        2432 => Some("SD 3.5 Large"),
        _ => None,
    }
}

fn qwen(header: &Header) -> Option<&'static str> {
    let parts = [
        "transformer_blocks.0.img_mlp.net.0",
        "transformer_blocks_0_img_mlp_net_0",
    ];
    (width_of(header, &parts)? == 3072).then_some("Qwen")
}

fn flux_and_kin(header: &Header) -> Option<&'static str> {
    const QKV: [&str; 2] = [
        "double_blocks.0.img_attn.qkv.weight",
        "double_blocks.0.img_attn_qkv.weight",
    ];
    if has(header, &["distilled_guidance_layer."]) {
        return Some("Chroma");
    }
    if has(header, &["double_stream_modulation_img."]) {
        // The smaller ones of this family come distilled and not, in the same shape.
        return (width_of(header, &QKV)? == 6144).then_some("Flux.2 D");
    }
    let hunyuan = [
        "double_blocks.0.img_attn_qkv.weight",
        "double_blocks_19_img_attn_qkv",
        "double_blocks.19.img_attn",
        "single_transformer_blocks.39.",
        "single_transformer_blocks_39_",
    ];
    if has(header, &hunyuan) {
        let parts = [&hunyuan[..], &QKV[..]].concat();
        return (width_of(header, &parts)? == 3072).then_some("Hunyuan Video");
    }
    if let Some(width) = width_of(header, &QKV[..1]) {
        let guided = has(header, &["guidance_in.in_layer.weight"]);
        return (width == 3072).then_some(if guided { "Flux.1 D" } else { "Flux.1 S" });
    }
    let adapter = [
        "double_blocks_18_img_attn_qkv",
        "double_blocks.18.img_attn.qkv",
        "single_transformer_blocks.37.attn.to_q.",
        "single_transformer_blocks_37_attn_to_q.",
    ];
    (width_of(header, &adapter)? == 3072).then_some("Flux.1 D")
}

fn wan(header: &Header) -> Option<&'static str> {
    match width_of(header, &["blocks_0_cross_attn_k.", "blocks.0.cross_attn.k."])? {
        1536 => Some("Wan Video 1.3B t2v"),
        3072 => Some("Wan Video 2.2 TI2V-5B"),
        5120 => Some("Wan Video"),
        _ => None,
    }
}

fn hidream(header: &Header) -> Option<&'static str> {
    has(
        header,
        &[
            "double_stream_blocks.0.block.attn1.to_q.",
            "double_stream_blocks_0_block_attn1_to_q.",
        ],
    )
    .then_some("HiDream")
}

#[cfg(test)]
mod tests;
