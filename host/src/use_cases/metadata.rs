//! Metadata of one model from providers: found by its file's hash, or linked to a version that a person names.

use std::sync::Arc;
use std::time::Duration;

use super::blocking_act;
use super::identify;
use super::previews::Previews;
use crate::app::App;
use crate::library::editing::{EditError, Outcome};
use crate::library::history::ActKind;
use crate::library::record::{HashStatus, Record};
use crate::library::refreshing::{Said, Word};
use crate::model_types::TypeService;
pub use crate::moment::now;
use crate::providers::ProviderError;

/// How long a hash that is asked for may take: hundreds of gigabytes from a slow disk.
const HASH_LIMIT: Duration = Duration::from_secs(1800);
/// How often it is looked for.
const HASH_LOOK: Duration = Duration::from_millis(50);

/// Why a model has no new metadata.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The library has no such model.
    #[error("Model not found in cache")]
    NotInLibrary,
    /// Its hash can't be computed, so nobody can be asked.
    #[error("No SHA256 hash found")]
    NoHash,
    /// Providers.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// Its sidecar can't be written.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The work broke off.
    #[error("the work broke off: {0}")]
    Broken(String),
}

/// A model with a provider's word.
pub struct Refreshed {
    /// It.
    pub record: Arc<Record>,
    /// For taking the word back; none when it changed nothing.
    pub undo_id: Option<String>,
}

/// Asks providers for one model by its hash and takes their word.
///
/// # Errors
/// When there is no word. That nobody knows the model is noted in its sidecar; a failure of the moment is not.
pub async fn fetch(app: &Arc<App>, service: &Arc<TypeService>, path: &str) -> Result<Refreshed, MetadataError> {
    list_new(app, service, path).await?;
    let record = hashed(service, path).await?;
    let sha256 = record.sha256_hex();
    let found = identify::ask(&app.providers, &record, &sha256).await;
    let failure = found.as_ref().err().cloned();
    let said = identify::said(&app.providers, &record, found)?;
    let refreshed = take_one(app, service, ActKind::Refresh, path, said).await?;
    failure.map_or(Ok(refreshed), |error| Err(error.into()))
}

async fn list_new(app: &App, service: &Arc<TypeService>, path: &str) -> Result<(), MetadataError> {
    let listed = blocking_act::list_new(app, service, vec![path.to_owned()]).await;
    listed.map_err(|error| MetadataError::Broken(error.to_string()))
}

/// Why a model has no new metadata, as clients know it.
pub fn failure_text(path: &str, sha256: &str, error: &ProviderError) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    format!("Error fetching metadata: {error} (file={name}, sha256={sha256})")
}

/// Links a model to a version that a person names.
///
/// # Errors
/// When there is no such version, or it can't be asked for.
pub async fn relink(
    app: &Arc<App>,
    service: &Arc<TypeService>,
    path: &str,
    model: u64,
    version: Option<u64>,
) -> Result<Refreshed, MetadataError> {
    list_new(app, service, path).await?;
    if service.library.snapshot().by_path(path).is_none() {
        return Err(MetadataError::NotInLibrary);
    }
    let found = app.providers.version(Some(model), version).await?;
    let said = Said::Version {
        version: found.value,
        source: found.source.as_str(),
    };
    take_one(app, service, ActKind::Relink, path, said).await
}

async fn take_one(
    app: &Arc<App>,
    service: &Arc<TypeService>,
    kind: ActKind,
    path: &str,
    said: Said,
) -> Result<Refreshed, MetadataError> {
    let word = Word {
        path: path.to_owned(),
        said,
        at: now(),
        preview: None,
    };
    let words = Previews::default()
        .next(app, service, &mut vec![word].into_iter())
        .await;
    let outcome = take(app, service, kind, words).await?;
    let model = outcome.models.into_iter().next();
    let record = model.map_or(Ok(None), |model| model.result)?;
    Ok(Refreshed {
        record: record.ok_or(MetadataError::NotInLibrary)?,
        undo_id: outcome.undo_id,
    })
}

/// Takes words into sidecars away from the threads that serve requests.
///
/// # Errors
/// When the act can't be done at all.
pub async fn take(
    app: &Arc<App>,
    service: &Arc<TypeService>,
    kind: ActKind,
    words: Vec<Word>,
) -> Result<Outcome, MetadataError> {
    let done = blocking_act::act(app, service, move |library, tools| {
        library.take_words(tools, kind, &words)
    });
    let done = done.await.map_err(|error| MetadataError::Broken(error.to_string()))?;
    Ok(done?)
}

/// The record with its hash, which is computed when it is missing.
async fn hashed(service: &Arc<TypeService>, path: &str) -> Result<Arc<Record>, MetadataError> {
    let look = || {
        let snapshot = service.library.snapshot();
        snapshot.by_path(path).cloned().ok_or(MetadataError::NotInLibrary)
    };
    let record = look()?;
    if record.sha256.is_some() {
        return Ok(record);
    }
    identify::want_hashes(service, vec![path.to_owned()]).await;
    let until = tokio::time::Instant::now() + HASH_LIMIT;
    while tokio::time::Instant::now() < until {
        let record = look()?;
        if record.sha256.is_some() {
            return Ok(record);
        }
        if record.hash_status != HashStatus::Calculating {
            break;
        }
        tokio::time::sleep(HASH_LOOK).await;
    }
    Err(MetadataError::NoHash)
}
