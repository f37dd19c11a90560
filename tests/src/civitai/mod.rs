//! A stand-in for CivitAI on this machine, with data of its own: its REST API, the host that files come from, and the
//! archive of what was deleted, each on a port of its own, as they are hosts of their own there.
//!
//! Tests say what it has ([`CatalogModel`]), who may have it, and what goes wrong ([`Fault`]); afterwards they look at
//! what it was asked ([`Asked`]).

mod archive;
mod catalog;
mod faults;
mod limit;
mod routes;
mod storage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use catalog::{CatalogFile, CatalogModel, CatalogVersion};
pub use faults::Fault;
pub use storage::Storage;

/// One request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query string.
    pub target: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The header `If-None-Match`.
    pub tag: Option<String>,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// Body of a POST.
    pub body: Option<Value>,
    /// Status of the answer.
    pub status: u16,
    /// When it came.
    pub at: Instant,
}

/// What it has, and what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    models: BTreeMap<u64, CatalogModel>,
    // Models of one page of a list; none is 100.
    page: Option<usize>,
    base_models: Vec<String>,
    // Files by name.
    shelf: BTreeMap<String, Vec<u8>>,
    limit: Option<limit::Limit>,
    // Whether many hashes can't be asked about at once.
    no_batches: bool,
    archived: BTreeMap<u64, CatalogModel>,
    // Where the archive says that files are; none is a place that there is not.
    mirror: Option<String>,
    keys: Option<Vec<String>>,
    faults: Vec<Fault>,
    asked: Vec<Asked>,
    rules: Storage,
    served: storage::Served,
    api: String,
    storage: String,
    archive: String,
}

/// Shared by the listeners.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Inner>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running stand-in; ended when dropped.
#[derive(Debug)]
pub struct Civitai {
    shared: Shared,
    tasks: Vec<JoinHandle<()>>,
}

impl Civitai {
    /// Starts it with these models.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(models: impl IntoIterator<Item = CatalogModel>) -> Result<Self> {
        Self::start_at(models, "127.0.0.1:0").await
    }

    /// As [`start`](Self::start), with the API at this address.
    ///
    /// # Errors
    /// When it can't be had.
    pub async fn start_at(models: impl IntoIterator<Item = CatalogModel>, address: &str) -> Result<Self> {
        let shared = Shared::default();
        let (api, storage, archive) = (
            TcpListener::bind(address).await?,
            TcpListener::bind("127.0.0.1:0").await?,
            TcpListener::bind("127.0.0.1:0").await?,
        );
        {
            let mut inner = shared.lock();
            inner.api = format!("http://{}", api.local_addr()?);
            inner.storage = format!("http://{}", storage.local_addr()?);
            inner.archive = format!("http://{}", archive.local_addr()?);
            inner.models = models.into_iter().map(|model| (model.id, model)).collect();
        }
        let serve = |listener: TcpListener, router: axum::Router| {
            tokio::spawn(async move {
                let _ = axum::serve(listener, router).await;
            })
        };
        let tasks = vec![
            serve(api, routes::router(shared.clone())),
            serve(archive, routes::router(shared.clone())),
            serve(storage, storage::router(shared.clone())),
        ];
        Ok(Self { shared, tasks })
    }

    /// Base of the API, as in the setting `providers.civitai`.
    pub fn base(&self) -> String {
        format!("{}/api/v1", self.shared.lock().api)
    }

    /// Base of the archive's API, as in the setting `providers.civarchive`.
    pub fn archive_base(&self) -> String {
        format!("{}/archive/api", self.shared.lock().archive)
    }

    /// Base of the host that files come from.
    pub fn storage(&self) -> String {
        self.shared.lock().storage.clone()
    }

    /// Settings that make a server ask this one, also for pictures, and wait for nothing.
    pub fn settings(&self) -> String {
        format!(
            "[providers]\ncivitai = '{}'\ncivarchive = '{}'\nretry_seconds = 0.01\nrest_seconds = 0.2\nrequests_per_second = 0\ncache_seconds = 0\nprivate_addresses = true\n[previews]\nprivate_addresses = true\n",
            self.base(),
            self.archive_base()
        )
    }

    /// Adds a model, or replaces it.
    pub fn put(&self, model: CatalogModel) {
        self.shared.lock().models.insert(model.id, model);
    }

    /// A list has so many models on a page; 100 otherwise.
    pub fn page_size(&self, models: usize) {
        self.shared.lock().page = Some(models);
    }

    /// Names of base models that it lists.
    pub fn list_base_models(&self, names: &[&str]) {
        self.shared.lock().base_models = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Gives out any file at the address that comes back.
    pub fn shelve(&self, name: &str, bytes: Vec<u8>) -> String {
        let mut inner = self.shared.lock();
        inner.shelf.insert(name.to_owned(), bytes);
        format!("{}/shelf/{name}", inner.api)
    }

    /// An address of this host that leads to another one.
    pub fn leads_elsewhere(&self, name: &str) -> String {
        format!("{}/elsewhere/{name}", self.shared.lock().api)
    }

    /// Changes a model that it has.
    pub fn change(&self, model: u64, change: impl FnOnce(&mut CatalogModel)) {
        if let Some(model) = self.shared.lock().models.get_mut(&model) {
            change(model);
        }
    }

    /// Deletes a model; the archive keeps it when `archived`.
    pub fn remove(&self, model: u64, archived: bool) {
        let mut inner = self.shared.lock();
        if let Some(model) = inner.models.remove(&model)
            && archived
        {
            inner.archived.insert(model.id, model);
        }
    }

    /// The archive says of every file that it is there.
    pub fn mirror_at(&self, url: &str) {
        self.shared.lock().mirror = Some(url.to_owned());
    }

    /// Asks for a key from now on; these are good ones.
    pub fn ask_for_key(&self, keys: &[&str]) {
        self.shared.lock().keys = Some(keys.iter().map(|key| (*key).to_owned()).collect());
    }

    /// Answers at most so many requests of the API a second after a burst from now on, and the others with 429.
    pub fn limit(&self, per_second: f64, burst: f64) {
        self.shared.lock().limit = Some(limit::Limit::new(per_second, burst));
    }

    /// Many hashes can't be asked about at once from now on.
    pub fn no_batches(&self) {
        self.shared.lock().no_batches = true;
    }

    /// Has something go wrong.
    pub fn fail(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        self.shared.lock().faults.clear();
    }

    /// How files are given out from now on.
    pub fn give_out(&self, rules: Storage) {
        self.shared.lock().rules = rules;
    }

    /// Bytes of files that were sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.lock().served.sent
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// How many requests had a target that contains this text.
    pub fn count(&self, part: &str) -> usize {
        let inner = self.shared.lock();
        inner.asked.iter().filter(|asked| asked.target.contains(part)).count()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        self.shared.lock().asked.clear();
    }
}

impl Drop for Civitai {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
