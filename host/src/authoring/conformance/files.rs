//! Awkward files to make a library of.

use std::path::Path;

use anyhow::Context;

/// Names without extension, as people and trainers give them.
const NAMES: [&str; 7] = [
    "plain",
    "sub/folder/two words",
    "sub/漢字 ünïcode 🙂",
    "v1.0.dots.every.where",
    "quote'and\"more&<b>",
    "%20percent#hash?",
    "(brackets)[and]{braces}",
];

/// Makes `folder` and writes files with one of these extensions into it, some with a sidecar.
///
/// # Errors
/// When they can't be written.
pub fn write<'e>(folder: &Path, extensions: impl Iterator<Item = &'e str>) -> anyhow::Result<()> {
    let mut extensions: Vec<&str> = extensions.collect();
    extensions.sort_unstable();
    for (number, name) in NAMES.iter().enumerate() {
        let extension = extensions
            .get(number % extensions.len().max(1))
            .copied()
            .unwrap_or(".bin");
        let path = folder.join(format!("{name}{extension}"));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("can't make {}", parent.display()))?;
        }
        // A header that ends too early, or another format: neither is the plugin's to read.
        let bytes: &[u8] = if number % 2 == 0 {
            b"\x80\x02not a safetensors file"
        } else {
            &[7, 0, 0, 0, 0, 0, 0, 0, b'{']
        };
        std::fs::write(&path, bytes).with_context(|| format!("can't write {}", path.display()))?;
    }
    let sidecar = serde_json::json!({
        "model_name": "<script>alert(1)</script>", "base_model": "SDXL 1.0", "tags": ["a", "A", "漢字", ""],
        "usage_tips": "{not json", "sub_type": 5, "fields": null,
    });
    let path = folder.join("plain.metadata.json");
    std::fs::write(&path, sidecar.to_string()).with_context(|| format!("can't write {}", path.display()))
}
