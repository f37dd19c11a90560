use super::*;

type Named<'a> = (&'a str, &'a [u64]);

fn header(tensors: &[Named<'_>]) -> Header {
    let tensor = |(name, shape): &Named<'_>| Tensor {
        name: (*name).into(),
        dtype: "BF16".into(),
        shape: shape.to_vec(),
    };
    Header {
        metadata: Vec::new(),
        tensors: tensors.iter().map(tensor).collect(),
        tensor_count: 1,
    }
}

/// As a host would: only tensors that one of the parts matches, at most 16.
fn seen(parts: &[&str], tensors: &[Named<'_>]) -> Header {
    let mut header = header(tensors);
    header
        .tensors
        .retain(|tensor| parts.iter().any(|part| tensor.name.contains(part)));
    header.tensors.truncate(16);
    header
}

#[test]
fn adapters_are_told_by_width() {
    let cases: [(&str, &[u64], Option<&str>); 17] = [
        (
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            &[8, 768],
            Some("SD 1.5"),
        ),
        (
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            &[8, 1024],
            Some("SD 2.0"),
        ),
        (
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
            &[8, 2048],
            Some("SDXL 1.0"),
        ),
        (
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.hada_w1_b",
            &[8, 2048],
            Some("SDXL 1.0"),
        ),
        (
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
            &[8, 2048],
            Some("SDXL 1.0"),
        ),
        (
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_B.weight",
            &[640, 768],
            None,
        ),
        (
            "transformer.transformer_blocks.0.attn2.to_k.lora_A.weight",
            &[8, 2048],
            None,
        ),
        (
            "lora_unet_joint_blocks_0_context_block_attn_qkv.lora_down.weight",
            &[8, 1536],
            Some("SD 3"),
        ),
        (
            "lora_unet_joint_blocks_0_context_block_attn_qkv.lora_down.weight",
            &[8, 2432],
            Some("SD 3.5 Large"),
        ),
        (
            "lora_unet_double_blocks_18_img_attn_qkv.lora_down.weight",
            &[8, 3072],
            Some("Flux.1 D"),
        ),
        (
            "transformer.single_transformer_blocks.37.attn.to_q.lora_A.weight",
            &[8, 3072],
            Some("Flux.1 D"),
        ),
        (
            "lora_unet_double_blocks_19_img_attn_qkv.lora_down.weight",
            &[8, 3072],
            Some("Hunyuan Video"),
        ),
        (
            "transformer.transformer_blocks.0.img_mlp.net.0.proj.lora_A.weight",
            &[8, 3072],
            Some("Qwen"),
        ),
        (
            "diffusion_model.blocks.0.cross_attn.k.lora_A.weight",
            &[8, 5120],
            Some("Wan Video"),
        ),
        (
            "lora_unet_blocks_0_cross_attn_k.lora_down.weight",
            &[8, 1536],
            Some("Wan Video 1.3B t2v"),
        ),
        (
            "lora_unet_blocks_0_cross_attn_k_proj.lora_down.weight",
            &[8, 1536],
            None,
        ),
        (
            "diffusion_model.double_stream_blocks.0.block.attn1.to_q.lora_A.weight",
            &[8, 2560],
            Some("HiDream"),
        ),
    ];
    for (name, shape, expected) in cases {
        let header = seen(&ADAPTER_TENSORS, &[(name, shape)]);
        assert_eq!(base_model(&header), expected, "{name} {shape:?}");
        assert!(
            header.tensors.is_empty() || (is_adapter(&header) && !is_full_model(&header)),
            "{name}"
        );
    }
}

#[test]
fn full_models_are_told_by_name_and_width() {
    let key = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight";
    let first = "model.diffusion_model.input_blocks.0.0.weight";
    let conv: &[u64] = &[320, 4, 3, 3];
    let cases: [(&[Named<'_>], &str); 8] = [
        (&[(first, conv), (key, &[320, 768])], "SD 1.5"),
        (&[(first, conv), (key, &[640, 2048])], "SDXL 1.0"),
        (
            &[
                ("double_blocks.0.img_attn.qkv.weight", &[9216, 3072]),
                ("guidance_in.in_layer.weight", &[3072, 256]),
            ],
            "Flux.1 D",
        ),
        (&[("double_blocks.0.img_attn.qkv.weight", &[9216, 3072])], "Flux.1 S"),
        (
            &[
                ("double_blocks.0.img_attn.qkv.weight", &[18432, 6144]),
                ("double_stream_modulation_img.lin.weight", &[36864, 6144]),
            ],
            "Flux.2 D",
        ),
        (
            &[
                ("double_blocks.0.img_attn.qkv.weight", &[9216, 3072]),
                ("distilled_guidance_layer.in_proj.weight", &[5120, 64]),
            ],
            "Chroma",
        ),
        (
            &[("model.double_blocks.0.img_attn_qkv.weight", &[9216, 3072])],
            "Hunyuan Video",
        ),
        (
            &[
                ("joint_blocks.0.context_block.attn.qkv.weight", &[4608, 1536]),
                ("joint_blocks.0.x_block.attn2.qkv.weight", &[4608, 1536]),
            ],
            "SD 3.5 Medium",
        ),
    ];
    for (tensors, expected) in cases {
        let header = seen(&WEIGHT_TENSORS, tensors);
        assert_eq!(header.tensors.len(), tensors.len(), "each tensor is asked for");
        assert_eq!(base_model(&header), Some(expected));
        assert!(!is_adapter(&header));
    }
}

#[test]
fn a_distilled_small_flux_2_is_left_open() {
    let tensors: [(&str, &[u64]); 2] = [
        ("double_blocks.0.img_attn.qkv.weight", &[9216, 3072]),
        ("double_stream_modulation_img.lin.weight", &[18432, 3072]),
    ];
    assert_eq!(base_model(&header(&tensors)), None);
}

#[test]
fn embeddings_are_told_by_the_text_encoder() {
    assert_eq!(base_model(&header(&[("emb_params", &[8, 768])])), Some("SD 1.5"));
    assert_eq!(base_model(&header(&[("emb_params", &[8, 1024])])), Some("SD 2.0"));
    assert_eq!(
        base_model(&header(&[("clip_g", &[8, 1280]), ("clip_l", &[8, 768])])),
        Some("SDXL 1.0")
    );
    assert_eq!(base_model(&header(&[("clip_l", &[8, 768])])), None);
}

#[test]
fn only_what_no_adapter_has_makes_a_full_model() {
    let full: &[u64] = &[320, 4, 3, 3];
    assert!(is_full_model(&header(&[(
        "model.diffusion_model.input_blocks.0.0.weight",
        full
    )])));
    assert!(!is_full_model(&header(&[(
        "lora_unet_input_blocks_0_0.lora_down.weight",
        full
    )])));
    let mixed = header(&[
        ("model.diffusion_model.input_blocks.0.0.weight", full),
        ("lora_unet_x.lora_down.weight", &[4, 320]),
    ]);
    assert!(is_full_model(&mixed) && !is_adapter(&mixed));
}
