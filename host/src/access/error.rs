//! Errors of access.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::password::MIN_PASSWORD;
use super::policy::MIN_TOKEN;

/// Errors of reading or changing passwords, tokens and sessions.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file can't be read or written.
    #[error("can't use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is broken.
    #[error(
        "{} is broken: {reason}. It holds the password and the tokens. Restore it from a backup, or delete it and set them again with `host password set` and `host token new`",
        path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// Other machines could reach the server, and nobody could log in.
    #[error(
        "{address} can be reached from other machines, and nobody could log in. Set a password for people with\n    host password set --data-dir {folder}\nor make a token for programs with\n    host token new NAME --data-dir {folder}\nand start again",
        folder = quoted(data_folder)
    )]
    NoCredential {
        /// The address.
        address: IpAddr,
        /// The data folder in which credentials would be.
        data_folder: PathBuf,
    },
    /// The token of the settings is too short.
    #[error(
        "`token` of [server] in settings.toml has {0} characters after trimming; it needs {MIN_TOKEN} or more. Take the line out and make a token with `host token new NAME`, or write a longer one"
    )]
    WeakToken(usize),
    /// A password is too short.
    #[error("The password has fewer than {MIN_PASSWORD} characters. Choose a longer one.")]
    WeakPassword,
    /// A password is too long to be hashed in reasonable time.
    #[error("The password is longer than 1,000 bytes. Choose a shorter one.")]
    LongPassword,
    /// A password can't be hashed.
    #[error("the password can't be hashed: {0}")]
    Hash(String),
    /// The name of a token.
    #[error("A token needs a name of 1 to 100 characters that says what it is for.")]
    TokenName,
    /// A token without scopes.
    #[error("A token needs at least one of the scopes read, write, download and admin.")]
    NoScope,
    /// There are too many.
    #[error("There are {0} tokens already. Revoke those that are not used any more.")]
    TooManyTokens(usize),
}

/// Reasons to refuse a login.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Password, token or link.
    #[error("The password, token or link is wrong, or was revoked.")]
    Wrong,
    /// The token is right and may not log in.
    #[error("This token has no scope `admin`, so that it can't be used to log in. Programs send it with each request.")]
    NotAdmin,
    /// Too many tries failed.
    #[error("Too many tries failed. Try again in {} s.", .0.as_secs().max(1))]
    Slow(Duration),
    /// The session or token can't be saved.
    #[error(transparent)]
    Access(#[from] AccessError),
}

fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    if text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
    {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
