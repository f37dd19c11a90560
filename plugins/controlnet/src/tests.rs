//! The rules, natively.

use super::*;
use modelshelf_plugin_sdk::Tensor;
use modelshelf_plugin_sdk::testing::FakeHost;

fn derived(name: &str, tensor: &str, shape: &[u64]) -> Derived {
    let _host = FakeHost::new::<ControlNet>();
    let tensor = Tensor {
        name: tensor.to_owned(),
        dtype: "F16".to_owned(),
        shape: shape.to_vec(),
    };
    let header = Some(Header {
        tensors: vec![tensor],
        ..Header::default()
    });
    let file = FileFacts {
        file_name: name.to_owned(),
        header,
        ..FileFacts::default()
    };
    ControlNet::derive(&[file]).remove(0)
}

#[test]
fn kinds_are_told_by_tensors_and_the_base_model_by_their_width() {
    let net = derived(
        "diffusers_xl_canny_full",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        &[640, 2048],
    );
    assert_eq!(
        (net.sub_type.as_str(), net.base_model_hint.as_deref()),
        (CONTROLNET, Some("SDXL 1.0"))
    );
    assert_eq!(derived("x", "lora_controlnet", &[]).sub_type, CONTROL_LORA);
    assert_eq!(
        derived("x", "adapter.body.0.resnets.0.block1.weight", &[320, 320, 3, 3]).sub_type,
        ADAPTER
    );
}

#[test]
fn what_a_file_is_steered_by_is_in_its_name() {
    let cases = [
        ("control_v11p_sd15_openpose", Some("Pose")),
        ("Control-V11f1p-SD15-Depth", Some("Depth")),
        ("flux-union-pro", Some("Several")),
        ("mystery", None),
    ];
    for (name, wanted) in cases {
        assert_eq!(control(name), wanted, "{name}");
    }
}
