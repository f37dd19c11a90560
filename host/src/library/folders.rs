//! Folders of a library as lists and trees.

use std::sync::OnceLock;

use arcstr::ArcStr;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::sets::Properties;
use super::snapshot::{Changed, Snapshot};

/// What is made of the folders when first asked for. Snapshots share it as long as no folder comes or goes.
#[derive(Debug, Default)]
pub struct Folders {
    sorted: OnceLock<Vec<ArcStr>>,
    tree: OnceLock<Box<RawValue>>,
}

/// Folders that directly hold a model, `""` for a root, sorted in any case.
pub fn list(snapshot: &Snapshot) -> &[ArcStr] {
    snapshot.folders().sorted.get_or_init(|| {
        let folders = snapshot.properties().folders.iter();
        let mut folders: Vec<ArcStr> = folders.map(|(folder, _)| folder.clone()).collect();
        folders.sort_by_cached_key(|folder| folder.to_lowercase());
        folders
    })
}

/// The text of [`tree`] for all roots.
pub fn whole_tree(snapshot: &Snapshot) -> &RawValue {
    snapshot.folders().tree.get_or_init(|| {
        let text = serde_json::value::to_raw_value(&tree(snapshot, None));
        // Objects of texts and objects can always be written.
        text.unwrap_or_else(|_| RawValue::NULL.to_owned())
    })
}

/// Whether a change made or emptied no folder.
pub(super) fn same(before: &Properties, after: &Properties, changed: &[Changed]) -> bool {
    changed.iter().all(|change| {
        let (old, new) = change.both(|record| &record.folder);
        let made = new.is_some_and(|folder| before.folders.get(&**folder).is_none());
        let emptied = old.is_some_and(|folder| after.folders.get(&**folder).is_none());
        old == new || !(made || emptied)
    })
}

/// Folders as nested objects; those of one root when its index is given.
pub fn tree(snapshot: &Snapshot, root: Option<u16>) -> Map<String, Value> {
    let properties = snapshot.properties();
    let own = root.map(|root| properties.roots.get(&root));
    let mut tree = Map::new();
    for folder in list(snapshot) {
        let wanted = own.is_none_or(|own| {
            let folder = properties.folders.get(&**folder);
            own.zip(folder).is_some_and(|(own, folder)| !own.is_disjoint(folder))
        });
        if !wanted {
            continue;
        }
        let mut level = &mut tree;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            let next = level.entry(part).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(next) = next else { break };
            level = next;
        }
    }
    tree
}
