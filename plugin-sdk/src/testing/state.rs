//! What the fake host of a thread knows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::library::FakeLibrary;
use crate::bindings::modelshelf::plugin::log::Level;
use crate::remote::{FetchRequest, FetchResponse};
use crate::{Capabilities, Descriptor, PluginError, Result};

const MAX_EVENT: usize = 64 * 1024;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 64 * 1024;
const MAX_STATE: usize = 1024 * 1024;

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

pub(crate) struct State {
    pub library: FakeLibrary,
    pub settings: BTreeMap<String, String>,
    pub events: Vec<Value>,
    pub logs: Vec<(Level, String)>,
    pub remote: Option<Remote>,
    pub seed: u64,
    kv: BTreeMap<String, Vec<u8>>,
    capabilities: Capabilities,
}

type Remote = Rc<dyn Fn(&FetchRequest) -> Result<FetchResponse>>;

impl State {
    pub fn new(descriptor: &Descriptor) -> Self {
        Self {
            library: FakeLibrary::new(&descriptor.roots),
            settings: BTreeMap::new(),
            events: Vec::new(),
            logs: Vec::new(),
            remote: None,
            seed: 1,
            kv: BTreeMap::new(),
            capabilities: descriptor.capabilities.clone(),
        }
    }

    pub fn broadcast(&mut self, kind: &str, payload: &str) -> Result<()> {
        if !self.capabilities.events.iter().any(|asked| asked == kind) {
            return Err(PluginError::Unauthorised(format!(
                "the descriptor does not ask for events of type `{kind}`"
            )));
        }
        if payload.len() > MAX_EVENT {
            return Err(PluginError::invalid(format!(
                "an event has at most {MAX_EVENT} bytes, not {}",
                payload.len()
            )));
        }
        let mut event: serde_json::Map<String, Value> = serde_json::from_str(payload)
            .map_err(|error| PluginError::invalid(format!("an event's payload is one JSON object: {error}")))?;
        event.insert("type".into(), kind.into());
        self.events.push(event.into());
        Ok(())
    }

    fn check_kv(&self) -> Result<()> {
        if self.capabilities.kv {
            return Ok(());
        }
        Err(PluginError::Unauthorised(
            "the descriptor does not ask for own state".to_owned(),
        ))
    }

    pub fn kv_get(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        self.check_kv()?;
        Ok(self.kv.get(key).cloned())
    }

    pub fn kv_set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.check_kv()?;
        let others: usize = self
            .kv
            .iter()
            .filter(|(name, _)| *name != key)
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return Err(PluginError::invalid(
                "own state has at most 256 bytes a key and 64 KiB a value",
            ));
        }
        if others + key.len() + value.len() > MAX_STATE {
            return Err(PluginError::conflict(
                "nothing was stored: own state has at most 1 MiB in all",
            ));
        }
        self.kv.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    pub fn kv_delete(&mut self, key: &str) -> Result<()> {
        self.check_kv()?;
        self.kv.remove(key);
        Ok(())
    }

    pub fn kv_list_keys(&mut self, prefix: &str) -> Result<Vec<String>> {
        self.check_kv()?;
        Ok(self
            .kv
            .keys()
            .filter(|key| key.starts_with(prefix))
            .take(1000)
            .cloned()
            .collect())
    }
}

pub(super) fn install(state: State) {
    STATE.with(|slot| {
        let before = slot.borrow_mut().replace(state);
        assert!(before.is_none(), "this thread has a fake host already");
    });
}

pub(super) fn remove() {
    STATE.with(|slot| slot.borrow_mut().take());
}

/// For the harness itself, which only exists while there is a state.
pub(super) fn edit<T>(change: impl FnOnce(&mut State) -> T) -> T {
    STATE.with(|slot| match slot.borrow_mut().as_mut() {
        Some(state) => change(state),
        None => panic!("the fake host of this thread is gone"),
    })
}

/// For the SDK's imports.
pub(crate) fn with<T>(ask: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
    STATE.with(|slot| match slot.borrow_mut().as_mut() {
        Some(state) => ask(state),
        None => Err(PluginError::internal("this thread has no testing::FakeHost")),
    })
}

pub(crate) fn log(level: Level, message: &str) {
    STATE.with(|slot| {
        if let Some(state) = slot.borrow_mut().as_mut() {
            state.logs.push((level, message.to_owned()));
        }
    });
}

pub(crate) fn setting(key: &str) -> Option<String> {
    STATE.with(|slot| {
        slot.borrow()
            .as_ref()
            .and_then(|state| state.settings.get(key).cloned())
    })
}

pub(crate) fn fetch(request: &FetchRequest) -> Result<FetchResponse> {
    let host = request
        .url
        .strip_prefix("https://")
        .and_then(|rest| rest.split(['/', '?', ':']).next());
    let Some(host) = host else {
        return Err(PluginError::invalid(format!("`{}` is no https URL", request.url)));
    };
    let remote = with(|state| {
        if !state.capabilities.remote_hosts.iter().any(|asked| asked == host) {
            return Err(PluginError::Unauthorised(format!(
                "the descriptor does not ask for requests to `{host}`"
            )));
        }
        Ok(state.remote.clone())
    })?;
    // Called without holding the state, since a test's answer may look into the library.
    match remote {
        Some(answer) => answer(request),
        None => Err(PluginError::internal("FakeHost::with_remote was not called")),
    }
}
