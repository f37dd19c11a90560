//! Verifying that files which count as copies of each other are: each is read again. Source: contract section 6.8.

use std::collections::HashSet;
use std::path::Path;

use super::collection::Library;
use super::editing::{EditError, Tools};
use super::record::Sha256;
use super::scan::{self, stamp};
use crate::cancel::Cancel;
use crate::files::hash::{FileHasher, HashError};

/// What is read of a file at once, in bytes.
const BLOCK: usize = 4 << 20;

/// What became of a verification.
#[derive(Debug, Default)]
pub struct Verification {
    /// Files that are not what was expected, each with its hash; none where it can't be read.
    pub mismatched: Vec<(String, Option<Sha256>)>,
    /// Whether it was ended before all were read.
    pub cancelled: bool,
}

impl Library {
    /// Reads these models again and compares them with the hash that is known of the first. What sidecars and records say
    /// wrongly is put right. Paths at which there is no model are passed over. Blocks.
    ///
    /// # Errors
    /// When a path leads out of the library's folders; nothing is read then.
    pub fn verify(&self, tools: &Tools, paths: &[String], cancel: &Cancel) -> Result<Verification, EditError> {
        self.check_inside(paths)?;
        let mut seen = HashSet::new();
        let paths: Vec<(&String, String)> = paths
            .iter()
            .map(|path| (path, self.listed(path)))
            .filter(|(_, listed)| seen.insert(listed.clone()))
            .collect();
        let mut expected = paths
            .first()
            .and_then(|(_, listed)| self.snapshot().by_path(listed)?.sha256);
        let mut hasher = FileHasher::new(BLOCK);
        let mut verification = Verification::default();
        for (path, listed) in paths {
            let Ok(_section) = self.section(&listed) else {
                verification.mismatched.push((path.clone(), None));
                continue;
            };
            let known = self.snapshot().by_path(&listed).map(|known| known.stamp);
            let (Some(known), Ok(now)) = (known, stamp(Path::new(&listed))) else {
                continue;
            };
            if known != now {
                // What is known is about another file.
                scan::reread(self, tools.plugin, tools.handle, &[(&listed, None)]);
            }
            let snapshot = self.snapshot();
            let Some(record) = snapshot.by_path(&listed) else {
                continue;
            };
            expected = expected.or(record.sha256);
            match self.hash_queue().again(record, &mut hasher, cancel) {
                Ok(hashes) => {
                    if record.sha256 != Some(hashes.sha256) {
                        self.hash_queue().correct(record, hashes);
                    }
                    if *expected.get_or_insert(hashes.sha256) != hashes.sha256 {
                        verification.mismatched.push((path.clone(), Some(hashes.sha256)));
                    }
                }
                Err(HashError::Cancelled) => {
                    verification.cancelled = true;
                    break;
                }
                Err(HashError::Io(error)) => {
                    tracing::warn!(path, %error, "can't be verified");
                    verification.mismatched.push((path.clone(), None));
                }
            }
        }
        Ok(verification)
    }
}
