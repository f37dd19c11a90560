//! What every request can reach.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;

use crate::access::Access;
use crate::data_folder::DataFolder;
use crate::downloads::Downloads;
use crate::flight::Flight;
use crate::http::pages::Pages;
use crate::http::registrar::RouteTable;
use crate::hub::Hub;
use crate::library::hashing::Hashing;
use crate::library::history::History;
use crate::library::store::Store;
use crate::library::thumbnails::Thumbnails;
use crate::model_types::TypeSlot;
use crate::providers::Providers;
use crate::roster::Roster;
use crate::safe_html::SafeHtml;
use crate::settings::{ActiveLibrary, Settings, Warning};
use crate::updates::Updates;
use crate::use_cases::base_models::BaseModels;
use crate::use_cases::bulk_refresh::Refreshes;
use crate::workers::Workers;

/// The server's parts, shared by all requests.
pub struct App {
    /// The folder in which the server keeps everything of its own.
    pub data: Arc<DataFolder>,
    /// What was done, and how to take it back.
    pub history: Arc<History>,
    /// Auto-organise, of which one runs at a time, whatever the type.
    pub organising: Arc<Flight>,
    /// What of the settings is ignored or can't be used, for a person.
    pub warnings: ArcSwap<Vec<Warning>>,
    /// Who may use the server.
    pub access: Arc<Access>,
    /// Settings in force, whichever library is active.
    pub settings: Settings,
    /// The active library's name and settings. Replaced as a whole.
    pub active: ArcSwap<ActiveLibrary>,
    /// Held by whoever switches to another library.
    pub switching: Arc<tokio::sync::Mutex<()>>,
    /// What is known of all libraries.
    pub store: Arc<Store>,
    /// Messages to clients.
    pub hub: Arc<Hub>,
    /// The bounded pool for costly work on what strangers send or write.
    pub workers: Workers,
    /// Cleaned descriptions.
    pub safe_html: SafeHtml,
    /// The plugins, and how one is loaded.
    pub roster: Roster,
    /// Where metadata of models comes from.
    pub providers: Arc<Providers>,
    /// Runs that refresh metadata of many models.
    pub refreshes: Refreshes,
    /// Names of base models.
    pub base_models: BaseModels,
    /// The download of the archive of metadata, of which one runs at a time.
    pub archive: Arc<Flight>,
    /// Which models have newer versions.
    pub updates: Updates,
    /// Downloads, their queue and history.
    pub downloads: Arc<Downloads>,
    /// Hashes of all libraries.
    pub hashing: Arc<Hashing>,
    /// Pages and their assets.
    pub pages: Pages,
    /// Previews in the widths that pages ask for.
    pub thumbnails: Arc<Thumbnails>,
    /// All routes. Replaced as a whole.
    pub routes: ArcSwap<RouteTable>,
    /// The types in the order of the navigation. Replaced as a whole.
    pub types: ArcSwap<Vec<Arc<TypeSlot>>>,
    /// True until every plugin is loaded: routes may still be missing.
    pub starting: AtomicBool,
    /// Different in every run, so that ETags of different runs never meet.
    pub run: u64,
}

impl App {
    /// Logs what of the settings is ignored or can't be used, and keeps it for the list of problems.
    pub fn warn(&self, warning: Warning) {
        tracing::warn!(source = warning.source, "{}", warning.text);
        self.warnings.rcu(|known| {
            let mut warnings = Vec::clone(known);
            if !warnings.contains(&warning) {
                warnings.push(warning.clone());
            }
            warnings
        });
    }
}
