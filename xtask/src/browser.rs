//! What the browser tests need: Node, their npm packages, and a Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::install;
use crate::steps::run;

/// The folder of the browser tests.
pub struct Browser {
    folder: PathBuf,
}

/// A browser that is ready for the tests.
pub struct Ready {
    folder: PathBuf,
    node: PathBuf,
    chromium: PathBuf,
}

impl Browser {
    /// The browser tests of this workspace, if it has any.
    pub fn of(root: &Path) -> Option<Self> {
        let folder = root.join("tests/browser");
        folder.join("package.json").is_file().then_some(Self { folder })
    }

    /// Installs what is missing.
    ///
    /// # Errors
    /// When something is missing and can't be installed; the message names the command that would.
    pub fn set_up(self) -> Result<Ready> {
        let program = |names: &[&str], packages: &[&str]| {
            install::program(names, packages).context("or leave the browser tests out: cargo xtask test --no-browser")
        };
        let node = program(&["node"], &["nodejs", "npm"])?;
        let npm = program(&["npm"], &["nodejs", "npm"])?;
        let chromium = match std::env::var_os("CHROMIUM") {
            Some(path) => path.into(),
            None => program(&["chromium", "chromium-browser", "google-chrome"], &["chromium"])?,
        };
        if !self.packages_are_current() {
            let install = if self.folder.join("package-lock.json").is_file() {
                "ci"
            } else {
                "install"
            };
            run(Command::new(npm)
                .current_dir(&self.folder)
                // No script of a package is needed, and some would download a browser of their own.
                .args([install, "--no-audit", "--no-fund", "--ignore-scripts"]))?;
        }
        Ok(Ready {
            folder: self.folder,
            node,
            chromium,
        })
    }

    fn packages_are_current(&self) -> bool {
        let modified = |file: &str| self.folder.join(file).metadata().and_then(|data| data.modified()).ok();
        let Some(installed) = modified("node_modules/.package-lock.json") else {
            return false;
        };
        ["package.json", "package-lock.json"]
            .into_iter()
            .filter_map(modified)
            .all(|wanted| wanted <= installed)
    }
}

impl Ready {
    /// Node's own test runner over all test files.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.node);
        // One file after the other: each starts a browser, and there may be only two cores.
        command.args(["--test", "--test-concurrency=1"]);
        command.args(self.test_files());
        command.current_dir(&self.folder).env("CHROMIUM", &self.chromium);
        command
    }

    // Named one by one, since Node's own search would also run helpers that lie beside the tests.
    fn test_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self
            .folder
            .read_dir()
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
            .collect();
        files.sort();
        files
    }
}
