//! What is remembered of a file that is on its way: `<file>.part.state` beside `<file>.part`.
//!
//! It is written often and never synced: after the server was killed, what the system holds for the file is still
//! there. After the machine went down it may not be, so the state names the boot that it is of, and beside what was
//! written what was also synced; another boot goes on from the latter.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use crate::files::foreign::{self, ForeignFile, Links};

/// Most bytes of a state: many pieces of a large file stay far below.
const LARGEST: u64 = 4 << 20;

/// What is known of a transfer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Size of the whole file, once the server said it.
    pub total: Option<u64>,
    /// `ETag` or `Last-Modified` of what was fetched, for `If-Range`.
    pub validator: Option<String>,
    /// SHA-256 that the file should have, lower-case hex; what is here of another file is of no use.
    pub sha256: Option<String>,
    /// Bytes that were written.
    pub done: Ranges,
    /// Bytes that are on the disk for good.
    pub synced: Ranges,
    /// The system's boot in which `done` was written.
    pub boot: String,
}

/// The file with the bytes.
pub fn part_of(target: &Path) -> PathBuf {
    with_ending(target, ".part")
}

/// The file with the state.
pub fn state_of(target: &Path) -> PathBuf {
    with_ending(target, ".part.state")
}

/// A file beside `target` whose name is longer by this.
pub fn with_ending(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// What says that the machine was not started again since.
pub fn boot() -> String {
    let id = foreign::kernel_text(Path::new("/proc/sys/kernel/random/boot_id"));
    id.map_or(String::new(), |id| id.trim().to_owned())
}

/// Whose the bytes are that lie as a file's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartOf {
    /// Nothing lies there.
    Nothing,
    /// They are of a file with this SHA-256, or of one whose hash nobody said.
    File(Option<String>),
    /// Another program wrote them: there is no state.
    Stranger,
    /// The state can't be read.
    Unknown,
}

/// Looks at what lies as the part of `target`.
pub fn part_is_of(target: &Path) -> PartOf {
    if part_of(target).symlink_metadata().is_err() {
        return PartOf::Nothing;
    }
    match foreign::read(&state_of(target), LARGEST) {
        Ok(Some(text)) => {
            serde_json::from_slice::<State>(&text).map_or(PartOf::Unknown, |state| PartOf::File(state.sha256))
        }
        Ok(None) => PartOf::Stranger,
        Err(_) => PartOf::Unknown,
    }
}

impl State {
    /// What can be gone on with of the file `target` whose content should have this SHA-256. A `.part` without a state is
    /// another program's, which writes in order.
    pub fn load(target: &Path, sha256: Option<&str>) -> Self {
        let fresh = Self {
            sha256: sha256.map(str::to_owned),
            ..Self::default()
        };
        let Ok(Some(there)) = foreign::inspect(&part_of(target), Links::Follow) else {
            return fresh;
        };
        let Ok(Some(text)) = foreign::read(&state_of(target), LARGEST) else {
            // Without a hash nobody could tell whether it is of the same file.
            let done = if sha256.is_some() {
                Ranges::up_to(there.len())
            } else {
                Ranges::default()
            };
            return Self { done, ..fresh };
        };
        let Ok(mut state) = serde_json::from_slice::<Self>(&text) else {
            return fresh;
        };
        if state.boot.is_empty() || state.boot != boot() {
            state.done = state.synced.clone();
        }
        let fits = state.done.is_sound() && state.done.end() <= there.len().min(state.total.unwrap_or(u64::MAX));
        let same = state.sha256.as_deref() == sha256;
        if fits && same { state } else { fresh }
    }

    /// Writes it, so that a reader sees the old or the new one.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, target: &Path) -> std::io::Result<()> {
        let path = state_of(target);
        let new = with_ending(&path, ".tmp");
        ForeignFile::create(&new)?
            .into_file()
            .write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(new, path)
    }

    /// Removes the state and the bytes.
    pub fn discard(target: &Path) {
        for path in [part_of(target), state_of(target)] {
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "can't be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        std::fs::write(part_of(&target), vec![0; bytes]).unwrap();
        (folder, target)
    }

    fn state(done: u64, synced: u64) -> State {
        State {
            total: Some(100),
            sha256: Some("x".into()),
            done: Ranges::up_to(done),
            synced: Ranges::up_to(synced),
            boot: boot(),
            ..State::default()
        }
    }

    #[test]
    fn a_transfer_goes_on_from_what_was_written_and_after_a_crash_of_the_machine_from_what_was_synced() {
        let (_folder, target) = part(80);
        state(80, 40).save(&target).unwrap();
        assert_eq!(State::load(&target, Some("x")).done, Ranges::up_to(80));
        let elsewhere = State {
            boot: "another".into(),
            ..state(80, 40)
        };
        elsewhere.save(&target).unwrap();
        assert_eq!(State::load(&target, Some("x")).done, Ranges::up_to(40));
    }

    #[test]
    fn what_is_of_another_file_or_does_not_fit_is_not_gone_on_with() {
        let (_folder, target) = part(50);
        for (state, wanted) in [
            (state(40, 0), Some("y")),
            (state(60, 0), Some("x")),
            (state(40, 0), None),
        ] {
            state.save(&target).unwrap();
            assert_eq!(State::load(&target, wanted).done, Ranges::default());
        }
        std::fs::write(state_of(&target), "{").unwrap();
        assert_eq!(State::load(&target, Some("x")).done, Ranges::default());
    }

    #[test]
    fn another_programs_part_is_gone_on_with_where_the_hash_can_prove_it() {
        let (_folder, target) = part(50);
        assert_eq!(State::load(&target, Some("x")).done, Ranges::up_to(50));
        assert_eq!(State::load(&target, None).done, Ranges::default());
    }
}
