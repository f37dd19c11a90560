//! The model type of ControlNets and their kin: what steers a picture by another one.

use modelshelf_plugin_sdk::rules::header;
use modelshelf_plugin_sdk::{Derived, Descriptor, FileFacts, Header, ModelType, export_model_type, json_of};
use serde::Serialize;

const CONTROLNET: &str = "controlnet";
const CONTROL_LORA: &str = "control_lora";
const ADAPTER: &str = "t2i_adapter";

/// Parts of tensor names that only one kind has.
const LORA_MARK: &str = "lora_controlnet";
const ADAPTER_MARKS: [&str; 2] = ["body.0.resnets.0.block1.weight", "body.0.block1.weight"];

/// What files are steered by, as their names say it, and the name on the page.
const CONTROLS: [(&str, &str); 17] = [
    ("union", "Several"),
    ("openpose", "Pose"),
    ("dw_pose", "Pose"),
    ("pose", "Pose"),
    ("canny", "Canny edges"),
    ("softedge", "Soft edges"),
    ("hed", "Soft edges"),
    ("lineart", "Line art"),
    ("scribble", "Scribble"),
    ("sketch", "Sketch"),
    ("mlsd", "Straight lines"),
    ("depth", "Depth"),
    ("normal", "Normals"),
    ("seg", "Segmentation"),
    ("tile", "Tile"),
    ("inpaint", "Inpainting"),
    ("recolor", "Colour"),
];

/// ControlNets, control LoRAs and T2I adapters.
pub struct ControlNet;

#[derive(Serialize)]
struct Fields {
    control: Option<&'static str>,
}

impl ModelType for ControlNet {
    fn describe() -> Descriptor {
        let tensors = [LORA_MARK]
            .into_iter()
            .chain(ADAPTER_MARKS)
            .chain(header::WEIGHT_TENSORS);
        Descriptor::new(CONTROLNET, "controlnets", "ControlNets")
            .version(env!("CARGO_PKG_VERSION"))
            .menu_order(50)
            .sub_types([
                (CONTROLNET, "ControlNet"),
                (CONTROL_LORA, "Control LoRA"),
                (ADAPTER, "T2I adapter"),
            ])
            .extensions([".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft"])
            .root(CONTROLNET, ["controlnet", "t2i_adapter"], "default_controlnet_root")
            .remote_types(["controlnet"], "Controlnet")
            .headers(header::METADATA_KEYS, tensors)
            .columns([
                ("base_model", "Base model"),
                ("control", "Steered by"),
                ("sub_type", "Kind"),
                ("file_size", "Size"),
            ])
    }

    fn derive_one(file: &FileFacts) -> Derived {
        let header = file.header.as_ref();
        let fields = Fields {
            control: control(&file.file_name),
        };
        Derived {
            sub_type: header.map_or(CONTROLNET, kind).to_owned(),
            base_model_hint: header.and_then(header::base_model),
            fields: json_of(&fields),
            ..Derived::default()
        }
    }
}

fn kind(header: &Header) -> &'static str {
    if header.tensor_like(LORA_MARK).is_some() {
        return CONTROL_LORA;
    }
    let is_adapter = ADAPTER_MARKS.iter().any(|mark| header.tensor_like(mark).is_some());
    if is_adapter { ADAPTER } else { CONTROLNET }
}

/// The first control that the name has as a part.
fn control(file_name: &str) -> Option<&'static str> {
    let name = file_name.to_lowercase().replace('-', "_");
    CONTROLS
        .iter()
        .find(|(part, _)| name.contains(part))
        .map(|(_, label)| *label)
}

export_model_type!(ControlNet);

#[cfg(test)]
mod tests;
