//! Why a file did not arrive: each case says what to do.

use std::path::PathBuf;
use std::time::Duration;

use super::proof::Unfit;
use crate::net::guard::PrivateAddress;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file needs a key, and there is none.
    #[error(
        "{host} gives this file only to people who are signed in. Enter an API key of yours in the setting `{setting}`, and try again"
    )]
    KeyMissing {
        /// Who was asked.
        host: String,
        /// The setting that holds the key.
        setting: &'static str,
    },
    /// The key was not enough.
    #[error(
        "{host} does not accept the API key, or your account may not have this file. Check the setting `{setting}`, and open the model's page to see what it needs"
    )]
    KeyRejected {
        /// Who was asked.
        host: String,
        /// The setting that holds the key.
        setting: &'static str,
    },
    /// The version must be bought first. The text is the contract's.
    #[error("Early Access Restriction: This model requires purchase. Please buy early access on Civitai.com.")]
    EarlyAccess,
    /// Not here.
    #[error(
        "{host} does not give this file out where you are (451). A proxy in another country may help: see the settings `proxy_*`"
    )]
    Region {
        /// Who was asked.
        host: String,
    },
    /// The file was taken down.
    #[error("{host} does not have this file any more ({status}). Look for another version, or for a mirror")]
    Gone {
        /// Who was asked.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// Too many requests.
    #[error("{host} has had too many requests and wants a break of {} s. Try again after that, or enter an API key, which allows more", wait.as_secs())]
    RateLimited {
        /// Who was asked.
        host: String,
        /// How long the break is.
        wait: Duration,
    },
    /// A page came in place of the file.
    #[error(
        "{host} answered with a web page instead of the file; it may be checking for robots, or be down for maintenance. Try again later"
    )]
    Page {
        /// Who was asked.
        host: String,
    },
    /// An error message came in place of the file.
    #[error(
        "{host} answered with a message ({kind}) instead of the file. Open the model's page to see whether the file is still there, and try again later"
    )]
    Message {
        /// Who was asked.
        host: String,
        /// The message's media type.
        kind: String,
    },
    /// The bytes are compressed for the way, although that was not asked for, and so are not the file's.
    #[error(
        "{host} sends the file encoded as {encoding}, which was not asked for. Look for another source of the file"
    )]
    Encoded {
        /// Who was asked.
        host: String,
        /// The encodings.
        encoding: String,
    },
    /// The server names another size than the provider does, and no hash could prove which is right.
    #[error(
        "{host} has a file of {actual} bytes, but the provider names {expected}. It is another file; try again later, or download it in a browser to look at it"
    )]
    OtherSize {
        /// Who was asked.
        host: String,
        /// Size that the provider names, in bytes.
        expected: u64,
        /// Size that the server names, in bytes.
        actual: u64,
    },
    /// More came than the file has.
    #[error(
        "{host} sends more than the {expected} bytes that the provider names. What has arrived was removed; try again later"
    )]
    Endless {
        /// Who was asked.
        host: String,
        /// Size that the provider names, in bytes.
        expected: u64,
    },
    /// The file can't be what it should be, and no hash says otherwise.
    #[error("what arrived is not the model: {reason}. It was not installed; it is kept as {}. Try again, or delete it", kept.display())]
    Unfit {
        /// Where it is kept.
        kept: PathBuf,
        /// What is wrong with it.
        reason: Unfit,
    },
    /// Any other answer.
    #[error(
        "{host} refused the file with HTTP status {status}. Try again later, or download it in a browser to see why"
    )]
    Refused {
        /// Who was asked.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// The connection.
    #[error(
        "the connection to {host} does not hold: {reason}. Check the network and the settings `proxy_*`; what has arrived is kept, and a retry goes on from there"
    )]
    Network {
        /// Who was asked.
        host: String,
        /// What happened last.
        reason: String,
    },
    /// The address can't be used.
    #[error("{url:?} is no address of a file: {reason}")]
    Address {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// The address leads into a private network, or to this machine.
    #[error(
        "the file is not fetched: {0}. Look for another source of it; if this one is meant, set `private_addresses` in the table `providers` of settings.toml"
    )]
    Private(#[from] PrivateAddress),
    /// There is nothing in it.
    #[error("{host} sent an empty file. Try again later")]
    Empty {
        /// Who was asked.
        host: String,
    },
    /// The file's content is not what the provider says.
    #[error(
        "what arrived is not the file that the provider describes: its SHA-256 is {actual}, not {expected}. It was not installed; it is kept as {}. Try again, or delete it",
        kept.display()
    )]
    WrongHash {
        /// Where it is kept.
        kept: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// There is no room.
    #[error("there is no room for {}: {}{} are free. Free some space and retry; what has arrived is kept", path.display(), more(*needed), megabytes(*free))]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Bytes that are missing; none when nobody knows.
        needed: Option<u64>,
        /// Bytes that are free.
        free: u64,
    },
    /// It can't be written.
    #[error("can't write {}: {source}. Check the folder and its rights", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A thread of it ended.
    #[error("the work broke off: {0}. Try again; the server's log may say more, and what has arrived is kept")]
    Broken(String),
    /// Somebody stopped it.
    #[error("stopped")]
    Stopped,
}

impl TransferError {
    /// From writing a file: a full disk is told from the rest.
    pub fn disk(path: PathBuf, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::StorageFull {
            let free = super::disk::free(&path).unwrap_or_default();
            return Self::DiskFull {
                path,
                needed: None,
                free,
            };
        }
        Self::Disk { path, source }
    }

    /// Whether another address may have what this one does not give.
    pub fn is_of_address(&self) -> bool {
        !matches!(
            self,
            Self::DiskFull { .. }
                | Self::Disk { .. }
                | Self::WrongHash { .. }
                | Self::Unfit { .. }
                | Self::Broken(_)
                | Self::Stopped
        )
    }
}

fn more(needed: Option<u64>) -> String {
    needed.map_or_else(String::new, |needed| {
        format!("{} more are needed, and ", megabytes(needed))
    })
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", (bytes as f64 / 1e6).ceil())
}
