//! Where the hashing service hands in what it found out about models of a library.

use std::sync::{Arc, Weak};

use super::Library;
use crate::library::hashing::{Hashed, Publisher};
use crate::library::scan;
use crate::plugins::Plugin;

/// Makes hashes visible in a library's records.
pub struct HashReceiver {
    /// The library.
    pub library: Weak<Library>,
    /// The type's rules.
    pub plugin: Arc<Plugin>,
    /// Where plugin calls are awaited.
    pub handle: tokio::runtime::Handle,
}

impl Publisher for HashReceiver {
    fn publish(&self, mut hashed: Vec<Hashed>) {
        // A library that was closed meanwhile has its hashes in sidecars and in the store.
        let Some(library) = self.library.upgrade() else {
            return;
        };
        // Whoever changes a record at the same moment comes first; then it is done over.
        while !hashed.is_empty() {
            let snapshot = library.snapshot();
            let (mut older, mut records) = (Vec::new(), Vec::new());
            for result in &hashed {
                if let Some(record) = snapshot
                    .by_path(&result.path)
                    .filter(|record| record.stamp == result.stamp)
                {
                    records.push(result.apply(record));
                    older.push(record.clone());
                }
            }
            let plugin = library.rules_after(&self.plugin);
            self.handle.block_on(scan::serialise(&plugin, &mut records));
            let moved = records.clone();
            let replaced = library.publish_over(older.into_iter().zip(records).collect());
            for record in moved.iter().filter(|record| !replaced.contains(&record.path)) {
                library.recognise_moved(record);
            }
            hashed.retain(|result| replaced.contains(&result.path));
        }
        library.tell_changed();
    }
}
