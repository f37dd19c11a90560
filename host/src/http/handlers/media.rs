//! Preview files: by path as the contract has it, and by a key that changes with the content.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use tower_http::services::ServeDir;

use super::super::disk_file::{DiskFile, Known};
use super::super::dispatch::Call;
use super::super::error::ApiError;
use crate::files::disks::Disk;
use crate::files::rooted::{AllowedFolders, RootedPath, RootedPathError};
use crate::library::record::Stamp;
use crate::library::thumbnails::{self, Picture, Thumbnail, ThumbnailError};
use crate::library::{Library, preview};
use crate::model_types::TypeService;

/// What previews may be, by ending. Nothing that a browser would run is among them.
const MEDIA: [(&str, &str); 14] = [
    ("webp", "image/webp"),
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("gif", "image/gif"),
    ("avif", "image/avif"),
    ("jxl", "image/jxl"),
    ("bmp", "image/bmp"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
    ("avi", "video/x-msvideo"),
    ("mkv", "video/x-matroska"),
];

/// Endings of the picture that stands for a video of the same name.
const POSTERS: [&str; 4] = ["webp", "png", "jpeg", "jpg"];

/// A preview that is open.
struct Preview {
    path: RootedPath,
    file: DiskFile,
    known: Known,
    disk: Arc<Disk>,
}

/// Opens a preview on its disk's threads.
async fn open(library: &Library, path: &str) -> Result<Result<Preview, RootedPathError>, ApiError> {
    let Some(disk) = library.disk_for(path) else {
        return Ok(Err(RootedPathError::Outside(path.to_owned())));
    };
    let (allowed, path, own) = (library.allowed(), path.to_owned(), disk.clone());
    let opened = disk.run(move || {
        let opened = RootedPath::open(&allowed, &path)?;
        preview_at(opened, own)
    });
    Ok(opened.await?)
}

fn preview_at(path: RootedPath, disk: Arc<Disk>) -> Result<Preview, RootedPathError> {
    let io = |source| RootedPathError::Io {
        path: path.as_path().display().to_string(),
        source,
    };
    let file = File::open(path.as_path()).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let known = Known {
        size: metadata.len(),
        modified: metadata.modified().map_err(io)?,
    };
    let file = DiskFile::new(disk.clone(), file, known);
    Ok(Preview {
        path,
        file,
        known,
        disk,
    })
}

/// GET `/api/lm/previews`.
pub async fn preview(call: Call) -> Result<Response, ApiError> {
    let path = call.query.require("path", "400: Bad Request")?.replace('\\', "/");
    let types = call.app.types.load_full();
    let services: Vec<_> = types.iter().filter_map(|slot| slot.service()).collect();
    let opened = match open_in_any(&services, &path).await {
        Ok(opened) => opened,
        Err(error) => {
            // The original decodes twice, so some clients encode twice.
            let again = percent_decode_str(&path).decode_utf8_lossy();
            if again == path {
                return Err(error);
            }
            open_in_any(&services, &again).await.map_err(|_| error)?
        }
    };
    send(&opened, &call.headers, "public, max-age=86400").await
}

async fn open_in_any(services: &[Arc<TypeService>], path: &str) -> Result<Preview, ApiError> {
    let mut refused = ApiError::new(StatusCode::FORBIDDEN, "403: Forbidden");
    // The root that holds it comes first: no other disk is asked then.
    let (own, others): (Vec<_>, Vec<_>) = services
        .iter()
        .partition(|service| service.library.disk_of(path).is_some());
    for service in own.into_iter().chain(others) {
        match open(&service.library, path).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(RootedPathError::Outside(_))) => {}
            // "Missing" inside one type's folders says more than "outside" another's.
            Ok(Err(error)) => refused = error.into(),
            Err(error) if service.library.disk_of(path).is_some() => refused = error,
            Err(_) => {}
        }
    }
    Err(refused)
}

/// GET `media/{key}`: a record's preview, with `w` in a width.
pub async fn media(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let key = u64::from_str_radix(call.param("key"), 16).map_err(|_| ApiError::no_route())?;
    let snapshot = service.library.snapshot();
    let preview = snapshot
        .by_media_key(key)
        .find_map(|record| record.preview.as_ref())
        .ok_or_else(ApiError::no_route)?;
    let opened = open(&service.library, &preview.path).await??;
    // With the version in the URL the content never changes.
    let cache = if call.query.get("v").is_some() {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    match wanted_width(&call)? {
        Some(width) => sized(&call, &service, opened, width, cache).await,
        None => send(&opened, &call.headers, cache).await,
    }
}

/// The width that is made for the one asked for; none when the original is to be sent.
fn wanted_width(call: &Call) -> Result<Option<u32>, ApiError> {
    if call.query.get("w").is_none() {
        return Ok(None);
    }
    match u32::try_from(call.query.integer("w", 0)?) {
        Ok(width) if width > 0 => Ok(thumbnails::step(width)),
        _ => Err(ApiError::bad_request(
            "The parameter `w` must be a width in pixels, 1 or more.",
        )),
    }
}

/// Sends a preview in a width. A video is sent as it is, or with `poster=true` the picture that stands for it: one
/// beside it or its cover, and 204 without one.
async fn sized(
    call: &Call,
    service: &TypeService,
    opened: Preview,
    width: u32,
    cache: &'static str,
) -> Result<Response, ApiError> {
    let is_video = |file: &Preview| file.path.as_path().to_str().is_some_and(preview::is_video);
    let (opened, cover, cache) = match is_video(&opened) {
        false => (opened, false, cache),
        true if !call.query.flag("poster", false) => return send(&opened, &call.headers, cache).await,
        true => {
            let allowed = service.library.allowed();
            let disk = opened.disk.clone();
            let poster = disk
                .run(move || beside_video(&allowed, &opened).unwrap_or(opened))
                .await?;
            let cover = is_video(&poster);
            // The version in the URL is the video's; a picture beside it may come later.
            (poster, cover, "public, max-age=86400")
        }
    };
    let stamp = stamp(&opened.known).ok_or_else(ApiError::no_route)?;
    let etag = etag(&stamp, Some(width))?;
    let caching = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    if is_fresh(&call.headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let picture = Picture {
        path: opened.path.as_path().to_owned(),
        disk: opened.disk.clone(),
        stamp,
        cover,
    };
    match call.app.thumbnails.get(picture, width).await? {
        Thumbnail::Made { bytes, content_type } => {
            Ok((caching, [(header::CONTENT_TYPE, content_type)], bytes).into_response())
        }
        Thumbnail::Original => send(&opened, &call.headers, cache).await,
        Thumbnail::NoCover => Ok((StatusCode::NO_CONTENT, caching).into_response()),
    }
}

/// The picture with a video's name, if one lies beside it.
fn beside_video(allowed: &AllowedFolders, video: &Preview) -> Option<Preview> {
    POSTERS.iter().find_map(|ending| {
        let path = video.path.as_path().with_extension(ending);
        let opened = RootedPath::open(allowed, path.to_str()?).ok()?;
        preview_at(opened, video.disk.clone()).ok()
    })
}

impl From<ThumbnailError> for ApiError {
    fn from(error: ThumbnailError) -> Self {
        match error {
            ThumbnailError::Disk(error) => error.into(),
            ThumbnailError::Refused { .. } => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string()),
            ThumbnailError::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => Self::no_route(),
            ThumbnailError::Io { .. } => Self::internal(&error),
        }
    }
}

/// Sends a media file: ranges, ETag, 304.
async fn send(preview: &Preview, headers: &HeaderMap, cache: &'static str) -> Result<Response, ApiError> {
    let path = preview.path.as_path();
    let content_type = content_type(path).ok_or_else(|| {
        ApiError::new(
            StatusCode::FORBIDDEN,
            "403: Forbidden. Only images and videos are served from here.",
        )
    })?;
    let stamp = stamp(&preview.known).ok_or_else(ApiError::no_route)?;
    let etag = etag(&stamp, None)?;
    let cache = HeaderValue::from_static(cache);
    if is_fresh(headers, &etag) {
        return Ok((
            StatusCode::NOT_MODIFIED,
            [(header::ETAG, etag), (header::CACHE_CONTROL, cache)],
        )
            .into_response());
    }
    let mut request = Request::new(Body::empty());
    // A range of another version than the client has is no use to it.
    let stale = headers
        .get(header::IF_RANGE)
        .is_some_and(|own| *own != etag && own.to_str().is_ok_and(|text| text.contains('"')));
    // A client that sent an ETag knows better than by the time.
    let has_etag = headers.contains_key(header::IF_NONE_MATCH);
    for (name, passed_over) in [(header::RANGE, stale), (header::IF_MODIFIED_SINCE, has_etag)] {
        if let Some(value) = headers.get(&name)
            && !passed_over
        {
            request.headers_mut().insert(name, value.clone());
        }
    }
    // The name in the address does not matter: this backend has one file.
    *request.uri_mut() = Uri::from_static("/preview");
    let served = ServeDir::with_backend("/", preview.file.clone())
        .append_index_html_on_directories(false)
        .try_call(request)
        .await
        .map_err(ApiError::internal)?;
    let mut response = served.map(Body::new);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, cache);
    headers.insert(header::ETAG, etag);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    Ok(response)
}

fn content_type(path: &Path) -> Option<&'static str> {
    let ending = path.extension()?.to_str()?;
    MEDIA
        .iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(ending))
        .map(|(_, content_type)| *content_type)
}

/// Whether the client has this version already.
fn is_fresh(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| {
            list.split(',')
                .any(|own| own.trim() == "*" || Some(own.trim().trim_start_matches("W/")) == etag.to_str().ok())
        })
}

/// What tells that a file changed, as it is now: the record's may be older.
fn stamp(known: &Known) -> Option<Stamp> {
    let modified = known.modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    Some(Stamp {
        size: known.size,
        mtime_ns: modified as i64,
        inode: 0,
    })
}

/// Modification time, size and width; changes whenever the content does.
fn etag(stamp: &Stamp, width: Option<u32>) -> Result<HeaderValue, ApiError> {
    let width = width.map_or_else(String::new, |width| format!("-{width}"));
    HeaderValue::from_str(&format!("\"{:x}-{:x}{width}\"", stamp.mtime_ns, stamp.size)).map_err(ApiError::internal)
}
