//! A host in memory, so that `cargo test` proves a plugin without WebAssembly.
//!
//! A [`FakeHost`] belongs to the thread that makes it and lives until it is dropped. Meanwhile the SDK's
//! [`library`](crate::library), [`settings`](crate::settings), [`kv`](crate::kv), [`events`](crate::events),
//! [`remote`](crate::remote) and [`log`](crate::log) of that thread speak to it. It enforces what the type's
//! descriptor asks for, as the real host does when the person grants everything.
//!
//! ```
//! use modelshelf_plugin_sdk::testing::{FakeHost, model};
//! use modelshelf_plugin_sdk::{Descriptor, Model, ModelType, Request, Response, Result, Route, library, routes};
//!
//! struct Vae;
//!
//! fn count(_request: &Request) -> Result<Response> {
//!     let page = library::query(&library::Selection::default(), library::Order::Name, 0, 1)?;
//!     Response::success(serde_json::json!({"count": page.total}))
//! }
//!
//! impl ModelType for Vae {
//!     fn describe() -> Descriptor {
//!         Descriptor::new("vae", "vaes", "VAEs").extensions([".pt"]).root("vae", ["vae"], "default_vae_root")
//!     }
//!     fn routes() -> &'static [Route] {
//!         routes! { GET "/api/lm/{prefix}/count" => count }
//!     }
//! }
//!
//! let host = FakeHost::new::<Vae>().with_models([model("a.pt"), Model { favorite: true, ..model("b/c.pt") }]);
//! let answer = host.get("/api/lm/vaes/count");
//! assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"success": true, "count": 2})));
//! ```

mod library;
mod matching;
mod routes;
pub(crate) mod state;

use std::marker::PhantomData;

use serde_json::Value;

use crate::bindings::modelshelf::plugin::log::Level;
use crate::library::Root;
use crate::remote::{FetchRequest, FetchResponse};
use crate::{Model, ModelType, Registrar, Request, Result};

pub(crate) use routes::RouteTable;
use state::State;

/// The folder that [`model`] puts files into.
pub const ROOT: &str = "/models";

/// A model below [`ROOT`], named by its path below it. Names, folder and path fit each other; the rest is empty.
pub fn model(relative_path: &str) -> Model {
    let (folder, file) = relative_path.rsplit_once('/').unwrap_or(("", relative_path));
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    Model {
        file_path: format!("{ROOT}/{relative_path}"),
        relative_path: relative_path.to_owned(),
        file_name: stem.to_owned(),
        folder: folder.to_owned(),
        model_name: stem.to_owned(),
        ..Model::default()
    }
}

/// An answer as a client of the real host gets it: errors are answers too.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none: a test should fail there.
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)),
        }
    }
}

/// A host for one model type. Only one lives in a thread at a time.
pub struct FakeHost {
    routes: RouteTable,
    handle: fn(&str, &Request) -> Result<crate::Response>,
    prefix: String,
    // Its state lies in a thread-local, so that a move to another thread would leave it behind.
    not_send: PhantomData<*const ()>,
}

impl FakeHost {
    /// A host that has loaded `T` and has no models, one root ([`ROOT`], of the type's first kind) and no settings.
    ///
    /// # Panics
    /// When the descriptor has faults, the routes clash or the thread has a fake host already.
    pub fn new<T: ModelType>() -> Self {
        let descriptor = T::describe();
        let faults = descriptor.faults();
        assert!(faults.is_empty(), "the descriptor has faults: {faults:?}");
        state::install(State::new(&descriptor));
        let host = Self {
            routes: RouteTable::new(&descriptor.prefix),
            handle: T::handle,
            prefix: descriptor.prefix,
            not_send: PhantomData,
        };
        if let Err(error) = T::setup_specific_routes(&Registrar::of_fake(&host.routes)) {
            panic!("the type's routes were refused: {error}");
        }
        host
    }

    /// Adds models. A model without a root key gets that of the first root.
    #[must_use]
    pub fn with_models(self, models: impl IntoIterator<Item = Model>) -> Self {
        state::edit(|state| state.library.add(models));
        self
    }

    /// Replaces the roots: (absolute path, key of the kind, whether it is online).
    #[must_use]
    pub fn with_roots<'a>(self, roots: impl IntoIterator<Item = (&'a str, &'a str, bool)>) -> Self {
        let root = |(path, key, online): (&str, &str, bool)| Root {
            path: path.into(),
            key: key.into(),
            online,
        };
        state::edit(|state| state.library.roots = roots.into_iter().map(root).collect());
        self
    }

    /// Sets what [`library::entry`](crate::library::entry) and patches start from for one model: sidecar fields.
    #[must_use]
    pub fn with_sidecar(self, path: &str, fields: &Value) -> Self {
        state::edit(|state| state.library.set_sidecar(path, fields));
        self
    }

    /// Sets one of the plugin's settings.
    #[must_use]
    pub fn with_setting(self, key: &str, value: &Value) -> Self {
        state::edit(|state| state.settings.insert(key.to_owned(), value.to_string()));
        self
    }

    /// Answers the plugin's requests to other servers.
    #[must_use]
    pub fn with_remote(self, answer: impl Fn(&FetchRequest) -> Result<FetchResponse> + 'static) -> Self {
        state::edit(|state| state.remote = Some(std::rc::Rc::new(answer)));
        self
    }

    /// Sets the number that goes with each request as `_seed`; 1 unless set.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        state::edit(|state| state.seed = seed);
        self
    }

    /// Messages that the plugin broadcast, as clients see them.
    pub fn events(&self) -> Vec<Value> {
        state::edit(|state| state.events.clone())
    }

    /// Lines that the plugin logged.
    pub fn logs(&self) -> Vec<(Level, String)> {
        state::edit(|state| state.logs.clone())
    }

    /// Routes that the type added, as (method, path), with the prefix filled in.
    pub fn routes(&self) -> Vec<(String, String)> {
        self.routes.listed()
    }

    /// `GET` of a path with a query string, both percent-encoded as in a URL.
    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, Vec::new())
    }

    /// `POST` of a JSON body.
    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.send("POST", target, body.to_string().into_bytes())
    }

    /// Any request. A body is sent as `application/json`.
    pub fn send(&self, method: &str, target: &str, body: Vec<u8>) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some((handler, path_params)) = self.routes.find(method, path) else {
            return error_answer(404, &format!("no route {method} {path} below /api/lm/{}", self.prefix));
        };
        let mut query = routes::query_pairs(query);
        query.push(("_seed".to_owned(), state::edit(|state| state.seed.to_string())));
        let content_type = if body.is_empty() { "" } else { "application/json" };
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            path_params,
            query,
            content_type: content_type.to_owned(),
            body,
        };
        match (self.handle)(&handler, &request) {
            Ok(response) => Answer {
                status: response.status,
                body: response.body,
            },
            Err(error) => error_answer(error.status(), &error.to_string()),
        }
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        state::remove();
    }
}

fn error_answer(status: u16, error: &str) -> Answer {
    Answer {
        status,
        body: serde_json::json!({"success": false, "error": error})
            .to_string()
            .into_bytes(),
    }
}

#[cfg(test)]
mod tests;
