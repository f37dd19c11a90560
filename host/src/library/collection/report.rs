//! What clients are told of a scan.

use std::sync::atomic::Ordering;

use super::Library;
use crate::library::progress::{Activity, InitProgress, ScanActivity};
use crate::library::scan::{Outcome, Stage};

/// Turns stages of a scan into messages for clients: the first reading in detail, later scans
/// only by what they changed.
pub struct Report<'l> {
    library: &'l Library,
    // None for a look at a few folders, which is over before anybody could read of it.
    activity: Option<ScanActivity>,
    first: bool,
    last: u8,
    total: usize,
}

impl<'l> Report<'l> {
    /// A report of a scan that is about to begin, of `all` of the library or of a few folders.
    pub fn new(library: &'l Library, all: bool) -> Self {
        Self {
            library,
            activity: all.then(ScanActivity::default),
            first: library.is_initializing(),
            last: 0,
            total: 0,
        }
    }

    /// The scan went on.
    pub fn stage(&mut self, stage: Stage) {
        let page_type = self.library.info.prefix();
        let activity = self.activity.as_mut().and_then(|activity| match stage {
            Stage::Walking => Some(activity.walking(page_type)),
            Stage::Counted(total) => Some(activity.counted(page_type, total)),
            Stage::Working(share) => activity.read(page_type, share),
        });
        self.tell(activity);
        if !self.first {
            return;
        }
        // Pages of LoraManager read numbers out of these texts.
        let model_type = self.library.info.id();
        match stage {
            Stage::Walking => self.send("scan_folders", 0, format!("Scanning {model_type} folders..."), None),
            Stage::Counted(total) => {
                self.total = total;
                self.send("count_models", 1, format!("Found {total} {model_type} files"), None);
            }
            Stage::Working(share) => {
                let percent = (share * 98.0) as u8 + 1;
                if percent > self.last {
                    self.last = percent;
                    let read = (share * self.total as f64).round() as usize;
                    self.send(
                        "process_models",
                        percent.min(99),
                        format!("Processing {model_type} files: {read}/{}", self.total),
                        None,
                    );
                    self.library.tell_changed();
                }
            }
        }
    }

    fn tell(&self, activity: Option<Activity>) {
        if let Some(activity) = activity {
            self.library.sink.activity(activity);
        }
    }

    /// The scan is over.
    pub fn end(&mut self, outcome: Outcome) {
        let page_type = self.library.info.prefix();
        let ended = self
            .activity
            .as_mut()
            .map(|activity| activity.ended(page_type, outcome.cancelled));
        self.tell(ended);
        // What was read before a cancellation is there to be used, so the first reading is over all the same.
        if self.first && outcome.cancelled {
            self.library.initializing.store(false, Ordering::Relaxed);
            self.send("finalizing", self.last, "Cancelled".into(), Some("cancelled"));
        } else if self.first {
            let model_type = self.library.info.id();
            self.library.initializing.store(false, Ordering::Relaxed);
            self.send("finalizing", 99, format!("Finalizing {model_type} cache..."), None);
            self.send("finalizing", 100, completed(self.library), Some("complete"));
        }
        if outcome.changed + outcome.removed > 0 || outcome.roots_changed {
            self.library.tell_changed();
        }
    }

    /// Sends a message about the first reading.
    pub fn send(&self, stage: &'static str, progress: u8, details: String, status: Option<&'static str>) {
        self.library.sink.init(InitProgress {
            stage,
            progress,
            details,
            status,
            scanner_type: self.library.info.id().to_owned(),
            page_type: self.library.info.prefix().to_owned(),
        });
    }
}

/// The last text about a reading; pages of LoraManager know it.
pub fn completed(library: &Library) -> String {
    format!(
        "Completed! Found {} {} files.",
        library.snapshot().len(),
        library.info.id()
    )
}
