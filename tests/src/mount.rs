//! Disks of tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted folder; gone when dropped.
pub struct Mount(PathBuf);

impl Mount {
    /// `mount ARGUMENTS AT`; none where this process must not mount, or the kernel lacks the file system.
    pub fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        let done = Command::new("mount")
            .args(arguments)
            .arg(at)
            .stderr(Stdio::null())
            .status();
        if done.is_ok_and(|status| status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped: nothing can be mounted here");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
