//! A model type that uses all that a host may offer, as its routes are asked to.

use modelshelf_plugin_sdk::remote::FetchRequest;
use modelshelf_plugin_sdk::{
    Descriptor, ModelType, PluginError, Request, Response, Result, Route, export_model_type, kv, library, remote,
    routes,
};
use serde_json::{Value, json};

struct Capable;

impl ModelType for Capable {
    fn describe() -> Descriptor {
        Descriptor::new("capable", "capables", "Capables")
            .version("1.2.3")
            .extensions([".capable"])
            .root("capables", ["capables"], "default_capable_root")
            .wants_kv()
            .wants_remote_hosts(["127.0.0.1", "localhost", "models.example"])
    }

    fn routes() -> &'static [Route] {
        routes! {
            GET "/api/lm/{prefix}/fetch" => fetch,
            GET "/api/lm/{prefix}/kept/{key}" => kept,
            POST "/api/lm/{prefix}/kept/{key}" => keep,
            DELETE "/api/lm/{prefix}/kept/{key}" => forget,
            GET "/api/lm/{prefix}/keys" => keys,
            GET "/api/lm/{prefix}/patch" => patch,
            POST "/api/lm/{prefix}/patch" => patch,
            GET "/api/lm/{prefix}/trap" => trap,
        }
    }
}

fn fetch(request: &Request) -> Result<Response> {
    let mut wanted = FetchRequest::get(request.require("url")?);
    if let Some(header) = request.query_value("header") {
        wanted.headers.push((header.to_owned(), "1".to_owned()));
    }
    let answer = remote::fetch(&wanted)?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    Response::json(&json!({ "status": answer.status, "body": text, "bytes": answer.body.len() }))
}

fn kept(request: &Request) -> Result<Response> {
    let value = kv::get(request.path_param("key")?)?;
    let value = value.ok_or_else(|| PluginError::NotFound("nothing is kept under this key".to_owned()))?;
    Ok(Response::with_body("application/octet-stream", value))
}

fn keep(request: &Request) -> Result<Response> {
    kv::set(request.path_param("key")?, &request.body)?;
    Response::json(&json!({ "success": true }))
}

fn forget(request: &Request) -> Result<Response> {
    kv::delete(request.path_param("key")?)?;
    Response::json(&json!({ "success": true }))
}

fn keys(request: &Request) -> Result<Response> {
    Response::json(&kv::list_keys(request.query_value("prefix").unwrap_or_default())?)
}

fn patch(request: &Request) -> Result<Response> {
    let wanted: Value = request.json()?;
    let path = wanted["path"].as_str().unwrap_or_default();
    let model = library::patch_metadata(path, &wanted["patch"])?;
    Response::json(&json!({ "model_name": model.model_name, "tags": model.tags }))
}

fn trap(_: &Request) -> Result<Response> {
    panic!("asked to trap")
}

export_model_type!(Capable);
