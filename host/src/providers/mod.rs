//! Where metadata of models comes from: providers behind one trait, asked in the order that settings give.
//!
//! Knows nothing of the library or of HTTP towards clients. A transient failure is never taken for "not found": only
//! when every provider that was asked does not have a thing is it not found.

mod answers;
mod archive_db;
pub mod archive_file;
mod civarchive;
mod civitai;
mod client;
mod error;
mod options;
mod provider;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use self::client::Client;
pub use self::error::ProviderError;
pub use self::options::{Options, Source, archive_path};
pub use self::provider::{BATCH, Object, Provider, UserModels, enrich, id_of, objects, sha256_of};

use self::answers::Answers;
use self::archive_db::ArchiveDb;
use self::civarchive::CivArchive;
use self::civitai::Civitai;
use crate::net::budget::{Budgets, HostState};
use crate::settings::ProviderSettings;

/// What was found, and by whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// The answer.
    pub value: T,
    /// Who gave it.
    pub source: Source,
}

/// What settings make.
struct Chain {
    client: Arc<Client>,
    providers: Vec<Arc<dyn Provider>>,
}

/// All providers, as settings have them now.
pub struct Providers {
    chain: ArcSwap<Chain>,
    budgets: Arc<Budgets>,
    answers: Arc<Answers>,
    made_from: Mutex<Options>,
}

impl Providers {
    /// Providers by these options.
    ///
    /// # Errors
    /// When an option can't be used.
    pub fn new(own: &ProviderSettings, options: Options) -> Result<Self, ProviderError> {
        let budgets = Arc::new(Budgets::new(own));
        let fresh = Duration::try_from_secs_f64(own.cache_seconds).unwrap_or_default();
        let answers = Arc::new(Answers::new(fresh));
        let chain = chain(&options, &budgets, &answers)?;
        Ok(Self {
            chain: ArcSwap::from_pointee(chain),
            budgets,
            answers,
            made_from: Mutex::new(options),
        })
    }

    /// Takes other options up; requests on their way end as they began.
    ///
    /// # Errors
    /// When an option can't be used; the old ones stay.
    pub fn configure(&self, options: Options) -> Result<(), ProviderError> {
        let mut made_from = self.made_from.lock().unwrap_or_else(PoisonError::into_inner);
        if *made_from == options {
            return Ok(());
        }
        let chain = chain(&options, &self.budgets, &self.answers)?;
        self.chain.store(Arc::new(chain));
        // Another key may see more, and another proxy reach more.
        self.answers.clear();
        self.budgets.forget_failures();
        *made_from = options;
        Ok(())
    }

    /// The client of now, for requests besides the providers'.
    pub fn client(&self) -> Arc<Client> {
        self.chain.load().client.clone()
    }

    /// Whether it is CivitAI that failed, and not one of the others.
    pub fn is_of_civitai(&self, error: &ProviderError) -> bool {
        error.host() == Some(&*self.client().civitai_host())
    }

    /// How the hosts that were asked do.
    pub fn hosts(&self) -> Vec<HostState> {
        self.budgets.states()
    }

    /// Changes whenever a host goes away, comes back or asks for a pause.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.budgets.changes()
    }

    /// Who is asked, in order.
    pub fn order(&self) -> Vec<Source> {
        self.chain.load().providers.iter().map(|own| own.source()).collect()
    }

    /// The version that has a file with this SHA-256 (lower-case hex).
    ///
    /// # Errors
    /// [`ProviderError::NotFound`] only when nobody has it; else the first failure.
    pub async fn version_by_hash(&self, sha256: &str) -> Result<Found<Object>, ProviderError> {
        let chain = self.chain.load_full();
        chain.first(None, |provider| provider.version_by_hash(sha256)).await
    }

    /// A version with its model inside.
    ///
    /// # Errors
    /// As [`version_by_hash`](Self::version_by_hash).
    pub async fn version(&self, model: Option<u64>, version: Option<u64>) -> Result<Found<Object>, ProviderError> {
        let chain = self.chain.load_full();
        chain.first(None, |provider| provider.version(model, version)).await
    }

    /// As [`version`](Self::version), asking this one first.
    ///
    /// # Errors
    /// As [`version_by_hash`](Self::version_by_hash).
    pub async fn version_from(
        &self,
        first: Source,
        model: Option<u64>,
        version: Option<u64>,
    ) -> Result<Found<Object>, ProviderError> {
        let chain = self.chain.load_full();
        chain
            .first(Some(first), |provider| provider.version(model, version))
            .await
    }

    /// As [`version_by_hash`](Self::version_by_hash), asking this one alone.
    ///
    /// # Errors
    /// [`ProviderError::Unsupported`] when it is switched off.
    pub async fn version_by_hash_from(&self, only: Source, sha256: &str) -> Result<Found<Object>, ProviderError> {
        let chain = self.chain.load_full();
        let value = chain.only(only)?.version_by_hash(sha256).await?;
        Ok(Found { value, source: only })
    }

    /// As [`version_by_hash`](Self::version_by_hash), asking all but this one.
    ///
    /// # Errors
    /// [`ProviderError::Unsupported`] when there is nobody else.
    pub async fn version_by_hash_besides(&self, away: Source, sha256: &str) -> Result<Found<Object>, ProviderError> {
        let chain = self.chain.load_full();
        let others = chain.providers.iter().filter(|own| own.source() != away);
        first_of(others, |provider| provider.version_by_hash(sha256)).await
    }

    /// As [`model`](Self::model), asking this one alone.
    ///
    /// # Errors
    /// [`ProviderError::Unsupported`] when it is switched off.
    pub async fn model_from(&self, only: Source, model: u64) -> Result<Found<Object>, ProviderError> {
        let chain = self.chain.load_full();
        let value = chain.only(only)?.model(model).await?;
        Ok(Found { value, source: only })
    }

    /// A model with its versions.
    ///
    /// # Errors
    /// As [`version_by_hash`](Self::version_by_hash).
    pub async fn model(&self, model: u64) -> Result<Found<Object>, ProviderError> {
        let chain = self.chain.load_full();
        chain.first(None, |provider| provider.model(model)).await
    }

    /// Several models, at most [`BATCH`]; unknown ones are missing in the answer.
    ///
    /// # Errors
    /// As [`version_by_hash`](Self::version_by_hash).
    pub async fn models(&self, models: &[u64]) -> Result<Found<Vec<Object>>, ProviderError> {
        let chain = self.chain.load_full();
        chain.first(None, |provider| provider.models(models)).await
    }

    /// Versions by hashes of files, at most [`BATCH`], without their models; unknown ones are missing.
    ///
    /// # Errors
    /// As [`version_by_hash`](Self::version_by_hash).
    pub async fn versions_by_hashes(&self, sha256: &[String]) -> Result<Found<Vec<Object>>, ProviderError> {
        let chain = self.chain.load_full();
        chain.first(None, |provider| provider.versions_by_hashes(sha256)).await
    }

    /// A page of a user's models; the first one without a cursor.
    ///
    /// # Errors
    /// As [`version_by_hash`](Self::version_by_hash).
    pub async fn models_of_user(&self, user: &str, cursor: Option<&str>) -> Result<UserModels, ProviderError> {
        let chain = self.chain.load_full();
        let found = chain
            .first(None, |provider| provider.models_of_user(user, cursor))
            .await?;
        Ok(found.value)
    }

    /// How many models a user has; none when nobody says so.
    ///
    /// # Errors
    /// As [`version_by_hash`](Self::version_by_hash).
    pub async fn count_of_user(&self, user: &str) -> Result<Option<u64>, ProviderError> {
        let chain = self.chain.load_full();
        Ok(chain.first(None, |provider| provider.count_of_user(user)).await?.value)
    }

    /// Names of base models that are in use.
    ///
    /// # Errors
    /// As [`version_by_hash`](Self::version_by_hash).
    pub async fn base_models(&self) -> Result<Vec<String>, ProviderError> {
        let chain = self.chain.load_full();
        Ok(chain.first(None, |provider| provider.base_models()).await?.value)
    }
}

impl Chain {
    /// This one, when it is switched on.
    fn only(&self, source: Source) -> Result<&dyn Provider, ProviderError> {
        let provider = self.providers.iter().find(|own| own.source() == source);
        provider.map(|own| &**own).ok_or(ProviderError::Unsupported)
    }

    /// The first answer, asking `preferred` before the others.
    async fn first<'q, T>(
        &'q self,
        preferred: Option<Source>,
        ask: impl Fn(&'q dyn Provider) -> provider::Answer<'q, T>,
    ) -> Result<Found<T>, ProviderError> {
        let mut order: Vec<&Arc<dyn Provider>> = self.providers.iter().collect();
        order.sort_by_key(|own| Some(own.source()) != preferred);
        first_of(order.into_iter(), ask).await
    }
}

/// The first answer of these.
async fn first_of<'q, T>(
    order: impl Iterator<Item = &'q Arc<dyn Provider>>,
    ask: impl Fn(&'q dyn Provider) -> provider::Answer<'q, T>,
) -> Result<Found<T>, ProviderError> {
    let mut failure: Option<ProviderError> = None;
    for provider in order {
        let source = provider.source();
        match ask(&**provider).await {
            Ok(value) => return Ok(Found { value, source }),
            Err(ProviderError::Unsupported) => {}
            Err(error) => {
                tracing::debug!(provider = source.as_str(), %error, "no answer");
                // Who can't be asked now may have it, so that counts for more than a "not found".
                let counts = failure
                    .as_ref()
                    .is_none_or(|other| other.is_final() && !error.is_final());
                if counts {
                    failure = Some(error);
                }
            }
        }
    }
    Err(failure.unwrap_or(ProviderError::Unsupported))
}

fn chain(options: &Options, budgets: &Arc<Budgets>, answers: &Arc<Answers>) -> Result<Chain, ProviderError> {
    let client = Arc::new(Client::new(options, budgets.clone(), answers.clone())?);
    let providers = options
        .order
        .iter()
        .map(|source| -> Arc<dyn Provider> {
            match source {
                Source::CivitaiApi => Arc::new(Civitai::new(client.clone(), options.civitai.clone())),
                Source::CivArchive => Arc::new(CivArchive::new(client.clone(), options.civarchive.clone())),
                Source::ArchiveDb => Arc::new(ArchiveDb::new(&options.archive_db)),
            }
        })
        .collect();
    Ok(Chain { client, providers })
}
