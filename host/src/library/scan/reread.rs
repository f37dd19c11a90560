//! Making records of single files anew, after this server changed the files.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::folder::{Found, Names};
use super::plan::Task;
use super::process::{self, Reader};
use super::reading::{now, write_sidecar};
use crate::files::foreign::{self, Links};
use crate::files::wire_path;
use crate::library::collection::Library;
use crate::library::preview;
use crate::library::publishing::Proposal;
use crate::library::record::{HashStatus, Record};
use crate::library::roots;
use crate::library::safetensors::{self, HeaderError, Interest};
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
    Rereading::new(library, plugin, handle, Occasion::Changed).all(paths);
}

/// As [`reread`], in a scan: writes sidecars that are missing or need repair, and takes nothing out.
pub(super) fn reread_outdated(library: &Library, plugin: &Plugin, handle: &tokio::runtime::Handle, files: &[Again]) {
    let paths = files.iter().map(|again| (&*again.path, again.was.as_deref()));
    Rereading::new(library, plugin, handle, Occasion::Scan).all(&paths.collect::<Vec<_>>());
}

/// Reads files that are not listed yet and lists them, sidecars that are missing being written, without waiting for the
/// scan that will find them. A file that is not whole stays out. Blocks.
pub fn read_new(library: &Library, plugin: &Plugin, handle: &tokio::runtime::Handle, paths: &[String]) {
    let paths: Vec<(&str, Option<&Record>)> = paths.iter().map(|path| (path.as_str(), None)).collect();
    Rereading::new(library, plugin, handle, Occasion::New).all(&paths);
}

/// Why files are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// This server changed them.
    Changed,
    /// A scan came too late for them.
    Scan,
    /// A request names them, and they are not listed yet.
    New,
}

struct Rereading<'a> {
    library: &'a Library,
    plugin: &'a Plugin,
    handle: &'a tokio::runtime::Handle,
    interest: Interest,
    occasion: Occasion,
}

impl<'a> Rereading<'a> {
    fn new(library: &'a Library, plugin: &'a Plugin, handle: &'a tokio::runtime::Handle, occasion: Occasion) -> Self {
        let headers = &plugin.info().descriptor.headers;
        Self {
            library,
            plugin,
            handle,
            interest: Interest::new(&headers.metadata_keys, &headers.tensors),
            occasion,
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
            let known = base.snapshot().by_path(path).map(|known| &**known);
            let Some(found) = found(library, &mut names, path, known) else {
                // What can't be looked at for another reason may be there.
                if self.occasion == Occasion::Scan {
                    later.push(*path);
                } else if matches!(foreign::inspect(Path::new(path), Links::Follow), Ok(None)) {
                    proposals.push(Proposal::remove(base.over(path), path));
                }
                continue;
            };
            let mut was = was.map(|was| Arc::new(was.clone()));
            if self.occasion == Occasion::New {
                if known.is_some() || !self.is_ready(&found) {
                    continue;
                }
                was = was.or_else(|| library.moves().take_by_stamp(&found.stamp));
            }
            let task = Task {
                found: &found,
                over: base.over(path),
                was,
                leaves: false,
                hash: false,
            };
            match reader.read(&task, known) {
                Ok(file) => read.push(file),
                Err(error) => tracing::warn!(path, %error, "can't be read after its change"),
            }
        }
        let processed = self.handle.block_on(process::finish(plugin, read));
        let (mut descriptions, mut records) = (Vec::new(), Vec::with_capacity(processed.len()));
        for processed in processed {
            let (record, description) = match self.occasion {
                Occasion::Scan | Occasion::New => write_sidecar(processed),
                Occasion::Changed => (processed.record, processed.description),
            };
            let record = Arc::new(record);
            descriptions.push((record.path.clone(), description));
            proposals.push(Proposal::put(base.over(&record.path), record.clone()));
            records.push(record);
        }
        library.describe(descriptions);
        let replaced = library.publish(proposals).replaced;
        if self.occasion == Occasion::New {
            let listed = records.iter().filter(|record| !replaced.contains(&record.path));
            for record in listed {
                library.recognise_moved(record);
            }
        }
        let is_unhashed = |record: &Arc<Record>| record.hash_status == HashStatus::Calculating;
        records.retain(|record| is_unhashed(record) && !replaced.contains(&record.path));
        library.hash_queue().add(library.roots(), records, false);
        library.look_at(later.into_iter());
        replaced
    }
}

impl Rereading<'_> {
    /// Whether a file that was not listed yet is whole. One that was written a moment ago counts as whole when its header
    /// says so or no header can: a client that names it has written it.
    fn is_ready(&self, found: &Found) -> bool {
        let is_old = || self.library.waiting().is_whole(&found.path, &found.stamp, None);
        let is_cut_off = || {
            let is_safetensors = [".safetensors", ".sft"]
                .iter()
                .any(|ending| preview::ends_with(&found.path, ending));
            let read = is_safetensors.then(|| safetensors::read(Path::new(&*found.path), &Interest::default()));
            matches!(
                read,
                Some(Err(HeaderError::TooShort(_)
                    | HeaderError::Truncated { .. }
                    | HeaderError::Incomplete { .. }))
            )
        };
        found.unfinished.is_none() && (is_old() || !is_cut_off())
    }
}

/// What a walk would find at a path; none when no model file of the library is there. `names` are those of the folder
/// that was asked about last: models of one folder come together.
fn found(library: &Library, names: &mut Option<Names<String>>, path: &str, known: Option<&Record>) -> Option<Found> {
    let file = Path::new(path);
    let (folder, name) = (file.parent()?, file.file_name()?.to_str()?);
    roots::find(library.roots(), path)?;
    if roots::hide(library.roots(), path) {
        return None;
    }
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
