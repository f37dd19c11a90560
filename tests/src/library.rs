//! A library in a temporary folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::model::Model;
use crate::server::{Server, ServerOptions};

/// The kinds of roots that the built-in types have.
pub const ROOTS: [&str; 4] = ["loras", "checkpoints", "unet", "embeddings"];

/// Folders of models; gone when dropped.
#[derive(Debug)]
pub struct Library {
    // Removed when dropped.
    _folder: TempDir,
    path: PathBuf,
}

impl Library {
    /// Empty roots of every kind.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn new() -> Result<Self> {
        Self::below(&std::env::temp_dir())
    }

    /// The same on a disk of memory, where the system has one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn in_memory() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Self::below(memory)
        } else {
            Self::new()
        }
    }

    fn below(folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("modelshelf-test-").tempdir_in(folder)?;
        // Where the temporary folder is a link, the server would show another path than the test expects.
        let path = folder.path().canonicalize()?;
        for root in ROOTS {
            std::fs::create_dir(path.join(root))?;
        }
        Ok(Self { _folder: folder, path })
    }

    /// A library of these models.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn of(models: impl IntoIterator<Item = Model>) -> Result<Self> {
        let library = Self::new()?;
        for model in models {
            library.add(&model)?;
        }
        Ok(library)
    }

    /// Adds a model and gives its path.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn add(&self, model: &Model) -> Result<PathBuf> {
        model.write(&self.path)
    }

    /// The folder that holds the roots.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A root.
    pub fn root(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A server's options for all roots.
    pub fn options(&self) -> ServerOptions {
        ROOTS.iter().fold(ServerOptions::default(), |options, root| {
            options.root(root, &self.root(root))
        })
    }

    /// A server of this library, ready.
    ///
    /// # Errors
    /// When it doesn't start or doesn't become ready.
    pub async fn serve(&self) -> Result<Server> {
        self.options().serve().await
    }
}
