//! What a person allows a plugin beyond the sandbox.

use serde::Deserialize;

/// What is granted to one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Host names that `remote.fetch` may reach, of those that the plugin asks for.
    pub remote_hosts: Vec<String>,
    /// Whether these may be on this machine or in this network, and be reached by `http` too.
    pub private_addresses: bool,
}

impl Grants {
    /// Whether a host may be reached, whatever its case.
    pub fn allows(&self, host: &str) -> bool {
        self.remote_hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}
