//! The routes that only LoRAs have: one file each.

pub mod cycler;
pub mod letters;
pub mod sample;
pub mod trigger_words;
pub mod usage_tips;

use modelshelf_plugin_sdk::Model;

/// How ComfyUI's LoRA nodes name a file: its folder and its name without extension.
fn folder_name(model: &Model) -> String {
    if model.folder.is_empty() {
        model.file_name.clone()
    } else {
        format!("{}/{}", model.folder, model.file_name)
    }
}
