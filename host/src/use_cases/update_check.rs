//! Asking providers which models have newer versions, and which licence models have. Source: contract section 6.11.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::metadata::{self, MetadataError, now};
use crate::app::App;
use crate::cancel::Cancel;
use crate::downloads::preview;
use crate::library::history::ActKind;
use crate::library::record::Record;
use crate::library::refreshing::{LICENCE_FIELDS, Said, Word};
use crate::library::sidecar::{self, Sidecar};
use crate::model_types::TypeService;
use crate::providers::{BATCH, Object, ProviderError, Source, id_of, objects};
use crate::updates::{STALE, Wishes, main_hash};

/// Why updates could not be looked for.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Providers.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// What was learnt can't be kept.
    #[error("what was learnt can't be written to updates.sqlite in the data folder: {0}")]
    Kept(#[from] rusqlite::Error),
    /// Sidecars can't be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The work broke off.
    #[error("the work broke off: {0}")]
    Broken(String),
}

/// Batches in a row that a provider refuses, after which it is not asked about the others.
const GIVE_UP: usize = 3;

/// Which models to ask about.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only these, if any are named.
    pub models: Option<HashSet<u64>>,
    /// Only those with a file in this folder or below.
    pub folder: Option<String>,
    /// Also those that were asked about lately.
    pub force: bool,
}

/// Models of a library by their provider's id, each with the versions that are here.
pub fn local(service: &TypeService, wanted: &Wanted) -> BTreeMap<u64, Vec<u64>> {
    let snapshot = service.library.snapshot();
    let mut models: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let folder = wanted.folder.as_deref().map(|folder| folder.trim_matches('/'));
    let is_below = |record: &Record| folder.is_none_or(|folder| folder.is_empty() || record.is_below(folder));
    for record in snapshot.visible().iter().filter_map(|slot| snapshot.get(slot)) {
        let Some(model) = record.remote.model_id.filter(|id| *id > 0) else {
            continue;
        };
        if is_below(record) && wanted.models.as_ref().is_none_or(|models| models.contains(&model)) {
            let versions = models.entry(model).or_default();
            versions.extend(record.remote.id.filter(|id| !versions.contains(id)));
        }
    }
    models
}

/// How a check ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Checked {
    /// To its end.
    Done {
        /// The models with an update.
        updates: Vec<u64>,
        /// Models that the provider failed to answer about, with its error.
        failures: Vec<(u64, ProviderError)>,
    },
    /// Somebody cancelled it.
    Cancelled,
}

/// Asks about models that were not asked about lately, in batches.
///
/// # Errors
/// When nobody can be asked now; what was learnt until then stays.
pub async fn check(
    app: &Arc<App>,
    service: &Arc<TypeService>,
    wanted: &Wanted,
    cancel: &Cancel,
) -> Result<Checked, CheckError> {
    let models = local(service, wanted);
    let model_type = service.plugin.info().id().to_owned();
    let is_old = |id: &u64| {
        let checked = app.updates.get(&model_type, *id).and_then(|own| own.checked_at);
        wanted.force || checked.is_none_or(|at| now() - at > STALE)
    };
    let old: Vec<u64> = models.keys().copied().filter(is_old).collect();
    let mut failures: Vec<(u64, ProviderError)> = Vec::new();
    // Batches in a row of which nothing was learnt, and the last error.
    let mut refused: Option<(usize, ProviderError)> = None;
    for batch in old.chunks(BATCH) {
        if cancel.is_set() {
            return Ok(Checked::Cancelled);
        }
        if let Some((_, error)) = refused.as_ref().filter(|(batches, _)| *batches >= GIVE_UP) {
            failures.extend(batch.iter().map(|id| (*id, error.clone())));
            continue;
        }
        let failed = learn(app, &model_type, batch, &models).await?;
        refused = match failed.last() {
            Some((_, error)) if failed.len() == batch.len() => {
                Some((refused.map_or(1, |(batches, _)| batches + 1), error.clone()))
            }
            _ => None,
        };
        failures.extend(failed);
    }
    let wishes = Wishes::new(&app.active.load().contract, now());
    let has_update = |(id, local): &(&u64, &Vec<u64>)| {
        let tracked = app.updates.get(&model_type, **id);
        tracked.is_some_and(|tracked| crate::updates::has_update(&tracked, local, wishes))
    };
    Ok(Checked::Done {
        updates: models.iter().filter(has_update).map(|(id, _)| *id).collect(),
        failures,
    })
}

/// Whether nobody can be asked now. Other errors are about the models that were asked for.
fn nobody_answers(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::RateLimited { .. } | ProviderError::Offline { .. } | ProviderError::Unsupported
    )
}

/// Asks about these models, at most a batch: those that the provider failed to answer about, with its error.
async fn learn(
    app: &Arc<App>,
    model_type: &str,
    ids: &[u64],
    local: &BTreeMap<u64, Vec<u64>>,
) -> Result<Vec<(u64, ProviderError)>, CheckError> {
    let answer = match app.providers.models(ids).await {
        Ok(answer) => answer,
        Err(error) if nobody_answers(&error) => return Err(error.into()),
        Err(error) => return Ok(ids.iter().map(|id| (*id, error.clone())).collect()),
    };
    let mut failures = Vec::new();
    let mut found: HashMap<u64, Object> = HashMap::new();
    found.extend(
        answer
            .value
            .into_iter()
            .filter_map(|model| Some((id_of(model.get("id"))?, model))),
    );
    let mut deleted = HashSet::new();
    for id in ids
        .iter()
        .filter(|id| !found.contains_key(id))
        .copied()
        .collect::<Vec<_>>()
    {
        // Missing among many is no proof. An archive has single versions, and is no word on what can be had.
        match app.providers.model_from(Source::CivitaiApi, id).await {
            Ok(answer) => {
                found.insert(id, answer.value);
            }
            Err(error) if error.is_final() => {
                deleted.insert(id);
            }
            Err(error) if nobody_answers(&error) => return Err(error.into()),
            Err(error) => failures.push((id, error)),
        }
    }
    let access = access_of(app, &found, local).await?;
    let (own, model_type, ids) = (app.clone(), model_type.to_owned(), ids.to_vec());
    let at = now();
    let active = app.active.load_full();
    let kept = tokio::task::spawn_blocking(move || {
        let picture = |version: &Object| preview::choose(version, &active.contract).map(|picture| picture.url);
        own.updates.change(&model_type, &ids, |id, tracked| {
            if let Some(model) = found.get(&id) {
                tracked.learn(model, at, picture);
                for version in &mut tracked.versions {
                    if let Some(said) = access.get(&version.id) {
                        version.learn_access(said);
                    }
                }
            } else if deleted.contains(&id) {
                tracked.ignored = true;
                tracked.checked_at = Some(at);
            }
        })
    });
    kept.await.map_err(|error| CheckError::Broken(error.to_string()))??;
    Ok(failures)
}

/// Who may have versions that are newer than what is here: only an answer by hash says so.
async fn access_of(
    app: &Arc<App>,
    models: &HashMap<u64, Object>,
    local: &BTreeMap<u64, Vec<u64>>,
) -> Result<HashMap<u64, Object>, CheckError> {
    let mut hashes = Vec::new();
    for (id, model) in models {
        let highest = local.get(id).and_then(|own| own.iter().max()).copied().unwrap_or(0);
        let newer = objects(model.get("modelVersions"))
            .filter(|version| id_of(version.get("id")).is_some_and(|id| id > highest))
            // What says it already need not be asked about.
            .filter(|version| !(version.contains_key("usageControl") && version.contains_key("earlyAccessEndsAt")));
        hashes.extend(newer.filter_map(main_hash));
    }
    let mut access = HashMap::new();
    for batch in hashes.chunks(BATCH) {
        match app.providers.versions_by_hashes(batch).await {
            Ok(answer) => access.extend(
                answer
                    .value
                    .into_iter()
                    .filter_map(|version| Some((id_of(version.get("id"))?, version))),
            ),
            Err(error @ (ProviderError::RateLimited { .. } | ProviderError::Offline { .. })) => {
                return Err(error.into());
            }
            // Without it everything else is still known.
            Err(error) => tracing::debug!(%error, "who may have new versions is not known"),
        }
    }
    Ok(access)
}

/// Asks about one model now.
///
/// # Errors
/// As [`check`].
pub async fn check_one(app: &Arc<App>, service: &Arc<TypeService>, model: u64) -> Result<(), CheckError> {
    let local = local(service, &Wanted::default());
    let failures = learn(app, service.plugin.info().id(), &[model], &local).await?;
    failures
        .into_iter()
        .next()
        .map_or(Ok(()), |(_, error)| Err(error.into()))
}

/// What became of models without a licence.
#[derive(Debug, Default)]
pub struct Licences {
    /// Models that have one now: id and path.
    pub updated: Vec<(u64, String)>,
    /// Models that no provider knows.
    pub missing: Vec<u64>,
    /// Paths whose sidecar could not be written, with the reason.
    pub errors: Vec<(String, String)>,
}

/// Fills in licences that sidecars lack.
///
/// # Errors
/// When providers can't be asked.
pub async fn fill_licences(
    app: &Arc<App>,
    service: &Arc<TypeService>,
    models: Option<HashSet<u64>>,
) -> Result<Licences, CheckError> {
    let without = without_licence(service, models).await?;
    let ids: Vec<u64> = without.keys().copied().collect();
    let mut done = Licences::default();
    for batch in ids.chunks(BATCH) {
        let answer = match app.providers.models(batch).await {
            Ok(answer) => answer,
            Err(error) if nobody_answers(&error) => return Err(error.into()),
            Err(error) => {
                let paths = batch.iter().flat_map(|id| without.get(id)).flatten();
                done.errors.extend(paths.map(|path| (path.clone(), error.to_string())));
                continue;
            }
        };
        let mut words = Vec::new();
        let mut of_path: HashMap<String, u64> = HashMap::new();
        for id in batch {
            let model = answer.value.iter().find(|model| id_of(model.get("id")) == Some(*id));
            let Some(model) = model else {
                done.missing.push(*id);
                continue;
            };
            // What the provider leaves out is written as it counts, so that it is not asked about again. Source: contract
            // section 2.5.
            let left_out = |field: &str| match field {
                "allowCommercialUse" => serde_json::json!(["Sell"]),
                _ => true.into(),
            };
            let licence: Object = LICENCE_FIELDS
                .iter()
                .map(|field| {
                    let said = model.get(*field).filter(|said| !said.is_null());
                    let value = said.cloned().unwrap_or_else(|| left_out(field));
                    ((*field).to_owned(), value)
                })
                .collect();
            for path in without.get(id).into_iter().flatten() {
                of_path.insert(path.clone(), *id);
                words.push(Word {
                    path: path.clone(),
                    said: Said::Licence(licence.clone()),
                    at: now(),
                    preview: None,
                });
            }
        }
        if words.is_empty() {
            continue;
        }
        let outcome = metadata::take(app, service, ActKind::Refresh, words).await?;
        for model in outcome.models {
            match model.result {
                Ok(_) => done
                    .updated
                    .push((of_path.get(&model.path).copied().unwrap_or(0), model.path)),
                Err(error) => done.errors.push((model.path, error.to_string())),
            }
        }
    }
    Ok(done)
}

/// Paths of models whose sidecars lack a part of the licence, by the provider's id.
async fn without_licence(
    service: &Arc<TypeService>,
    models: Option<HashSet<u64>>,
) -> Result<BTreeMap<u64, Vec<String>>, CheckError> {
    let service = service.clone();
    let look = move || {
        let snapshot = service.library.snapshot();
        let mut without: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for record in snapshot.visible().iter().filter_map(|slot| snapshot.get(slot)) {
            let Some(id) = record
                .remote
                .model_id
                .filter(|id| models.as_ref().is_none_or(|own| own.contains(id)))
            else {
                continue;
            };
            let folder = Path::new(&*record.path).parent().unwrap_or(Path::new("/"));
            let Ok(Some(sidecar)) = Sidecar::read(&sidecar::path_for(folder, &record.file_name)) else {
                continue;
            };
            let model = sidecar.civitai().and_then(|stored| stored.get("model")?.as_object());
            let is_whole = model.is_some_and(|model| LICENCE_FIELDS.iter().all(|field| model.contains_key(*field)));
            if !is_whole {
                without.entry(id).or_default().push(record.path.to_string());
            }
        }
        without
    };
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| CheckError::Broken(error.to_string()))
}
