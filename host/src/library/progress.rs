//! How far the first reading of a library is, as clients are told. Source: contract section 3.3.

use serde::Serialize;

/// One message of `/ws/init-progress`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InitProgress {
    /// `loading_cache`, `scan_folders`, `count_models`, `process_models` or `finalizing`.
    pub stage: &'static str,
    /// 0 to 100.
    pub progress: u8,
    /// For a person.
    pub details: String,
    /// `complete` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// Id of the model type.
    pub scanner_type: String,
    /// URL prefix of the model type.
    #[serde(rename = "pageType")]
    pub page_type: String,
}

/// Where progress goes.
pub trait ProgressSink: Send + Sync {
    /// The first reading of a type went on.
    fn init(&self, progress: InitProgress);
    /// Models of a type changed.
    fn models_changed(&self, page_type: &str);
}
