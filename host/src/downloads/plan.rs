//! What a download would do, without doing it.

use std::path::PathBuf;

use super::error::DownloadError;
use super::resolve::{self, Chosen};
use super::wanted::Wanted;
use crate::app::App;
use crate::providers::{Object, id_of, objects};

/// What would be downloaded, and where to.
pub struct Planned {
    /// The file.
    pub chosen: Chosen,
    /// The provider's model.
    pub model_id: Option<u64>,
    /// The versions of the model, newest first; the chosen one alone where the model can't be asked for.
    pub versions: Vec<Object>,
    /// The folder; none while no root is named and there is no default.
    pub folder: Option<PathBuf>,
    /// The root that new files of this kind go into.
    pub default_root: Option<PathBuf>,
}

/// Looks up what a download would do.
///
/// # Errors
/// Why it could not.
pub async fn plan(app: &App, wanted: &Wanted) -> Result<Planned, DownloadError> {
    let chosen = resolve::choose(app, wanted).await?;
    let version = &chosen.version;
    let model_id = id_of(version.get("modelId")).or(wanted.model_id);
    let model = match model_id {
        Some(model) => app.providers.model(model).await.ok(),
        None => None,
    };
    let listed = model.map(|model| objects(model.value.get("modelVersions")).cloned().collect());
    let versions = listed
        .filter(|versions: &Vec<Object>| !versions.is_empty())
        .unwrap_or_else(|| vec![version.clone()]);
    let folder = resolve::folder_of(app, &chosen.service, version, &chosen.root_key, wanted).await;
    let folder = match folder {
        Err(DownloadError::NoFolder | DownloadError::NoDefaultRoot(_)) => None,
        folder => Some(folder?),
    };
    let default_root = resolve::default_root(app, &chosen.service, &chosen.root_key).ok();
    Ok(Planned {
        chosen,
        model_id,
        versions,
        folder,
        default_root,
    })
}
