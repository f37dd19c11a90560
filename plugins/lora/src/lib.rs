//! The model type of LoRAs, LoCons and DoRAs.

mod fields;
mod pool;
mod routes;

use modelshelf_plugin_sdk::rules::{header, query};
use modelshelf_plugin_sdk::{
    Derived, Descriptor, FileFacts, Json, Model, ModelType, NamePatterns, Pair, QueryFilter, Result, Route,
    export_model_type, routes,
};
use serde_json::json;

/// LoRAs, LoCons and DoRAs: small files that change what a checkpoint draws.
pub struct Lora;

impl ModelType for Lora {
    fn describe() -> Descriptor {
        Descriptor::new("lora", "loras", "LoRAs")
            .version(env!("CARGO_PKG_VERSION"))
            .menu_order(10)
            .sub_types([("lora", "LoRA"), ("locon", "LoCon"), ("dora", "DoRA")])
            .sub_types_closed()
            .extensions([".safetensors"])
            .root("loras", ["loras"], "default_lora_root")
            .remote_types(["lora", "locon", "dora"], "LORA, LoCon, or DORA")
            .new_sidecar_fields(&json!({"usage_tips": "{}"}))
            .headers(header::METADATA_KEYS, header::ADAPTER_TENSORS)
            .query_parameters([
                "first_letter",
                "fuzzy",
                "lora_hash",
                "lora_hashes",
                "name_pattern_include",
                "name_pattern_exclude",
                "name_pattern_use_regex",
            ])
            .usage_bucket("loras")
            .filename_conflicts_off("lora_syntax_format", "full")
            .columns([
                ("base_model", "Base model"),
                ("sub_type", "Kind"),
                ("usage_count", "Used"),
                ("file_size", "Size"),
                ("modified", "Added"),
            ])
            .wants_events([routes::trigger_words::EVENT])
    }

    fn routes() -> &'static [Route] {
        use routes::cycler::cycler_list;
        use routes::letters::letter_counts;
        use routes::sample::random_sample;
        use routes::trigger_words::{get_trigger_words, send_trigger_words};
        use routes::usage_tips::usage_tips_by_path;

        routes! {
            GET "/api/lm/{prefix}/letter-counts" => letter_counts,
            GET "/api/lm/{prefix}/get-trigger-words" => get_trigger_words,
            GET "/api/lm/{prefix}/usage-tips-by-path" => usage_tips_by_path,
            POST "/api/lm/{prefix}/random-sample" => random_sample,
            POST "/api/lm/{prefix}/cycler-list" => cycler_list,
            POST "/api/lm/{prefix}/get_trigger_words" => send_trigger_words,
        }
    }

    fn derive_one(file: &FileFacts) -> Derived {
        let sidecar = fields::Sidecar::read(&file.sidecar);
        let full_model = file.header.as_ref().is_some_and(header::is_full_model);
        Derived {
            sub_type: sidecar.sub_type(&file.remote.model_type),
            base_model_hint: file.header.as_ref().and_then(header::base_model),
            fields: sidecar.fields(),
            problem: full_model.then(|| {
                "This file holds a whole checkpoint, not a LoRA. Move it to a folder of checkpoints.".to_owned()
            }),
        }
    }

    fn format_one(model: &Model) -> Json {
        fields::listed(&model.fields, model.usage_count)
    }

    fn parse_query(parameters: &[Pair]) -> Result<QueryFilter> {
        let values = |name: &str| -> Vec<String> {
            let named = parameters
                .iter()
                .filter(|(key, value)| key == name && !value.is_empty());
            named.map(|(_, value)| value.clone()).collect()
        };
        let flag = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.eq_ignore_ascii_case("true"))
        };
        Ok(QueryFilter {
            hashes: query::hashes(parameters, "lora_hash", "lora_hashes"),
            fuzzy: flag("fuzzy"),
            initial: values("first_letter").first().and_then(|letter| query::initial(letter)),
            names: NamePatterns {
                include: values("name_pattern_include"),
                exclude: values("name_pattern_exclude"),
                regex: flag("name_pattern_use_regex").unwrap_or(false),
            },
        })
    }
}

export_model_type!(Lora);

#[cfg(test)]
mod tests;
