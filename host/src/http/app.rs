//! What every request can reach.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;

use super::pages::Pages;
use super::registrar::RouteTable;
use super::types::TypeSlot;
use crate::hub::Hub;
use crate::library::history::History;
use crate::settings::Settings;

/// The server's parts, shared by all requests.
pub struct App {
    /// What was done, and how to take it back.
    pub history: Arc<History>,
    /// Settings in force.
    pub settings: Settings,
    /// Messages to clients.
    pub hub: Arc<Hub>,
    /// Pages and their assets.
    pub pages: Pages,
    /// All routes. Replaced as a whole.
    pub routes: ArcSwap<RouteTable>,
    /// The types in the order of the navigation. Replaced as a whole.
    pub types: ArcSwap<Vec<Arc<TypeSlot>>>,
    /// True until every plugin is loaded: routes may still be missing.
    pub starting: AtomicBool,
    /// Different in every run, so that ETags of different runs never meet.
    pub run: u64,
}
