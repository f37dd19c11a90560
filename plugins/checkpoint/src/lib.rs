//! The model type of checkpoints: whole models, and the diffusion models that some architectures keep apart.

mod diffusion;
mod routes;

use modelshelf_plugin_sdk::rules::{file_choice, header, query};
use modelshelf_plugin_sdk::{
    Derived, Descriptor, FileFacts, FileSelection, HashPolicy, Json, Model, ModelType, OrganiseInput, Pair, Placement,
    QueryFilter, Result, Route, SelectInput, export_model_type, json_of, routes,
};
use serde::Serialize;
use serde_json::json;

/// A file with everything, and what a file below the roots for checkpoints is.
const CHECKPOINT: &str = "checkpoint";
/// A file with the denoiser alone, and what a file below the roots for such files is.
const DIFFUSION_MODEL: &str = "diffusion_model";

const CHECKPOINT_ROOT: &str = "checkpoints";
const DIFFUSION_MODEL_ROOT: &str = "unet";

/// Checkpoints and diffusion models.
pub struct Checkpoint;

#[derive(Serialize)]
struct Listed {
    usage_count: u64,
}

/// The key of the roots that a sub-type lies below.
fn root_of(sub_type: &str) -> &'static str {
    if sub_type == DIFFUSION_MODEL {
        DIFFUSION_MODEL_ROOT
    } else {
        CHECKPOINT_ROOT
    }
}

impl ModelType for Checkpoint {
    fn describe() -> Descriptor {
        Descriptor::new("checkpoint", "checkpoints", "Checkpoints")
            .version(env!("CARGO_PKG_VERSION"))
            .menu_order(20)
            .sub_types([(CHECKPOINT, "Checkpoint"), (DIFFUSION_MODEL, "Diffusion model")])
            .sub_types_closed()
            .extensions([
                ".safetensors",
                ".ckpt",
                ".pt",
                ".pt2",
                ".bin",
                ".pth",
                ".pkl",
                ".sft",
                ".gguf",
            ])
            .root(CHECKPOINT_ROOT, ["checkpoints"], "default_checkpoint_root")
            .root(DIFFUSION_MODEL_ROOT, ["unet", "diffusion_models"], "default_unet_root")
            .remote_types(["checkpoint"], "Checkpoint")
            .hashing(HashPolicy::WhenNeeded)
            .new_from_remote(false)
            .new_sidecar_fields(&json!({"sub_type": CHECKPOINT}))
            .headers(header::METADATA_KEYS, header::WEIGHT_TENSORS)
            .query_parameters(["checkpoint_hash", "checkpoint_hashes"])
            .usage_bucket("checkpoints")
            .filename_conflicts_off("lora_syntax_format", "full")
            .columns([
                ("base_model", "Base model"),
                ("sub_type", "Kind"),
                ("usage_count", "Used"),
                ("file_size", "Size"),
                ("modified", "Added"),
            ])
    }

    fn routes() -> &'static [Route] {
        use routes::{checkpoints_roots, info, loader_pool, unet_roots};

        routes! {
            GET "/api/lm/{prefix}/info/{name}" => info,
            GET "/api/lm/{prefix}/checkpoints_roots" => checkpoints_roots,
            GET "/api/lm/{prefix}/unet_roots" => unet_roots,
            GET "/api/lm/{prefix}/loader-pool" => loader_pool,
        }
    }

    /// The root decides what a file is, not its sidecar: ComfyUI loads it by where it lies.
    fn derive_one(file: &FileFacts) -> Derived {
        let sub_type = if file.root_key == DIFFUSION_MODEL_ROOT {
            DIFFUSION_MODEL
        } else {
            CHECKPOINT
        };
        let adapter = file.header.as_ref().is_some_and(header::is_adapter);
        Derived {
            sub_type: sub_type.to_owned(),
            base_model_hint: file.header.as_ref().and_then(header::base_model),
            problem: adapter
                .then(|| "This file holds a LoRA, not a checkpoint. Move it to a folder of LoRAs.".to_owned()),
            ..Derived::default()
        }
    }

    fn format_one(model: &Model) -> Json {
        json_of(&Listed {
            usage_count: model.usage_count,
        })
    }

    fn parse_query(parameters: &[Pair]) -> Result<QueryFilter> {
        let hashes = query::hashes(parameters, "checkpoint_hash", "checkpoint_hashes");
        Ok(QueryFilter {
            hashes,
            ..QueryFilter::default()
        })
    }

    fn organise_one(input: &OrganiseInput) -> Placement {
        Placement {
            root_key: root_of(&input.sub_type).to_owned(),
            ..Placement::of(input)
        }
    }

    fn select_file_one(input: &SelectInput) -> Result<FileSelection> {
        let version = file_choice::Version::read(&input.remote_version)?;
        let file = file_choice::choose(&version, input.choice.as_ref())?;
        let sub_type = if diffusion::is_diffusion_model(&version) {
            DIFFUSION_MODEL
        } else {
            CHECKPOINT
        };
        Ok(FileSelection {
            file,
            root_key: root_of(sub_type).to_owned(),
        })
    }
}

export_model_type!(Checkpoint);

#[cfg(test)]
mod tests;
