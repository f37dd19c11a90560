//! `kv`: small state of the plugin's own.

use std::sync::Arc;

use super::super::error::LimitError;
use super::super::instance::CallState;
use super::super::kv_store::{KvError, KvStore, MAX_KEY, MAX_VALUE};
use super::unsupported;
use super::wit::kv::Host;
use super::wit::types::Error;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl CallState {
    /// Does something with the plugin's state, away from the threads that guests run on.
    async fn state<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&KvStore, &str) -> Result<T, KvError> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(outside) = self.reach.outside.clone() else {
            return unsupported("kv");
        };
        if !self.reach.keeps_state {
            let reason = "the plugin's description does not ask for capabilities.kv";
            return Err(Error::Unauthorised(reason.into()));
        }
        let plugin: Arc<str> = self.reach.plugin.clone();
        let done = tokio::task::spawn_blocking(move || work(&outside.kv, &plugin)).await;
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.refusal(error)),
            Err(error) => Err(Error::Internal(error.to_string())),
        }
    }

    fn refusal(&self, error: KvError) -> Error {
        match error {
            KvError::Full { size, limit } => {
                let limit = LimitError::Stored { size, limit };
                if let Some(account) = &self.reach.account {
                    account.ran_into(&limit);
                }
                Error::Conflict(format!("nothing was stored: {limit}"))
            }
            error => Error::Internal(error.to_string()),
        }
    }

    fn stores(&self, bytes: usize) {
        if let Some(account) = &self.reach.account {
            account.stores(bytes);
        }
    }
}

impl Host for CallState {
    async fn get(&mut self, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(self.state(move |store, plugin| store.get(plugin, &key)).await)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Answer<()> {
        for (what, size, most) in [("key", key.len(), MAX_KEY), ("value", value.len(), MAX_VALUE)] {
            if size > most {
                return Ok(Err(Error::Invalid(format!(
                    "the {what} has {size} bytes, more than {most}"
                ))));
            }
        }
        let limit = self
            .reach
            .account
            .as_ref()
            .map_or(0, |account| account.limits().stored_bytes());
        let stored = self
            .state(move |store, plugin| store.set(plugin, &key, &value, limit))
            .await;
        Ok(stored.map(|bytes| self.stores(bytes)))
    }

    async fn delete(&mut self, key: String) -> Answer<()> {
        let stored = self.state(move |store, plugin| store.delete(plugin, &key)).await;
        Ok(stored.map(|bytes| self.stores(bytes)))
    }

    async fn list_keys(&mut self, prefix: String) -> Answer<Vec<String>> {
        Ok(self.state(move |store, plugin| store.keys(plugin, &prefix)).await)
    }
}
