//! Made-up machines: a folder of shell scripts that stand for rustc, rustup and apt-get.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;

// One test at a time: while one writes a script, a process that another has just forked holds it open for writing, and
// the system refuses to run such a file.
static ONE: Mutex<()> = Mutex::new(());

struct Made {
    dir: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Made {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("modelshelf-machine-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("bin")).unwrap();
        Self {
            dir,
            _alone: ONE.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn program(&self, name: &str, script: &str) -> PathBuf {
        let file = self.dir.join("bin").join(name);
        let dir = self.dir.display();
        std::fs::write(&file, format!("#!/bin/sh\nDIR='{dir}'\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    /// A compiler whose libraries for the target are below `dir/libraries`.
    fn rustc(&self) {
        self.program("rustc", "echo $DIR/libraries");
    }

    /// A compiler of the system, with its sources when `sources`.
    fn system_rustc(&self, sources: bool) {
        self.program("system-rustc", "echo $DIR/sysroot");
        if sources {
            let std = self.dir.join("sysroot/lib/rustlib/src/rust/library/std");
            std::fs::create_dir_all(&std).unwrap();
            std::fs::write(std.join("Cargo.toml"), "").unwrap();
        }
    }

    fn machine(&self, root: bool) -> Machine {
        let mut search_path = self.dir.join("bin").into_os_string();
        // The scripts themselves need a few basic commands; none of the programs looked for is named so there.
        search_path.push(":/bin-of-nobody");
        Machine {
            cargo: "cargo".into(),
            rustc: None,
            search_path,
            system_rustc: self.dir.join("bin/system-rustc"),
            root,
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const ADD_TARGET: &str = "/bin/mkdir -p $DIR/libraries; : > $DIR/libraries/libstd-1.rlib";

fn quiet() -> Options {
    Options {
        rustup_limit: Duration::from_secs(20),
        report: |_| {},
        ..Options::default()
    }
}

#[test]
fn an_installed_target_is_used_as_it_is() {
    let made = Made::new();
    made.rustc();
    made.program("rustup", "exit 1");
    std::fs::create_dir_all(made.dir.join("libraries")).unwrap();
    assert!(made.machine(false).detect().is_none(), "an empty folder is no target");
    std::fs::write(made.dir.join("libraries/libstd-1.rlib"), "").unwrap();
    let found = made.machine(false).ensure(&quiet()).unwrap();
    assert_eq!(found.route(), &Route::InstalledTarget);
}

#[test]
fn rustup_adds_a_missing_target() {
    let made = Made::new();
    made.rustc();
    made.program("rustup", ADD_TARGET);
    let found = made.machine(false).ensure(&quiet()).unwrap();
    assert_eq!(found.route(), &Route::InstalledTarget);
}

#[test]
fn installed_debian_packages_are_used_without_asking_rustup() {
    let made = Made::new();
    made.rustc();
    made.system_rustc(true);
    let linker = made.program(LINKER, "");
    made.program("rustup", ": > $DIR/rustup-was-run; exit 1");
    let found = made.machine(false).ensure(&quiet()).unwrap();
    let rustc = made.dir.join("bin/system-rustc");
    assert_eq!(found.route(), &Route::BuildStd { rustc, linker });
    assert!(!made.dir.join("rustup-was-run").exists());
}

#[test]
fn a_compiler_without_its_sources_is_not_enough() {
    let made = Made::new();
    made.rustc();
    made.system_rustc(false);
    made.program(LINKER, "");
    assert!(made.machine(false).detect().is_none());
}

#[test]
fn a_compiler_with_its_sources_but_without_a_linker_is_not_enough() {
    let made = Made::new();
    made.rustc();
    made.system_rustc(true);
    assert!(made.machine(false).detect().is_none());
}

#[test]
fn root_installs_the_packages_when_rustup_fails() {
    let made = Made::new();
    made.rustc();
    made.program("rustup", "exit 1");
    made.program("apt-get", "echo \"$@\" >> $DIR/apt; case \"$*\" in *install*) ;; *) exit 0;; esac; printf '#!/bin/sh\\necho %s/sysroot\\n' $DIR > $DIR/bin/system-rustc; : > $DIR/bin/wasm-ld-19; /bin/chmod 755 $DIR/bin/system-rustc; /bin/mkdir -p $DIR/sysroot/lib/rustlib/src/rust/library/std; : > $DIR/sysroot/lib/rustlib/src/rust/library/std/Cargo.toml");
    let found = made.machine(true).ensure(&quiet()).unwrap();
    assert!(matches!(found.route(), Route::BuildStd { .. }));
    let asked = std::fs::read_to_string(made.dir.join("apt")).unwrap();
    assert!(asked.contains("update"), "{asked}");
    assert!(
        asked.contains("install -y --no-install-recommends rustc-web rust-web-src lld-19"),
        "{asked}"
    );
}

#[test]
fn a_hanging_rustup_is_ended_and_named() {
    let made = Made::new();
    made.rustc();
    made.program("rustup", "exec /bin/sleep 60");
    let options = Options {
        rustup_limit: Duration::from_millis(200),
        ..quiet()
    };
    let started = std::time::Instant::now();
    let error = made.machine(false).ensure(&options).unwrap_err().to_string();
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(error.contains("without a result"), "{error}");
}

#[test]
fn the_error_names_what_was_tried_and_the_exact_commands() {
    let made = Made::new();
    made.rustc();
    made.program("rustup", "exit 3");
    made.program("apt-get", "");
    let error = made.machine(false).ensure(&quiet()).unwrap_err().to_string();
    for part in [
        "rustup target add wasm32-unknown-unknown",
        "apt-get update && apt-get install -y --no-install-recommends rustc-web rust-web-src lld-19",
        "exit status: 3",
        "only root may install packages",
    ] {
        assert!(error.contains(part), "{part} is not in:\n{error}");
    }
}
