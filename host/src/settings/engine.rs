//! Settings of the engine: the tables `[scan]`, `[disks]`, `[hashing]`, `[previews]`, `[providers]` and `[downloads]`.

use std::path::PathBuf;
use std::time::Duration;

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

/// The table `[disks]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskSettings {
    /// Seconds that the disk of a root may take to answer before the root is offline.
    pub answer_seconds: f64,
    /// Requests for files of one root that are served at once.
    pub threads: usize,
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            answer_seconds: 10.0,
            threads: 8,
        }
    }
}

impl DiskSettings {
    /// The same, as disks take it: at least a tenth of a second, at most an hour.
    pub fn deadline(&self) -> Duration {
        let seconds = if self.answer_seconds.is_finite() {
            self.answer_seconds
        } else {
            10.0
        };
        Duration::from_secs_f64(seconds.clamp(0.1, 3600.0))
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

/// The table `[providers]`: how metadata is asked for. What the contract has keys for (API key, proxy, order) is not here.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// Base of CivitAI's REST API v1, without a slash at the end; a mirror or test server may stand in. Empty is the
    /// usual one.
    pub civitai: String,
    /// The same of CivArchive's API.
    pub civarchive: String,
    /// The archive of metadata, a SQLite file. None is `civitai.sqlite` in the data folder.
    pub archive_db: Option<PathBuf>,
    /// Where the archive is downloaded from, a zip file; redirects to other hosts are refused then. Empty is the usual place.
    pub archive_url: String,
    /// What requests say they come from; empty is the server's name and version.
    pub user_agent: String,
    /// Most requests a second to one host, after a burst of the requests of two seconds; 0 is no bound.
    pub requests_per_second: f64,
    /// Seconds before a request that failed is made again; they double with each time.
    pub retry_seconds: f64,
    /// Seconds for which a host that could not be reached three times in a row is left alone; they double up to ten times that.
    pub rest_seconds: f64,
    /// Seconds for which an answer is used again without asking whether it is still true.
    pub cache_seconds: f64,
    /// Whether files may be fetched from this machine or a private network when a provider, a mirror or a redirect names
    /// an address there. Addresses of these settings may be there anyway.
    pub private_addresses: bool,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            civitai: String::new(),
            civarchive: String::new(),
            archive_db: None,
            archive_url: String::new(),
            user_agent: String::new(),
            requests_per_second: 10.0,
            retry_seconds: 1.0,
            rest_seconds: 30.0,
            cache_seconds: 60.0,
            private_addresses: false,
        }
    }
}

/// The table `[downloads]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownloadSettings {
    /// Files that are downloaded at once.
    pub parallel: usize,
    /// Connections for one file, where its server serves ranges.
    pub connections: usize,
    /// Bound of the rate over all files, in MB (1,000,000 bytes) a second; 0 is none.
    pub megabytes_per_second: f64,
    /// Tries in a row without a byte before a download fails.
    pub tries: u32,
    /// Seconds before the first retry; they double with each further one.
    pub retry_seconds: f64,
    /// Base of Hugging Face; a mirror or test server may stand in. Empty is the usual one.
    pub huggingface: String,
    /// Access token for private and gated repositories there.
    pub huggingface_token: String,
}

impl Default for DownloadSettings {
    fn default() -> Self {
        Self {
            parallel: 5,
            connections: 4,
            megabytes_per_second: 0.0,
            tries: 8,
            retry_seconds: 1.0,
            huggingface: String::new(),
            huggingface_token: String::new(),
        }
    }
}
