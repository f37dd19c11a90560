//! Finding one model by the many ways in which clients name it. Source: contract section 1.3.

use std::sync::Arc;

use super::chunk::Slot;
use super::orders::SortKey;
use super::record::{Blake3, Record, Sha256};
use super::snapshot::Snapshot;

/// Endings that clients leave on a name.
const NAME_ENDINGS: [&str; 4] = [".safetensors", ".ckpt", ".pt", ".bin"];

/// Looks models up in one snapshot. Of several, the first by path counts.
impl Snapshot {
    /// By file name, or by a path that ends in `/file name`; the folder is not compared.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Record>> {
        let named = |name: &str| self.first(self.keys().stem(self.records(), name));
        named(name).or_else(|| named(name.rsplit(['/', '\\']).next()?))
    }

    /// By `folder/file name` or file name, an extension allowed; else by the same file name in
    /// a folder whose path ends alike; else the first with that file name.
    ///
    /// Workflows that were saved on Windows separate folders by `\`. A model whose own name has that character comes first.
    pub fn by_reference(&self, reference: &str) -> Option<&Arc<Record>> {
        let found = self.by_reference_as_given(reference);
        found.or_else(|| self.by_reference_as_given(&windows_folders(reference)?))
    }

    fn by_reference_as_given(&self, reference: &str) -> Option<&Arc<Record>> {
        let lower = reference.to_lowercase();
        let name = NAME_ENDINGS
            .iter()
            .find(|ending| lower.ends_with(*ending))
            .map_or(reference, |ending| &reference[..reference.len() - ending.len()]);
        let (folder, stem) = name.rsplit_once('/').unwrap_or(("", name));
        let candidates: Vec<Slot> = self.keys().stem(self.records(), stem).collect();
        let with = |test: &dyn Fn(&Record) -> bool| {
            let mut found: Vec<&Arc<Record>> = candidates
                .iter()
                .filter_map(|slot| self.get(*slot))
                .filter(|record| test(record))
                .collect();
            found.sort_by(|a, b| a.path.cmp(&b.path));
            found.first().copied()
        };
        if folder.is_empty() {
            return with(&|_| true);
        }
        with(&|record| &*record.folder == folder)
            .or_else(|| with(&|record| !record.folder.is_empty() && folder_matches(folder, &record.folder)))
            .or_else(|| with(&|_| true))
    }

    /// The first whose absolute path contains the text, with folders as in [`Self::by_reference`].
    pub fn by_path_part(&self, part: &str) -> Option<&Arc<Record>> {
        let found = self.by_path_part_as_given(part);
        found.or_else(|| self.by_path_part_as_given(&windows_folders(part)?))
    }

    fn by_path_part_as_given(&self, part: &str) -> Option<&Arc<Record>> {
        let finder = memchr::memmem::Finder::new(part.as_bytes());
        let all = || self.order(SortKey::Path).iter().filter_map(|slot| self.get(slot));
        all()
            .find(|record| record.path.ends_with(part))
            .or_else(|| all().find(|record| finder.find(record.path.as_bytes()).is_some()))
    }

    /// By SHA-256 or BLAKE3 (64 hex digits), AutoV2 (the first 10 of SHA-256) or AutoV3 (12).
    pub fn by_hash(&self, hash: &str) -> Option<&Arc<Record>> {
        let (hash, keys, records) = (hash.to_lowercase(), self.keys(), self.records());
        match hash.len() {
            64 => {
                let digest = Sha256::parse(&hash)?;
                self.first(keys.sha256(records, &digest))
                    .or_else(|| self.first(keys.blake3(records, &Blake3(digest.0))))
            }
            12 => self.first(keys.autov3(records, &hash)),
            10 => self.first(keys.autov2(crate::files::hash::parse_hex(&hash)?)),
            _ => None,
        }
    }

    fn first(&self, slots: impl Iterator<Item = Slot>) -> Option<&Arc<Record>> {
        slots
            .filter_map(|slot| self.get(slot))
            .min_by(|a, b| a.path.cmp(&b.path))
    }
}

/// Whether one folder's path ends in the other's.
fn folder_matches(a: &str, b: &str) -> bool {
    let ends = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('/'));
    ends(a, b) || ends(b, a)
}

/// A text with folders separated as on Windows, in the notation of records; none when it has no such separator.
fn windows_folders(text: &str) -> Option<String> {
    text.contains('\\').then(|| text.replace('\\', "/"))
}
