//! An act: what was done, step by step.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::library::linking::{Looks, Sharing};
use crate::library::trash;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActKind {
    /// Metadata was edited.
    Edit,
    /// Models were hidden.
    Exclude,
    /// Models were shown again.
    Unexclude,
    /// Models were put into the trash.
    Delete,
    /// A model got another preview.
    Preview,
    /// A model got another file name.
    Rename,
    /// A provider's word was taken into metadata.
    Refresh,
    /// A model was linked to another version at its provider.
    Relink,
    /// Models went into other folders.
    Move,
    /// Models were filed by a template.
    Organise,
    /// Copies share their bytes on the disk.
    Link,
    /// An earlier act was taken back.
    Undo,
}

/// One step of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A file got another content. What it was before is kept beside the act, by the step's place.
    Content {
        /// The model that the file belongs to.
        model: String,
        /// The file.
        path: String,
        /// Whether there was such a file before.
        existed: bool,
        /// SHA-256 of the file after the step, lower-case hex; empty where there is no file then.
        #[serde(default)]
        after: String,
    },
    /// A file got another name or place.
    Renamed {
        /// The model that the file belongs to.
        model: String,
        /// Where it was.
        from: String,
        /// Where it is.
        to: String,
        /// Whether it went to another file system: it was copied, and the original removed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        copied: bool,
    },
    /// A folder was made.
    FolderMade {
        /// The model that it was made for; empty for none.
        model: String,
        /// The folder.
        path: String,
    },
    /// An empty folder was removed.
    FolderRemoved {
        /// The model that it had been made for; empty for none.
        model: String,
        /// The folder.
        path: String,
    },
    /// A file begins or ceases to share its bytes with another. It has the same bytes before and after.
    Shared {
        /// The model that the file belongs to.
        model: String,
        /// The file.
        path: String,
        /// The file with which it shares.
        with: String,
        /// How.
        how: Sharing,
        /// Whether it begins.
        begins: bool,
        /// What the file looked like before: a name of another file has that one's looks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        looks: Option<Looks>,
    },
}

impl Step {
    /// The model that the step belongs to; empty for none.
    pub fn model(&self) -> &str {
        match self {
            Self::Content { model, .. }
            | Self::Renamed { model, .. }
            | Self::FolderMade { model, .. }
            | Self::FolderRemoved { model, .. }
            | Self::Shared { model, .. } => model,
        }
    }

    /// The file, or folder, as it is named after the step.
    pub fn file(&self) -> &str {
        match self {
            Self::Content { path, .. }
            | Self::Renamed { to: path, .. }
            | Self::FolderMade { path, .. }
            | Self::FolderRemoved { path, .. }
            | Self::Shared { path, .. } => path,
        }
    }
}

/// One act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// 32 lower-case hex digits.
    pub id: String,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: f64,
    /// Time of [`super::Clock`] when it was made, by which its age is judged; acts of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<f64>,
    /// What.
    pub kind: ActKind,
    /// Id of the model type.
    pub model_type: String,
    /// What was done, in that order.
    pub steps: Vec<Step>,
    /// Bytes that wait in the trash for its undo; 0 once it was undone.
    #[serde(default)]
    pub trash_bytes: u64,
    /// Whether its steps are one thing, as is known when it begins: its first steps alone may not show it.
    #[serde(default)]
    pub(super) joint: bool,
    /// Whether it came to its end; while it is being done, the files of its steps say what was done.
    pub(super) ended: bool,
    /// The act that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The act that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}

impl Act {
    /// When it was made, by the clock that judges ages.
    pub(super) fn clock(&self) -> f64 {
        self.clock.unwrap_or(self.at)
    }

    /// Whether files of it may wait in the trash for its undo.
    pub fn has_trash(&self) -> bool {
        let into_trash = |step: &Step| matches!(step, Step::Renamed { to, .. } if trash::is_inside(Path::new(to)));
        self.undone_by.is_none() && self.steps.iter().any(into_trash)
    }

    /// Folders in which it changed files.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        let files = self.steps.iter().flat_map(|step| match step {
            Step::Renamed { from, to, .. } => vec![from.as_str(), to],
            step => vec![step.file()],
        });
        files
            .filter_map(|file| Path::new(file).parent().map(Path::to_owned))
            .collect()
    }

    /// Whether its steps are one thing: it moves files, or changes more than one file of a model. Else each step leaves
    /// a model whole.
    pub fn is_joint(&self) -> bool {
        let mut models = HashSet::new();
        let mut steps = self.steps.iter();
        let stays = |step: &Step| matches!(step, Step::Content { .. } | Step::Shared { .. });
        self.joint || steps.any(|step| !stays(step) || !models.insert(step.model()))
    }

    /// A file that is where an undo would put one.
    pub fn occupied(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Renamed { from, .. } if Path::new(from).symlink_metadata().is_ok() => Some(from.as_str()),
            _ => None,
        })
    }
}
