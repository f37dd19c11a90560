//! Files that were moved or renamed outside the server: what they were before, so that they keep their history.
//!
//! Where both halves of a move are seen together and the inode is the same, a scan knows at once. Else the two halves
//! meet here: models that went, and models that came without a sidecar of their own. They are the same when their whole
//! hashes are. This is known only while the server runs; after a restart such a file counts as new.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::record::{Record, Sha256};

/// Models that went and are remembered.
const REMEMBERED: usize = 4096;

/// Why a file that did not change is read once more.
#[derive(Debug, Clone)]
pub enum Revisit {
    /// It is this model, which went elsewhere.
    Was(Arc<Record>),
    /// It may be one that went, which only its hash can tell.
    Hash,
}

#[derive(Debug, Default)]
struct State {
    // The latest last.
    departed: VecDeque<Arc<Record>>,
    // Paths of models that came without a sidecar.
    arrived: HashSet<Box<str>>,
    revisits: HashMap<Box<str>, Revisit>,
}

/// What a library remembers of models that went and came.
#[derive(Debug, Default)]
pub struct Moves(Mutex<State>);

impl Moves {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes models that came without a sidecar of their own.
    pub fn arrived<'r>(&self, paths: impl Iterator<Item = &'r str>) {
        let mut state = self.state();
        state.arrived.extend(paths.map(Into::into));
        // Beyond that many it is the first reading of a library.
        if state.arrived.len() > 16 * REMEMBERED {
            state.arrived.clear();
        }
    }

    /// Notes models that went; `same` finds the models that are there with a hash. Gives the paths that are worth
    /// reading once more.
    pub fn departed(&self, records: &[Arc<Record>], same: impl Fn(&Sha256) -> Vec<Arc<Record>>) -> Vec<Box<str>> {
        let mut state = self.state();
        let mut worth = Vec::new();
        for record in records {
            state.arrived.remove(&record.path);
            state.revisits.remove(&record.path);
            let come = record
                .sha256
                .iter()
                .flat_map(&same)
                .find(|other| state.arrived.contains(&other.path));
            if let Some(come) = come {
                state.arrived.remove(&come.path);
                state.revisits.insert(come.path.clone(), Revisit::Was(record.clone()));
                worth.push(come.path.clone());
            } else {
                state.departed.push_back(record.clone());
            }
        }
        let many = state.departed.len().saturating_sub(REMEMBERED);
        state.departed.drain(..many);
        worth
    }

    /// The model that went and had this stamp, which is then no longer remembered.
    pub fn take_by_stamp(&self, stamp: &super::record::Stamp) -> Option<Arc<Record>> {
        let mut state = self.state();
        let is_same = |record: &Arc<Record>| stamp.inode != 0 && record.stamp == *stamp;
        let index = state.departed.iter().rposition(is_same)?;
        state.departed.remove(index)
    }

    /// Whether a model whose hash is not wanted by itself should be hashed, since one of its size went.
    pub fn may_have_come(&self, size: u64) -> bool {
        let state = self.state();
        state
            .departed
            .iter()
            .any(|record| record.stamp.size == size && record.sha256.is_some())
    }

    /// Arrived models of a size that went: their hashes are wanted now.
    pub fn want_hashes(&self, candidates: impl Iterator<Item = Arc<Record>>) -> Vec<Box<str>> {
        let mut state = self.state();
        let mut worth = Vec::new();
        for record in candidates {
            let size = record.stamp.size;
            let went = || {
                state
                    .departed
                    .iter()
                    .any(|gone| gone.stamp.size == size && gone.sha256.is_some())
            };
            if state.arrived.contains(&record.path) && went() {
                state.revisits.insert(record.path.clone(), Revisit::Hash);
                worth.push(record.path.clone());
            }
        }
        worth
    }

    /// Paths of models that came without a sidecar.
    pub fn arrivals(&self) -> Vec<Box<str>> {
        self.state().arrived.iter().cloned().collect()
    }

    /// Notes that a model that came has a hash now; whether it is one that went.
    pub fn recognise(&self, record: &Record) -> bool {
        let mut state = self.state();
        let Some(hash) = record.sha256.filter(|_| state.arrived.contains(&record.path)) else {
            return false;
        };
        let Some(index) = state.departed.iter().rposition(|gone| gone.sha256 == Some(hash)) else {
            return false;
        };
        let Some(gone) = state.departed.remove(index) else {
            return false;
        };
        state.arrived.remove(&record.path);
        state.revisits.insert(record.path.clone(), Revisit::Was(gone));
        true
    }

    /// Why a path is to be read once more; asked once.
    pub fn take_revisit(&self, path: &str) -> Option<Revisit> {
        self.state().revisits.remove(path)
    }
}
