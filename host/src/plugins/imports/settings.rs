//! `settings`: the table `[plugins.ID]` of the person's settings.

use super::super::instance::CallState;
use super::wit::settings::Host;

impl Host for CallState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.reach.settings.get(&key).map(ToString::to_string))
    }
}
