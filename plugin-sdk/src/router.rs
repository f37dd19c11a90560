//! A type's own routes, declared once.

use crate::bindings::modelshelf::plugin::routes::Registrar as HostRegistrar;
use crate::{PluginError, Request, Response, Result};

/// HTTP methods that a route may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

impl Method {
    /// The method as it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// What answers a request.
pub type Handler = fn(&Request) -> Result<Response>;

/// One route of a type.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, starting with `/api/lm/{prefix}/`; further `{names}` match one segment each.
    pub template: &'static str,
    /// Its name in the host's route table and in the log, unique within the type.
    pub handler: &'static str,
    /// What answers it.
    pub answer: Handler,
}

/// A table of [`Route`]s: method, template, and the function that answers, whose name becomes the handler's name.
///
/// ```
/// use modelshelf_plugin_sdk::{Request, Response, Result, Route, routes};
///
/// fn greet(request: &Request) -> Result<Response> {
///     Response::success(serde_json::json!({"hello": request.require("name")?}))
/// }
///
/// const ROUTES: &[Route] = routes! {
///     GET "/api/lm/{prefix}/greet" => greet,
/// };
/// ```
#[macro_export]
macro_rules! routes {
    (@method GET) => { $crate::Method::Get };
    (@method POST) => { $crate::Method::Post };
    (@method PUT) => { $crate::Method::Put };
    (@method DELETE) => { $crate::Method::Delete };
    ($($method:ident $template:literal => $answer:ident),* $(,)?) => {
        &[$($crate::Route {
            method: $crate::routes!(@method $method),
            template: $template,
            handler: stringify!($answer),
            answer: $answer,
        }),*]
    };
}

/// Answers with the route whose handler has that name. [`ModelType::handle`](crate::ModelType::handle) does this
/// with the type's table.
///
/// # Errors
/// What the handler returns; `NotFound` when no route has that name.
pub fn dispatch(routes: &[Route], handler: &str, request: &Request) -> Result<Response> {
    match routes.iter().find(|route| route.handler == handler) {
        Some(route) => (route.answer)(request),
        None => Err(PluginError::not_found(format!(
            "this model type has no handler `{handler}`"
        ))),
    }
}

/// The host's route table while it takes this type's routes.
pub struct Registrar<'a> {
    target: Target<'a>,
}

enum Target<'a> {
    Host(&'a HostRegistrar),
    #[cfg(not(target_family = "wasm"))]
    Fake(&'a crate::testing::RouteTable),
}

impl<'a> Registrar<'a> {
    pub(crate) fn of_host(registrar: &'a HostRegistrar) -> Self {
        Self {
            target: Target::Host(registrar),
        }
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn of_fake(table: &'a crate::testing::RouteTable) -> Self {
        Self {
            target: Target::Fake(table),
        }
    }

    /// Adds one route. `template` starts with `/api/lm/{prefix}/`.
    ///
    /// # Errors
    /// `Conflict` when a shared route or another plugin's has the same method and path; `Invalid` for a template
    /// that is none.
    pub fn add_route(&self, method: Method, template: &str, handler: &str) -> Result<()> {
        match self.target {
            Target::Host(registrar) => Ok(registrar.add_route(method.as_str(), template, handler)?),
            #[cfg(not(target_family = "wasm"))]
            Target::Fake(table) => table.add(method, template, handler),
        }
    }

    /// Adds a whole table.
    ///
    /// # Errors
    /// As [`add_route`](Self::add_route), at the first route that can't be added.
    pub fn add_routes(&self, routes: &[Route]) -> Result<()> {
        routes
            .iter()
            .try_for_each(|route| self.add_route(route.method, route.template, route.handler))
    }
}
