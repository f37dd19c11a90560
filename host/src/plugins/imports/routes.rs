//! `routes`: the registrar resource through which a plugin asks for routes of its own.

use wasmtime::component::Resource;

use super::super::instance::CallState;
use super::wit::routes::{Host, HostRegistrar};
use super::wit::types::Error;

/// The guest's handle; what it collects lies in the call's reach.
pub struct RouteCollector;

/// A route that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteWish {
    /// HTTP method, upper-case.
    pub method: String,
    /// Path template with `{prefix}`.
    pub template: String,
    /// What `handle` is called with.
    pub handler: String,
}

const MAX_ROUTES: usize = 200;

impl Host for CallState {}

impl HostRegistrar for CallState {
    async fn add_route(
        &mut self,
        _registrar: Resource<RouteCollector>,
        method: String,
        template: String,
        handler: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        if !self.reach.collects_routes {
            return Ok(super::unsupported("routes"));
        }
        if self.reach.routes.len() >= MAX_ROUTES {
            return Ok(Err(Error::Invalid(format!(
                "a plugin may have at most {MAX_ROUTES} routes"
            ))));
        }
        let wish = RouteWish {
            method: method.to_uppercase(),
            template,
            handler,
        };
        let twice = |own: &RouteWish| own.method == wish.method && own.template == wish.template;
        if let Some(own) = self.reach.routes.iter().find(|own| twice(own)) {
            let reason = format!(
                "{} {} is there already, for `{}`",
                wish.method, wish.template, own.handler
            );
            return Ok(Err(Error::Conflict(reason)));
        }
        let answer = crate::http::registrar::check_wish(&wish).map_err(|clash| match clash {
            crate::http::registrar::WishError::Clash(text) => Error::Conflict(text),
            crate::http::registrar::WishError::Invalid(text) => Error::Invalid(text),
        });
        if answer.is_ok() {
            self.reach.routes.push(wish);
        }
        Ok(answer)
    }

    async fn drop(&mut self, registrar: Resource<RouteCollector>) -> wasmtime::Result<()> {
        self.table.delete(registrar)?;
        Ok(())
    }
}
