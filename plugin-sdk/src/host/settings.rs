//! The person's settings for this plugin: the table `[plugins.ID]`.

use serde::de::DeserializeOwned;

#[cfg(target_family = "wasm")]
use crate::bindings::modelshelf::plugin::settings as import;
use crate::{PluginError, Result};

/// The value of a key; none when it isn't set.
///
/// # Errors
/// `Invalid`, naming the key, when the value does not fit `T`.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    let value: Option<String> = super::in_component_or_test!(import::get(key), crate::testing::state::setting(key));
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(&value)
        .map(Some)
        .map_err(|error| PluginError::invalid(format!("The plugin's setting `{key}` can't be used: {error}")))
}
