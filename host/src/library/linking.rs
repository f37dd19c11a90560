//! Copies of one file that share their bytes on the disk: as reflinks where the file system has them, which stay files of
//! their own, else as hard links, which are one file with several names.
//!
//! Nothing is shared that was not compared byte by byte just before. A name leads to the old or to the new file at any
//! moment, and both have the same bytes; so none are kept for an undo, which writes a copy of its own again.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::sync::PoisonError;
use std::time::SystemTime;

use super::collection::Library;
use super::editing::{EditError, Edited, Outcome, Tools};
use super::history::{ActKind, Draft};
use super::scan::stamp;
use super::trash;
use crate::cancel::Cancel;
use crate::files::entry::Entry;
use crate::files::{atomic, fault, transfer};

/// What is compared at once, in bytes.
const BLOCK: usize = 1 << 20;

/// How files share their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// The file system shares blocks until one of the files is changed.
    Reflink,
    /// Several names of one file.
    HardLink,
}

/// When a file was changed, and what may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Looks {
    modified: SystemTime,
    /// Of Unix; none elsewhere.
    mode: Option<u32>,
}

impl Looks {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        #[cfg(unix)]
        let mode = Some(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()));
        #[cfg(not(unix))]
        let mode = None;
        Ok(Self {
            modified: metadata.modified()?,
            mode,
        })
    }

    fn give(self, entry: &Entry) -> std::io::Result<()> {
        // On Unix an owner may set times without the right to write.
        let file = if cfg!(unix) {
            entry.open()?
        } else {
            entry.open_to_write()?
        };
        file.set_modified(self.modified)?;
        #[cfg(unix)]
        if let Some(mode) = self.mode {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
        Ok(())
    }
}

/// What becomes, or became, of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// How; none where it had been a hard link before.
    pub how: Option<Sharing>,
    /// Bytes that the disk has more room for.
    pub bytes: u64,
}

/// Of each copy what would become of it, or why nothing can.
pub type Plan = Vec<(String, Result<Shared, EditError>)>;

/// What became of an act.
pub struct Linked {
    /// Its models.
    pub outcome: Outcome,
    /// What became of those that were done, in the order of the outcome.
    pub shared: Vec<Option<Shared>>,
}

impl Library {
    /// What [`Self::link`] would do, without reading the files. Looks what the file system can by linking a file that is
    /// removed at once.
    ///
    /// # Errors
    /// When `keep` is no model, or a path leads out of the library's folders.
    pub fn plan_link(&self, keep: &str, others: &[String], wanted: Option<Sharing>) -> Result<Plan, EditError> {
        self.check_link(keep, others)?;
        let allowed = self.allowed();
        let plan = |path: &String| {
            let Some(bytes) = self.spare(keep, path)? else {
                return Ok(Shared { how: None, bytes: 0 });
            };
            let try_it = || {
                let kept = allowed.entry(Path::new(keep))?;
                let name = atomic::unfinished_name(&format!("trial-{:08x}", rand::random::<u32>()));
                let trial = allowed.entry(Path::new(path))?.sibling(name);
                let how = share(&kept, &trial, wanted);
                let _ = trial.remove_file();
                how
            };
            let how = try_it().map_err(|source| cant(path, source))?;
            Ok(Shared { how: Some(how), bytes })
        };
        Ok(each(keep, others).map(|path| (path.clone(), plan(path))).collect())
    }

    /// Has copies of a model share its bytes. `wanted` is how; without it reflinks are tried first. Reads all files whole.
    /// Blocks. `cancel`, which whoever ends
    /// the library's long acts sets too, leaves those that were not done as they are.
    ///
    /// # Errors
    /// As [`Self::plan_link`], and when the history can't be written; nothing is changed then. What goes wrong with one
    /// copy is in its result.
    pub fn link(
        &self,
        tools: &Tools,
        keep: &str,
        others: &[String],
        wanted: Option<Sharing>,
        cancel: &Cancel,
    ) -> Result<Linked, EditError> {
        self.check_link(keep, others)?;
        let _running = self.acting.begin_with(cancel.clone());
        let mut draft = tools
            .history
            .begin(ActKind::Link, self.info().id(), None, &self.allowed())?;
        let mut shared = Vec::new();
        let mut written = Vec::new();
        for path in each(keep, others).take_while(|_| !cancel.is_set()) {
            // Other acts have their turn between two files, which may be long.
            let turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
            let done = self.link_one(&mut draft, keep, path, wanted, cancel);
            drop(turn);
            shared.push(done.as_ref().ok().copied());
            written.push((path.clone(), done.map(|_| ())));
        }
        let touched = self.touched(&draft.act().steps);
        let undo_id = draft.end()?;
        let models: Vec<Edited> = self.take_up(tools, written, &touched);
        Ok(Linked {
            outcome: Outcome { undo_id, models },
            shared,
        })
    }

    fn check_link(&self, keep: &str, others: &[String]) -> Result<(), EditError> {
        self.check_inside(&[keep.to_owned()])?;
        self.check_inside(others)?;
        match self.snapshot().by_path(keep) {
            Some(_) => Ok(()),
            None => Err(EditError::NotFound(keep.to_owned())),
        }
    }

    /// Bytes that a copy takes beside the file that is kept; none when they are one file already.
    fn spare(&self, keep: &str, path: &str) -> Result<Option<u64>, EditError> {
        let snapshot = self.snapshot();
        let hash = |path: &str| match snapshot.by_path(path) {
            Some(record) => Ok(record.sha256),
            None => Err(EditError::NotFound(path.to_owned())),
        };
        let (kept, own) = (hash(keep)?, hash(path)?);
        let (Some(kept), Some(own)) = (kept, own) else {
            return Err(EditError::NotHashed(path.to_owned()));
        };
        if kept != own {
            return Err(EditError::Differs(path.to_owned(), keep.to_owned()));
        }
        let look = |path: &str| std::fs::symlink_metadata(path).map_err(|source| cant(path, source));
        let (kept, own) = (look(keep)?, look(path)?);
        if !kept.is_file() || !own.is_file() {
            let link = if own.is_file() { keep } else { path };
            return Err(EditError::IsLink(link.to_owned()));
        }
        if kept.len() != own.len() {
            return Err(EditError::Differs(path.to_owned(), keep.to_owned()));
        }
        Ok((!is_one(&kept, &own)).then_some(own.len()))
    }

    fn link_one(
        &self,
        draft: &mut Draft,
        keep: &str,
        path: &str,
        wanted: Option<Sharing>,
        cancel: &Cancel,
    ) -> Result<Shared, EditError> {
        let Some(bytes) = self.spare(keep, path)? else {
            return Ok(Shared { how: None, bytes: 0 });
        };
        let hashes = self
            .snapshot()
            .by_path(keep)
            .and_then(|kept| self.hash_queue().known(kept));
        let how = begin_sharing(draft, path, Path::new(keep), Path::new(path), wanted, cancel)?;
        if let Some(hashes) = hashes {
            let _ = self.hash_queue().remember(Path::new(path), hashes);
        }
        Ok(Shared { how: Some(how), bytes })
    }
}

/// Each copy once, and never the one that is kept.
fn each<'p>(keep: &'p str, others: &'p [String]) -> impl Iterator<Item = &'p String> {
    let mut seen = HashSet::from([keep]);
    others.iter().filter(move |path| seen.insert(path.as_str()))
}

/// Puts a link to `keep` in the place of `path`, when both have the same bytes.
///
/// # Errors
/// When they differ, or can't share; `path` is then as it was.
pub(super) fn begin_sharing(
    draft: &mut Draft,
    model: &str,
    keep: &Path,
    path: &Path,
    wanted: Option<Sharing>,
    cancel: &Cancel,
) -> Result<Sharing, EditError> {
    let (text, kept) = (trash::noted(path), trash::noted(keep));
    let stamps = || Ok((stamp(keep)?, stamp(path)?));
    let failed = |source: std::io::Error| cant(&text, source);
    let before = stamps().map_err(failed)?;
    let (kept_entry, own) = entries(draft, keep, path).map_err(failed)?;
    if !is_equal(&kept_entry, &own, cancel).map_err(failed)? {
        return Err(EditError::Differs(text, kept));
    }
    let made = own.sibling(atomic::unfinished_name(draft.id()));
    // As hard links until it is known: a crash before that leaves nothing that an undo could mistake.
    let looks = Looks::of(path).map_err(failed)?;
    draft.share(model, path, keep, Sharing::HardLink, true, Some(looks))?;
    let replace = |draft: &mut Draft| {
        let how = share(&kept_entry, &made, wanted)?;
        draft.shared_as(how);
        if how == Sharing::Reflink {
            looks.give(&made)?;
        }
        // Whoever wrote to one of them meanwhile keeps what they wrote.
        if stamps()? != before {
            return Err(std::io::Error::other("the file changed meanwhile"));
        }
        fault::step();
        made.rename_over(&own)?;
        fault::step();
        Ok(how)
    };
    let done = replace(draft);
    if done.is_err() {
        draft.unchanged();
        let _ = made.remove_file();
    }
    done.map_err(failed)
}

/// Gives `path` bytes of its own again.
///
/// # Errors
/// When there is no room for them; it is then as it was.
pub(super) fn end_sharing(
    draft: &mut Draft,
    model: &str,
    keep: &Path,
    path: &Path,
    how: Sharing,
    looks: Option<Looks>,
) -> Result<(), EditError> {
    let text = trash::noted(path);
    let failed = |source: std::io::Error| cant(&text, source);
    let own = path.symlink_metadata().map_err(failed)?;
    // One that has got other bytes since has them to itself already.
    if how == Sharing::HardLink && keep.symlink_metadata().is_ok_and(|kept| !is_one(&kept, &own)) {
        return Ok(());
    }
    let entry = draft.entry(path).map_err(failed)?;
    let made = entry.sibling(atomic::unfinished_name(draft.id()));
    draft.share(model, path, keep, how, false, None)?;
    let replace = || {
        let before = stamp(path)?;
        transfer::copy(&entry, &made, &Cancel::default())?;
        if let Some(looks) = looks.filter(|_| how == Sharing::HardLink) {
            looks.give(&made)?;
        }
        if stamp(path)? != before {
            return Err(std::io::Error::other("the file changed meanwhile"));
        }
        fault::step();
        made.rename_over(&entry)?;
        fault::step();
        Ok(())
    };
    let done = replace();
    if done.is_err() {
        draft.unchanged();
        let _ = made.remove_file();
    }
    done.map_err(failed)
}

fn cant(path: &str, source: std::io::Error) -> EditError {
    EditError::CantLink {
        path: path.to_owned(),
        source,
    }
}

fn entries(draft: &Draft, keep: &Path, path: &Path) -> std::io::Result<(Entry, Entry)> {
    Ok((draft.entry(keep)?, draft.entry(path)?))
}

/// Makes `made` share the bytes of `keep`.
fn share(keep: &Entry, made: &Entry, wanted: Option<Sharing>) -> std::io::Result<Sharing> {
    // One that a crash left.
    let _ = made.remove_file();
    if wanted != Some(Sharing::HardLink) {
        match made.reflink_of(keep) {
            Ok(()) => return Ok(Sharing::Reflink),
            Err(error) if wanted.is_some() => return Err(error),
            Err(_) => {
                let _ = made.remove_file();
            }
        }
    }
    made.hard_link_of(keep)?;
    Ok(Sharing::HardLink)
}

/// Whether two files have the same bytes.
fn is_equal(one: &Entry, other: &Entry, cancel: &Cancel) -> std::io::Result<bool> {
    let (mut one, mut other) = (one.open()?, other.open()?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut here, mut there) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        if cancel.is_set() {
            return Err(std::io::Error::new(std::io::ErrorKind::Interrupted, "it was cancelled"));
        }
        let (read, also) = (fill(&mut one, &mut here)?, fill(&mut other, &mut there)?);
        if here.get(..read) != there.get(..also) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

fn fill(file: &mut File, block: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    crate::metrics::content_read(filled as u64);
    Ok(filled)
}

/// Whether two names lead to one file.
pub(super) fn is_one(one: &Metadata, other: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = (one, other);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_equal_to_the_last_byte_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut bytes = vec![7; 2 * BLOCK + 3];
        std::fs::write(path("a"), &bytes).unwrap();
        std::fs::write(path("b"), &bytes).unwrap();
        let real = folder.path().canonicalize().unwrap();
        let allowed = crate::files::rooted::AllowedFolders::new(vec![real.clone()], vec![real.clone()]);
        let entry = |name: &str| allowed.entry(&real.join(name)).unwrap();
        let equal = |other: &str| is_equal(&entry("a"), &entry(other), &Cancel::default()).unwrap();
        assert!(equal("b"));
        *bytes.last_mut().unwrap() = 8;
        std::fs::write(path("c"), &bytes).unwrap();
        bytes.pop();
        std::fs::write(path("d"), &bytes).unwrap();
        assert!(!equal("c") && !equal("d"));
        let cancel = Cancel::default();
        cancel.set();
        assert!(is_equal(&entry("a"), &entry("b"), &cancel).is_err());
    }
}
