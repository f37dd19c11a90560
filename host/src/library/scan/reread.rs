//! Making records of single files anew, after their sidecars were changed by this server.

use std::path::Path;
use std::sync::Arc;

use super::job::now;
use super::process::{self, Reader};
use super::walk::{Found, stamp};
use crate::library::collection::Library;
use crate::library::record::{Preview, Record};
use crate::library::safetensors::Interest;
use crate::library::sidecar;
use crate::library::snapshot::Change;
use crate::plugins::Plugin;

/// Models that cross the plugin boundary in one call.
const BATCH: usize = 128;

/// Reads these models again and publishes their records. Blocks; `handle` is where plugin calls are awaited.
///
/// A file that can't be read is left as it is known: the next scan says what is wrong with it.
pub fn reread(library: &Library, plugin: &Plugin, handle: &tokio::runtime::Handle, paths: &[&str]) {
    let headers = &plugin.info().descriptor.headers;
    let interest = Interest::new(&headers.metadata_keys, &headers.tensors);
    let reader = Reader {
        plugin,
        roots: library.roots(),
        interest: &interest,
        now: now(),
    };
    for batch in paths.chunks(BATCH) {
        let snapshot = library.snapshot();
        let read = batch.iter().filter_map(|path| {
            let known = snapshot.by_path(path)?;
            let found = found(known)?;
            match reader.read(&found, Some(known)) {
                Ok(read) => Some(read),
                Err(error) => {
                    tracing::warn!(path, %error, "can't be read after its change");
                    None
                }
            }
        });
        let read = read.collect();
        let mut processed = handle.block_on(process::finish(plugin, read));
        library.describe(process::take_descriptions(&mut processed));
        let changes = processed.into_iter().map(|processed| {
            let mut record = processed.record;
            if let Some(known) = snapshot.by_path(&record.path) {
                record.aliases = known.aliases.clone();
            }
            Change::Put(Arc::new(record))
        });
        library.publish(changes.collect());
    }
}

/// What a walk would find of a known model.
fn found(known: &Record) -> Option<Found> {
    let path = Path::new(&*known.path);
    let folder = path.parent()?;
    let beside = |name: String| folder.join(name);
    Some(Found {
        path: known.path.clone(),
        root: known.root,
        folder: known.folder.clone(),
        stem: known.file_name.clone(),
        stamp: stamp(path).ok()?,
        sidecar: stamp(&sidecar::path_for(folder, &known.file_name)).ok(),
        preview: known.preview.as_ref().and_then(|preview| {
            Some(Preview {
                path: preview.path.clone(),
                stamp: stamp(Path::new(&*preview.path)).ok()?,
            })
        }),
        civitai_info: beside(format!("{}.civitai.info", known.file_name)).exists(),
        linked_to: None,
    })
}
