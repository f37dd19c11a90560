//! Hashing a file again, whatever is known of it, and putting right what was wrong.

use std::fs::File;
use std::path::Path;

use super::queue::HashQueue;
use super::results::{Hashed, write_sidecar};
use crate::cancel::Cancel;
use crate::files::disks;
use crate::files::hash::{FileHasher, HashError};
use crate::library::record::{HashStatus, Record};
use crate::library::scan::stamp;
use crate::library::store::Hashes;

impl HashQueue {
    /// Reads a file anew on this thread; clients see it among what is being hashed, and [`Self::cancel`] ends it, as
    /// `cancel` does.
    ///
    /// # Errors
    /// When the file can't be read, changed meanwhile, or the work was cancelled.
    pub fn again(&self, record: &Record, hasher: &mut FileHasher, cancel: &Cancel) -> Result<Hashes, HashError> {
        let of_all = self.cancellation();
        // None while the service has it in hand, too.
        let mut ticket = self.ticket(record);
        let path = Path::new(&*record.path);
        let before = stamp(path)?;
        let digests = hasher.file(&File::open(path)?, &mut |bytes| {
            disks::beat();
            if let Some(ticket) = &mut ticket {
                ticket.read(bytes);
            }
            !cancel.is_set() && !of_all.is_set()
        })?;
        if digests.bytes != before.size || stamp(path)? != before {
            return Err(std::io::Error::other("the file changed while it was read").into());
        }
        let hashes = digests.into();
        self.remember(path, hashes)?;
        if let Some(ticket) = &mut ticket {
            ticket.done();
        }
        Ok(hashes)
    }

    /// Notes the hashes of a file, so that they are known wherever it is moved.
    ///
    /// # Errors
    /// When the file is not there.
    pub fn remember(&self, path: &Path, hashes: Hashes) -> std::io::Result<()> {
        let now = stamp(path)?;
        if let (_, Some(file)) = self.shared().disks.of(path, &now)? {
            self.shared().remember(file, hashes);
        }
        Ok(())
    }

    /// Puts other hashes into a model's sidecar and record.
    pub fn correct(&self, record: &Record, hashes: Hashes) {
        let sidecar = write_sidecar(record, Some(hashes), HashStatus::Completed);
        let hashed = Hashed::new(record, hashes, sidecar);
        if let Some(publisher) = self.publisher() {
            publisher.publish(vec![hashed]);
        }
    }
}
