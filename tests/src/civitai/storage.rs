//! The host that files come from: whole, or a range of them.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Asked, CatalogFile, Shared};

/// Most bytes that are made at once.
const PIECE: u64 = 1 << 18;

pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/files/{id}/{name}", get(file))
        .route("/images/{name}", get(image))
        .with_state(shared)
}

async fn file(State(shared): State<Shared>, Path((id, _)): Path<(u64, String)>, headers: HeaderMap) -> Response {
    let found = {
        let mut inner = shared.lock();
        let file = inner
            .models
            .values()
            .flat_map(|model| &model.versions)
            .flat_map(|version| &version.files)
            .find(|file| file.id == id)
            .cloned();
        inner.asked.push(asked(format!("/files/{id}"), &headers));
        file
    };
    match found {
        Some(file) => range(file, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A small PNG in the colour of its name's length.
async fn image(State(shared): State<Shared>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    shared.lock().asked.push(asked(format!("/images/{name}"), &headers));
    let shade = (name.len() * 37 % 256) as u8;
    let picture = image::RgbImage::from_pixel(64, 96, image::Rgb([shade, 90, 200 - shade / 2]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    if picture.write_to(&mut bytes, image::ImageFormat::Png).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, "image/png")], bytes.into_inner()).into_response()
}

fn asked(target: String, headers: &HeaderMap) -> Asked {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    Asked {
        method: "GET".into(),
        target,
        authorization: text(header::AUTHORIZATION).map(str::to_owned),
        tag: None,
        user_agent: text(header::USER_AGENT).unwrap_or_default().to_owned(),
        body: None,
        status: 200,
    }
}

fn range(file: CatalogFile, headers: &HeaderMap) -> Response {
    let wanted = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let bounds = wanted.and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    let size = file.size;
    let (from, to) = bounds.map_or((0, size), |(from, to)| {
        let from: u64 = from.parse().unwrap_or(0);
        (
            from,
            to.parse::<u64>().map_or(size, |to| to.saturating_add(1)).min(size),
        )
    });
    if from >= to && size > 0 {
        return (
            StatusCode::RANGE_NOT_SATISFIABLE,
            [(header::CONTENT_RANGE, format!("bytes */{size}"))],
        )
            .into_response();
    }
    let tag = format!("\"{}-{}\"", file.id, file.seed);
    let pieces = futures_util::stream::unfold((file, from), move |(file, from)| async move {
        let length = PIECE.min(to.saturating_sub(from));
        (length > 0).then(|| {
            let piece = file.bytes(from, length as usize);
            (Ok::<_, std::io::Error>(piece), (file, from + length))
        })
    });
    let mut response = axum::body::Body::from_stream(pieces).into_response();
    let mut set = |name: header::HeaderName, value: String| {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_LENGTH, (to - from).to_string());
    set(header::ACCEPT_RANGES, "bytes".into());
    set(header::ETAG, tag);
    if bounds.is_some() {
        set(
            header::CONTENT_RANGE,
            format!("bytes {from}-{}/{size}", to.saturating_sub(1)),
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}
