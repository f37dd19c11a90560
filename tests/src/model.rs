//! One model file with what lies beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::weights;

/// A model in the making: `Model::new("loras", "SDXL/amber").base("SDXL 1.0").tags(&["style"])`.
#[derive(Debug, Clone)]
pub struct Model {
    root: String,
    path: String,
    extension: String,
    metadata: Vec<(String, String)>,
    tensors: Vec<(String, String, Vec<u64>)>,
    bytes: Option<Vec<u8>>,
    sparse: u64,
    seed: Option<u64>,
    side: Option<Map<String, Value>>,
    preview: Option<String>,
}

impl Model {
    /// A safetensors file at this path (without extension) below this root, alone.
    pub fn new(root: &str, path: &str) -> Self {
        Self {
            root: root.to_owned(),
            path: path.to_owned(),
            extension: "safetensors".to_owned(),
            metadata: Vec::new(),
            tensors: Vec::new(),
            bytes: None,
            sparse: 0,
            seed: None,
            side: None,
            preview: None,
        }
    }

    /// A lora with a sidecar that says nothing but the defaults.
    pub fn lora(path: &str) -> Self {
        Self::new("loras", path).sidecar()
    }

    /// Another extension.
    #[must_use]
    pub fn extension(mut self, extension: &str) -> Self {
        self.extension = extension.to_owned();
        self
    }

    /// A pair of the header's metadata.
    #[must_use]
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A tensor of the header.
    #[must_use]
    pub fn tensor(mut self, name: &str, dtype: &str, shape: &[u64]) -> Self {
        self.tensors.push((name.to_owned(), dtype.to_owned(), shape.to_vec()));
        self
    }

    /// The whole file, instead of a valid one.
    #[must_use]
    pub fn bytes(mut self, bytes: Vec<u8>) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Grows the file to this size, without using disk where the file system can.
    #[must_use]
    pub fn grown_to(mut self, size: u64) -> Self {
        self.sparse = size;
        self
    }

    /// Models with the same header and seed are equal files; without a seed the path decides.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Gives it a sidecar.
    #[must_use]
    pub fn sidecar(mut self) -> Self {
        self.side.get_or_insert_default();
        self
    }

    /// Sets a field of the sidecar.
    #[must_use]
    pub fn side(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.side.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// Name to show.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.side("model_name", name)
    }

    /// Base model.
    #[must_use]
    pub fn base(self, base: &str) -> Self {
        self.side("base_model", base)
    }

    /// Tags.
    #[must_use]
    pub fn tags(self, tags: &[&str]) -> Self {
        self.side("tags", tags)
    }

    /// Marks it as a favourite.
    #[must_use]
    pub fn favorite(self) -> Self {
        self.side("favorite", true)
    }

    /// When it was added, in seconds.
    #[must_use]
    pub fn modified(self, seconds: f64) -> Self {
        self.side("modified", seconds)
    }

    /// What the provider said of this version.
    #[must_use]
    pub fn civitai(self, version: Value) -> Self {
        self.side("civitai", version)
    }

    /// A preview with this extension, such as `png` or `preview.png`.
    #[must_use]
    pub fn preview(mut self, extension: &str) -> Self {
        self.preview = Some(extension.to_owned());
        self
    }

    /// The file below the folder that holds the roots.
    pub fn file(&self, library: &Path) -> PathBuf {
        library
            .join(&self.root)
            .join(format!("{}.{}", self.path, self.extension))
    }

    /// Writes the file and what lies beside it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, library: &Path) -> Result<PathBuf> {
        let file = self.file(library);
        let stem = library.join(&self.root).join(&self.path);
        let folder = file.parent().context("a model lies in a folder")?;
        std::fs::create_dir_all(folder)?;

        let bytes = self.bytes.clone().unwrap_or_else(|| {
            let seed = self
                .seed
                .unwrap_or_else(|| spread(&format!("{}/{}", self.root, self.path)));
            weights::safetensors(&self.metadata, &self.tensors, seed)
        });
        std::fs::write(&file, &bytes)?;
        if self.sparse > 0 {
            std::fs::OpenOptions::new()
                .write(true)
                .open(&file)?
                .set_len(self.sparse)?;
        }
        let preview = self.preview.as_ref().map(|extension| beside(&stem, extension));
        if let Some(preview) = &preview {
            std::fs::write(preview, weights::png(spread(&self.path) as u32))?;
        }
        if let Some(changed) = &self.side {
            let mut side = self.defaults(&file, &bytes, preview.as_deref());
            side.extend(changed.clone());
            std::fs::write(
                beside(&stem, "metadata.json"),
                serde_json::to_string_pretty(&Value::Object(side))?,
            )?;
        }
        Ok(file)
    }

    /// A sidecar as ComfyUI-Lora-Manager writes it for a new file.
    fn defaults(&self, file: &Path, bytes: &[u8], preview: Option<&Path>) -> Map<String, Value> {
        let is_checkpoint = matches!(self.root.as_str(), "checkpoints" | "unet");
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let side = json!({
            "file_name": name,
            "model_name": name,
            "file_path": wire(file),
            "size": bytes.len().max(self.sparse as usize),
            "modified": 1_700_000_000.0,
            "sha256": if is_checkpoint { String::new() } else { sha256(bytes) },
            "base_model": "Unknown",
            "preview_url": preview.map(wire).unwrap_or_default(),
            "preview_nsfw_level": 0,
            "notes": "",
            "from_civitai": true,
            "civitai": {},
            "tags": [],
            "modelDescription": "",
            "civitai_deleted": false,
            "favorite": false,
            "exclude": false,
            "db_checked": false,
            "skip_metadata_refresh": false,
            "metadata_source": null,
            "last_checked_at": 0,
            "hash_status": if is_checkpoint { "pending" } else { "completed" },
        });
        let Value::Object(mut side) = side else {
            return Map::new();
        };
        match self.root.as_str() {
            "loras" => side.insert("usage_tips".into(), "{}".into()),
            "unet" => side.insert("sub_type".into(), "diffusion_model".into()),
            "embeddings" => side.insert("sub_type".into(), "embedding".into()),
            _ => side.insert("sub_type".into(), "checkpoint".into()),
        };
        side
    }
}

/// The file `<stem>.<extension>`, where the stem may hold dots.
pub fn beside(stem: &Path, extension: &str) -> PathBuf {
    let mut file = stem.as_os_str().to_owned();
    file.push(".");
    file.push(extension);
    file.into()
}

/// A path as the server writes it.
pub fn wire(path: &Path) -> String {
    path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

// FNV-1a.
fn spread(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
