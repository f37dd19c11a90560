//! The model type of embeddings, also called textual inversions.

use modelshelf_plugin_sdk::library::{self, Lookup};
use modelshelf_plugin_sdk::rules::header;
use modelshelf_plugin_sdk::{
    Derived, Descriptor, FileFacts, ModelType, OrganiseInput, Placement, Request, Response, Result, Route,
    export_model_type, routes,
};
use serde_json::json;

/// Embeddings: words of their own for a text encoder.
pub struct Embedding;

impl ModelType for Embedding {
    fn describe() -> Descriptor {
        Descriptor::new("embedding", "embeddings", "Embeddings")
            .version(env!("CARGO_PKG_VERSION"))
            .menu_order(30)
            .sub_types([("embedding", "Embedding")])
            .extensions([".safetensors", ".ckpt", ".pt", ".pt2", ".bin", ".pth", ".pkl", ".sft"])
            .root("embeddings", ["embeddings"], "default_embedding_root")
            .remote_types(["textualinversion"], "TextualInversion")
            .new_sidecar_fields(&json!({"sub_type": "embedding"}))
            .headers(header::METADATA_KEYS, header::EMBEDDING_TENSORS)
            .filename_conflicts_off("lora_syntax_format", "full")
    }

    fn routes() -> &'static [Route] {
        routes! {
            GET "/api/lm/{prefix}/info/{name}" => info,
        }
    }

    fn derive_one(file: &FileFacts) -> Derived {
        let what = file.header.as_ref().and_then(|header| {
            if header::is_full_model(header) {
                Some("a whole checkpoint")
            } else {
                header::is_adapter(header).then_some("a LoRA")
            }
        });
        Derived {
            sub_type: stored_sub_type(&file.sidecar).unwrap_or_else(|| "embedding".to_owned()),
            base_model_hint: file.header.as_ref().and_then(header::base_model),
            problem: what
                .map(|what| format!("This file holds {what}, not an embedding. Move it to a folder of its own kind.")),
            ..Derived::default()
        }
    }

    /// Prompts name an embedding by its path, where a space would end the name.
    fn organise_one(input: &OrganiseInput) -> Placement {
        Placement {
            spaces: Some("_".to_owned()),
            ..Placement::of(input)
        }
    }
}

/// What the sidecar calls it: any word, since other programs have kinds of their own.
fn stored_sub_type(sidecar: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Stored {
        sub_type: Option<String>,
    }
    let stored = serde_json::from_str::<Stored>(sidecar)
        .ok()?
        .sub_type?
        .trim()
        .to_lowercase();
    (!stored.is_empty()).then_some(stored)
}

/// `GET info/{name}`: the whole cache entry of an embedding.
fn info(request: &Request) -> Result<Response> {
    let model = library::get(&Lookup::Reference(request.path_param("name")?.to_owned()))?;
    let entry = match model {
        Some(model) => library::entry(&model.file_path)?,
        None => None,
    };
    match entry {
        Some(entry) => Ok(Response::json_text(entry)),
        // Clients know this body, which has no `success`.
        None => Ok(Response::json(&json!({"error": "Embedding not found"}))?.with_status(404)),
    }
}

export_model_type!(Embedding);

#[cfg(test)]
mod tests;
