//! Reading requests.

use core::str::FromStr;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Pair, PluginError, Request, Result};

/// The query parameter with a random number that the host adds to every request, in decimal.
const SEED_PARAMETER: &str = "_seed";

/// The first value of that name, also an empty one.
pub(crate) fn first_value<'a>(pairs: &'a [Pair], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

impl Request {
    /// The first value of a query parameter, also an empty one.
    pub fn query_value(&self, name: &str) -> Option<&str> {
        first_value(&self.query, name)
    }

    /// All values of a query parameter in order.
    pub fn query_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter that must be there.
    ///
    /// # Errors
    /// `Invalid`, naming the parameter, when it is missing or empty.
    pub fn require(&self, name: &str) -> Result<&str> {
        match self.query_value(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(PluginError::invalid(format!("Query parameter `{name}` is required"))),
        }
    }

    /// The value of a query parameter as a number or the like; `default` when it is missing or empty.
    ///
    /// # Errors
    /// `Invalid`, naming the parameter, when the value is none.
    pub fn parse<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        match self.query_value(name) {
            None | Some("") => Ok(default),
            Some(value) => value
                .parse()
                .map_err(|_| PluginError::invalid(format!("Query parameter `{name}` can't be `{value}`"))),
        }
    }

    /// Whether a query parameter is `true` in any case. Everything else, a missing one too, is false.
    pub fn flag(&self, name: &str) -> bool {
        self.query_value(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The value of a `{placeholder}` of the route's template.
    ///
    /// # Errors
    /// `Internal` when the template has no such placeholder: a mistake of the plugin.
    pub fn path_param(&self, name: &str) -> Result<&str> {
        first_value(&self.path_params, name)
            .ok_or_else(|| PluginError::internal(format!("the route's template has no `{{{name}}}`")))
    }

    /// The body as one JSON object. An empty body reads as `{}`.
    ///
    /// # Errors
    /// `Invalid`, saying where, when the body is no JSON object or does not fit `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let body = self.body.trim_ascii();
        let body = if body.is_empty() { b"{}" } else { body };
        // serde would read a list as an object whose members come in order.
        if body.starts_with(b"[") {
            return Err(PluginError::invalid(
                "The request body must be a JSON object, not a list",
            ));
        }
        serde_json::from_slice(body).map_err(|error| {
            let what = if error.is_data() {
                "does not fit"
            } else {
                "is not valid JSON"
            };
            PluginError::invalid(format!("The request body {what}: {error}"))
        })
    }

    /// A seed for anything random in the answer.
    ///
    /// A fresh instance serves each call and there is no source of randomness in it, so that the seed comes with the
    /// request: the field `seed` of a JSON body (a whole number, 0 to 2^64-1) when the caller wants a repeatable
    /// answer, else the query parameter `_seed`, which the host adds to every request to `handle` with a new random
    /// number. A request that has neither gives a seed made of its body.
    pub fn seed(&self) -> u64 {
        #[derive(Deserialize)]
        struct Seeded {
            seed: u64,
        }
        if let Ok(Seeded { seed }) = serde_json::from_slice(&self.body) {
            return seed;
        }
        // The last one counts: a caller may send a parameter of that name, and the host's own comes after it.
        let given = self.query.iter().rev().find(|(key, _)| key == SEED_PARAMETER);
        given
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or_else(|| fnv1a(&self.body))
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &[(&str, &str)], body: &str) -> Request {
        Request {
            method: "GET".into(),
            path: "/api/lm/loras/x".into(),
            path_params: vec![("name".into(), "a b".into())],
            query: query.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            content_type: String::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_required_parameter_is_named_when_it_is_missing_or_empty() {
        assert_eq!(request(&[("name", "x")], "").require("name"), Ok("x"));
        for query in [&[][..], &[("name", "")]] {
            let error = request(query, "").require("name").expect_err("missing");
            assert_eq!(error, PluginError::invalid("Query parameter `name` is required"));
        }
    }

    #[test]
    fn numbers_have_defaults_and_named_errors() {
        assert_eq!(request(&[], "").parse("limit", 5), Ok(5));
        assert_eq!(request(&[("limit", "7")], "").parse("limit", 5), Ok(7));
        let error = request(&[("limit", "x")], "").parse("limit", 5).expect_err("no number");
        assert!(matches!(error, PluginError::Invalid(text) if text.contains("`limit`")));
    }

    #[test]
    fn flags_repeats_and_placeholders_are_read() {
        let request = request(&[("on", "TRUE"), ("off", "1"), ("tag", "a"), ("tag", "b")], "");
        assert!(request.flag("on"));
        assert!(!request.flag("off"));
        assert!(!request.flag("missing"));
        assert_eq!(request.query_values("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(request.path_param("name"), Ok("a b"));
        assert_eq!(
            request.path_param("other").expect_err("no such placeholder").status(),
            500
        );
    }

    #[test]
    fn a_body_that_is_no_json_and_one_that_does_not_fit_are_invalid() {
        #[derive(Debug, Deserialize)]
        struct Body {
            #[serde(default)]
            count: u8,
        }
        assert_eq!(request(&[], " ").json::<Body>().expect("empty is {}").count, 0);
        assert_eq!(request(&[], r#"{"count":3}"#).json::<Body>().expect("fits").count, 3);
        let broken = request(&[], "{").json::<Body>().expect_err("broken");
        assert!(broken.to_string().contains("is not valid JSON"), "{broken}");
        let unfit = request(&[], r#"{"count":"x"}"#).json::<Body>().expect_err("unfit");
        assert!(unfit.to_string().contains("does not fit"), "{unfit}");
        let list = request(&[], "[3]").json::<Body>().expect_err("a list");
        assert_eq!((broken.status(), unfit.status(), list.status()), (400, 400, 400));
    }

    #[test]
    fn the_seed_is_the_body_s_then_the_host_s_then_made_of_the_body() {
        assert_eq!(request(&[("_seed", "9")], r#"{"seed":7}"#).seed(), 7);
        assert_eq!(request(&[("_seed", "8"), ("_seed", "9")], "{}").seed(), 9);
        assert_eq!(request(&[], "{}").seed(), request(&[], "{}").seed());
        assert_ne!(request(&[], "{}").seed(), request(&[], "{ }").seed());
    }
}
