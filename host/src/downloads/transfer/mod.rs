//! Fetching one file so that it arrives: in ranges over several connections where the server allows it, going on
//! where it was after a drop, a pause or a restart, and proved by its SHA-256 before it gets its name.
//!
//! A file comes in stretches, fetched in order by as many connections as are allowed. Each hands its bytes to one thread
//! that writes and hashes them. When the server has another file meanwhile, or knows no ranges, it starts from zero.

mod attempt;
mod content_range;
pub mod disk;
mod error;
mod fetch;
mod proof;
mod ranges;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::watch;

pub use error::TransferError;
use fetch::Failure;
pub use proof::Unfit;
pub use source::{Hosts, Key, NamedSize, Private, Source};
use state::State;
pub use state::{PartOf, part_is_of, part_of, state_of};

use crate::files::limiter::Limiter;
use crate::net;
use crate::net::reach::Reach;

/// How often a file is begun anew.
const RESTARTS: u32 = 5;
/// Longest wait between two tries that no server asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a person wants of a transfer that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It goes on.
    Run,
    /// It stands still, and can go on.
    Pause,
    /// It ends.
    Stop,
}

/// Ends when it is to stop.
pub async fn stopped(signal: &mut watch::Receiver<Signal>) {
    // What is given holds a lock, which no other thread may get.
    let _ = signal.wait_for(|signal| *signal == Signal::Stop).await.map(|_| ());
}

/// How files are fetched.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections for one file.
    pub connections: usize,
    /// Tries in a row without a byte.
    pub tries: u32,
    /// Wait after the first failed try; doubled after each.
    pub first_wait: Duration,
    /// Longest time without a byte.
    pub patience: Duration,
    /// Fewest bytes a second of one connection over `patience`; 0 is no bound.
    pub least_rate: u64,
}

/// How far a transfer is, readable at any time.
#[derive(Debug, Default)]
pub struct Meter {
    here: AtomicU64,
    total: AtomicU64,
}

impl Meter {
    /// Bytes that are here.
    pub fn here(&self) -> u64 {
        self.here.load(Ordering::Relaxed)
    }

    /// Bytes of the whole; none while unknown.
    pub fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0)
    }
}

/// A file that arrived and was proved.
#[derive(Debug)]
pub struct Arrived {
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Removes what has arrived of a file.
pub fn discard(target: &Path) {
    State::discard(target);
}

/// Gives what has arrived of a file to another name, where that is on the same disk.
pub fn bring(from: &Path, to: &Path) {
    // A state without its bytes counts for nothing; bytes without their state would be taken for the start of the file.
    let moved =
        std::fs::rename(state_of(from), state_of(to)).and_then(|()| std::fs::rename(part_of(from), part_of(to)));
    if let Err(error) = moved {
        tracing::info!(from = %from.display(), to = %to.display(), %error, "what has arrived can't be brought along");
    }
}

/// A transfer of one file.
pub struct Transfer<'a> {
    /// Sends requests.
    pub reach: &'a Reach,
    /// What is fetched.
    pub source: &'a Source,
    /// Where it will lie. Written is `<target>.part`; the last step, giving it the name, is the caller's.
    pub target: &'a Path,
    /// How.
    pub options: &'a Options,
    /// Bound of the rate, over all files.
    pub limiter: &'a Limiter,
    /// What a person wants.
    pub signal: watch::Receiver<Signal>,
    /// How far it is.
    pub meter: &'a Meter,
}

impl Transfer<'_> {
    /// Fetches the file into its part.
    ///
    /// # Errors
    /// Why it did not arrive. What did is kept, unless it proved to be another file's.
    pub async fn run(&self) -> Result<Arrived, TransferError> {
        let sha256 = self.source.sha256.as_deref();
        let mut restarts = 0;
        let mut address = 0;
        // The addresses whose ranges can't be trusted.
        let mut whole = HashSet::new();
        loop {
            let url = self.source.urls.get(address).cloned().unwrap_or_default();
            let (target, wanted) = (self.target.to_owned(), sha256.map(str::to_owned));
            let state = blocking(move || State::load(&target, wanted.as_deref())).await?;
            let continued = state.done.len() > 0;
            let unfit = match self.attempt(&url, whole.contains(&address), state).await {
                Ok(arrived) => match self.checked(&arrived).await? {
                    Ok(()) => return Ok(arrived),
                    Err(unfit) => Ok((arrived, unfit)),
                },
                Err(failure) => Err(failure),
            };
            match unfit {
                // What an earlier run left may be of another file. Once more, all of it.
                Ok(_) if continued && restarts < RESTARTS => {
                    tracing::warn!(target = %self.target.display(), "what was here of the file is not of it; it is fetched anew");
                    restarts += 1;
                    self.discard().await?;
                }
                Ok((arrived, unfit)) if address + 1 < self.source.urls.len() => {
                    tracing::warn!(
                        host = host_of(&url),
                        actual = arrived.sha256,
                        unfit = unfit.map(|unfit| unfit.to_string()),
                        "this address has another file; the next one is asked"
                    );
                    address += 1;
                    self.discard().await?;
                }
                Ok((arrived, unfit)) => return Err(self.keep_aside(arrived, unfit).await?),
                Err(Failure::NoRanges(error)) if whole.insert(address) => {
                    tracing::info!(%error, "the file is asked for without ranges");
                    self.discard().await?;
                }
                Err(Failure::Fatal(error @ TransferError::Endless { .. })) => {
                    self.discard().await?;
                    if address + 1 >= self.source.urls.len() {
                        return Err(error);
                    }
                    address += 1;
                }
                Err(Failure::Restart(error)) => {
                    restarts += 1;
                    self.discard().await?;
                    if restarts > RESTARTS.max(self.options.tries) {
                        return Err(error);
                    }
                    self.rest(self.wait_after(restarts)).await?;
                }
                Err(
                    Failure::Fatal(error)
                    | Failure::Retry(error, _)
                    | Failure::Slow(error)
                    | Failure::NoRanges(error)
                    | Failure::Expired(error),
                ) => {
                    if !error.is_of_address() || address + 1 >= self.source.urls.len() {
                        return Err(error);
                    }
                    tracing::info!(%error, "the next address is asked");
                    address += 1;
                    // Another server names the same bytes by another ETag; only their hash tells that they are the same.
                    let (target, keep) = (self.target.to_owned(), sha256.is_some());
                    let wanted = self.source.sha256.clone();
                    blocking(move || {
                        if !keep {
                            return State::discard(&target);
                        }
                        let mut state = State::load(&target, wanted.as_deref());
                        state.validator = None;
                        let _ = state.save(&target);
                    })
                    .await?;
                }
            }
        }
    }

    async fn discard(&self) -> Result<(), TransferError> {
        let target = self.target.to_owned();
        blocking(move || State::discard(&target)).await
    }

    /// Whether what arrived is the file: by its hash where that is known, else by its size and content. The inner error is
    /// the reason, and none where the hash is another.
    async fn checked(&self, arrived: &Arrived) -> Result<Result<(), Option<Unfit>>, TransferError> {
        if let Some(sha256) = &self.source.sha256 {
            return Ok(if *sha256 == arrived.sha256 { Ok(()) } else { Err(None) });
        }
        let (part, name, size) = (part_of(self.target), self.target.to_owned(), self.source.size);
        let checked = blocking(move || proof::check(&part, &name, size)).await?;
        let checked = checked.map_err(|source| TransferError::disk(part_of(self.target), source))?;
        Ok(checked.map_err(Some))
    }

    /// Puts a file that is not what it should be beside its place, under a name that no library lists.
    async fn keep_aside(&self, arrived: Arrived, unfit: Option<Unfit>) -> Result<TransferError, TransferError> {
        let target = self.target.to_owned();
        let ending = if unfit.is_some() { ".rejected" } else { ".wrong-hash" };
        let kept = blocking(move || {
            let kept = state::with_ending(&target, ending);
            let moved = std::fs::rename(part_of(&target), &kept);
            let _ = std::fs::remove_file(state_of(&target));
            moved.map(|()| kept)
        });
        let kept = kept
            .await?
            .map_err(|source| TransferError::disk(part_of(self.target), source))?;
        Ok(match unfit {
            Some(reason) => TransferError::Unfit { kept, reason },
            None => TransferError::WrongHash {
                kept,
                expected: self.source.sha256.clone().unwrap_or_default(),
                actual: arrived.sha256,
            },
        })
    }

    /// Waits while it is paused.
    async fn allowed(&self) -> Result<(), TransferError> {
        let mut signal = self.signal.clone();
        let wanted = signal.wait_for(|signal| *signal != Signal::Pause).await;
        match wanted.map(|signal| *signal) {
            Ok(Signal::Run) => Ok(()),
            _ => Err(TransferError::Stopped),
        }
    }

    fn is_paused(&self) -> bool {
        *self.signal.borrow() == Signal::Pause
    }

    async fn rest(&self, wait: Duration) -> Result<(), TransferError> {
        let mut signal = self.signal.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => self.allowed().await,
            () = stopped(&mut signal) => Err(TransferError::Stopped),
        }
    }

    /// Twice as long after each failure, and not the same for all who failed at once.
    fn wait_after(&self, fails: u32) -> Duration {
        let doubled = self
            .options
            .first_wait
            .saturating_mul(1 << fails.saturating_sub(1).min(16));
        doubled.min(LONGEST_WAIT).mul_f64(rand::random_range(0.75..1.25))
    }
}

fn host_of(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| net::host_of(&url))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TransferError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| broke_off(&error))
}

fn broke_off(error: &tokio::task::JoinError) -> TransferError {
    TransferError::Broken(error.to_string())
}
