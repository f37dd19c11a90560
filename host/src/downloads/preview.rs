//! The preview that a provider has for a version: which of its images, fetching it, and writing it beside a download.
//! Source: contract section 4.3.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::job::Job;
use super::service::Downloads;
use super::transfer;
use crate::app::App;
use crate::files::rooted::AllowedFolders;
use crate::library::preview::ENDINGS;
use crate::library::previewing::{MAX_BYTES, NewPreview, PreviewError};
use crate::providers::objects;
use crate::settings::ContractSettings;
use crate::web_media::{self, FetchError, Fetched};

/// An image or video of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its address.
    pub url: String,
    /// Its NSFW level.
    pub level: i64,
    /// Whether it is a video.
    pub is_video: bool,
}

/// The image that stands for a version: its first; where people want none of a level, the first below it, else the tamest.
pub fn choose(version: &Map<String, Value>, settings: &ContractSettings) -> Option<Picture> {
    let mut pictures = objects(version.get("images")).filter_map(|image| {
        Some(Picture {
            url: image.get("url")?.as_str().filter(|url| !url.is_empty())?.to_owned(),
            level: image.get("nsfwLevel").and_then(Value::as_i64).unwrap_or_default(),
            is_video: image.get("type").and_then(Value::as_str) == Some("video"),
        })
    });
    if !settings.flag("blur_mature_content", true) {
        return pictures.next();
    }
    let all: Vec<Picture> = pictures.collect();
    let below = i64::from(settings.blur_level());
    let tame = all.iter().find(|picture| picture.level < below);
    tame.or_else(|| all.iter().min_by_key(|picture| picture.level)).cloned()
}

/// Why there is no preview to be had.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// It can't be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What came can't be one.
    #[error(transparent)]
    Preview(#[from] PreviewError),
    /// The work broke off.
    #[error("the work broke off: {0}")]
    Broken(String),
}

/// Fetches a picture and makes a preview of it.
///
/// # Errors
/// When it can't be fetched, is too large, or is neither picture nor video.
pub async fn made(app: &App, picture: &Picture) -> Result<NewPreview, PictureError> {
    let fetched = media(app, &picture.url, picture.is_video).await?;
    let made = tokio::task::spawn_blocking(move || NewPreview::made_of(fetched.bytes, &fetched.name)).await;
    Ok(made.map_err(|error| PictureError::Broken(error.to_string()))??)
}

/// Whether a file is named as a preview of `target`.
pub fn is_beside(preview: &Path, target: &Path) -> bool {
    let stem = target.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = preview.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ending = name.strip_prefix(stem).unwrap_or_default();
    preview.parent() == target.parent() && ending.starts_with('.')
}

/// The previews that lie beside a file already, whoever put them there. Blocks.
pub fn beside(target: &Path) -> impl Iterator<Item = PathBuf> {
    let stem = target.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let places = ENDINGS.map(|ending| target.with_file_name(format!("{stem}{ending}")));
    places.into_iter().filter(|path| path.symlink_metadata().is_ok())
}

/// Fetches a picture and writes it beside `target`; the path that it got, which the download's row has noted. None when
/// there is no picture to be had, which is not worth failing a download for, and when the download is stopped.
pub async fn fetch(
    app: &App,
    downloads: &Downloads,
    job: &Job,
    picture: &Picture,
    target: &Path,
    allowed: Arc<AllowedFolders>,
) -> Option<PathBuf> {
    let mut signal = job.signal();
    let made = tokio::select! {
        made = made(app, picture) => made,
        () = transfer::stopped(&mut signal) => return None,
    };
    let preview = match made {
        Ok(preview) => preview,
        Err(error) => {
            tracing::info!(url = picture.url, %error, "a download has no preview");
            return None;
        }
    };
    let (target, ledger) = (target.to_owned(), downloads.ledger().clone());
    let (id, level) = (job.id.clone(), picture.level);
    let written = tokio::task::spawn_blocking(move || {
        let stem = target.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let path = target.with_file_name(format!("{stem}{}", preview.ending()));
        if path.exists() {
            return Err(format!("{} is there already", path.display()));
        }
        let noted = ledger.set_preview(&id, Some((&path, level)));
        noted.map_err(|error| error.to_string())?;
        let written = allowed.entry(&path).and_then(|file| file.create(preview.bytes()));
        written.map_err(|error| error.to_string())?;
        Ok(path)
    });
    match written.await {
        Ok(Ok(path)) => Some(path),
        Ok(Err(error)) => {
            tracing::info!(url = picture.url, error, "a download has no preview");
            None
        }
        Err(_) => None,
    }
}

/// Fetches the picture or video at an address that somebody else named: its small rendition, where there is one.
///
/// # Errors
/// Why it can't be fetched.
pub async fn media(app: &App, url: &str, is_video: bool) -> Result<Fetched, FetchError> {
    let private = app.settings.previews.private_addresses;
    let client = app.providers.client();
    let get = async |url: &str| web_media::fetch(client.pictures(), url, MAX_BYTES, private).await;
    if let Some(small) = web_media::rendition(url, is_video)
        && let Ok(fetched) = get(&small).await
    {
        return Ok(fetched);
    }
    get(url).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_picture_below_the_level_that_people_blur_stands_for_a_version() {
        let version = |levels: &[i64]| {
            let images: Vec<Value> = levels
                .iter()
                .map(|level| json!({"url": format!("https://i/{level}"), "nsfwLevel": level}))
                .collect();
            json!({ "images": images }).as_object().cloned().unwrap()
        };
        let settings = |value: Value| ContractSettings::new(value.as_object().cloned().unwrap());
        let level = |levels: &[i64], value: Value| choose(&version(levels), &settings(value)).map(|own| own.level);
        assert_eq!(level(&[8, 4, 2], json!({})), Some(2));
        assert_eq!(level(&[16, 8], json!({})), Some(8));
        assert_eq!(level(&[8, 2], json!({"blur_mature_content": false})), Some(8));
        assert_eq!(level(&[], json!({})), None);
    }
}
