//! `host password` and `host token`: credentials from the terminal, also while the server runs.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::error::AccessError;
use super::file::{AccessFile, State};
use super::scope::{Scope, Scopes};
use super::{add_token, new_token, password, revoke_token};

/// The data folder whose credentials are changed.
#[derive(Debug, Args)]
pub struct DataFolder {
    /// Folder of the store, caches and settings.toml.
    #[arg(long, value_name = "DIR", env = "MODELSHELF_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl DataFolder {
    fn file(&self) -> anyhow::Result<AccessFile> {
        let folder = match &self.data_dir {
            Some(folder) => folder.clone(),
            None => dirs::data_dir()
                .context("this user has no data folder; name one with --data-dir")?
                .join("modelshelf"),
        };
        Ok(AccessFile::new(&folder))
    }
}

/// The password with which people log in.
#[derive(Debug, Subcommand)]
pub enum PasswordCommand {
    /// Sets or changes the password and ends all sessions. From then on everybody logs in, also on this machine.
    ///
    /// Asks on a terminal; otherwise reads the first line of standard input.
    Set(DataFolder),
    /// Removes the password and ends all sessions.
    Remove(DataFolder),
}

/// Tokens for programs.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token and prints it once.
    New {
        /// What it is for, such as "phone".
        name: String,
        /// What it allows; each scope includes `read`, and `admin` everything.
        #[arg(long, value_delimiter = ',', default_value = "read")]
        scope: Vec<Scope>,
        #[command(flatten)]
        folder: DataFolder,
    },
    /// Lists tokens.
    List(DataFolder),
    /// Ends a token.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
        #[command(flatten)]
        folder: DataFolder,
    },
}

/// Runs `host password ...`.
///
/// # Errors
/// When the password is too short, or the file can't be used.
pub fn password(command: &PasswordCommand) -> anyhow::Result<()> {
    match command {
        PasswordCommand::Set(folder) => {
            let file = folder.file()?;
            let hash = password::hash(&read_password()?)?;
            file.update(|state| {
                state.password = Some(hash);
                state.sessions.clear();
                Ok(())
            })?;
            println!("The password is set in {}.", file.path().display());
        }
        PasswordCommand::Remove(folder) => {
            let file = folder.file()?;
            let had = |state: &mut State| -> Result<bool, AccessError> {
                state.sessions.clear();
                Ok(state.password.take().is_some())
            };
            let (_, had) = file.update(had)?;
            println!(
                "{}",
                if had {
                    "The password is removed."
                } else {
                    "There was no password."
                }
            );
        }
    }
    Ok(())
}

/// Runs `host token ...`.
///
/// # Errors
/// When there is no such token, or the file can't be used.
pub fn token(command: &TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::New { name, scope, folder } => {
            let issued = new_token(name, scope.iter().copied().collect::<Scopes>())?;
            let kept = issued.entry.clone();
            folder.file()?.update(|state| add_token(state, kept))?;
            // Alone on standard output, so that scripts can take it.
            eprintln!(
                "Token {} for {:?} may: {}. It is shown once:",
                issued.entry.id,
                issued.entry.name,
                issued.entry.scopes.names().join(", ")
            );
            println!("{}", issued.secret);
        }
        TokenCommand::List(folder) => {
            let state = folder.file()?.read()?;
            if state.tokens.is_empty() {
                eprintln!("There are no tokens. Make one with `host token new NAME`.");
            }
            for token in &state.tokens {
                let used = token.last_used.map_or_else(|| "never".to_owned(), date);
                println!(
                    "{}  {:24}  {:20}  made {}  used {used}",
                    token.id,
                    token.name,
                    token.scopes.names().join(","),
                    date(token.created),
                );
            }
        }
        TokenCommand::Revoke { id, folder } => {
            let (_, found) = folder.file()?.update(|state| Ok(revoke_token(state, id)))?;
            if !found {
                bail!("there is no token with the id {id:?}; `host token list` shows them");
            }
            println!("Token {id} is revoked.");
        }
    }
    Ok(())
}

fn date(seconds: i64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.max(0).cast_unsigned());
    httpdate::fmt_http_date(time)
}

fn read_password() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first = rpassword::prompt_password("New password: ")?;
    if rpassword::prompt_password("Once more: ")? != first {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(first)
}
