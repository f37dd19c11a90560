//! Disks of tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says that a test proves nothing on this machine, and why. With `MODELSHELF_SKIP_NOTHING` in the environment that is a
/// failure, so that a machine that can do all does.
///
/// # Panics
/// With that variable.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("MODELSHELF_SKIP_NOTHING").is_none(),
        "this machine can't: {reason}"
    );
    eprintln!("skipped: {reason}");
}

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
        skip("nothing can be mounted here");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
