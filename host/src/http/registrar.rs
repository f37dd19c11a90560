//! The table of all routes, bound from that of the shared ones ([`super::routes`]), the plugins' own and each type's
//! prefix.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::Method;

use super::missing_routes::missing_routes;
use super::routes::{COMMON_ROUTES, Shared, SharedRoute, TYPE_ROUTES};
use crate::access::Scope;
use crate::access::effects::Effects;
use crate::compat::compat;
use crate::model_types::TypeSlot;
use crate::plugins::imports::RouteWish;

/// Every path of the API starts with this.
pub const API: &str = "/api/lm/";
/// Stands for the type's prefix in a template.
const PREFIX: &str = "{prefix}";

/// Why a plugin can't have a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WishError {
    /// Another route is there; the text names it.
    Clash(String),
    /// It is no route of this API.
    Invalid(String),
}

/// Looks whether a plugin may have a route, as far as the shared routes are concerned.
///
/// # Errors
/// Names the shared route in the way, or what is wrong with the template.
pub fn check_wish(wish: &RouteWish) -> Result<(), WishError> {
    let start = format!("{API}{PREFIX}/");
    if !wish.template.starts_with(&start) || wish.template.matches(PREFIX).count() != 1 {
        return Err(WishError::Invalid(format!(
            "the template {:?} must start with {start} and name the prefix once",
            wish.template
        )));
    }
    if wish.template.contains("{*") {
        return Err(WishError::Invalid(format!(
            "the template {:?} would match everything below it; name its segments",
            wish.template
        )));
    }
    if !["GET", "POST", "PUT", "DELETE"].contains(&wish.method.as_str()) {
        return Err(WishError::Invalid(format!(
            "the method {:?} is not GET, POST, PUT or DELETE",
            wish.method
        )));
    }
    let mut shared = matchit::Router::new();
    for route in TYPE_ROUTES.iter().filter(|route| route.method.as_str() == wish.method) {
        let _ = shared.insert(bind(route.template, "-"), ());
    }
    match shared.insert(bind(&wish.template, "-"), ()) {
        Ok(()) => Ok(()),
        Err(matchit::InsertError::Conflict { with }) => {
            let with = with.replacen("/-", &format!("/{PREFIX}"), 1);
            Err(WishError::Clash(format!(
                "{} {} of `{}` clashes with the shared route {} {with}",
                wish.method, wish.template, wish.handler, wish.method
            )))
        }
        Err(error) => Err(WishError::Invalid(format!(
            "the template {:?} can't be used: {error}",
            wish.template
        ))),
    }
}

fn bind(template: &str, prefix: &str) -> String {
    template.replacen(PREFIX, prefix, 1)
}

/// The fixed route that a type with this prefix would hide or be hidden by.
fn reserved(prefix: &str) -> Option<String> {
    let fixed = [
        "api",
        "static",
        "ws",
        "locales",
        "plugins",
        "login",
        "access",
        "healthz",
        "readyz",
        "version",
        &compat().static_prefix,
    ];
    if fixed.contains(&prefix) {
        return Some(format!("/{prefix}"));
    }
    let common = COMMON_ROUTES.iter().map(|route| route.template);
    common
        .chain(missing_routes().map(|route| route.template))
        .find(|path| path.strip_prefix(API).and_then(|path| path.split('/').next()) == Some(prefix))
        .map(str::to_owned)
}

/// Who answers a bound route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A shared handler.
    Shared(Shared),
    /// The plugin of the type, by the name of its handler.
    Plugin(String),
}

/// A route as it is bound.
#[derive(Clone)]
pub struct Bound {
    /// Method.
    pub method: Method,
    /// Who answers.
    pub target: Target,
    /// The type it belongs to.
    pub slot: Option<Arc<TypeSlot>>,
    /// What it may do.
    pub effects: Effects,
    /// Parameters of the query that make it do more, and what.
    pub more: Option<(&'static [&'static str], Effects)>,
    /// What its caller needs; none where anybody may ask.
    pub scope: Option<Scope>,
}

impl Bound {
    /// What a request with this query may do.
    pub fn effects_of(&self, query: Option<&str>) -> Effects {
        match self.more {
            Some((parameters, more)) => {
                let given = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
                let is_given = given.into_iter().any(|(name, _)| parameters.contains(&&*name));
                if is_given { self.effects.and(more) } else { self.effects }
            }
            None => self.effects,
        }
    }
}

/// A plugin's route that clashes with another route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} {template} of `{plugin}` clashes with {with}")]
pub struct BindError {
    /// The plugin that is left out.
    pub plugin: String,
    /// HTTP method.
    pub method: String,
    /// The route's template.
    pub template: String,
    /// The route in the way.
    pub with: String,
}

/// All routes.
#[derive(Default)]
pub struct RouteTable {
    paths: matchit::Router<usize>,
    bound: Vec<Vec<Bound>>,
    index: HashMap<String, usize>,
}

/// A path found in the table.
pub struct Match<'t> {
    /// Its routes, one for each method.
    pub bound: &'t [Bound],
    /// Values of its placeholders, still percent-encoded.
    pub params: Vec<(String, String)>,
}

impl RouteTable {
    /// Binds the common routes.
    pub fn new() -> Self {
        let mut table = Self::default();
        for route in COMMON_ROUTES {
            table.add_shared(route, route.template.to_owned(), None);
        }
        for route in missing_routes() {
            table.add_shared(&route, route.template.to_owned(), None);
        }
        table
    }

    /// Binds the shared routes for a type, then the routes of its plugin.
    ///
    /// # Errors
    /// Names both routes when one of the plugin's clashes; the table then has the type's routes
    /// before it.
    pub fn add_type(&mut self, slot: &Arc<TypeSlot>, wishes: &[RouteWish]) -> Result<(), BindError> {
        let prefix = slot.info.prefix().to_owned();
        if let Some(route) = reserved(&prefix) {
            return Err(BindError {
                plugin: slot.info.id().to_owned(),
                method: Method::GET.to_string(),
                template: format!("/{prefix}"),
                with: route,
            });
        }
        for route in TYPE_ROUTES {
            self.add_shared(route, bind(route.template, &prefix), Some(slot));
        }
        for wish in wishes {
            let error = |with: String| BindError {
                plugin: slot.info.id().to_owned(),
                method: wish.method.clone(),
                template: wish.template.clone(),
                with,
            };
            let method = Method::from_bytes(wish.method.as_bytes()).map_err(|_| error("no HTTP method".into()))?;
            // Only what changes models may do so; every route of a plugin may ask the hosts that it was granted.
            let reads = method == Method::GET;
            let effects = Effects {
                write: !reads,
                network: true,
                plugin: true,
            };
            let target = Target::Plugin(wish.handler.clone());
            let bound = Bound {
                method,
                target,
                slot: Some(slot.clone()),
                effects,
                more: None,
                // Many a POST only reads; a call whose caller has no more than that can't edit.
                scope: Some(Scope::Read),
            };
            self.add(bind(&wish.template, &prefix), bound).map_err(error)?;
        }
        Ok(())
    }

    fn add_shared(&mut self, route: &SharedRoute, path: String, slot: Option<&Arc<TypeSlot>>) {
        let bound = Bound {
            method: route.method.clone(),
            target: Target::Shared(route.handler),
            slot: slot.cloned(),
            effects: route.effects,
            more: route.more,
            scope: route.scope,
        };
        if let Err(with) = self.add(path.clone(), bound) {
            tracing::error!(path, with, "a shared route is bound twice");
        }
    }

    fn add(&mut self, path: String, bound: Bound) -> Result<(), String> {
        let index = match self.index.get(&path) {
            Some(index) => *index,
            None => {
                let index = self.bound.len();
                self.paths.insert(path.clone(), index).map_err(|error| match error {
                    matchit::InsertError::Conflict { with } => with,
                    other => other.to_string(),
                })?;
                self.bound.push(Vec::new());
                self.index.insert(path.clone(), index);
                index
            }
        };
        if self.bound[index].iter().any(|other| other.method == bound.method) {
            return Err(format!("{} {path}", bound.method));
        }
        self.bound[index].push(bound);
        Ok(())
    }

    /// Finds a path.
    pub fn find(&self, path: &str) -> Option<Match<'_>> {
        let found = self.paths.at(path).ok()?;
        let params = found
            .params
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Some(Match {
            bound: &self.bound[*found.value],
            params,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(method: &str, template: &str) -> RouteWish {
        RouteWish {
            method: method.into(),
            template: template.into(),
            handler: "h".into(),
        }
    }

    #[test]
    fn a_plugin_gets_its_own_routes_and_none_of_the_shared_ones() {
        assert_eq!(check_wish(&wish("GET", "/api/lm/{prefix}/info/{name}")), Ok(()));
        // The same path with another method is free.
        assert_eq!(check_wish(&wish("POST", "/api/lm/{prefix}/list")), Ok(()));
        let Err(WishError::Clash(text)) = check_wish(&wish("GET", "/api/lm/{prefix}/list")) else {
            panic!("no clash")
        };
        assert!(
            text.contains("of `h`") && text.contains("shared route GET /api/lm/{prefix}/list"),
            "{text}"
        );
        let Err(WishError::Clash(_)) = check_wish(&wish("GET", "/api/lm/{prefix}/updates/status/{x}")) else {
            panic!("no clash")
        };
    }

    #[test]
    fn templates_outside_the_types_own_space_are_refused() {
        for template in [
            "/api/lm/other/x",
            "/x",
            "/api/lm/{prefix}",
            "/api/lm/{prefix}/{prefix}",
            "/api/lm/{prefix}/{*rest}",
            "/api/lm/{prefix}/{",
        ] {
            assert!(
                matches!(check_wish(&wish("GET", template)), Err(WishError::Invalid(_))),
                "{template}"
            );
        }
        assert!(matches!(
            check_wish(&wish("PATCH", "/api/lm/{prefix}/x")),
            Err(WishError::Invalid(_))
        ));
    }

    #[test]
    fn prefixes_of_fixed_routes_are_reserved() {
        for prefix in ["static", "ws", "downloads", "settings", "previews"] {
            assert!(reserved(prefix).is_some(), "{prefix}");
        }
        assert_eq!(reserved("vaes"), None);
    }
}
