//! Questions to the indexes that scans and the watcher have.

use std::path::Path;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::walk::Depth;
use crate::files::wire_path;
use crate::library::record::{Record, Sha256};
use crate::library::roots::{self, Root};
use crate::library::snapshot::Snapshot;

/// Slots of listed models that may be in a folder, or below it: of all whose place below their root is called so.
pub fn slots_in(snapshot: &Snapshot, roots: &[Root], folder: &Path, depth: Depth) -> RoaringBitmap {
    let Some(wire) = wire_path(folder) else {
        return RoaringBitmap::new();
    };
    let root = roots::find_folder(roots, &wire).and_then(|root| roots.get(usize::from(root)));
    let relative = root.and_then(|root| root.relative(&wire)).unwrap_or_default();
    let properties = snapshot.properties();
    match depth {
        Depth::Deep => properties.below(relative, snapshot.visible()),
        Depth::Shallow => properties.folders.get(relative).cloned().unwrap_or_default(),
    }
}

/// Whether models may be below a folder.
pub fn models_below(snapshot: &Snapshot, roots: &[Root], folder: &Path) -> bool {
    !slots_in(snapshot, roots, folder, Depth::Deep).is_empty()
}

/// Listed models with this hash of their whole file.
pub fn models_with_hash(snapshot: &Snapshot, hash: &Sha256) -> Vec<Arc<Record>> {
    let slots = snapshot.keys().sha256(snapshot.records(), hash);
    slots.filter_map(|slot| snapshot.get(slot)).cloned().collect()
}
