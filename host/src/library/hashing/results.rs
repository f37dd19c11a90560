//! From a hash to its sidecar and its record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use serde_json::json;

use super::queue::{Client, Ticket};
use super::{Shared, Totals};
use crate::files::entry::Entry;
use crate::library::metadata;
use crate::library::record::{HashStatus, Record, Stamp};
use crate::library::scan::stamp;
use crate::library::sidecar::{self, Sidecar};
use crate::library::store::Hashes;

/// Results that are published together, at most this many or this long apart.
const PUBLISH: usize = 2_000;
const PUBLISH_EVERY: Duration = Duration::from_millis(400);

/// What became of a file.
pub(super) enum Outcome {
    /// Its hashes.
    Hashed(Hashes),
    /// It can't be read, for this reason.
    Failed(String),
    /// It is on a share where nobody asked for hashes.
    NotWanted,
    /// It was cancelled, or is another file now: the record stays as it is.
    GivenUp,
}

/// A result on its way to its record.
pub(super) struct Settled {
    hashed: Hashed,
    ticket: Ticket,
}

/// What is to be changed in a record.
#[derive(Debug, Clone)]
pub struct Hashed {
    /// Path of the record.
    pub path: Box<str>,
    /// Stamp of the file that was hashed. A record with another one is about another file.
    pub stamp: Stamp,
    hashes: Option<Hashes>,
    status: HashStatus,
    problem: Option<Box<str>>,
    // Stamps of its sidecar before and after the hash was written there.
    sidecar: Option<(Option<Stamp>, Option<Stamp>)>,
}

impl Hashed {
    /// Hashes that were found out about a record, with the stamps of its sidecar before and after they were written there.
    pub(super) fn new(record: &Record, hashes: Hashes, sidecar: Option<(Option<Stamp>, Option<Stamp>)>) -> Self {
        Self {
            path: record.path.clone(),
            stamp: record.stamp,
            hashes: Some(hashes),
            status: HashStatus::Completed,
            problem: None,
            sidecar,
        }
    }

    /// The record with this result; its listed form is still the old one.
    pub fn apply(&self, record: &Record) -> Record {
        let mut record = record.clone();
        if let Some(hashes) = self.hashes {
            record.sha256 = Some(hashes.sha256);
            record.blake3 = Some(hashes.blake3);
        }
        record.hash_status = self.status;
        if record.problem.is_none() {
            record.problem.clone_from(&self.problem);
        }
        // A sidecar that somebody else changed keeps its older stamp, so that the next scan reads the change.
        if let Some((before, after)) = self.sidecar
            && record.sidecar == before
        {
            record.sidecar = after;
        }
        record
    }
}

/// Who makes results visible.
pub trait Publisher: Send + Sync {
    /// Makes them visible. Called on a thread that may block.
    fn publish(&self, hashed: Vec<Hashed>);
}

/// Writes a result into the sidecar, and hands it on to be published.
pub(super) fn settle(shared: &Shared, record: &Record, ticket: Ticket, outcome: &Outcome) {
    if let Some(settled) = write_down(record, ticket, outcome) {
        hand_on(shared, settled);
    }
}

/// Writes a result into the sidecar; none when there is no result, and then the ticket is given back.
pub(super) fn write_down(record: &Record, mut ticket: Ticket, outcome: &Outcome) -> Option<Settled> {
    let (hashes, status, problem) = match outcome {
        Outcome::Hashed(hashes) => (Some(*hashes), HashStatus::Completed, None),
        Outcome::Failed(problem) => (None, HashStatus::Failed, Some(problem.as_str().into())),
        Outcome::NotWanted => (None, HashStatus::Pending, None),
        Outcome::GivenUp => return None,
    };
    let hashed = Hashed {
        path: record.path.clone(),
        stamp: record.stamp,
        hashes,
        status,
        problem,
        sidecar: write_sidecar(record, hashes, status),
    };
    ticket.done();
    Some(Settled { hashed, ticket })
}

/// Has a result published.
pub(super) fn hand_on(shared: &Shared, settled: Settled) {
    let sender = shared.settled.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(sender) = sender {
        // The receiver is gone only while the server ends; then the sidecar has it.
        let _ = sender.send(settled);
    }
}

/// Stamps of the sidecar before and after, when it was written.
pub(super) fn write_sidecar(
    record: &Record,
    hashes: Option<Hashes>,
    status: HashStatus,
) -> Option<(Option<Stamp>, Option<Stamp>)> {
    let folder = Path::new(&*record.path).parent().unwrap_or(Path::new("/"));
    let path = sidecar::path_for(folder, &record.file_name);
    let _turn = sidecar::turn(Path::new(&*record.path));
    let before = stamp(&path).ok();
    let mut sidecar = Sidecar::read(&path).ok()??;
    if metadata::is_anothers(record, &sidecar) {
        return None;
    }
    let sha256 = hashes.map_or_else(String::new, |hashes| hashes.sha256.hex());
    sidecar.0.insert("sha256".into(), json!(sha256));
    sidecar.0.insert("hash_status".into(), json!(status.as_str()));
    let current = Record {
        sidecar: before,
        ..record.clone()
    };
    write(&current, &sidecar, &path).then(|| (before, stamp(&path).ok()))
}

/// Writes a sidecar, unless it changed since the record was made from it: that change is
/// somebody's, and the next scan reads it. Whether it was written.
pub fn write(record: &Record, sidecar: &Sidecar, path: &Path) -> bool {
    let write = || -> std::io::Result<bool> {
        let content = sidecar.content()?;
        // Both files are looked at through the handle that is written through: a folder that was swapped for another one
        // has other files.
        let entry = Entry::in_folder_of(path)?;
        let model = Path::new(&*record.path).file_name().unwrap_or_default();
        if entry.sibling(model).inode()? != Some(record.stamp.inode) || stamp(path).ok() != record.sidecar {
            return Ok(false);
        }
        let before = match record.sidecar {
            None => None,
            Some(known) if entry.inode()? == Some(known.inode) => entry.content(known.size)?,
            Some(_) => return Ok(false),
        };
        entry.write_if(before.as_deref(), &content)
    };
    write().unwrap_or_else(|error| {
        tracing::warn!(sidecar = %path.display(), %error, "metadata is kept in the store only; make the folder writable to have it beside the model");
        false
    })
}

/// Results of one library.
type OfClient = (Arc<Client>, Vec<Hashed>, Vec<Ticket>);

/// Publishes results in batches until all senders are gone.
pub(super) fn run(receiver: &mpsc::Receiver<Settled>, totals: &Totals) {
    while let Ok(first) = receiver.recv() {
        let until = Instant::now() + PUBLISH_EVERY;
        let mut batch = vec![first];
        // When nothing else is under way, nobody has to wait for more.
        while batch.len() < PUBLISH && (batch.len() as u64) < totals.outstanding.load(Ordering::Relaxed) {
            match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(settled) => batch.push(settled),
                Err(_) => break,
            }
        }
        let mut by_client: BTreeMap<u64, OfClient> = BTreeMap::new();
        for Settled { hashed, ticket } in batch {
            let client = ticket.client.clone();
            let own = by_client
                .entry(client.id)
                .or_insert_with(|| (client, Vec::new(), Vec::new()));
            own.1.push(hashed);
            own.2.push(ticket);
        }
        for (client, hashed, tickets) in by_client.into_values() {
            if let Some(publisher) = client.publisher() {
                publisher.publish(hashed);
            }
            drop(tickets);
        }
    }
}
