//! Folders of a library as lists and trees.

use serde_json::{Map, Value};

use super::snapshot::Snapshot;

/// Folders that directly hold a model, `""` for a root, sorted in any case.
pub fn list(snapshot: &Snapshot) -> Vec<&str> {
    let mut folders: Vec<&str> = snapshot
        .properties()
        .folders
        .iter()
        .map(|(folder, _)| &**folder)
        .collect();
    folders.sort_by_key(|folder| folder.to_lowercase());
    folders
}

/// Folders as nested objects; those of one root when its index is given.
pub fn tree(snapshot: &Snapshot, root: Option<u16>) -> Map<String, Value> {
    let mut tree = Map::new();
    for folder in list(snapshot) {
        let wanted = root.is_none_or(|root| {
            snapshot.properties().folders.get(folder).is_some_and(|slots| {
                slots
                    .iter()
                    .filter_map(|slot| snapshot.get(slot))
                    .any(|record| record.root == root)
            })
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
