//! The table `[connections]`: bounds on connections, and on bodies of requests.

use std::time::Duration;

use serde::Deserialize;

/// Longest time that a setting can name, in seconds: a year.
const MAX_SECONDS: f64 = 31_536_000.0;

/// The table `[connections]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionSettings {
    /// Most connections at the same time. Fewer where the system allows fewer open files.
    pub total: usize,
    /// Most connections at the same time from one address. Trusted proxies have no such bound.
    pub each_address: usize,
    /// Seconds in which the headers of a request have to arrive, and in which a TLS handshake has to end.
    pub header_seconds: f64,
    /// Seconds without a byte of a request's body after which the request ends.
    pub body_seconds: f64,
    /// Lowest rate of a request's body in bytes a second, once `body_seconds` have passed; 0 is none.
    pub body_bytes_per_second: u64,
    /// Seconds for which a connection without a request stays open.
    pub idle_seconds: f64,
    /// Seconds in which a client has to take some bytes of an answer.
    pub send_seconds: f64,
    /// Memory for bodies of requests over all clients in MiB; 0 is a quarter of the available memory, at most 512 MiB.
    pub bodies_mib: usize,
    /// Seconds for which a request waits for memory for its body before it is answered with 503.
    pub bodies_wait_seconds: f64,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            total: 2_000,
            each_address: 500,
            header_seconds: 20.0,
            body_seconds: 30.0,
            body_bytes_per_second: 1_024,
            idle_seconds: 75.0,
            send_seconds: 60.0,
            bodies_mib: 0,
            bodies_wait_seconds: 10.0,
        }
    }
}

/// A number of seconds of the settings as a duration. Below 10 ms nothing could be served.
pub fn seconds(number: f64) -> Duration {
    let number = if number.is_finite() { number } else { MAX_SECONDS };
    Duration::from_secs_f64(number.clamp(0.01, MAX_SECONDS))
}

/// The path below which a proxy serves the server, with a slash at its start and none at its end; none when it can't be
/// one. Nothing in it has to be escaped in an address or a page.
pub fn base_path(text: &str) -> Option<String> {
    let trimmed = text.trim().trim_matches('/');
    if trimmed.is_empty() {
        return Some(String::new());
    }
    let fits = |segment: &str| {
        !segment.is_empty()
            && !segment.bytes().all(|byte| byte == b'.')
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    trimmed.split('/').all(fits).then(|| format!("/{trimmed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_a_plain_path() {
        for (text, path) in [("", ""), ("/", ""), ("models", "/models"), ("/a/b-1/", "/a/b-1")] {
            assert_eq!(base_path(text).as_deref(), Some(path), "{text}");
        }
        for text in ["/a//b", "/..", "/a b", "/a\"b", "/a?b", "/%41"] {
            assert_eq!(base_path(text), None, "{text}");
        }
    }

    #[test]
    fn any_number_of_seconds_is_a_duration() {
        for number in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
            assert!(seconds(number) >= Duration::from_millis(10), "{number}");
        }
    }
}
