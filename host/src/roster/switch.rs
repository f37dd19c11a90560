//! Plugins that a person switches off and on, and those that are taken out of service because they trap too often.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::swap::{Placed, replace, settle, take_place};
use super::{Entry, SwapError, announce};
use crate::app::App;
use crate::model_types::TypeSlot;

/// Takes a type out of service until it is enabled again. Its records stay in the store.
///
/// # Errors
/// When there is no such plugin, or the choice can't be kept.
pub async fn disable(app: &Arc<App>, id: &str) -> Result<(), SwapError> {
    let turn = app.switching.clone().lock_owned().await;
    known(app, id)?;
    choose(app, id, true).await?;
    let types = app.types.load_full();
    let own: Vec<_> = types.iter().filter(|slot| slot.info.id() == id).collect();
    own.iter().for_each(|slot| slot.disable());
    leave(app, own.into_iter(), turn);
    tracing::info!(id, "plugin disabled");
    announce(app);
    Ok(())
}

/// Serves a type again.
///
/// # Errors
/// When there is no such plugin, the choice can't be kept, or it can't be served any more.
pub async fn enable(app: &Arc<App>, id: &str) -> Result<(), SwapError> {
    let turn = app.switching.clone().lock_owned().await;
    let entry = known(app, id)?;
    choose(app, id, false).await?;
    let fit = entry.plugin.filter(|plugin| plugin.quarantine().is_none());
    let Some(plugin) = fit else {
        drop(turn);
        let wasm = entry.source.read().await?;
        return replace(app, &entry.source, &wasm).await.map(|_| ());
    };
    let is_served = |slot: &Arc<TypeSlot>| slot.info.id() == id && slot.service().is_some();
    if !app.types.load().iter().any(is_served) {
        let placed = take_place(app, &entry.source, &plugin).await?;
        settle(app, placed, turn);
    }
    tracing::info!(id, "plugin enabled");
    announce(app);
    Ok(())
}

/// Takes plugins out of service that were quarantined, for as long as the server runs.
pub async fn watch_quarantine(app: Arc<App>) {
    loop {
        app.roster.engine.quarantined().notified().await;
        let turn = app.switching.clone().lock_owned().await;
        let types = app.types.load_full();
        leave(
            &app,
            types.iter().filter(|slot| slot.plugin.quarantine().is_some()),
            turn,
        );
        announce(&app);
    }
}

/// Closes types' gates, and ends what their libraries do by themselves before the next change of plugins.
fn leave<'s>(app: &Arc<App>, slots: impl Iterator<Item = &'s Arc<TypeSlot>>, turn: OwnedMutexGuard<()>) {
    let left = slots
        .filter_map(|slot| slot.detach())
        .map(|service| service.library.clone());
    let mut placed = Placed::default();
    placed.left = left.collect();
    settle(app, placed, turn);
}

fn known(app: &App, id: &str) -> Result<Entry, SwapError> {
    let entry = app.roster.entries().into_iter().find(|entry| entry.id() == Some(id));
    entry.ok_or_else(|| SwapError::Unknown(id.to_owned()))
}

async fn choose(app: &Arc<App>, id: &str, disabled: bool) -> Result<(), SwapError> {
    let (own, id) = (app.clone(), id.to_owned());
    let kept = tokio::task::spawn_blocking(move || own.roster.choices.disable(&id, disabled)).await;
    kept.map_err(|error| SwapError::BrokeOff(error.to_string()))?
        .map_err(SwapError::from)
}
