//! From a found file to a record: sidecar, header, and what the plugin says of both.

use arcstr::ArcStr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folder::{Found, stamp};
use super::plan::Task;
use crate::library::hashing::HashQueue;
use crate::library::item;
use crate::library::metadata;
use crate::library::record::{AutoV3, HashStatus, Preview, Record, Remote, Sha256};
use crate::library::roots::Root;
use crate::library::safetensors::{self, Header, Interest};
use crate::library::sidecar::{self, Sidecar, SidecarError};
use crate::plugins::bindings::{FileFacts, Header as GuestHeader, Tensor as GuestTensor};
use crate::plugins::{Plugin, rules};

/// A file that has been read, on its way to being a record.
pub struct Read {
    record: Record,
    sidecar: Sidecar,
    header: Option<Header>,
    // Whether the sidecar must be written, once the hash is known.
    dirty: bool,
}

/// What became of a found file.
pub struct Processed {
    /// Its record.
    pub record: Record,
    /// The sidecar to write, where one is missing or needs repair.
    pub sidecar: Option<Sidecar>,
    /// The provider's description, to be searched; may be HTML.
    pub description: String,
}

/// What reading needs to know.
pub struct Reader<'a> {
    /// The type.
    pub plugin: &'a Plugin,
    /// Its roots.
    pub roots: &'a [Root],
    /// Where hashes come from that cost nothing.
    pub hashes: &'a HashQueue,
    /// What its rules want of headers.
    pub interest: &'a Interest,
    /// Now, in seconds since 1970-01-01 UTC.
    pub now: f64,
}

impl Reader<'_> {
    /// Reads sidecar and header of a file. `known` is its record from before.
    ///
    /// # Errors
    /// When its sidecar can't be used; the file is then left out.
    pub fn read(&self, task: &Task, known: Option<&Record>) -> Result<Read, SidecarError> {
        let (found, was) = (&*task.found, task.was.as_deref());
        let info = self.plugin.info();
        let path = PathBuf::from(&*found.path);
        let folder = path.parent().unwrap_or(Path::new("/"));
        let root_key = self
            .roots
            .get(usize::from(found.root))
            .map(|root| root.key.clone())
            .unwrap_or_default();
        let mut record = blank(found, root_key);
        let own = Sidecar::read(&sidecar::path_for(folder, &found.stem))?;
        // A sidecar that a moved file brought wins over the one that it left behind; one that is this server's own,
        // made before the file was recognised, does not.
        let takes_over = |was: &&Record| match &own {
            Some(own) => known.is_some() && metadata::is_untouched(own, was),
            None => true,
        };
        let inherited = was.filter(takes_over).and_then(left_behind);
        let is_inherited = inherited.is_some();
        let existing = inherited.or(own);
        let version = || -> Option<serde_json::Map<String, Value>> {
            if !found.civitai_info {
                return None;
            }
            let path = folder.join(format!("{}.civitai.info", found.stem));
            match sidecar::read_object(&path) {
                // Without a primary file the object can't be about this file for sure.
                Ok(object) => object.filter(|version| metadata::primary_file(version).is_some()),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "another program's metadata can't be used and is passed over");
                    None
                }
            }
        };
        let is_new = existing.is_none();
        let mut dirty = is_new || is_inherited;
        let mut sidecar = match existing {
            Some(mut sidecar) => {
                if sidecar.civitai().is_none_or(serde_json::Map::is_empty)
                    && let Some(version) = version()
                {
                    metadata::adopt_version(&mut sidecar, &version, false);
                    dirty = true;
                }
                sidecar
            }
            // The date of a file whose sidecar could not be written is remembered by the store.
            None => {
                let now = was.or(known).map_or(self.now, |known| known.modified);
                metadata::new_sidecar(&record, info, now, version().as_ref())
            }
        };
        if is_inherited {
            // The preview that stayed behind is not beside the file any more.
            sidecar.0.insert("preview_url".into(), "".into());
        }
        if let Some(declared) = declared_preview(&record, &sidecar) {
            record.preview = Some(declared);
        }
        let shared = metadata::is_anothers(&record, &sidecar);
        if shared {
            // What it says of the content is true of the other file only.
            forget_content(&record, &mut sidecar, info.hashes_at_scan());
        } else {
            dirty |= metadata::repair(&record, &mut sidecar);
            if known.is_some_and(|known| was_replaced(&record, known, &sidecar, info.hashes_at_scan())) {
                forget_content(&record, &mut sidecar, info.hashes_at_scan());
                dirty = true;
            }
        }
        let mut header = None;
        if record.extension().eq_ignore_ascii_case(".safetensors") || record.extension().eq_ignore_ascii_case(".sft") {
            match safetensors::read(&path, self.interest) {
                Ok(read) => header = Some(read),
                Err(error) => record.problem = Some(format!("The file {error}.").into()),
            }
        }
        if !sidecar.0.contains_key("autov3") {
            let in_header = || header.as_ref().and_then(|header| header.autov3.clone());
            let found = published_autov3(&sidecar).or_else(in_header);
            sidecar
                .0
                .insert("autov3".into(), found.map_or(Value::Null, Value::String));
            dirty |= is_new;
        }
        metadata::fill(&mut record, &sidecar);
        if record.modified <= 0.0 {
            record.modified = self.now;
        }
        // Only `pending` says that nobody wants the hash yet.
        if record.sha256.is_none() && (record.hash_status != HashStatus::Pending || task.hash) {
            record.hash_status = HashStatus::Calculating;
        }
        record.derived_by = self.plugin.digest_number();
        for known in [known, was].into_iter().flatten() {
            keep_known(&mut record, known);
        }
        if record.hash_status == HashStatus::Calculating
            && let Some(hashes) = self.hashes.at_once(self.roots, &record)
        {
            (record.sha256, record.blake3) = (Some(hashes.sha256), Some(hashes.blake3));
            record.hash_status = HashStatus::Completed;
        } else if record.sha256.is_some() && record.blake3.is_none() {
            record.blake3 = self.hashes.known(&record).map(|hashes| hashes.blake3);
        }
        if record.sha256.is_some() && sidecar.text("sha256").is_empty() {
            sidecar.0.insert("sha256".into(), record.sha256_hex().into());
            sidecar
                .0
                .insert("hash_status".into(), record.hash_status.as_str().into());
            dirty = true;
        }
        let dirty = dirty && !shared;
        if dirty && record.hash_status == HashStatus::Calculating {
            // Should the hash never come, the next program that reads the sidecar knows that it is missing.
            sidecar
                .0
                .insert("hash_status".into(), record.hash_status.as_str().into());
        }
        Ok(Read {
            record,
            sidecar,
            header,
            dirty,
        })
    }
}

/// The sidecar that a moved file left behind, unless it is about another file by now.
fn left_behind(was: &Record) -> Option<Sidecar> {
    let path = Path::new(&*was.path);
    let sidecar = Sidecar::read(&sidecar::path_for(path.parent()?, &was.file_name)).ok()??;
    (sidecar.text("file_path") == &*was.path && !path.exists()).then_some(sidecar)
}

/// The preview that a sidecar names, when it is there and lies beside the model.
fn declared_preview(record: &Record, sidecar: &Sidecar) -> Option<Preview> {
    let declared = sidecar.text("preview_url");
    let (folder, _) = record.path.rsplit_once('/')?;
    let beside = declared.rsplit_once('/').is_some_and(|(other, _)| other == folder);
    if !beside || record.preview.as_ref().is_some_and(|found| *found.path == *declared) {
        return None;
    }
    Some(Preview {
        path: declared.into(),
        stamp: stamp(Path::new(declared)).ok()?,
    })
}

/// Whether the weight file was replaced since its hash was noted, by a sidecar that did not
/// change with it. Where hashes are dear, a changed time alone is no sign: copies change it.
fn was_replaced(record: &Record, known: &Record, sidecar: &Sidecar, cheap_hash: bool) -> bool {
    let (now, before) = (&record.stamp, &known.stamp);
    let changed = now.size != before.size || (cheap_hash && now.mtime_ns != before.mtime_ns);
    changed && known.sha256.is_some() && Sha256::parse(sidecar.text("sha256")) == known.sha256
}

/// Takes out of a sidecar what was true of the replaced file's content only.
fn forget_content(record: &Record, sidecar: &mut Sidecar, hash_now: bool) {
    let status = if hash_now {
        HashStatus::Completed
    } else {
        HashStatus::Pending
    };
    sidecar.0.insert("sha256".into(), "".into());
    sidecar.0.insert("hash_status".into(), status.as_str().into());
    sidecar.0.insert("size".into(), record.stamp.size.into());
    sidecar.0.remove("autov3");
}

/// A hash of an unchanged file is not computed again because its sidecar lacks it.
fn keep_known(record: &mut Record, known: &Record) {
    record.usage_count = known.usage_count.max(record.usage_count);
    if record.stamp != known.stamp || known.sha256.is_none() {
        return;
    }
    if record.sha256.is_none() {
        record.sha256 = known.sha256;
        record.hash_status = HashStatus::Completed;
    }
    if record.stamp == known.stamp && record.sha256 == known.sha256 {
        record.blake3 = known.blake3;
    }
}

/// AutoV3 that a provider published for the file whose SHA-256 the sidecar has.
fn published_autov3(sidecar: &Sidecar) -> Option<String> {
    let files = sidecar.civitai()?.get("files")?.as_array()?;
    let own = sidecar.text("sha256");
    let file = files.iter().find(|file| {
        file.pointer("/hashes/SHA256")
            .and_then(Value::as_str)
            .is_some_and(|hash| !own.is_empty() && hash.eq_ignore_ascii_case(own))
    })?;
    safetensors::autov3(file.pointer("/hashes/AutoV3")?.as_str()?)
}

fn blank(found: &Found, root_key: ArcStr) -> Record {
    Record {
        path: found.path.clone(),
        root: found.root,
        root_key,
        folder: found.folder.clone(),
        file_name: found.stem.clone(),
        stamp: found.stamp,
        sidecar: found.sidecar,
        preview: found.preview.clone(),
        model_name: found.stem.clone(),
        size: found.stamp.size,
        modified: 0.0,
        sha256: None,
        hash_status: HashStatus::Pending,
        blake3: None,
        autov3: AutoV3::Unchecked,
        base_model: "".into(),
        preview_nsfw_level: 0,
        notes: "".into(),
        from_civitai: true,
        remote: Remote::default(),
        tags: Vec::new(),
        civitai_deleted: false,
        favorite: false,
        exclude: false,
        db_checked: false,
        skip_metadata_refresh: false,
        metadata_source: None,
        last_checked_at: 0.0,
        hf_url: None,
        license_flags: crate::library::license::DEFAULT,
        auto_tags: Default::default(),
        sub_type: "".into(),
        base_model_hint: None,
        fields: "{}".into(),
        aliases: found.aliases.clone(),
        problem: None,
        usage_count: 0,
        derived_by: 0,
        item: Box::default(),
    }
}

fn facts(read: &mut Read) -> FileFacts {
    let record = &read.record;
    let header = read.header.take().map(|header| GuestHeader {
        metadata: header.metadata,
        tensors: header
            .tensors
            .into_iter()
            .map(|tensor| GuestTensor {
                name: tensor.name,
                dtype: tensor.dtype,
                shape: tensor.shape,
            })
            .collect(),
        tensor_count: header.tensor_count,
    });
    FileFacts {
        relative_path: record.relative_path().to_owned(),
        file_name: record.file_name.to_string(),
        root_key: record.root_key.to_string(),
        size: record.stamp.size,
        base_model: record.base_model.to_string(),
        tags: record.tags.iter().map(ToString::to_string).collect(),
        remote: item::remote_identity(record),
        header,
        sidecar: metadata::untyped(&read.sidecar),
    }
}

/// A listed model whose sidecar can't be read any more: it stays as it was known, with the
/// reason, until the sidecar is mended.
pub fn with_broken_sidecar(known: &Record, found: &Found, error: &SidecarError) -> Record {
    Record {
        root: found.root,
        aliases: found.aliases.clone(),
        // The stamps stay the old ones, so that the next scan looks again: the reason may have been the disk's.
        problem: Some(format!("Shown as it was known before: {error}").into()),
        ..known.clone()
    }
}

/// Asks the plugin about a batch of files and finishes their records. None, when the plugin is quarantined: what was
/// known of the files stays.
pub async fn finish(plugin: &Plugin, mut batch: Vec<Read>) -> Vec<Processed> {
    let facts: Vec<FileFacts> = batch.iter_mut().map(facts).collect();
    let derived = rules::derive(plugin, facts).await;
    if plugin.quarantine().is_some() {
        return Vec::new();
    }
    for (read, derived) in batch.iter_mut().zip(derived) {
        let record = &mut read.record;
        match derived {
            Ok(derived) => {
                record.sub_type = derived.sub_type.to_lowercase().into();
                record.base_model_hint = derived.base_model_hint.filter(|hint| !hint.is_empty()).map(Into::into);
                record.fields = derived.fields.into();
                if record.problem.is_none() {
                    record.problem = derived.problem.filter(|problem| !problem.is_empty()).map(Into::into);
                }
            }
            Err(problem) => {
                let default = plugin.info().descriptor.sub_types.first();
                record.sub_type = default.map(|sub_type| sub_type.id.as_str()).unwrap_or_default().into();
                record.problem.get_or_insert(problem.into());
            }
        }
    }
    let mut records: Vec<Record> = Vec::with_capacity(batch.len());
    let mut sidecars = Vec::with_capacity(batch.len());
    for read in batch {
        records.push(read.record);
        let description = read.sidecar.text("modelDescription").to_owned();
        sidecars.push((read.dirty.then_some(read.sidecar), description));
    }
    serialise(plugin, &mut records).await;
    records
        .into_iter()
        .zip(sidecars)
        .map(|(record, (sidecar, description))| Processed {
            record,
            sidecar,
            description,
        })
        .collect()
}

/// Makes the listed form of records.
pub async fn serialise(plugin: &Plugin, records: &mut [Record]) {
    let models = records.iter().map(item::model).collect();
    let extra = rules::format(plugin, models).await;
    for (record, extra) in records.iter_mut().zip(extra) {
        record.share_texts();
        match extra {
            Ok(extra) => record.item = item::open(record, plugin.info().prefix(), &extra),
            Err(problem) => {
                record.problem.get_or_insert(problem.into());
                record.item = item::open(record, plugin.info().prefix(), "{}");
                if plugin.quarantine().is_some() {
                    // The plugin's next version is asked again.
                    record.derived_by = 0;
                }
            }
        }
    }
}
