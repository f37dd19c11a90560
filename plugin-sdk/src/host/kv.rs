//! Small state of the plugin's own that outlives calls and restarts. The descriptor must ask for it.

use crate::Result;
#[cfg(target_family = "wasm")]
use crate::bindings::modelshelf::plugin::kv as import;

/// The value of a key.
///
/// # Errors
/// `Unauthorised` or `Invalid` from the host when the plugin has no right to own state.
pub fn get(key: &str) -> Result<Option<Vec<u8>>> {
    super::in_component_or_test!(
        import::get(key).map_err(Into::into),
        crate::testing::state::with(|state| state.kv_get(key)),
    )
}

/// Stores a value: key at most 256 bytes, value at most 64 KiB, 1 MiB in all.
///
/// # Errors
/// As [`get`]; `Invalid` for a key or value above its limit, `Conflict` when all of it would be above the
/// plugin's quota.
pub fn set(key: &str, value: &[u8]) -> Result<()> {
    super::in_component_or_test!(
        import::set(key, value).map_err(Into::into),
        crate::testing::state::with(|state| state.kv_set(key, value)),
    )
}

/// Forgets a key. Forgetting an unknown key is no error.
///
/// # Errors
/// As [`get`].
pub fn delete(key: &str) -> Result<()> {
    super::in_component_or_test!(
        import::delete(key).map_err(Into::into),
        crate::testing::state::with(|state| state.kv_delete(key)),
    )
}

/// Keys that start with this text, sorted; at most 1000.
///
/// # Errors
/// As [`get`].
pub fn list_keys(prefix: &str) -> Result<Vec<String>> {
    super::in_component_or_test!(
        import::list_keys(prefix).map_err(Into::into),
        crate::testing::state::with(|state| state.kv_list_keys(prefix)),
    )
}
