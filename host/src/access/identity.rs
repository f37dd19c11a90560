//! Who makes a request.

use super::scope::Scopes;

/// The person or program behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Somebody on this machine, where no login is configured.
    Local,
    /// A session, by its id.
    Session(String),
    /// A token.
    Token {
        /// Id.
        id: String,
        /// Name that its maker gave it.
        name: String,
    },
    /// The token of settings.toml.
    SettingsToken,
    /// A user that a trusted proxy named.
    ProxyUser(String),
}

/// Who makes a request, and what that one may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub principal: Principal,
    /// What is allowed.
    pub scopes: Scopes,
}

impl Identity {
    /// Somebody on this machine, where no login is configured.
    pub const LOCAL: Self = Self {
        principal: Principal::Local,
        scopes: Scopes::ALL,
    };
}
