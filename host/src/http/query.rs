//! The query string of a request, parsed once, with the contract's rules for values.

use super::error::ApiError;

/// Most parameters of a request.
const MAX_PARAMETERS: usize = 1_000;
/// Parameters that are split into words, each of which is searched for.
const SEARCHES: [&str; 3] = ["search", "term", "query"];
/// Longest text to search for, in bytes.
const MAX_SEARCH: usize = 1_000;

/// The pairs of a query string, in order.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Percent-decodes; bytes that are no UTF-8 are replaced.
    pub fn parse(text: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// Bounds of every request, whatever it asks for. The length of the whole is bounded by that of a request's head.
    ///
    /// # Errors
    /// 400 naming the bound.
    pub fn check(&self) -> Result<(), ApiError> {
        if self.0.len() > MAX_PARAMETERS {
            return Err(ApiError::bad_request(format!(
                "The request has {} parameters; at most {MAX_PARAMETERS} are read.",
                self.0.len()
            )));
        }
        let long = SEARCHES
            .iter()
            .find(|name| self.all(name).any(|text| text.len() > MAX_SEARCH));
        long.map_or(Ok(()), |name| {
            Err(ApiError::bad_request(format!(
                "The parameter `{name}` is longer than {MAX_SEARCH} bytes."
            )))
        })
    }

    /// All pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a name that are not empty.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.all(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// A value that must be there and not empty.
    ///
    /// # Errors
    /// 400 with `message`.
    pub fn require(&self, name: &str, message: &str) -> Result<&str, ApiError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ApiError::bad_request(message))
    }

    /// `true` in any case is true, all else false.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name)
            .map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// Absent is no filter; `false`, `0` and nothing are false; all else is true.
    pub fn tri_state(&self, name: &str) -> Option<bool> {
        self.get(name)
            .map(|value| !(value.is_empty() || value == "0" || value.eq_ignore_ascii_case("false")))
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub fn integer(&self, name: &str, default: i64) -> Result<i64, ApiError> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().map_err(|_| {
                ApiError::bad_request(format!("The parameter `{name}` must be a whole number, not {text:?}."))
            }),
        }
    }

    /// A limit: `default` for what the contract does not accept. `zero` says what 0 means.
    ///
    /// # Errors
    /// 400 when it is no number.
    pub fn limit(&self, default: usize, max: usize, zero: Zero) -> Result<usize, ApiError> {
        Ok(match usize::try_from(self.integer("limit", default as i64)?) {
            Ok(0) => match zero {
                Zero::All => usize::MAX,
                Zero::Default => default,
            },
            Ok(limit) if limit <= max => limit,
            _ => default,
        })
    }
}

/// What a limit of 0 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zero {
    /// No limit.
    All,
    /// The default.
    Default,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_bounds() {
        assert!(Query::parse(Some(&"a&".repeat(MAX_PARAMETERS))).check().is_ok());
        assert!(Query::parse(Some(&"a&".repeat(MAX_PARAMETERS + 1))).check().is_err());
        let search = |length: usize| Query::parse(Some(&format!("search={}", "a".repeat(length)))).check();
        assert!(search(MAX_SEARCH).is_ok() && search(MAX_SEARCH + 1).is_err());
    }

    #[test]
    fn values_follow_the_contracts_rules() {
        let query = Query::parse(Some("a=1&a=2&f=TRUE&g=yes&n=x&c=0&d&limit=500&p=%2b+"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert!(query.flag("f", false) && !query.flag("g", true) && query.flag("none", true));
        assert_eq!(
            (
                query.tri_state("c"),
                query.tri_state("d"),
                query.tri_state("g"),
                query.tri_state("h")
            ),
            (Some(false), Some(false), Some(true), None)
        );
        assert_eq!(query.get("p"), Some("+ "));
        assert!(query.integer("n", 1).unwrap_err().message.contains("`n`"));
        assert_eq!(query.limit(20, 200, Zero::All).unwrap(), 20);
    }
}
