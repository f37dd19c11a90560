//! `log`: lines in the server's log under the plugin's id, bounded in number and length, for each call and over all
//! calls.

use super::super::instance::CallState;
use super::wit::log::{Host, Level};

const MAX_LINES: u32 = 100;
const MAX_BYTES: usize = 4 << 10;

impl Host for CallState {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let reach = &mut self.reach;
        reach.log_lines += 1;
        if reach.log_lines > MAX_LINES {
            if reach.log_lines == MAX_LINES + 1 {
                tracing::warn!(
                    plugin = &*reach.plugin,
                    "more than {MAX_LINES} log lines in one call; the rest is dropped"
                );
            }
            return Ok(());
        }
        let mut end = message.len().min(MAX_BYTES);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let (plugin, message) = (&*reach.plugin, &message[..end]);
        if matches!(level, Level::Error) {
            reach.last_error = Some(message.to_owned());
        }
        if !self.account.may_log(plugin, message.len()) {
            return Ok(());
        }
        match level {
            Level::Trace => tracing::trace!(target: "plugin", plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "plugin", plugin, "{message}"),
            Level::Info => tracing::info!(target: "plugin", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, "{message}"),
            Level::Error => tracing::error!(target: "plugin", plugin, "{message}"),
        }
        Ok(())
    }
}
