//! Files that this server put into the library's folders: listed at once, without a scan.

use super::collection::Library;
use super::scan;
use crate::plugins::Plugin;

impl Library {
    /// Lists a file that is whole. Blocks; `handle` is where plugin calls are awaited.
    pub fn arrived(&self, plugin: &Plugin, handle: &tokio::runtime::Handle, path: &str) {
        scan::reread(self, plugin, handle, &[(path, None)]);
        self.tell_changed();
        // A scan that runs may have looked there before.
        self.look_at_after_scan([path].into_iter());
    }
}
