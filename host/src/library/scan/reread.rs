//! Making records of single files anew, after this server changed the files.

use std::path::Path;
use std::sync::Arc;

use super::folder::{Found, Names};
use super::plan::Task;
use super::process::{self, Reader};
use super::reading::now;
use crate::files::wire_path;
use crate::library::collection::Library;
use crate::library::record::{HashStatus, Record};
use crate::library::roots;
use crate::library::safetensors::Interest;
use crate::library::snapshot::Change;
use crate::plugins::Plugin;

/// Models that cross the plugin boundary in one call.
const BATCH: usize = 128;

/// Reads these models again, each with the record that it had elsewhere before it was moved, and publishes their records; ones that are gone from the disk are
/// taken out. Blocks; `handle` is where plugin calls are awaited.
///
/// A file that can't be read is left as it is known: the next scan says what is wrong with it.
pub fn reread(library: &Library, plugin: &Plugin, handle: &tokio::runtime::Handle, paths: &[(&str, Option<&Record>)]) {
    let headers = &plugin.info().descriptor.headers;
    let interest = Interest::new(&headers.metadata_keys, &headers.tensors);
    let reader = Reader {
        plugin,
        roots: library.roots(),
        hashes: library.hash_queue(),
        interest: &interest,
        now: now(),
    };
    for batch in paths.chunks(BATCH) {
        let snapshot = library.snapshot();
        let mut changes = Vec::new();
        let mut names = None;
        let mut read = Vec::with_capacity(batch.len());
        for (path, was) in batch {
            let known = snapshot.by_path(path).map(|known| &**known);
            let Some(found) = found(library, &mut names, path, known) else {
                // What can't be looked at for another reason may be there.
                if matches!(Path::new(path).try_exists(), Ok(false)) {
                    changes.push(Change::Remove((*path).into()));
                }
                continue;
            };
            let task = Task {
                found: &found,
                was: was.map(|was| Arc::new(was.clone())),
                leaves: false,
                hash: false,
            };
            match reader.read(&task, known) {
                Ok(file) => read.push(file),
                Err(error) => tracing::warn!(path, %error, "can't be read after its change"),
            }
        }
        let mut processed = handle.block_on(process::finish(plugin, read));
        library.describe(process::take_descriptions(&mut processed));
        let records: Vec<_> = processed
            .into_iter()
            .map(|processed| Arc::new(processed.record))
            .collect();
        changes.extend(records.iter().cloned().map(Change::Put));
        library.publish(changes);
        let unhashed = records
            .into_iter()
            .filter(|record| record.hash_status == HashStatus::Calculating);
        library.hash_queue().add(library.roots(), unhashed.collect(), false);
    }
}

/// What a walk would find at a path; none when no model file of the library is there. `names` are those of the folder
/// that was asked about last: models of one folder come together.
fn found(library: &Library, names: &mut Option<Names<String>>, path: &str, known: Option<&Record>) -> Option<Found> {
    let file = Path::new(path);
    let (folder, name) = (file.parent()?, file.file_name()?.to_str()?);
    roots::find(library.roots(), path)?;
    if names.as_ref().is_none_or(|names| names.path() != folder) {
        let entries = std::fs::read_dir(folder).ok()?.flatten();
        let mut all: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        all.sort_unstable();
        *names = Some(Names::new(folder, wire_path(folder)?, all, library.roots()));
    }
    let is_link = file.is_symlink();
    let mut found = names.as_ref()?.model(name, is_link, library.info()).ok()??;
    // Other paths are a walk's business; what it found of them is still so.
    found.aliases = known.map(|known| known.aliases.clone()).unwrap_or_default();
    Some(found)
}
