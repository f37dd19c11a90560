//! Why something was not downloaded.

use std::path::PathBuf;

use super::hugging_face::HubError;
use super::ledger::LedgerError;
use super::transfer::TransferError;
use crate::library::editing::EditError;
use crate::plugins::CallError;
use crate::providers::ProviderError;

/// Why a download failed. Texts without a reason are the contract's.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Nobody could say what the version is.
    #[error("Failed to fetch model metadata")]
    Metadata(#[source] ProviderError),
    /// No type takes it.
    #[error("Model type \"{0}\" is not supported for download")]
    Type(String),
    /// It is here.
    #[error("Model version already exists in {0} library")]
    Exists(String),
    /// No root to put it in.
    #[error("Default {0} root path not set in settings")]
    NoDefaultRoot(String),
    /// No folder was named.
    #[error("No save directory specified")]
    NoFolder,
    /// The folder is none of the library's.
    #[error("Download path is outside allowed directory")]
    Outside,
    /// The folder can't be put anything into.
    #[error(transparent)]
    Folder(EditError),
    /// The repository.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The version has no file of this type.
    #[error("No suitable file found in metadata")]
    NoFile,
    /// The file has no address.
    #[error("No mirror URL found")]
    NoUrl,
    /// The file has no name.
    #[error("No filename found in file info")]
    NoName,
    /// Every name that it may have is another file's.
    #[error("{} and all names like it are taken. Move files out of this folder, or choose another one", .0.display())]
    Taken(PathBuf),
    /// The file is of a kind that the type does not list.
    #[error("{0} is not a file that this library can hold. Choose another file of the version")]
    Kind(String),
    /// The same is on its way.
    #[error("This file is being downloaded already")]
    Twice,
    /// The file did not arrive.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// It arrived and could not be put into its place.
    #[error("{} arrived and can't be put into its place: {source}. It is kept beside it, and a retry takes it up", path.display())]
    Install {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A plugin's rule failed.
    #[error(transparent)]
    Plugin(#[from] CallError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The type has no library now.
    #[error(
        "The model type {0} is not ready: its library is being opened, or the type is disabled. Wait a moment, or enable it on the page /plugins"
    )]
    NotReady(String),
    /// Something broke off.
    #[error("the download broke off: {0}. Try again; the server's log may say more")]
    Broken(String),
}

impl DownloadError {
    /// Whether it must be bought first.
    pub fn is_early_access(&self) -> bool {
        matches!(self, Self::Transfer(TransferError::EarlyAccess))
    }

    /// Whether it says that there is nothing to download, or no place for it, and trying again would say the same.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Metadata(error) => error.is_final(),
            Self::Hub(error) => !matches!(
                error,
                HubError::Network(_) | HubError::Status(_) | HubError::Busy(_) | HubError::Answer(_)
            ),
            Self::Type(_)
            | Self::Exists(_)
            | Self::NoDefaultRoot(_)
            | Self::NoFolder
            | Self::Outside
            | Self::NoFile
            | Self::NoUrl
            | Self::NoName
            | Self::Taken(_)
            | Self::Kind(_)
            | Self::Twice
            | Self::NotReady(_) => true,
            Self::Transfer(_) => self.is_early_access(),
            Self::Folder(_) | Self::Install { .. } | Self::Plugin(_) | Self::Ledger(_) | Self::Broken(_) => false,
        }
    }

    /// What a text of the contract leaves out.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Metadata(source) => Some(source.to_string()),
            _ => None,
        }
    }
}
