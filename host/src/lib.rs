//! Modelshelf's server. See ARCHITECTURE.md for the map.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests read what they wrote themselves")
)]

pub mod access;
pub mod app;
pub mod authoring;
pub mod cancel;
pub mod cli;
pub mod compat;
pub mod data_folder;
pub mod downloads;
pub mod files;
pub mod flight;
#[cfg(test)]
mod fuzz;
pub mod http;
pub mod hub;
pub mod libraries;
pub mod library;
pub mod metrics;
pub mod model_types;
pub mod moment;
pub mod net;
pub mod plugins;
pub mod providers;
pub mod roster;
pub mod safe_html;
pub mod server;
pub mod settings;
pub mod terminal;
pub mod updates;
pub mod use_cases;
pub mod web_media;
pub mod workers;
