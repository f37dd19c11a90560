//! A model type that asks for a route that every type has already.

use modelshelf_plugin_sdk::{Descriptor, ModelType, Request, Response, Result, Route, export_model_type, routes};

struct Clash;

fn list(_request: &Request) -> Result<Response> {
    Ok(Response::json_text("{}".to_owned()))
}

impl ModelType for Clash {
    fn describe() -> Descriptor {
        Descriptor::new("clash", "clashes", "Clashes")
            .extensions([".clash"])
            .root("clashes", ["clashes"], "default_clash_root")
    }

    fn routes() -> &'static [Route] {
        routes! {
            GET "/api/lm/{prefix}/list" => list,
        }
    }
}

export_model_type!(Clash);
