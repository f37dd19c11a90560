//! Disks of tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

/// A folder on a disk of its own that can be made to hang. What was in the folder is what the disk holds. It is
/// gone when dropped.
pub struct HangingDisk {
    at: PathBuf,
    program: Child,
}

impl HangingDisk {
    /// Mounts a folder over itself by `program`, the binary `hanging_disk` of these tests; none where that can't be done.
    pub fn new(program: &Path, at: &Path) -> Option<Self> {
        let mut child = Command::new(program)
            .arg(at)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut said));
        let disk = Self {
            at: at.to_owned(),
            program: child,
        };
        if read.is_some_and(|read| read.is_ok()) && said.trim() == "mounted" {
            return Some(disk);
        }
        skip("no file system of a program (FUSE) can be mounted here");
        None
    }

    /// From now on nothing of it answers.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    /// It answers again, also what waits since it hung.
    pub fn answer(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.program.id().to_string();
        let _ = Command::new("kill").args([signal, &id]).status();
    }
}

impl Drop for HangingDisk {
    fn drop(&mut self) {
        // Whatever waits for it gets an error when its program is gone, so that nothing is left that waits for ever.
        let _ = self.program.kill();
        self.answer();
        let _ = self.program.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
