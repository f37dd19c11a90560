//! Finding listed records by hashes, ids and file names.

use super::chunk::{Records, Slot};
use super::item::media_key;
use super::key_index::{KeyIndex, SharedKeys};
use super::record::{AutoV3, Blake3, Record, Sha256};
use super::snapshot::Changed;

/// Key indexes of all that clients name models by. Excluded records are in none of them.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    sha256: SharedKeys,
    blake3: KeyIndex,
    autov3: KeyIndex,
    model_ids: KeyIndex,
    version_ids: KeyIndex,
    stems: SharedKeys,
}

/// The first eight bytes of a digest as a number, so that keys sort like digests.
fn head(digest: &[u8; 32]) -> u64 {
    digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

/// The pairs that leave an index and those that join it.
type Pairs = (Vec<(u64, Slot)>, Vec<(u64, Slot)>);

impl Keys {
    /// Slots of files with this SHA-256.
    pub fn sha256<'r>(&'r self, records: &'r Records, digest: &'r Sha256) -> impl Iterator<Item = Slot> {
        let slots = self.sha256.index().get(head(&digest.0));
        slots.filter(move |slot| records.get(*slot).is_some_and(|record| record.sha256 == Some(*digest)))
    }

    /// Slots of files whose SHA-256 starts with these five bytes: AutoV2.
    pub fn autov2(&self, start: [u8; 5]) -> impl Iterator<Item = Slot> {
        let start = start.iter().fold(0, |key, byte| key << 8 | u64::from(*byte)) << 24;
        self.sha256.index().range(start..=start | 0xff_ffff)
    }

    /// Slots of files with this BLAKE3.
    pub fn blake3<'r>(&'r self, records: &'r Records, digest: &'r Blake3) -> impl Iterator<Item = Slot> {
        let slots = self.blake3.get(head(&digest.0));
        slots.filter(move |slot| records.get(*slot).is_some_and(|record| record.blake3 == Some(*digest)))
    }

    /// Slots of files whose header says this AutoV3.
    pub fn autov3<'r>(&'r self, records: &'r Records, hash: &'r str) -> impl Iterator<Item = Slot> {
        let slots = self.autov3.get(media_key(hash));
        slots.filter(move |slot| records.get(*slot).is_some_and(|record| autov3(record) == Some(hash)))
    }

    /// Slots of files of a provider's model.
    pub fn model_id(&self, id: u64) -> impl Iterator<Item = Slot> {
        self.model_ids.get(id)
    }

    /// Slots of files of a provider's version.
    pub fn version_id(&self, id: u64) -> impl Iterator<Item = Slot> {
        self.version_ids.get(id)
    }

    /// Slots of files with this name, without folder and extension.
    pub fn stem<'r>(&'r self, records: &'r Records, stem: &'r str) -> impl Iterator<Item = Slot> {
        let slots = self.stems.index().get(media_key(stem));
        slots.filter(move |slot| records.get(*slot).is_some_and(|record| *record.file_name == *stem))
    }

    /// Slots of files that share a SHA-256 with others, those of equal digests together and in their order.
    pub fn copies<'r>(&'r self, records: &'r Records) -> impl Iterator<Item = Vec<Slot>> {
        shared(&self.sha256, records, |record| record.sha256)
    }

    /// Slots of files that share a name with others, those of equal names together.
    pub fn namesakes<'r>(&'r self, records: &'r Records) -> impl Iterator<Item = Vec<Slot>> {
        shared(&self.stems, records, |record| Some(&record.file_name))
    }

    /// Brings all indexes up to a change.
    pub(super) fn update(&mut self, changed: &[Changed]) {
        let [
            mut sha256,
            mut blake3,
            mut autov3s,
            mut model_ids,
            mut version_ids,
            mut stems,
        ]: [Pairs; 6] = Default::default();
        for change in changed {
            let note = |pairs: &mut Pairs, key: fn(&Record) -> Option<u64>| {
                let (old, new) = change.both(key);
                let (old, new) = (old.flatten(), new.flatten());
                if old != new {
                    pairs.0.extend(old.map(|key| (key, change.slot)));
                    pairs.1.extend(new.map(|key| (key, change.slot)));
                }
            };
            note(&mut sha256, |record| record.sha256.map(|digest| head(&digest.0)));
            note(&mut blake3, |record| record.blake3.map(|digest| head(&digest.0)));
            note(&mut autov3s, |record| autov3(record).map(media_key));
            note(&mut model_ids, |record| record.remote.model_id);
            note(&mut version_ids, |record| record.remote.id);
            note(&mut stems, |record| Some(media_key(&record.file_name)));
        }
        self.sha256.update(sha256.0, sha256.1);
        self.blake3.update(blake3.0, blake3.1);
        self.autov3.update(autov3s.0, autov3s.1);
        self.model_ids.update(model_ids.0, model_ids.1);
        self.version_ids.update(version_ids.0, version_ids.1);
        self.stems.update(stems.0, stems.1);
    }
}

fn autov3(record: &Record) -> Option<&str> {
    match &record.autov3 {
        AutoV3::Known(hash) => Some(hash),
        AutoV3::Unchecked | AutoV3::Absent => None,
    }
}

/// Slots whose records have one value, for each value that several have. Values that only
/// share a key are told apart.
fn shared<'r, V: Ord + 'r>(
    keys: &'r SharedKeys,
    records: &'r Records,
    value: impl Fn(&'r Record) -> Option<V> + 'r,
) -> impl Iterator<Item = Vec<Slot>> + 'r {
    keys.shared().flat_map(move |key| {
        let slots = keys.index().get(key);
        let mut valued: Vec<(V, Slot)> = slots
            .filter_map(|slot| Some((value(records.get(slot)?)?, slot)))
            .collect();
        valued.sort_unstable();
        let runs = valued.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1);
        runs.map(|run| run.iter().map(|(_, slot)| *slot).collect())
            .collect::<Vec<Vec<Slot>>>()
    })
}
