//! What people do that takes several parts of the server: providers, plugins and libraries. Knows nothing of requests.

pub mod base_models;
pub mod blocking_act;
pub mod bulk_refresh;
pub mod identify;
pub mod metadata;
pub mod metadata_archive;
pub mod previews;
pub mod update_check;
