//! What a plugin may use. Every limit has a default and a setting: the table `[limits]` in settings.toml for all plugins,
//! `[plugins.ID.limits]` for one.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Limits of a plugin. All of them can be set for one plugin alone but `instances`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of an instance in MiB.
    pub memory_mib: usize,
    /// Time of a call to `describe`, `setup-specific-routes`, `handle` or `parse-query` in milliseconds. Waiting for
    /// `remote` does not count.
    pub call_ms: u64,
    /// Time of a call to a batched rule in milliseconds.
    pub rule_ms: u64,
    /// Size of what one call answers in MiB, whichever export it is.
    pub output_mib: usize,
    /// Calls into all plugins at the same time; more wait.
    pub instances: usize,
    /// Calls into one plugin at the same time; more wait.
    pub instances_each: usize,
    /// Keys and values in `kv` in KiB.
    pub stored_kib: usize,
    /// Requests that `remote` makes in a minute; 0 = none.
    pub requests_per_minute: usize,
    /// Time of one such request in milliseconds, redirects included.
    pub request_ms: u64,
    /// Lines that it writes into the server's log in a minute; 0 = none.
    pub log_lines_per_minute: usize,
    /// KiB that it writes there in a minute.
    pub log_kib_per_minute: usize,
    /// Messages that it sends to pages in a minute; 0 = none.
    pub events_per_minute: usize,
    /// For how long a place of `instances_each` stays taken after a call that trapped or ran into a limit, in
    /// milliseconds; 0 = not at all. A batched rule has no such pause.
    pub fault_pause_ms: u64,
    /// Traps and run-over limits after which the plugin is quarantined; 0 = never.
    pub quarantine_traps: usize,
    /// The time in seconds within which they count.
    pub quarantine_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mib: 64,
            call_ms: 2_000,
            rule_ms: 10_000,
            output_mib: 16,
            instances: 32,
            instances_each: 16,
            stored_kib: 1_024,
            requests_per_minute: 60,
            request_ms: 10_000,
            log_lines_per_minute: 600,
            log_kib_per_minute: 256,
            events_per_minute: 1_200,
            fault_pause_ms: 100,
            quarantine_traps: 20,
            quarantine_seconds: 300,
        }
    }
}

impl Limits {
    /// These limits with some of them set otherwise.
    ///
    /// # Errors
    /// serde's, for what is no limit.
    pub fn with(&self, others: Map<String, Value>) -> serde_json::Result<Self> {
        let mut all = serde_json::to_value(self)?;
        if let Value::Object(fields) = &mut all {
            fields.extend(others);
        }
        serde_json::from_value(all)
    }

    /// Linear memory of an instance in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_mib << 20
    }

    /// Size of an answer in bytes.
    pub fn output_bytes(&self) -> usize {
        self.output_mib << 20
    }

    /// What `kv` holds in bytes.
    pub fn stored_bytes(&self) -> usize {
        self.stored_kib << 10
    }

    /// Time of a request-like call.
    pub fn call_time(&self) -> Duration {
        Duration::from_millis(self.call_ms)
    }

    /// Time of a batched rule.
    pub fn rule_time(&self) -> Duration {
        Duration::from_millis(self.rule_ms)
    }

    /// Time of a request of `remote`.
    pub fn request_time(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    /// For how long a place stays taken after a fault.
    pub fn fault_pause(&self) -> Duration {
        Duration::from_millis(self.fault_pause_ms)
    }

    /// The time within which traps count together.
    pub fn quarantine_time(&self) -> Duration {
        Duration::from_secs(self.quarantine_seconds)
    }
}

/// The limits of every plugin.
#[derive(Debug, Clone, Default)]
pub struct AllLimits {
    /// Of a plugin that has none of its own.
    pub general: Limits,
    /// Of single plugins, by id.
    pub own: HashMap<String, Limits>,
}

impl AllLimits {
    /// The limits of a plugin.
    pub fn of(&self, id: &str) -> &Limits {
        self.own.get(id).unwrap_or(&self.general)
    }

    /// The largest memory that any plugin may have, in bytes.
    pub fn most_memory(&self) -> usize {
        let all = self.own.values().chain([&self.general]);
        all.map(Limits::memory_bytes).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plugin_has_the_general_limits_but_for_what_is_set_for_it() {
        let general = Limits {
            call_ms: 5,
            ..Limits::default()
        };
        let Value::Object(others) = json!({ "memory_mib": 128 }) else {
            unreachable!()
        };
        let own = general.with(others).unwrap();
        assert_eq!((own.call_ms, own.memory_mib), (5, 128));
        let all = AllLimits {
            own: HashMap::from([("x".to_owned(), own)]),
            general,
        };
        assert_eq!((all.of("x").memory_mib, all.of("y").memory_mib), (128, 64));
        assert_eq!(all.most_memory(), 128 << 20);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        let Value::Object(others) = json!({ "memory": 1 }) else {
            unreachable!()
        };
        assert!(
            Limits::default()
                .with(others)
                .unwrap_err()
                .to_string()
                .contains("memory")
        );
    }
}
