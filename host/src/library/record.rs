//! A record: one model file with its sidecar and preview, as the library keeps it.

use arcstr::ArcStr;

use serde::{Deserialize, Serialize};

use super::auto_tags::AutoTags;
use super::shared_text::{self, shared};

/// What tells that a file changed, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970-01-01 UTC.
    pub mtime_ns: i64,
    /// Inode (0 where the platform has none).
    pub inode: u64,
}

impl Stamp {
    /// Stands for a file behind a link that leads nowhere: its disk is offline, and nothing is known of its content now.
    pub const OFFLINE: Self = Self {
        size: 0,
        mtime_ns: i64::MIN,
        inode: u64::MAX,
    };
    /// Stands for what can't be read as a file: a pipe, a device, a folder.
    pub const REFUSED: Self = Self {
        size: 0,
        mtime_ns: i64::MIN,
        inode: u64::MAX - 1,
    };

    /// Whether it stands for something that is not a file now, so that it says nothing of content.
    pub fn is_mark(&self) -> bool {
        [Self::OFFLINE, Self::REFUSED].contains(self)
    }
}

/// A preview file beside a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Absolute path, `/` between folders.
    pub path: Box<str>,
    /// Its stamp.
    pub stamp: Stamp,
}

/// A SHA-256 digest of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Reads 64 hex digits in any case.
    pub fn parse(text: &str) -> Option<Self> {
        crate::files::hash::parse_hex(text).map(Self)
    }

    /// Lower-case hex.
    pub fn hex(&self) -> String {
        crate::files::hash::hex(&self.0)
    }
}

/// A BLAKE3 digest of a whole file, computed in the same read as its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Blake3(pub [u8; 32]);

impl Blake3 {
    /// Lower-case hex.
    pub fn hex(&self) -> String {
        crate::files::hash::hex(&self.0)
    }
}

/// How far the hash of a file is, as `hash_status` of the sidecar says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HashStatus {
    /// Not wanted yet.
    Pending,
    /// Being computed.
    Calculating,
    /// Known.
    #[default]
    Completed,
    /// The file could not be read to its end.
    Failed,
}

impl HashStatus {
    /// The sidecar's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Calculating => "calculating",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// From the sidecar's word; anything unknown counts as completed.
    pub fn parse(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "calculating" => Self::Calculating,
            "failed" => Self::Failed,
            _ => Self::Completed,
        }
    }
}

/// AutoV3, the hash that a safetensors header says of its own tensors: a hint, never a proof.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AutoV3 {
    /// The header was never looked at.
    #[default]
    Unchecked,
    /// The header has none.
    Absent,
    /// Twelve lower-case hex digits.
    Known(Box<str>),
}

/// What a provider calls a model: the slim part of the sidecar's `civitai` object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    /// Version id.
    pub id: Option<u64>,
    /// Model id.
    pub model_id: Option<u64>,
    /// Version name.
    pub name: Option<Box<str>>,
    /// Creator's user name.
    #[serde(deserialize_with = "shared_text::maybe")]
    pub creator: Option<ArcStr>,
    /// Words that trigger the model; none when the object has no such list.
    pub trained_words: Option<Vec<Box<str>>>,
    /// The provider's type.
    #[serde(deserialize_with = "shared_text::maybe")]
    pub model_type: Option<ArcStr>,
    /// Whether the object has a `model` with licence fields.
    pub has_model: bool,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Absolute path of the weight file, `/` between folders.
    pub path: Box<str>,
    /// Index of its root in the library's list; set when the library is loaded.
    #[serde(skip)]
    pub root: u16,
    /// Key of the kind of root it lies in.
    #[serde(deserialize_with = "shared_text::one")]
    pub root_key: ArcStr,
    /// Directory below the root, `""` for the root itself.
    #[serde(deserialize_with = "shared_text::one")]
    pub folder: ArcStr,
    /// File name without extension.
    pub file_name: Box<str>,
    /// Stamp of the weight file.
    pub stamp: Stamp,
    /// Stamp of the sidecar.
    pub sidecar: Option<Stamp>,
    /// The preview.
    pub preview: Option<Preview>,

    /// Name to show.
    pub model_name: Box<str>,
    /// Size as the sidecar says it, in bytes.
    pub size: u64,
    /// When it was added, in seconds since 1970-01-01 UTC.
    pub modified: f64,
    /// SHA-256 of the whole file.
    pub sha256: Option<Sha256>,
    /// How far that is.
    pub hash_status: HashStatus,
    /// BLAKE3 of the whole file; known only where this server computed the hashes.
    pub blake3: Option<Blake3>,
    /// AutoV3.
    pub autov3: AutoV3,
    /// Base model as the sidecar says it.
    #[serde(deserialize_with = "shared_text::one")]
    pub base_model: ArcStr,
    /// NSFW level of the preview: 1 PG, 2 PG13, 4 R, 8 X, 16 XXX, 32 blocked, 0 unknown.
    pub preview_nsfw_level: u32,
    /// The person's notes.
    pub notes: Box<str>,
    /// False when the provider does not know it.
    pub from_civitai: bool,
    /// What the provider calls it.
    pub remote: Remote,
    /// The person's tags, as typed.
    #[serde(deserialize_with = "shared_text::list")]
    pub tags: Vec<ArcStr>,
    /// Whether the provider deleted it.
    pub civitai_deleted: bool,
    /// Marked by the person.
    pub favorite: bool,
    /// Hidden by the person.
    pub exclude: bool,
    /// Whether the archive database was asked.
    pub db_checked: bool,
    /// Left out of bulk refreshes.
    pub skip_metadata_refresh: bool,
    /// Which provider the metadata is from.
    #[serde(deserialize_with = "shared_text::maybe")]
    pub metadata_source: Option<ArcStr>,
    /// When a provider was asked last, in seconds; 0 = never.
    pub last_checked_at: f64,
    /// Hugging Face page.
    pub hf_url: Option<Box<str>>,
    /// Licence bits (see [`super::license`]).
    pub license_flags: u8,
    /// Tags computed from names.
    pub auto_tags: AutoTags,

    /// Sub-type, lower-case, by the plugin.
    #[serde(deserialize_with = "shared_text::one")]
    pub sub_type: ArcStr,
    /// Base model that the header shows, by the plugin.
    #[serde(deserialize_with = "shared_text::maybe")]
    pub base_model_hint: Option<ArcStr>,
    /// The plugin's own fields: the text of a JSON object.
    pub fields: Box<str>,
    /// Other paths inside the roots that lead to the same file over links or nested roots.
    pub aliases: Vec<Box<str>>,
    /// What is wrong with the file.
    pub problem: Option<Box<str>>,
    /// How often it was used.
    pub usage_count: u64,
    /// Number of the plugin version that derived the fields above.
    pub derived_by: u64,
    /// The listed form without its closing members (see [`super::item`]).
    #[serde(with = "serde_bytes")]
    pub item: Box<[u8]>,
}

impl Record {
    /// Whether the model, or its metadata file, is behind a link that leads nowhere: its disk is offline, and the record
    /// has what was known before.
    pub fn is_offline(&self) -> bool {
        self.sidecar == Some(Stamp::OFFLINE)
    }

    /// Path below the root, with extension.
    pub fn relative_path(&self) -> &str {
        let name_start = self.path.rfind('/').map_or(0, |slash| slash + 1);
        // The folder is, by construction, what precedes the name in the path.
        match self.folder.len() {
            0 => &self.path[name_start..],
            length => &self.path[name_start.saturating_sub(length + 1)..],
        }
    }

    /// Whether it lies in this folder or one below; the folder is said as in [`Record::folder`].
    pub fn is_below(&self, folder: &str) -> bool {
        let rest = self.folder.strip_prefix(folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Extension with its dot.
    pub fn extension(&self) -> &str {
        self.path.rfind('.').map_or("", |dot| &self.path[dot..])
    }

    /// `folder/file_name`, or the file name alone in a root.
    pub fn reference(&self) -> String {
        if self.folder.is_empty() {
            self.file_name.to_string()
        } else {
            format!("{}/{}", self.folder, self.file_name)
        }
    }

    /// SHA-256 as hex, empty while unknown.
    pub fn sha256_hex(&self) -> String {
        self.sha256.map_or_else(String::new, |hash| hash.hex())
    }

    /// Words that trigger the model.
    pub fn trained_words(&self) -> &[Box<str>] {
        self.remote.trained_words.as_deref().unwrap_or_default()
    }

    /// Shares texts with the other records that this thread made.
    pub fn share_texts(&mut self) {
        let share = |text: &mut ArcStr| *text = shared(text);
        [
            &mut self.root_key,
            &mut self.folder,
            &mut self.base_model,
            &mut self.sub_type,
        ]
        .into_iter()
        .for_each(share);
        let remote = &mut self.remote;
        [
            &mut remote.creator,
            &mut remote.model_type,
            &mut self.metadata_source,
            &mut self.base_model_hint,
        ]
        .into_iter()
        .flatten()
        .for_each(share);
        self.tags.iter_mut().for_each(share);
    }

    /// Key of the group of versions it belongs to: the provider's model id, or its Hugging Face repository.
    pub fn group(&self) -> Option<GroupRef<'_>> {
        if let Some(id) = self.remote.model_id {
            return Some(GroupRef::Model(id));
        }
        let rest = self.hf_url.as_deref()?.split_once("huggingface.co/")?.1;
        let mut parts = rest.split('/').filter(|part| !part.is_empty());
        let (owner, repo) = (parts.next()?, parts.next()?);
        Some(GroupRef::HuggingFace { owner, repo })
    }
}

/// Which versions belong together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GroupKey {
    /// A provider's model id.
    Model(u64),
    /// `hf:owner/repo`.
    HuggingFace(Box<str>),
}

impl GroupKey {
    /// The same key, borrowed; none for a name that no group can have.
    pub fn as_ref(&self) -> Option<GroupRef<'_>> {
        match self {
            Self::Model(id) => Some(GroupRef::Model(*id)),
            Self::HuggingFace(name) => {
                let (owner, repo) = name.strip_prefix("hf:")?.split_once('/')?;
                Some(GroupRef::HuggingFace { owner, repo })
            }
        }
    }
}

/// A [`GroupKey`] inside a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupRef<'r> {
    /// A provider's model id.
    Model(u64),
    /// A Hugging Face repository.
    HuggingFace {
        /// User or organisation.
        owner: &'r str,
        /// Name.
        repo: &'r str,
    },
}
