//! Making records of single files anew, after this server changed the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Found, stamp};
use super::plan::Task;
use super::process::{self, Reader};
use super::reading::now;
use crate::files::wire_path;
use crate::library::collection::Library;
use crate::library::preview;
use crate::library::record::{HashStatus, Preview, Record};
use crate::library::roots;
use crate::library::safetensors::Interest;
use crate::library::sidecar;
use crate::library::snapshot::Change;
use crate::plugins::Plugin;

/// Models that cross the plugin boundary in one call.
const BATCH: usize = 128;

/// Reads these models again and publishes their records; ones that are gone from the disk are
/// taken out. Blocks; `handle` is where plugin calls are awaited.
///
/// A file that can't be read is left as it is known: the next scan says what is wrong with it.
pub fn reread(library: &Library, plugin: &Plugin, handle: &tokio::runtime::Handle, paths: &[&str]) {
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
        let mut names = Names::default();
        let mut read = Vec::with_capacity(batch.len());
        for path in batch {
            let known = snapshot.by_path(path).map(|known| &**known);
            let Some(found) = found(library, &mut names, path, known) else {
                changes.push(Change::Remove((*path).into()));
                continue;
            };
            let task = Task {
                found: &found,
                was: None,
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

/// Names in a folder, sorted, of the folder that was asked about last: models of one folder come together.
#[derive(Default)]
struct Names {
    folder: PathBuf,
    names: Vec<String>,
}

impl Names {
    fn of(&mut self, folder: &Path) -> &[String] {
        if self.folder != folder {
            folder.clone_into(&mut self.folder);
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            self.names = entries
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect();
            self.names.sort_unstable();
        }
        &self.names
    }
}

/// What a walk would find at a path; none when no model file of the library is there.
fn found(library: &Library, names: &mut Names, path: &str, known: Option<&Record>) -> Option<Found> {
    let file = Path::new(path);
    let folder = file.parent()?;
    let root = roots::find(library.roots(), path)?;
    let relative = library.roots().get(usize::from(root))?.relative(path)?;
    let name = file.file_name()?.to_str()?;
    let extension = library.info().extension_of(name)?;
    let stem = name.strip_suffix(extension)?;
    let preview = preview::find(names.of(folder), stem).and_then(|name| {
        let path = folder.join(name);
        Some(Preview {
            path: wire_path(&path)?.into(),
            stamp: stamp(&path).ok()?,
        })
    });
    Some(Found {
        path: path.into(),
        root,
        folder: relative.rsplit_once('/').map_or("", |(folder, _)| folder).into(),
        stem: stem.into(),
        stamp: stamp(file).ok()?,
        sidecar: stamp(&sidecar::path_for(folder, stem)).ok(),
        preview,
        civitai_info: folder.join(format!("{stem}.civitai.info")).exists(),
        unfinished: None,
        // Links are a walk's business; what it found of them is still so.
        aliases: known.map(|known| known.aliases.clone()).unwrap_or_default(),
        linked_to: None,
    })
}
