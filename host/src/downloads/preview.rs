//! The preview of a download: which of a version's images, and fetching it. Source: contract section 4.3.

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use serde_json::{Map, Value};

use crate::library::previewing::NewPreview;
use crate::providers::{Client, objects};
use crate::settings::ContractSettings;
use crate::web_media;

/// Largest preview that is fetched, in bytes.
const LARGEST: usize = 64 << 20;

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

/// Fetches a picture and writes it beside `target`; the path that it got. None when there is no picture to be had, which
/// is not worth failing a download for.
pub async fn fetch(client: &Client, picture: &Picture, target: &Path) -> Option<PathBuf> {
    let small = web_media::rendition(&picture.url, picture.is_video);
    let mut bytes = None;
    for url in small.iter().chain([&picture.url]) {
        bytes = body(client, url).await;
        if bytes.is_some() {
            break;
        }
    }
    let (bytes, target, name) = (bytes?, target.to_owned(), picture.url.clone());
    let written = tokio::task::spawn_blocking(move || {
        let preview = NewPreview::made_of(bytes, &name).map_err(|error| error.to_string())?;
        let stem = target.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let path = target.with_file_name(format!("{stem}{}", preview.ending()));
        if path.exists() {
            return Err(format!("{} is there already", path.display()));
        }
        crate::files::atomic::write(&path, preview.bytes()).map_err(|error| error.to_string())?;
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

async fn body(client: &Client, url: &str) -> Option<Vec<u8>> {
    let response = client.transfer().get(url).send().await.ok()?.error_for_status().ok()?;
    let mut bytes = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.ok()?);
        if bytes.len() > LARGEST {
            return None;
        }
    }
    Some(bytes)
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
