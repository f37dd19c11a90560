//! Making records of single files anew, after this server changed the files.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::folder::{Found, Names};
use super::plan::Task;
use super::process::{self, Reader};
use super::reading::{now, write_sidecar};
use crate::files::{disks, wire_path};
use crate::library::collection::Library;
use crate::library::publishing::Proposal;
use crate::library::record::{HashStatus, Record};
use crate::library::roots;
use crate::library::safetensors::Interest;
use crate::plugins::Plugin;

/// Models that cross the plugin boundary in one call.
const BATCH: usize = 128;

/// How often files are read that change each time under the reader, before a scan of their folders is asked for.
const TRIES: usize = 8;

/// A file whose record somebody changed while a scan was about to.
pub struct Again {
    /// Its path.
    pub path: Box<str>,
    /// The model that it was elsewhere, before it was moved.
    pub was: Option<Arc<Record>>,
}

/// Reads these models again, each with the record that it had elsewhere before it was moved, and publishes their records; ones that are gone from the disk are
/// taken out. Blocks; `handle` is where plugin calls are awaited.
///
/// A file that can't be read is left as it is known: the next scan says what is wrong with it.
pub fn reread(library: &Library, plugin: &Plugin, handle: &tokio::runtime::Handle, paths: &[(&str, Option<&Record>)]) {
    Rereading::new(library, plugin, handle, false).all(paths);
}

/// As [`reread`], in a scan: writes sidecars that are missing or need repair, and takes nothing out.
pub(super) fn reread_outdated(library: &Library, plugin: &Plugin, handle: &tokio::runtime::Handle, files: &[Again]) {
    let paths = files.iter().map(|again| (&*again.path, again.was.as_deref()));
    Rereading::new(library, plugin, handle, true).all(&paths.collect::<Vec<_>>());
}

struct Rereading<'a> {
    library: &'a Library,
    plugin: &'a Plugin,
    handle: &'a tokio::runtime::Handle,
    interest: Interest,
    in_scan: bool,
}

impl<'a> Rereading<'a> {
    fn new(library: &'a Library, plugin: &'a Plugin, handle: &'a tokio::runtime::Handle, in_scan: bool) -> Self {
        let headers = &plugin.info().descriptor.headers;
        Self {
            library,
            plugin,
            handle,
            interest: Interest::new(&headers.metadata_keys, &headers.tensors),
            in_scan,
        }
    }

    fn all(&self, paths: &[(&str, Option<&Record>)]) {
        let mut left = paths.to_vec();
        for _ in 0..TRIES {
            let mut replaced = HashSet::new();
            for batch in left.chunks(BATCH) {
                replaced.extend(self.batch(batch));
            }
            left.retain(|(path, _)| replaced.contains(*path));
            if left.is_empty() {
                return;
            }
        }
        self.library.look_at(left.iter().map(|(path, _)| *path));
    }

    /// The paths of those whose record somebody else changed meanwhile.
    fn batch(&self, paths: &[(&str, Option<&Record>)]) -> HashSet<Box<str>> {
        let Self { library, plugin, .. } = *self;
        let reader = Reader {
            plugin,
            roots: library.roots(),
            hashes: library.hash_queue(),
            interest: &self.interest,
            now: now(),
        };
        // Before the disk is looked at.
        let base = library.base();
        let (mut proposals, mut later) = (Vec::new(), Vec::new());
        let mut names = None;
        let mut read = Vec::with_capacity(paths.len());
        for (path, was) in paths {
            let Ok(_section) = library.section(path) else {
                // Its disk does not answer; it is read when the disk is back.
                continue;
            };
            let known = base.snapshot().by_path(path).map(|known| &**known);
            let Some(found) = found(library, &mut names, path, known) else {
                // What can't be looked at for another reason may be there.
                if self.in_scan {
                    later.push(*path);
                } else if matches!(Path::new(path).try_exists(), Ok(false)) {
                    proposals.push(Proposal::remove(base.over(path), path));
                }
                continue;
            };
            let task = Task {
                found: Arc::new(found),
                over: base.over(path),
                was: was.map(|was| Arc::new(was.clone())),
                leaves: false,
                hash: false,
            };
            match reader.read(&task, known) {
                Ok(file) => read.push(file),
                Err(error) => tracing::warn!(path, %error, "can't be read after its change"),
            }
        }
        let rules = || self.handle.block_on(process::finish(plugin, read));
        let processed = disks::off_disk(rules);
        let (mut descriptions, mut records) = (Vec::new(), Vec::with_capacity(processed.len()));
        for processed in processed {
            let (record, description) = match self.in_scan {
                true => write_sidecar(library, processed),
                false => (processed.record, processed.description),
            };
            let record = Arc::new(record);
            descriptions.push((record.path.clone(), description));
            proposals.push(Proposal::put(base.over(&record.path), record.clone()));
            records.push(record);
        }
        library.describe(descriptions);
        let replaced = library.publish(proposals).replaced;
        let is_unhashed = |record: &Arc<Record>| record.hash_status == HashStatus::Calculating;
        records.retain(|record| is_unhashed(record) && !replaced.contains(&record.path));
        library.hash_queue().add(library.roots(), records, false);
        library.look_at(later.into_iter());
        replaced
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
