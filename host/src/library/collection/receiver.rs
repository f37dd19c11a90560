//! Where the hashing service hands in what it found out about models of a library.

use std::sync::{Arc, Weak};

use super::Library;
use crate::library::hashing::{Hashed, Publisher};
use crate::library::publishing::Proposal;
use crate::library::record::Record;
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
            let base = library.base();
            let (mut overs, mut records) = (Vec::new(), Vec::new());
            for result in &hashed {
                let over = base.over(&result.path);
                if let Some(record) = over.record().filter(|record| record.stamp == result.stamp) {
                    records.push(result.apply(record));
                    overs.push(over);
                }
            }
            let plugin = library.rules_after(&self.plugin);
            self.handle.block_on(scan::serialise(&plugin, &mut records));
            let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
            let proposals = overs.into_iter().zip(records.iter().cloned());
            let published = library.publish(proposals.map(|(over, record)| Proposal::put(over, record)).collect());
            let replaced = published.replaced;
            for record in records.iter().filter(|record| !replaced.contains(&record.path)) {
                library.recognise_moved(record);
            }
            hashed.retain(|result| replaced.contains(&result.path));
        }
        library.tell_changed();
    }
}
