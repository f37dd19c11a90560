//! The models of the plugin's own type. All answers of one call into the plugin come from the same snapshot.

#[cfg(target_family = "wasm")]
use crate::bindings::modelshelf::plugin::library as import;
use crate::{Json, Model, Result};

pub use crate::bindings::modelshelf::plugin::library::{Facet, Lookup, Order, Page, Root, Selection, TagLogic};

use super::in_component_or_test;
#[cfg(not(target_family = "wasm"))]
use crate::testing::state;

/// How many models one [`query`] gives at most.
pub const MAX_LIMIT: u32 = 1000;

/// Models `offset..offset+limit` of an ordered selection; a `limit` above [`MAX_LIMIT`] counts as that.
///
/// # Errors
/// `Unsupported` where there is no library, as in `describe`.
pub fn query(which: &Selection, order: Order, offset: u64, limit: u32) -> Result<Page> {
    in_component_or_test!(
        import::query(which, order, offset, limit).map_err(Into::into),
        state::with(|state| state.library.query(which, order, offset, limit)),
    )
}

/// Calls `visit` for each model of an ordered selection, however many there are, without holding them all.
///
/// # Errors
/// As [`query`], and whatever `visit` returns, which ends the walk.
pub fn for_each(which: &Selection, order: Order, mut visit: impl FnMut(Model) -> Result<()>) -> Result<()> {
    let mut offset = 0;
    loop {
        let page = query(which, order, offset, MAX_LIMIT)?;
        let given = page.models.len() as u64;
        page.models.into_iter().try_for_each(&mut visit)?;
        offset += given;
        // A page that gives nothing ends the walk too, or a wrong total would never end.
        if given == 0 || offset >= page.total {
            return Ok(());
        }
    }
}

/// `count` different models at random, fewer when there are fewer, at most [`MAX_LIMIT`]. The same seed gives the same models while the
/// library stays the same; take it from [`Request::seed`](crate::Request::seed).
///
/// # Errors
/// As [`query`].
pub fn random_sample(which: &Selection, count: u32, seed: u64) -> Result<Vec<Model>> {
    in_component_or_test!(
        import::random_sample(which, count, seed).map_err(Into::into),
        state::with(|state| state.library.random_sample(which, count, seed)),
    )
}

/// One model, or none when nothing matches.
///
/// # Errors
/// As [`query`].
pub fn get(key: &Lookup) -> Result<Option<Model>> {
    in_component_or_test!(
        import::get(key).map_err(Into::into),
        state::with(|state| Ok(state.library.get(key).cloned())),
    )
}

/// The whole cache entry of the model with that absolute path: one JSON object, as `info` routes answer it.
///
/// # Errors
/// As [`query`].
pub fn entry(path: &str) -> Result<Option<Json>> {
    in_component_or_test!(
        import::entry(path).map_err(Into::into),
        state::with(|state| Ok(state.library.entry(path))),
    )
}

/// Values with their counts, most frequent first; a `limit` of 0 is none.
///
/// # Errors
/// As [`query`].
pub fn facets(kind: Facet, limit: u32) -> Result<Vec<(String, u64)>> {
    in_component_or_test!(
        import::facets(kind, limit).map_err(Into::into),
        state::with(|state| Ok(state.library.facets(kind, limit))),
    )
}

/// The type's folders in order.
///
/// # Errors
/// As [`query`].
pub fn roots() -> Result<Vec<Root>> {
    in_component_or_test!(
        import::roots().map_err(Into::into),
        state::with(|state| Ok(state.library.roots.clone())),
    )
}

/// Merges an object into the sidecar of the model with that absolute path and returns the model as it then is.
///
/// # Errors
/// `NotFound` for an unknown path; `Invalid` when the patch is no object.
pub fn patch_metadata(path: &str, patch: &serde_json::Value) -> Result<Model> {
    let patch = patch.to_string();
    in_component_or_test!(
        import::patch_metadata(path, &patch).map_err(Into::into),
        state::with(|state| state.library.patch_metadata(path, &patch)),
    )
}
