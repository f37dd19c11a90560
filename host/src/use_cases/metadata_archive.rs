//! Bringing the archive of metadata onto this machine, and taking it away again. Source: contract section 7.3 and appendix A.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::watch;

use crate::app::App;
use crate::compat::compat;
use crate::downloads::resolve;
use crate::downloads::transfer::{self, Hosts, Meter, Signal, Source, Transfer, TransferError, disk};
use crate::providers::archive_file::{self, ArchiveFileError};
use crate::providers::archive_path;

/// Most bytes of the zip file.
const MOST: u64 = 16 << 30;
/// How often it is told how far the download is.
const TICK: Duration = Duration::from_millis(500);

/// Why the archive is not brought or taken away.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is being brought already.
    #[error("The archive of metadata is being downloaded already. Wait for the end of that")]
    Busy,
    /// The file is a person's own.
    #[error(
        "{} is a file of your own, named by the setting `providers.archive_db`, and is left alone. Take that setting out to have the archive downloaded", .0.display()
    )]
    Own(PathBuf),
    /// The address of the settings can't be used.
    #[error("`providers.archive_url` is no address: {0:?}")]
    Address(String),
    /// It is too large.
    #[error("the file at this address is larger than {} GiB, which is more than an archive of metadata has", MOST >> 30)]
    TooLarge,
    /// It did not arrive.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// It can't be used.
    #[error(transparent)]
    File(#[from] ArchiveFileError),
    /// It can't be removed, or its folder not be made.
    #[error("can't change {}: {source}. Check the folder and its rights", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The work broke off.
    #[error("the work broke off: {0}")]
    Broken(String),
}

/// Where the archive lies, and its size in bytes; none where there is none. Blocks.
pub fn find(app: &App) -> Option<(PathBuf, u64)> {
    let path = place(app);
    let size = path.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    (size > 0).then_some((path, size))
}

fn place(app: &App) -> PathBuf {
    archive_path(&app.settings.providers, &app.settings.data_folder)
}

/// The name below which the zip file arrives.
fn zip_of(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".zip");
    name.into()
}

fn not_own(app: &App) -> Result<PathBuf, ArchiveError> {
    match &app.settings.providers.archive_db {
        Some(own) => Err(ArchiveError::Own(own.clone())),
        None => Ok(place(app)),
    }
}

/// Where it comes from: the usual addresses and the hosts that they lead to, or the address of the settings and its host alone.
fn source(app: &App) -> Result<Source, ArchiveError> {
    let own = app.settings.providers.archive_url.trim();
    let names = &compat().providers;
    let (urls, hosts) = if own.is_empty() {
        (names.archive.clone(), Hosts::Below(&names.archive_hosts))
    } else {
        let wrong = || ArchiveError::Address(own.to_owned());
        let url = Url::parse(own).map_err(|_| wrong())?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(wrong());
        }
        (vec![own.to_owned()], Hosts::Of(url))
    };
    Ok(Source {
        urls,
        // Whoever gives it out knows no key.
        key: None,
        key_setting: "",
        gated: false,
        sha256: None,
        size: None,
        hosts,
        private: resolve::private(app),
    })
}

/// Downloads the archive, proves it, and puts it into its place. What has arrived of it is kept when the download breaks off,
/// and gone on with the next time. `tell` gets a stage, `download` or `extract`, with a sentence.
///
/// # Errors
/// Why it is not there. An older archive stays as it was.
pub async fn bring(app: &Arc<App>, tell: impl Fn(&str, &str)) -> Result<(), ArchiveError> {
    let place = not_own(app)?;
    let source = source(app)?;
    let _ticket = app.archive.begin().ok_or(ArchiveError::Busy)?;
    let zip = zip_of(&place);
    let folder = place.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    tokio::fs::create_dir_all(&folder)
        .await
        .map_err(|source| ArchiveError::Io { path: folder, source })?;
    fetch(app, &source, &zip, &tell).await?;
    tell("extract", "Extracting archive...");
    let work = move || {
        let part = transfer::part_of(&zip);
        let done = archive_file::install(&part, &place, disk::free(&place));
        // Of no use when it is no archive, and no longer when it is.
        if !matches!(done, Err(ArchiveFileError::NoRoom { .. } | ArchiveFileError::Io { .. })) {
            transfer::discard(&zip);
        }
        done
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ArchiveError::Broken(error.to_string()))??;
    tell("extract", "Extraction completed");
    Ok(())
}

async fn fetch(app: &App, source: &Source, zip: &Path, tell: &impl Fn(&str, &str)) -> Result<(), ArchiveError> {
    let client = app.providers.client();
    let options = app.downloads.options(&app.active.load().contract);
    let (signals, signal) = watch::channel(Signal::Run);
    let meter = Meter::default();
    let transfer = Transfer {
        reach: client.fetching(),
        source,
        target: zip,
        options: &options,
        limiter: app.downloads.limiter(),
        signal,
        meter: &meter,
    };
    let mut running = std::pin::pin!(transfer.run());
    let mut tick = tokio::time::interval(TICK);
    let is_too_large = || meter.here().max(meter.total().unwrap_or_default()) > MOST;
    loop {
        tokio::select! {
            arrived = &mut running => {
                if is_too_large() {
                    let zip = zip.to_owned();
                    let _ = tokio::task::spawn_blocking(move || transfer::discard(&zip)).await;
                    return Err(ArchiveError::TooLarge);
                }
                arrived?;
                return Ok(());
            }
            _ = tick.tick() => {
                if is_too_large() {
                    // The transfer ends at its next piece.
                    let _ = signals.send(Signal::Stop);
                    continue;
                }
                if let Some(total) = meter.total() {
                    let percent = meter.here() as f64 / total as f64 * 100.0;
                    tell("download", &format!("Downloading archive... {percent:.1}%"));
                }
            }
        }
    }
}

/// Removes the archive, and what has arrived of another one.
///
/// # Errors
/// When it is a person's own file, is being brought, or can't be removed.
pub async fn remove(app: &Arc<App>) -> Result<(), ArchiveError> {
    let place = not_own(app)?;
    let _ticket = app.archive.begin().ok_or(ArchiveError::Busy)?;
    let work = move || {
        transfer::discard(&zip_of(&place));
        archive_file::remove_companions(&place);
        match std::fs::remove_file(&place) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(ArchiveError::Io { path: place, source })
            }
            _ => Ok(()),
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ArchiveError::Broken(error.to_string()))?
}
