//! Which versions files are: many at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};

use crate::library::record::{AutoV3, Record};
use crate::library::refreshing::Said;
use crate::model_types::TypeService;
use crate::providers::{BATCH, Found, Object, ProviderError, Providers, Source, enrich, id_of, objects, sha256_of};

/// Single questions on their way at once.
const AT_ONCE: usize = 4;

/// What was said of one model.
pub type Answer = Result<Found<Object>, ProviderError>;

/// Asks for the hashes of models, away from the threads that serve requests.
pub async fn want_hashes(service: &Arc<TypeService>, paths: Vec<String>) {
    let own = service.clone();
    let handle = tokio::runtime::Handle::current();
    let asked = tokio::task::spawn_blocking(move || {
        let _runtime = handle.enter();
        own.library.want_hashes(&own.plugin, Some(&paths))
    });
    if let Err(error) = asked.await {
        tracing::error!(%error, "hashes are not asked for");
    }
}

/// Answers in the order of the models that were asked about, as they come.
pub type Answers<'a> = BoxStream<'a, Answer>;

/// Asks who models with a known hash are, at most [`BATCH`]: all at once where a provider can, the others one by one. The
/// answers come in the models' order.
///
/// # Errors
/// When the provider that is asked for all at once can't be asked now; nothing is known of any of them then.
pub async fn by_hash<'a>(providers: &'a Providers, models: &'a [Arc<Record>]) -> Result<Answers<'a>, ProviderError> {
    let hashes: Vec<String> = models.iter().map(|record| record.sha256_hex()).collect();
    let mut known = match bulk(providers, &hashes).await {
        Ok(known) => known,
        Err(
            error @ (ProviderError::Offline { .. }
            | ProviderError::RateLimited { .. }
            | ProviderError::Blocked { .. }
            | ProviderError::KeyRejected { .. }
            | ProviderError::KeyMissing { .. }
            | ProviderError::Region { .. }
            | ProviderError::Server { .. }),
        ) => return Err(error),
        // The route is not there, or not as it was: one by one goes all the same.
        Err(error) => {
            tracing::debug!(%error, "asking for many at once does not work");
            HashMap::new()
        }
    };
    let asks = models.iter().zip(hashes).map(|(model, hash)| {
        let known = known.remove(&hash);
        let ask: BoxFuture<'a, Answer> = Box::pin(async move {
            match known {
                Some(found) if is_linked_to(model, &found) => Ok(found),
                _ => ask(providers, model, &hash).await,
            }
        });
        ask
    });
    Ok(some_at_once(asks.collect()).boxed())
}

/// The answers to single questions, in their order, some of them on their way at once.
fn some_at_once<'a, T: Send + 'a>(asks: Vec<BoxFuture<'a, T>>) -> impl Stream<Item = T> + Send + 'a {
    futures_util::stream::iter(asks).buffered(AT_ONCE)
}

/// Asks for the version that a model is linked to; where there is none, or nobody has that version, for the one with this
/// hash. A link may be a person's choice that the hash knows nothing of, so the hash never replaces it.
///
/// Models from a repository are not looked for in archives.
pub async fn ask(providers: &Providers, model: &Record, hash: &str) -> Answer {
    if let (Some(version), None) = (model.remote.id, &model.hf_url) {
        match providers.version(model.remote.model_id, Some(version)).await {
            Err(error) if error.is_final() => {}
            // A provider that does not have the version may answer with another one of its model.
            Ok(found) if !is_linked_to(model, &found) => {}
            answer => return answer,
        }
    }
    if model.hf_url.is_some() {
        providers.version_by_hash_from(Source::CivitaiApi, hash).await
    } else {
        providers.version_by_hash(hash).await
    }
}

/// Whether a version is the one that a model is linked to, or the model has no link.
fn is_linked_to(model: &Record, found: &Found<Object>) -> bool {
    model
        .remote
        .id
        .is_none_or(|linked| id_of(found.value.get("id")) == Some(linked))
}

/// As [`by_hash`], while CivitAI is `away` for this reason: the others are asked, and the reason is the answer for what they
/// do not have. None when there is nobody else, or they have nothing.
pub async fn by_hash_of_others<'a>(
    providers: &'a Providers,
    models: &'a [Arc<Record>],
    away: &ProviderError,
) -> Option<Answers<'a>> {
    if providers.order().iter().all(|source| *source == Source::CivitaiApi) {
        return None;
    }
    let asks = models.iter().map(|model| {
        let ask: BoxFuture<'_, Answer> = Box::pin(async move {
            if model.hf_url.is_some() {
                return Err(away.clone());
            }
            let hash = model.sha256_hex();
            let found = providers.version_by_hash_besides(Source::CivitaiApi, &hash).await?;
            if is_linked_to(model, &found) {
                Ok(found)
            } else {
                Err(away.clone())
            }
        });
        ask
    });
    let asks: Vec<_> = asks.collect();
    let answers: Vec<Answer> = some_at_once(asks).collect().await;
    answers.iter().any(Result::is_ok).then(|| {
        let answers: Vec<Answer> = answers
            .into_iter()
            .map(|answer| answer.map_err(|_| away.clone()))
            .collect();
        futures_util::stream::iter(answers).boxed()
    })
}

/// What is noted of an answer.
///
/// # Errors
/// When nothing is: it says nothing of the model, or the model is from elsewhere, where nobody need know it.
pub fn said(providers: &Providers, model: &Record, answer: Answer) -> Result<Said, ProviderError> {
    match answer {
        Ok(found) => Ok(Said::Version {
            version: found.value,
            source: found.source.as_str(),
        }),
        Err(error) if error.is_final() && model.hf_url.is_none() => Ok(Said::Unknown {
            archive_asked: providers.order().contains(&Source::ArchiveDb),
        }),
        Err(error) => Err(error),
    }
}

/// Versions by hash, with their models inside.
async fn bulk(providers: &Providers, hashes: &[String]) -> Result<HashMap<String, Found<Object>>, ProviderError> {
    let found = providers.versions_by_hashes(hashes).await?;
    let ids: HashSet<u64> = found
        .value
        .iter()
        .filter_map(|version| id_of(version.get("modelId")))
        .collect();
    let ids: Vec<u64> = ids.into_iter().collect();
    let mut models: HashMap<u64, Object> = HashMap::new();
    for ids in ids.chunks(BATCH) {
        let answer = providers.models(ids).await?;
        models.extend(
            answer
                .value
                .into_iter()
                .filter_map(|model| Some((id_of(model.get("id"))?, model))),
        );
    }
    let mut known = HashMap::new();
    for mut version in found.value {
        // Without its model a version is asked for alone, which also finds out what became of the model.
        let Some(model) = id_of(version.get("modelId")).and_then(|id| models.get(&id)) else {
            continue;
        };
        enrich(&mut version, model);
        let of_files: Vec<String> = objects(version.get("files")).filter_map(sha256_of).collect();
        for hash in of_files.into_iter().filter(|hash| hashes.contains(hash)) {
            let found = Found {
                value: version.clone(),
                source: found.source,
            };
            known.insert(hash, found);
        }
    }
    Ok(known)
}

/// As [`by_hint`], several on their way at once. The answers are in the models' order.
pub async fn by_hints(
    providers: &Providers,
    models: &[Arc<Record>],
) -> Vec<Result<Option<Found<Object>>, ProviderError>> {
    let asks = models.iter().map(|model| {
        let ask: BoxFuture<'_, _> = Box::pin(by_hint(providers, model));
        ask
    });
    some_at_once(asks.collect()).collect().await
}

/// Asks by the hash that a file's header says of its tensors, for a file whose own hash is not known yet. A version counts
/// only when it lists that very hash. None where the header says nothing, or nobody knows it.
///
/// # Errors
/// When nobody can be asked now.
pub async fn by_hint(providers: &Providers, model: &Record) -> Result<Option<Found<Object>>, ProviderError> {
    let AutoV3::Known(hint) = &model.autov3 else {
        return Ok(None);
    };
    let found = match ask(providers, model, hint).await {
        Ok(found) => found,
        Err(error) if error.is_final() => return Ok(None),
        Err(error) => return Err(error),
    };
    let lists_it = objects(found.value.get("files")).any(|file| {
        let own = file.get("hashes").and_then(|hashes| hashes.get("AutoV3")?.as_str());
        own.is_some_and(|own| own.to_lowercase().starts_with(&**hint))
    });
    Ok(lists_it.then_some(found))
}
