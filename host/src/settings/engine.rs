//! Settings of the library engine: the tables `[scan]`, `[hashing]` and `[previews]`.

use serde::Deserialize;

/// The table `[scan]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScanSettings {
    /// Whether folders are watched while the server runs.
    pub watch: bool,
    /// Seconds between looks at roots whose disk sends no events.
    pub poll_seconds: u64,
    /// Seconds for which a new file must keep its size before it is read.
    pub stable_seconds: f64,
}

impl Default for ScanSettings {
    fn default() -> Self {
        Self {
            watch: true,
            poll_seconds: 60,
            stable_seconds: 1.0,
        }
    }
}

/// The table `[hashing]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HashingSettings {
    /// Files hashed at once; 0 takes one for each processor.
    pub threads: usize,
    /// Files hashed at once on one disk with the profile `fast`; 0 is no bound of its own. Other profiles have one.
    pub per_disk: usize,
    /// Bound of the rate over all files, in MB (1,000,000 bytes) a second; 0 is none.
    pub megabytes_per_second: f64,
    /// Whether files on network shares are hashed unasked, too.
    pub network: bool,
}

impl Default for HashingSettings {
    fn default() -> Self {
        Self {
            threads: 0,
            per_disk: 0,
            megabytes_per_second: 0.0,
            network: false,
        }
    }
}

/// The table `[previews]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreviewSettings {
    /// Bound of the thumbnails on disk in MiB; the least used go first.
    pub cache_mib: u64,
    /// Whether a preview may be fetched from this machine or a private network.
    pub private_addresses: bool,
}

impl Default for PreviewSettings {
    fn default() -> Self {
        Self {
            cache_mib: 512,
            private_addresses: false,
        }
    }
}
