//! Fetching what is missing of a file from one address, over as many connections as it has.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Buf;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::Url;
use tokio::sync::mpsc;

use super::fetch::{self, Answer, Failure, Request};
use super::ranges::Ranges;
use super::state::State;
use super::writer::{Piece, Shared, Writer, lock};
use super::{Arrived, Transfer, TransferError, blocking, broke_off, disk, host_of};
use crate::net;
use crate::net::pace::Pace;

/// What the first request asks for. Smaller files come with it whole.
const FIRST: u64 = 8 << 20;
/// What later requests ask for.
const STRETCH: u64 = 32 << 20;
/// Pieces on their way to the writer, over all connections of a file; each is as much as one read of a socket gives.
const PIECES: usize = 32;
/// A server that wants a longer break than this is not waited for.
const LONGEST_BREAK: Duration = Duration::from_secs(1800);
/// How often in a row a server may ask for a break.
const BREAKS: u32 = 30;

// What is to be fetched next.
struct Plan {
    url: String,
    resolved: Option<String>,
    // Whether the file is asked for as a whole, since the server's ranges can't be trusted.
    whole: bool,
    // Whether ranges are served; none before the first answer.
    ranges: Option<bool>,
    // What was received or is being fetched.
    asked: Ranges,
    fails: u32,
    breaks: u32,
}

impl Transfer<'_> {
    /// Fetches what is missing from one address; `whole` asks for the file without ranges, which needs an empty state.
    pub(super) async fn attempt(&self, url: &str, whole: bool, state: State) -> Result<Arrived, Failure> {
        self.meter.here.store(state.done.len(), Ordering::Relaxed);
        self.meter
            .total
            .store(state.total.unwrap_or_default(), Ordering::Relaxed);
        let plan = Mutex::new(Plan {
            url: url.to_owned(),
            resolved: None,
            whole,
            ranges: None,
            asked: state.done.clone(),
            fails: 0,
            breaks: 0,
        });
        let shared: Shared = Arc::new(Mutex::new(state));
        let (target, own) = (self.target.to_owned(), shared.clone());
        let writer = blocking(move || Writer::open(&target, own))
            .await
            .map_err(Failure::Fatal)?;
        let writer = writer.map_err(Failure::Fatal)?;
        let (sender, receiver) = mpsc::channel(PIECES);
        let writing = tokio::task::spawn_blocking(move || writer.run(receiver));
        let fetched = self.fetch_all(&plan, &shared, &sender).await;
        drop(sender);
        let written = writing.await.map_err(|error| Failure::Fatal(broke_off(&error)))?;
        // Why it can't be written is the cause when both failed.
        let sha256 = written.map_err(Failure::Fatal)?;
        fetched?;
        let bytes = lock(&shared).done.len();
        match sha256 {
            Some(_) if bytes == 0 => {
                // The next try must not take nothing for the whole.
                self.discard().await.map_err(Failure::Fatal)?;
                Err(Failure::Fatal(TransferError::Empty { host: host_of(url) }))
            }
            Some(sha256) => Ok(Arrived { sha256, bytes }),
            None => Err(Failure::Restart(TransferError::Network {
                host: host_of(url),
                reason: "the file came to its end too early".into(),
            })),
        }
    }

    /// Runs connections until nothing is missing: one at first, and more when the first answer says that ranges are served.
    async fn fetch_all(
        &self,
        plan: &Mutex<Plan>,
        shared: &Shared,
        sender: &mpsc::Sender<Piece>,
    ) -> Result<(), Failure> {
        let opened = tokio::sync::Notify::new();
        let mut running = FuturesUnordered::new();
        running.push(self.connection(plan, shared, sender, &opened));
        let mut more = self.options.connections.max(1) - 1;
        loop {
            tokio::select! {
                ended = running.next() => match ended {
                    Some(Ok(())) => {}
                    Some(Err(failure)) => return Err(failure),
                    None => return Ok(()),
                },
                () = opened.notified(), if more > 0 => {
                    if unpoisoned(plan).ranges == Some(true) {
                        for _ in 0..more {
                            running.push(self.connection(plan, shared, sender, &opened));
                        }
                    }
                    more = 0;
                }
            }
        }
    }

    /// Takes one stretch after another.
    async fn connection(
        &self,
        plan: &Mutex<Plan>,
        shared: &Shared,
        sender: &mpsc::Sender<Piece>,
        opened: &tokio::sync::Notify,
    ) -> Result<(), Failure> {
        loop {
            self.allowed().await.map_err(Failure::Fatal)?;
            let Some((start, end)) = take(plan, shared) else {
                return Ok(());
            };
            let mut at = start;
            let result = self.stretch(plan, shared, sender, opened, (start, end), &mut at).await;
            let wait = self.judged(&mut unpoisoned(plan), result, at > start, (at, end))?;
            if wait > Duration::ZERO {
                self.rest(wait).await.map_err(Failure::Fatal)?;
            }
        }
    }

    /// How long to wait after a stretch that came to `missing`, before the next one or the rest of it is asked for.
    fn judged(
        &self,
        plan: &mut Plan,
        result: Result<(), Failure>,
        moved: bool,
        missing: (u64, u64),
    ) -> Result<Duration, Failure> {
        if moved && !matches!(result, Err(Failure::Slow(_))) {
            plan.fails = 0;
            plan.breaks = 0;
        }
        let Err(failure) = result else {
            return Ok(Duration::ZERO);
        };
        plan.asked.remove(missing.0, missing.1);
        let comes_whole = plan.ranges == Some(false) && missing.0 > 0;
        match failure {
            Failure::Retry(error, _) | Failure::Expired(error) | Failure::Slow(error) if comes_whole => {
                Err(Failure::Restart(error))
            }
            Failure::Retry(_, Some(wait)) if wait > LONGEST_BREAK => Err(Failure::Fatal(TransferError::RateLimited {
                host: host_of(&plan.url),
                wait,
            })),
            Failure::Retry(error, Some(wait)) => {
                plan.breaks += 1;
                if plan.breaks > BREAKS {
                    return Err(Failure::Fatal(error));
                }
                Ok(wait.max(self.wait_after(1)))
            }
            Failure::Retry(error, None) | Failure::Slow(error) => {
                plan.fails += 1;
                if plan.fails > self.options.tries {
                    return Err(Failure::Fatal(error));
                }
                tracing::debug!(%error, at = missing.0, "a connection is opened again");
                Ok(self.wait_after(plan.fails))
            }
            Failure::Expired(error) => {
                plan.fails += 1;
                if plan.fails > self.options.tries {
                    return Err(Failure::Fatal(error));
                }
                plan.resolved = None;
                // The first time at once: that addresses expire is nothing unusual.
                Ok(if plan.fails > 1 {
                    self.wait_after(plan.fails - 1)
                } else {
                    Duration::ZERO
                })
            }
            other => Err(other),
        }
    }

    async fn stretch(
        &self,
        plan: &Mutex<Plan>,
        shared: &Shared,
        sender: &mpsc::Sender<Piece>,
        opened: &tokio::sync::Notify,
        (start, end): (u64, u64),
        at: &mut u64,
    ) -> Result<(), Failure> {
        let (url, resolved, whole) = {
            let plan = unpoisoned(plan);
            (plan.url.clone(), plan.resolved.clone(), plan.whole)
        };
        let validator = lock(shared).validator.clone();
        let request = Request {
            reach: self.reach,
            source: self.source,
            canonical: &url,
            resolved: resolved.as_deref(),
            validator: validator.as_deref(),
            start,
            end,
            whole,
            patience: self.options.patience,
        };
        let answer = request.send().await?;
        let total = answer.total;
        if let Some(needed) = self.understood(plan, shared, &answer)? {
            self.room_for(needed).await?;
        }
        opened.notify_one();
        let from = Url::parse(&answer.url).map_err(|_| Failure::Fatal(TransferError::Stopped))?;
        // A whole file is read to its end; a range to where it was asked for, or less where there is less.
        let end = if answer.ranges {
            Some(total.map_or(end, |total| end.min(total)))
        } else {
            total
        };
        let mut skip = answer.skip;
        let most = self.source.size.filter(|_| end.is_none());
        let mut pace = Pace::new(self.options.least_rate, self.options.patience, Instant::now());
        let mut body = answer.response.bytes_stream();
        while end.is_none_or(|end| *at < end) {
            if self.is_paused() {
                self.allowed().await.map_err(Failure::Fatal)?;
                pace.restart(Instant::now());
            }
            self.allowed().await.map_err(Failure::Fatal)?;
            let next = tokio::time::timeout(self.options.patience, body.next());
            let mut bytes = match next.await {
                Err(_) => return Err(Failure::Retry(fetch::silent(&from, self.options.patience), None)),
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(error))) => return Err(Failure::Retry(fetch::broken(&from, &error), None)),
                Ok(None) => break,
            };
            if !pace.keeps(bytes.len() as u64, Instant::now()) {
                return Err(Failure::Slow(self.slow(&from)));
            }
            if skip > 0 {
                let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                bytes.advance(passed);
                skip -= passed as u64;
                if bytes.is_empty() {
                    continue;
                }
            }
            if let Some(size) = most.filter(|size| *at + bytes.len() as u64 > size.most()) {
                return Err(Failure::Fatal(TransferError::Endless {
                    host: net::host_of(&from),
                    expected: size.bytes,
                }));
            }
            if let Some(end) = end {
                bytes.truncate(usize::try_from(end - *at).unwrap_or(usize::MAX));
            }
            let length = bytes.len() as u64;
            // The writer ended: it says why.
            if sender.send(Piece { at: *at, bytes }).await.is_err() {
                return Err(Failure::Fatal(TransferError::Stopped));
            }
            *at += length;
            self.meter.here.fetch_add(length, Ordering::Relaxed);
            let wait = self.limiter.take(length, Instant::now());
            if wait > Duration::ZERO {
                self.rest(wait).await.map_err(Failure::Fatal)?;
                pace.restart(Instant::now());
            }
        }
        match end {
            Some(end) if *at < end => Err(Failure::Retry(
                TransferError::Network {
                    host: net::host_of(&from),
                    reason: "it broke off".into(),
                },
                None,
            )),
            Some(_) => Ok(()),
            None => {
                // Nobody said how long it is: it ends where the server ended it.
                lock(shared).total = Some(*at);
                self.meter.total.store(*at, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn slow(&self, from: &Url) -> TransferError {
        TransferError::Network {
            host: net::host_of(from),
            reason: format!("fewer than {} bytes a second came", self.options.least_rate),
        }
    }

    /// Notes what an answer says of the file. The first one tells how many bytes are missing.
    fn understood(&self, plan: &Mutex<Plan>, shared: &Shared, answer: &Answer) -> Result<Option<u64>, Failure> {
        // Whether it is the file, nothing but its size could tell.
        if let (None, Some(size), Some(actual)) = (&self.source.sha256, self.source.size, answer.total)
            && !size.fits(actual)
        {
            return Err(Failure::Fatal(TransferError::OtherSize {
                host: host_of(&answer.url),
                expected: size.bytes,
                actual,
            }));
        }
        // Without the size of the whole, nobody could say which range is the last one.
        if answer.ranges && answer.total.is_none() && lock(shared).total.is_none() {
            return Err(Failure::NoRanges(TransferError::Network {
                host: host_of(&answer.url),
                reason: "it does not say how large the file is".into(),
            }));
        }
        let is_first = {
            let mut plan = unpoisoned(plan);
            let is_first = plan.ranges.is_none();
            plan.ranges = Some(answer.ranges);
            if answer.url != plan.url {
                plan.resolved = Some(answer.url.clone());
            }
            if !answer.ranges {
                plan.asked.insert(0, u64::MAX);
            }
            is_first
        };
        let missing = {
            let mut state = lock(shared);
            if let (Some(known), Some(total)) = (state.total, answer.total)
                && known != total
            {
                return Err(Failure::Restart(TransferError::Network {
                    host: host_of(&answer.url),
                    reason: "the file there has another size now".into(),
                }));
            }
            if let Some(total) = answer.total {
                state.total = Some(total);
                self.meter.total.store(total, Ordering::Relaxed);
            }
            if answer.validator.is_some() {
                state.validator.clone_from(&answer.validator);
            }
            state.total.map(|total| total.saturating_sub(state.done.len()))
        };
        Ok(missing.filter(|_| is_first))
    }

    /// Looks whether there is room for what is missing. Other downloads may take it: the writer looks again and again.
    async fn room_for(&self, needed: u64) -> Result<(), Failure> {
        let target = self.target.to_owned();
        let free = blocking(move || disk::free(&target)).await.map_err(Failure::Fatal)?;
        match free {
            Some(free) if needed.saturating_add(disk::SPARE) > free => Err(Failure::Fatal(TransferError::DiskFull {
                path: self.target.to_owned(),
                needed: Some(needed),
                free,
            })),
            _ => Ok(()),
        }
    }
}

/// The next stretch that nobody fetches.
fn take(plan: &Mutex<Plan>, shared: &Shared) -> Option<(u64, u64)> {
    let total = lock(shared).total;
    let mut plan = unpoisoned(plan);
    let (start, next) = plan.asked.first_gap();
    if total.is_some_and(|total| start >= total) {
        return None;
    }
    let length = if plan.ranges.is_none() { FIRST } else { STRETCH };
    let end = start.saturating_add(length);
    let end = next.map_or(end, |next| end.min(next));
    let end = total.map_or(end, |total| end.min(total));
    plan.asked.insert(start, end);
    Some((start, end))
}

fn unpoisoned(plan: &Mutex<Plan>) -> std::sync::MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}
