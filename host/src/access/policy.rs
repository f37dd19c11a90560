//! Settings of access.

use super::error::AccessError;
use super::secret::Digest;

/// Fewest characters of a token in settings.toml.
pub const MIN_TOKEN: usize = 32;

/// What settings say of access.
#[derive(Debug, Clone, Default)]
pub struct AccessPolicy {
    /// The token of settings.toml.
    pub token: Option<Digest>,
    /// Whether each request needs a login also on loopback.
    pub require_login: bool,
    /// Header by which a trusted proxy names the user, in lower case.
    pub user_header: Option<String>,
}

/// The token of the settings, trimmed; none when it is not set.
///
/// # Errors
/// When it is blank or too short.
pub fn checked_token(token: Option<&str>) -> Result<Option<&str>, AccessError> {
    let Some(token) = token.map(str::trim) else {
        return Ok(None);
    };
    match token.chars().count() {
        count if count < MIN_TOKEN => Err(AccessError::WeakToken(count)),
        _ => Ok(Some(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_32_characters_after_trimming() {
        assert_eq!(checked_token(None).unwrap(), None);
        let long = "x".repeat(32);
        assert_eq!(checked_token(Some(&format!(" {long}\n"))).unwrap(), Some(long.as_str()));
        for weak in ["", " ", "x", &"x".repeat(31), &format!("{}x", " ".repeat(40))] {
            assert!(checked_token(Some(weak)).is_err(), "{weak:?}");
        }
    }
}
