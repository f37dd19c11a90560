//! Files that are listed at once, without a scan: those that this server put into the library's folders, and those that a
//! request names before a scan has found them.

use super::collection::Library;
use super::editing::{EditError, Tools};
use super::{roots, scan, trash};
use crate::files::rooted::RootedPath;
use crate::plugins::Plugin;

impl Library {
    /// Lists a file that is whole. Blocks; `handle` is where plugin calls are awaited.
    pub fn arrived(&self, plugin: &Plugin, handle: &tokio::runtime::Handle, path: &str) {
        // The download may have begun before another version of the plugin came.
        let newer = self.newer_rules();
        scan::reread(self, newer.as_deref().unwrap_or(plugin), handle, &[(path, None)]);
        self.tell_changed();
    }

    /// Checks the paths that an operation is about, and lists those models among them that no scan has found yet, as
    /// [`Self::list_new`] does. Blocks.
    ///
    /// # Errors
    /// When a path leads out of the library's folders.
    pub fn admit(&self, tools: &Tools, paths: &[String]) -> Result<(), EditError> {
        self.check_inside(paths)?;
        self.list_new(tools, paths);
        Ok(())
    }

    /// Lists those of these files that no scan has found yet: a client that has just written a model may go on with the
    /// model at once. Paths of other files are ignored. Blocks.
    pub fn list_new(&self, tools: &Tools, paths: &[String]) {
        let snapshot = self.snapshot();
        let listed = paths.iter().map(|path| self.listed(path));
        let new: Vec<String> = listed
            .filter(|path| snapshot.by_path(path).is_none() && self.may_be_listed(path))
            .collect();
        if !new.is_empty() {
            let newer = self.newer_rules();
            scan::read_new(self, newer.as_deref().unwrap_or(tools.plugin), tools.handle, &new);
            self.tell_changed();
        }
    }

    /// Whether a walk would list a model at this path.
    fn may_be_listed(&self, path: &str) -> bool {
        self.info().extension_of(path).is_some()
            && !roots::hide(self.roots(), path)
            && !trash::is_inside(std::path::Path::new(path))
            && RootedPath::open(&self.allowed(), path).is_ok()
    }
}
