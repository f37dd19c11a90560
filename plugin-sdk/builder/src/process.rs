//! Running other programs: a clean environment for the inner cargo, and a time limit.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Set by a cargo or a build script around us; each would change what the inner cargo builds, or how.
const FOREIGN: &[&str] = &[
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC",
    "RUSTDOC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "OUT_DIR",
    "TARGET",
    "HOST",
    "PROFILE",
    "OPT_LEVEL",
    "DEBUG",
    "NUM_JOBS",
    "MAKEFLAGS",
    "MFLAGS",
];

/// What of `CARGO_*` says where things are and how to fetch them, which holds for the inner cargo too.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// Takes from the command's environment what belongs to a cargo that runs around us.
pub(crate) fn without_outer_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if is_foreign(&name) {
            command.env_remove(name);
        }
    }
}

fn is_foreign(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    FOREIGN.contains(&name) || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

/// The compiler that a build runs, so that another thread can end it with all that it started. Clones are of the same
/// builds.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<Processes>>);

#[derive(Debug, Default)]
struct Processes {
    ended: bool,
    group: Option<u32>,
}

impl Running {
    /// Has `kill` end the group of processes that runs, named by its id; no build begins any more.
    pub fn end(&self, kill: impl FnOnce(u32)) {
        let mut processes = self.locked();
        processes.ended = true;
        // The lock is held, so that the id is not another's by now.
        if let Some(group) = processes.group {
            kill(group);
        }
    }

    /// Whether builds were ended.
    pub fn is_ended(&self) -> bool {
        self.locked().ended
    }

    /// Starts a program at the head of a group of its own.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Child> {
        let mut processes = self.locked();
        if processes.ended {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "builds were ended"));
        }
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let child = command.spawn()?;
        processes.group = Some(child.id());
        Ok(child)
    }

    /// To be called before the program is waited for, after which its id may be another's.
    pub(crate) fn is_over(&self) {
        self.locked().group = None;
    }

    fn locked(&self) -> MutexGuard<'_, Processes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the child at most this long; `None` means that the time was up and the child was ended.
pub(crate) fn wait_at_most(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The last lines of what a program printed, for an error message.
pub(crate) fn tail(output: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(output);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_an_outer_cargo_go_and_its_places_stay() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_PKG_NAME",
            "CARGO_MAKEFLAGS",
        ] {
            assert!(is_foreign(name.as_ref()), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_INDEX",
            "RUSTUP_TOOLCHAIN",
            "CARGO",
        ] {
            assert!(!is_foreign(name.as_ref()), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = Instant::now();
        assert!(wait_at_most(&mut child, Duration::from_millis(100)).unwrap().is_none());
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        assert_eq!(tail(b"a\n\nb\nc\n", 2), "b\nc");
        assert_eq!(tail(b"", 2), "");
    }
}
