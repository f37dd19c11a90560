//! What one call into a plugin may use. Every limit has a default and a setting
//! (table `[limits]` in settings.toml).

use std::time::Duration;

use serde::Deserialize;

/// Limits of one call.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of an instance in MiB.
    pub memory_mib: usize,
    /// Time of a call to `describe`, `setup-specific-routes`, `handle` or `parse-query` in milliseconds.
    pub call_ms: u64,
    /// Time of a call to a batched rule in milliseconds.
    pub rule_ms: u64,
    /// Size of an answer to a route in MiB.
    pub output_mib: usize,
    /// Calls into plugins at the same time; more wait.
    pub instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mib: 64,
            call_ms: 2_000,
            rule_ms: 10_000,
            output_mib: 16,
            instances: 32,
        }
    }
}

impl Limits {
    /// Linear memory of an instance in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_mib << 20
    }

    /// Size of an answer in bytes.
    pub fn output_bytes(&self) -> usize {
        self.output_mib << 20
    }

    /// Time of a request-like call.
    pub fn call_time(&self) -> Duration {
        Duration::from_millis(self.call_ms)
    }

    /// Time of a batched rule.
    pub fn rule_time(&self) -> Duration {
        Duration::from_millis(self.rule_ms)
    }
}
