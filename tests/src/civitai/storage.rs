//! The host that files come from: whole, or a range of them, and what goes wrong on the way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::catalog::mixed;
use super::{Asked, CatalogFile, Shared};

/// Most bytes that are made at once.
const PIECE: u64 = 1 << 18;

/// How files are given out.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Whether ranges are served.
    pub ranges: bool,
    /// Of a hundred answers, so many break off after a part of their bytes.
    pub drops: u64,
    /// Of a hundred, so many are 429 with a break of no length.
    pub limits: u64,
    /// Of a hundred, so many are 500.
    pub faults: u64,
    /// What decides which.
    pub seed: u64,
    /// Bytes a second of one answer; none = as fast as it goes.
    pub rate: Option<u64>,
    /// An address that the API gave is good for so many requests.
    pub uses: Option<u32>,
    /// Other bytes than the API says.
    pub wrong: bool,
    /// Less than the whole, and the length says so.
    pub truncated: bool,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            ranges: true,
            drops: 0,
            limits: 0,
            faults: 0,
            seed: 1,
            rate: None,
            uses: None,
            wrong: false,
            truncated: false,
        }
    }
}

/// What it did so far.
#[derive(Debug, Default)]
pub(crate) struct Served {
    signatures: AtomicU64,
    uses: HashMap<String, u32>,
    answers: u64,
    // Bytes of files that were sent.
    pub(crate) sent: u64,
}

impl Served {
    /// A signature for an address.
    pub(crate) fn sign(&self) -> u64 {
        self.signatures.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/files/{id}/{name}", get(file))
        .route("/images/{name}", get(image))
        .with_state(shared)
}

async fn file(
    State(shared): State<Shared>,
    Path((id, _)): Path<(u64, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut drop_after = None;
    let (found, rules) = {
        let mut inner = shared.lock();
        let file = inner
            .models
            .values()
            .flat_map(|model| &model.versions)
            .flat_map(|version| &version.files)
            .find(|file| file.id == id)
            .cloned();
        inner.asked.push(asked(format!("/files/{id}"), &headers));
        let rules = inner.rules.clone();
        if let (Some(most), Some(signature)) = (rules.uses, query.get("signature")) {
            let used = inner.served.uses.entry(signature.clone()).or_default();
            *used += 1;
            if *used > most {
                return (StatusCode::FORBIDDEN, "the address has expired").into_response();
            }
        }
        inner.served.answers += 1;
        let chance = mixed(rules.seed, inner.served.answers);
        let place = chance % 100;
        if place < rules.limits {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response();
        }
        if place < rules.limits + rules.faults {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        if place < rules.limits + rules.faults + rules.drops {
            drop_after = Some(chance / 100);
        }
        (file, rules)
    };
    match found {
        Some(file) => range(&shared, file, &rules, &headers, drop_after),
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

/// A file's bytes on their way.
struct Sending {
    shared: Shared,
    file: CatalogFile,
    at: u64,
    end: u64,
    // Where the connection breaks.
    breaks: Option<u64>,
    rate: Option<u64>,
}

impl Sending {
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        if self.breaks.is_some_and(|breaks| self.at >= breaks) {
            let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            self.end = self.at;
            self.breaks = None;
            return Some((Err(cut), self));
        }
        let until = self.breaks.unwrap_or(self.end);
        // Slow answers come in small pieces.
        let most = self.rate.map_or(PIECE, |rate| (rate / 20).clamp(1, PIECE));
        let length = most.min(until.saturating_sub(self.at));
        if length == 0 {
            return None;
        }
        if let Some(rate) = self.rate {
            tokio::time::sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
        }
        let piece = self.file.bytes(self.at, length as usize);
        self.shared.lock().served.sent += length;
        self.at += length;
        Some((Ok(piece.into()), self))
    }
}

fn range(
    shared: &Shared,
    mut file: CatalogFile,
    rules: &Storage,
    headers: &HeaderMap,
    drop_after: Option<u64>,
) -> Response {
    if rules.wrong {
        file.seed ^= 1;
    }
    if rules.truncated {
        file.size = file.size * 3 / 4;
    }
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    let tag = format!("\"{}-{}\"", file.id, file.seed);
    let fits = text(header::IF_RANGE).is_none_or(|own| own == tag);
    let wanted = text(header::RANGE).filter(|_| rules.ranges && fits);
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
    let sending = Sending {
        shared: shared.clone(),
        file,
        at: from,
        end: to,
        breaks: drop_after.map(|after| from + after % (to - from).max(1)),
        rate: rules.rate,
    };
    let mut response = Body::from_stream(futures_util::stream::unfold(sending, Sending::next)).into_response();
    let mut set = |name: header::HeaderName, value: String| {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_LENGTH, (to - from).to_string());
    if rules.ranges {
        set(header::ACCEPT_RANGES, "bytes".into());
    }
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
