//! Files that this server put into the library's folders: listed at once, without a scan.

use super::collection::Library;
use super::scan;
use crate::plugins::Plugin;

impl Library {
    /// Lists a file that is whole. Blocks; `handle` is where plugin calls are awaited.
    pub fn arrived(&self, plugin: &Plugin, handle: &tokio::runtime::Handle, path: &str) {
        // The download may have begun before another version of the plugin came.
        let newer = self.newer_rules();
        scan::reread(self, newer.as_deref().unwrap_or(plugin), handle, &[(path, None)]);
        self.tell_changed();
    }
}
