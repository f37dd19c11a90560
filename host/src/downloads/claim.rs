//! Names that downloads write to: which one a file may have, and whose the bytes are that lie beside it already.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DownloadError;
use super::install;
use super::ledger::Place;
use super::preview;
use super::service::Downloads;
use super::transfer::{self, PartOf};
use super::wanted::Wanted;
use crate::library::sidecar::Sidecar;

/// What a file is: version and SHA-256.
pub type Content = (Option<i64>, Option<String>);

/// A name in a folder that a job writes to; no other job takes it.
pub struct Claim {
    downloads: Arc<Downloads>,
    /// The name.
    pub target: PathBuf,
    /// Whether what lies there already is also another download's to go on with.
    pub is_shared: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.downloads.claims().remove(&self.target);
    }
}

/// Who asks for a name.
pub struct Claimant<'c> {
    /// What the file is.
    pub content: Content,
    /// What was asked for.
    pub wanted: &'c Wanted,
    /// Where its last run wrote.
    pub before: Option<PathBuf>,
    /// The preview that its last run brought.
    pub preview: Option<&'c Path>,
    /// Where other downloads do, or left what they have.
    pub others: &'c [Place],
}

impl Claimant<'_> {
    /// Takes a name that is free: the one that the last run took, else `wanted`, else one like it. Blocks.
    ///
    /// # Errors
    /// When the same is on its way, or no name is left.
    pub fn claim(&self, downloads: &Arc<Downloads>, wanted: &Path) -> Result<Claim, DownloadError> {
        let mut claims = downloads.claims();
        if self.content.0.is_some() && claims.values().any(|other| *other == self.content) {
            return Err(DownloadError::Twice);
        }
        let is_free = |path: &Path| {
            path.symlink_metadata().is_err()
                && !claims.contains_key(path)
                && self.may_go_on_with(path)
                // Another model's preview must not become this one's.
                && preview::beside(path).all(|there| self.preview == Some(&*there))
        };
        let again = self.before.as_deref().filter(|path| {
            path.parent() == wanted.parent()
                && transfer::part_is_of(path) != PartOf::Nothing
                && is_free(path)
                && self.may_describe(path)
        });
        let target = again.map(Path::to_owned).or_else(|| {
            install::free_name(wanted, self.content.1.as_deref(), |path| {
                // Another model's metadata must not become this one's.
                is_free(path) && install::sidecar_of(path).symlink_metadata().is_err()
            })
        });
        let target = target.ok_or_else(|| DownloadError::Taken(wanted.to_owned()))?;
        let is_shared = self.before.as_deref() != Some(&*target)
            && transfer::part_is_of(&target) != PartOf::Nothing
            && Place::is_of_any(self.others, &target);
        claims.insert(target.clone(), self.content.clone());
        drop(claims);
        Ok(Claim {
            downloads: downloads.clone(),
            target,
            is_shared,
        })
    }

    /// Brings along what the last run left under another name. Blocks.
    pub fn bring_along(&self, claim: &Claim) {
        let Some(before) = self.before.as_deref().filter(|before| *before != claim.target) else {
            return;
        };
        let claims = claim.downloads.claims();
        let is_own = matches!((transfer::part_is_of(before), &self.content.1), (PartOf::File(Some(there)), Some(own)) if there == *own)
            && !claims.contains_key(before)
            && !Place::is_of_any(self.others, before);
        if is_own && transfer::part_is_of(&claim.target) == PartOf::Nothing {
            transfer::bring(before, &claim.target);
        }
    }

    /// Whether what lies as the part of a file is of this one, so that nobody's bytes are lost when it is written to.
    fn may_go_on_with(&self, target: &Path) -> bool {
        let sha256 = self.content.1.as_deref();
        let is_own = self.before.as_deref() == Some(target);
        let mut others = self.others.iter().filter(|place| Path::new(&place.path) == target);
        match transfer::part_is_of(target) {
            PartOf::Nothing => true,
            PartOf::File(Some(other)) => sha256 == Some(&*other),
            PartOf::File(None) => sha256.is_none() && (is_own || others.any(|place| self.asked_for_this(place))),
            // The hash will prove whether it is.
            PartOf::Stranger => is_own || (sha256.is_some() && others.next().is_none()),
            PartOf::Unknown => is_own,
        }
    }

    /// Whether what lies as the sidecar of a file is of this one, as a crash may leave it.
    fn may_describe(&self, target: &Path) -> bool {
        match Sidecar::read(&install::sidecar_of(target)) {
            Ok(None) => true,
            Ok(Some(there)) => self.content.1.as_deref() == Some(there.text("sha256")),
            Err(_) => false,
        }
    }

    /// Whether another download was of the same.
    fn asked_for_this(&self, place: &Place) -> bool {
        let request = place.request.as_deref();
        let wanted: Option<Wanted> = request.and_then(|text| serde_json::from_str(text).ok());
        wanted.is_some_and(|wanted| wanted.key() == self.wanted.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downloads::ledger::Ledger;
    use crate::settings::DownloadSettings;

    struct Folder {
        folder: tempfile::TempDir,
        downloads: Arc<Downloads>,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Ledger::open(folder.path()).unwrap();
            let downloads = Arc::new(Downloads::new(ledger, DownloadSettings::default()));
            Self { folder, downloads }
        }

        fn target(&self) -> PathBuf {
            self.folder.path().join("model.safetensors")
        }

        /// What a download of this hash left.
        fn leave(&self, state: &str) {
            std::fs::write(transfer::part_of(&self.target()), "bytes").unwrap();
            if !state.is_empty() {
                std::fs::write(transfer::state_of(&self.target()), state).unwrap();
            }
        }

        /// The name that a download gets.
        fn name(&self, sha256: Option<&str>, before: bool, others: &[Place]) -> String {
            let wanted = Wanted {
                model_id: Some(7),
                ..Wanted::default()
            };
            let claimant = Claimant {
                content: (None, sha256.map(str::to_owned)),
                wanted: &wanted,
                before: before.then(|| self.target()),
                preview: None,
                others,
            };
            let claim = claimant.claim(&self.downloads, &self.target()).unwrap();
            assert_eq!(
                claim.is_shared,
                claim.target == self.target() && !before && !others.is_empty(),
                "it is another download's as well"
            );
            claim.target.file_name().unwrap().to_str().unwrap().to_owned()
        }

        fn place(&self, model: u64) -> Place {
            let wanted = Wanted {
                model_id: Some(model),
                ..Wanted::default()
            };
            Place {
                path: self.target().to_str().unwrap().to_owned(),
                request: serde_json::to_string(&wanted).ok(),
            }
        }
    }

    const OWN: &str = "model.safetensors";

    #[test]
    fn a_part_of_another_file_is_passed_over_and_one_of_the_same_is_gone_on_with() {
        let folder = Folder::new();
        assert_eq!(folder.name(Some("aaaaa"), false, &[]), OWN);
        folder.leave(r#"{"sha256": "aaaaa"}"#);
        assert_eq!(folder.name(Some("aaaaa"), false, &[folder.place(1)]), OWN);
        assert_eq!(folder.name(Some("bbbbb"), false, &[]), "model-bbbb.safetensors");
        assert_eq!(folder.name(None, false, &[]), "model-0000.safetensors");
        folder.leave("spoilt");
        assert_eq!(folder.name(Some("aaaaa"), false, &[]), "model-aaaa.safetensors");
        assert_eq!(folder.name(Some("aaaaa"), true, &[]), OWN);
    }

    #[test]
    fn a_name_whose_sidecar_is_another_files_is_not_taken_again() {
        let folder = Folder::new();
        folder.leave(r#"{"sha256": "aaaaa"}"#);
        for (sha256, name) in [("aaaaa", OWN), ("bbbbb", "model-aaaa.safetensors")] {
            let text = serde_json::json!({
                "file_name": "model", "model_name": "model", "file_path": "", "size": 1, "modified": 0.0,
                "sha256": sha256, "base_model": "", "preview_url": "",
            });
            std::fs::write(install::sidecar_of(&folder.target()), text.to_string()).unwrap();
            assert_eq!(folder.name(Some("aaaaa"), true, &[]), name);
        }
    }

    #[test]
    fn a_name_whose_preview_is_another_files_is_not_taken() {
        let folder = Folder::new();
        let preview = folder.target().with_extension("webp");
        std::fs::write(&preview, "").unwrap();
        assert_eq!(folder.name(Some("aaaaa"), false, &[]), "model-aaaa.safetensors");
        let claimant = Claimant {
            content: (None, Some("aaaaa".into())),
            wanted: &Wanted::default(),
            before: Some(folder.target()),
            preview: Some(&preview),
            others: &[],
        };
        let claim = claimant.claim(&folder.downloads, &folder.target()).unwrap();
        assert_eq!(claim.target, folder.target(), "its own preview");
    }

    #[test]
    fn what_the_last_run_left_elsewhere_comes_along_unless_it_is_of_another_file() {
        let folder = Folder::new();
        folder.leave(r#"{"sha256": "aaaaa"}"#);
        let elsewhere = folder.folder.path().join("other.safetensors");
        for (sha256, comes) in [("bbbbb", false), ("aaaaa", true)] {
            let claimant = Claimant {
                content: (None, Some(sha256.into())),
                wanted: &Wanted::default(),
                before: Some(folder.target()),
                preview: None,
                others: &[],
            };
            // As in a folder that another call named.
            let claim = Claim {
                downloads: folder.downloads.clone(),
                target: elsewhere.clone(),
                is_shared: false,
            };
            claimant.bring_along(&claim);
            assert_eq!(transfer::part_of(&elsewhere).exists(), comes);
            assert_eq!(transfer::part_of(&folder.target()).exists(), !comes);
        }
    }

    #[test]
    fn without_a_hash_a_part_is_gone_on_with_when_the_same_was_asked_for() {
        let folder = Folder::new();
        folder.leave("{}");
        assert_eq!(folder.name(None, true, &[]), OWN);
        assert_eq!(folder.name(None, false, &[folder.place(7)]), OWN);
        assert_eq!(folder.name(None, false, &[folder.place(8)]), "model-0000.safetensors");
    }

    #[test]
    fn another_programs_part_is_taken_where_a_hash_proves_it_and_nobody_else_wants_it() {
        let folder = Folder::new();
        folder.leave("");
        assert_eq!(folder.name(Some("aaaaa"), false, &[]), OWN);
        assert_eq!(
            folder.name(Some("aaaaa"), false, &[folder.place(7)]),
            "model-aaaa.safetensors"
        );
        assert_eq!(folder.name(None, false, &[]), "model-0000.safetensors");
    }
}
