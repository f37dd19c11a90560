//! Files that wait until they are whole: new and changed ones that were written a moment ago, and those beside which a
//! download program says that it is not done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::record::Stamp;

/// How often a file is looked at whose download is not done, at most.
const DOWNLOADS: Duration = Duration::from_secs(2);
/// After this long a waiting file is worth telling.
const TOLD_AFTER: Duration = Duration::from_secs(5);
/// Clocks and file systems are not exact.
const MARGIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    // Since when it has that stamp, and since when it waits.
    still_since: Instant,
    since: Instant,
    look_again: Instant,
    // The file beside it that says it is not whole.
    unfinished: Option<Box<str>>,
}

/// The files of a library that wait.
#[derive(Debug, Default)]
pub struct Waiting {
    // In nanoseconds.
    stable: AtomicU64,
    files: Mutex<BTreeMap<Box<str>, Entry>>,
}

impl Waiting {
    /// Sets how long a file must keep still; at first, no file waits for that.
    pub fn set_stable(&self, stable: Duration) {
        let nanos = u64::try_from(stable.as_nanos()).unwrap_or(u64::MAX);
        self.stable.store(nanos, Ordering::Relaxed);
    }

    fn stable(&self) -> Duration {
        Duration::from_nanos(self.stable.load(Ordering::Relaxed))
    }

    /// Whether a new or changed file can be read; if not, it waits from now on. One that can be read waits until it is
    /// (see [`Waiting::retain`]). `unfinished` names a file beside it
    /// which says that it is not whole.
    pub fn is_whole(&self, path: &str, stamp: &Stamp, unfinished: Option<&str>) -> bool {
        let now = Instant::now();
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let age = age(stamp);
        if unfinished.is_none() && age.is_some_and(|age| age >= self.stable()) {
            return true;
        }
        let still_since = files
            .get(path)
            .filter(|entry| entry.stamp == *stamp)
            .map_or(now, |entry| entry.still_since);
        if unfinished.is_none() && now.duration_since(still_since) >= self.stable() {
            return true;
        }
        let still_until = still_since + self.stable();
        let look_again = match (unfinished, age) {
            (Some(_), _) => now + self.stable().max(DOWNLOADS),
            (None, Some(age)) => still_until.min(now + self.stable().saturating_sub(age)),
            // Written in the future: its clock is another one, so that only its keeping still counts.
            (None, None) => still_until,
        };
        let since = files.get(path).map_or(now, |entry| entry.since);
        let entry = Entry {
            stamp: *stamp,
            still_since,
            since,
            look_again: look_again + MARGIN,
            unfinished: unfinished.map(Into::into),
        };
        files.insert(path.into(), entry);
        false
    }

    /// Forgets files for which the condition does not hold.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|path, _| keep(path));
    }

    /// How many files wait.
    pub fn len(&self) -> usize {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no file waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the next file is to be looked at. Files of unfinished downloads are left out with `soon`: nobody knows
    /// how long those take.
    pub fn next_look(&self, soon: bool) -> Option<Instant> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = files.values().filter(|entry| !soon || entry.unfinished.is_none());
        entries.map(|entry| entry.look_again).min()
    }

    /// Folders with files that are to be looked at now.
    pub fn due_folders(&self) -> Vec<PathBuf> {
        let now = Instant::now();
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let due = files.iter().filter(|(_, entry)| entry.look_again <= now);
        let mut folders: Vec<PathBuf> = due
            .filter_map(|(path, _)| Some(Path::new(&**path).parent()?.to_owned()))
            .collect();
        folders.dedup();
        folders
    }

    /// Files that have waited for so long that a person should know why, each with the reason.
    pub fn told(&self) -> Vec<(String, String)> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let long = files
            .iter()
            .filter(|(_, entry)| entry.since.elapsed() >= TOLD_AFTER || entry.unfinished.is_some());
        long.map(|(path, entry)| {
            let reason = match &entry.unfinished {
                Some(name) => {
                    format!("{name} beside it says that it is not whole yet; it is taken up when that is gone")
                }
                None => format!(
                    "it is still being written; it is taken up when it has kept still for {} s",
                    self.stable().as_secs_f64()
                ),
            };
            (path.to_string(), reason)
        })
        .collect()
    }
}

/// How long ago a file was written; none when that is in the future.
fn age(stamp: &Stamp) -> Option<Duration> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?
        .as_nanos() as i64;
    now.checked_sub(stamp.mtime_ns)
        .and_then(|age| u64::try_from(age).ok())
        .map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(stable: Duration) -> Waiting {
        let waiting = Waiting::default();
        waiting.set_stable(stable);
        waiting
    }

    fn stamp(age: i64) -> Stamp {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as i64;
        Stamp {
            size: 1,
            mtime_ns: now - age * 1_000_000_000,
            inode: 1,
        }
    }

    #[test]
    fn an_old_file_never_waits_and_a_young_one_does() {
        let waiting = waiting(Duration::from_secs(5));
        assert!(waiting.is_whole("/a", &stamp(60), None));
        assert!(!waiting.is_whole("/b", &stamp(0), None));
        assert!(waiting.next_look(true).is_some());
        assert!(waiting.is_whole("/b", &stamp(6), None));
        waiting.retain(|path| path != "/b");
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_file_from_the_future_is_whole_when_it_keeps_still() {
        let waiting = waiting(Duration::from_millis(30));
        let future = stamp(-3600);
        assert!(!waiting.is_whole("/a", &future, None));
        std::thread::sleep(Duration::from_millis(60));
        assert!(!waiting.is_whole("/a", &Stamp { size: 2, ..future }, None));
        std::thread::sleep(Duration::from_millis(60));
        assert!(waiting.is_whole("/a", &Stamp { size: 2, ..future }, None));
    }

    #[test]
    fn an_unfinished_download_waits_however_old_it_is_and_is_told() {
        let waiting = waiting(Duration::ZERO);
        assert!(!waiting.is_whole("/a", &stamp(3600), Some("a.part")));
        assert!(waiting.next_look(true).is_none() && waiting.next_look(false).is_some());
        assert!(waiting.told()[0].1.contains("a.part"));
        assert!(waiting.is_whole("/a", &stamp(3600), None));
    }
}
