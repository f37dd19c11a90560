//! A server in this process that misbehaves as told, and a transfer from it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shown;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::super::{Arrived, Hosts, Meter, Options, Private, Signal, Source, Transfer, TransferError, part_of};
use crate::files::hash::hex;
use crate::files::limiter::Limiter;
use crate::net::budget::Budgets;
use crate::net::reach::Reach;

/// What the server does with the next request for the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Whim {
    /// Sends so many bytes and drops the connection.
    Drop(usize),
    /// Answers with a status.
    Status(u16),
    /// A break of no length.
    Busy,
    /// Sends so many bytes and then nothing, on a connection that stays open.
    Silence(usize),
    /// Sends a piece each so many milliseconds.
    Trickle(u64),
}

#[derive(Default)]
pub struct Site {
    pub content: Mutex<Vec<u8>>,
    pub etag: Mutex<String>,
    pub whims: Mutex<VecDeque<Whim>>,
    pub ranges: bool,
    // What `/file` leads to expires after so many uses.
    pub uses: Option<usize>,
    pub used: AtomicUsize,
    pub sent: AtomicU64,
    pub asked: AtomicUsize,
    pub keys: Mutex<Vec<(String, bool)>>,
}

async fn serve(Shown(site): Shown<Arc<Site>>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    site.keys
        .lock()
        .unwrap()
        .push((path.to_owned(), headers.contains_key(header::AUTHORIZATION)));
    if path == "/page" {
        return ([(header::CONTENT_TYPE, "text/html")], "<p>Hello").into_response();
    }
    if let Some(status) = path.strip_prefix("/status/") {
        return StatusCode::from_u16(status.parse().unwrap()).unwrap().into_response();
    }
    if path == "/another" {
        return "another file".into_response();
    }
    if path == "/file" {
        let serial = site.used.load(Ordering::Relaxed) / site.uses.unwrap_or(usize::MAX);
        return (StatusCode::FOUND, [(header::LOCATION, format!("/signed/{serial}"))]).into_response();
    }
    if let Some(serial) = path.strip_prefix("/signed/") {
        let used = site.used.fetch_add(1, Ordering::Relaxed);
        if serial.parse::<usize>().unwrap() != used / site.uses.unwrap_or(usize::MAX) {
            return StatusCode::FORBIDDEN.into_response();
        }
    }
    site.asked.fetch_add(1, Ordering::Relaxed);
    let whim = site.whims.lock().unwrap().pop_front();
    match whim {
        Some(Whim::Status(status)) => return StatusCode::from_u16(status).unwrap().into_response(),
        Some(Whim::Busy) => return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response(),
        _ => {}
    }
    let (content, etag) = (site.content.lock().unwrap().clone(), site.etag.lock().unwrap().clone());
    let range = headers.get(header::RANGE).filter(|_| site.ranges);
    let fits = headers
        .get(header::IF_RANGE)
        .is_none_or(|own| own.to_str().unwrap() == etag);
    let (status, first, end) = match range.filter(|_| fits) {
        Some(range) => {
            let (first, last) = range.to_str().unwrap()["bytes=".len()..].split_once('-').unwrap();
            let first: usize = first.parse().unwrap();
            if first >= content.len() {
                return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            }
            let end = last
                .parse::<usize>()
                .map_or(content.len(), |last| content.len().min(last + 1));
            (StatusCode::PARTIAL_CONTENT, first, end)
        }
        None => (StatusCode::OK, 0, content.len()),
    };
    let mut body = content[first..end].to_vec();
    let length = body.len();
    let slow = match whim {
        Some(Whim::Silence(after)) => {
            let pieces = [Bytes::from(body[..after].to_vec())];
            let pieces = futures_util::stream::iter(pieces).map(Ok::<_, std::io::Error>);
            Some(Body::from_stream(pieces.chain(futures_util::stream::pending())))
        }
        Some(Whim::Trickle(wait)) => {
            let pieces: Vec<Bytes> = body
                .chunks(length.div_ceil(20))
                .map(|piece| piece.to_vec().into())
                .collect();
            let pieces = futures_util::stream::iter(pieces).then(move |piece| async move {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                Ok::<_, std::io::Error>(piece)
            });
            Some(Body::from_stream(pieces))
        }
        _ => None,
    };
    let broken = if let Some(Whim::Drop(after)) = whim {
        body.truncate(after);
        body.len() < length
    } else {
        false
    };
    site.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
    let pieces = [Ok(Bytes::from(body))]
        .into_iter()
        .chain(broken.then(|| Err("dropped")));
    // What was written right before a connection is cut would not leave the server.
    let pieces = futures_util::stream::iter(pieces).then(|piece| async move {
        if piece.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        piece
    });
    let mut response = slow.unwrap_or_else(|| Body::from_stream(pieces)).into_response();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::ETAG, etag.parse().unwrap());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{}", end - 1, content.len());
        headers.insert(header::CONTENT_RANGE, range.parse().unwrap());
    }
    response
}

pub struct Setting {
    pub site: Arc<Site>,
    pub base: String,
    pub folder: tempfile::TempDir,
    pub name: &'static str,
    pub signal: watch::Sender<Signal>,
    pub meter: Meter,
    pub budgets: Arc<Budgets>,
}

impl Setting {
    pub async fn new(size: usize, site: Site) -> Self {
        let content: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
        *site.content.lock().unwrap() = content;
        *site.etag.lock().unwrap() = "\"one\"".into();
        let site = Arc::new(site);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            site,
            base,
            folder: tempfile::tempdir().unwrap(),
            name: "a.safetensors",
            signal: watch::channel(Signal::Run).0,
            meter: Meter::default(),
            budgets: Arc::default(),
        }
    }

    pub fn target(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    pub fn source(&self, paths: &[&str]) -> Source {
        Source {
            urls: paths.iter().map(|path| format!("{}{path}", self.base)).collect(),
            key: None,
            key_setting: "a_key",
            gated: false,
            sha256: Some(hex(&Sha256::digest(&*self.site.content.lock().unwrap()))),
            size: None,
            hosts: Hosts::Any,
            private: Private {
                all: true,
                ..Private::default()
            },
        }
    }

    pub async fn run(&self, source: &Source, connections: usize) -> Result<Arrived, TransferError> {
        self.run_with(source, connections, Duration::from_secs(20)).await
    }

    pub async fn run_with(
        &self,
        source: &Source,
        connections: usize,
        patience: Duration,
    ) -> Result<Arrived, TransferError> {
        self.transfer(source, connections, patience, 0).await
    }

    /// Over one connection, which must bring so many bytes a second.
    pub async fn run_at(&self, source: &Source, least_rate: u64) -> Result<Arrived, TransferError> {
        self.transfer(source, 1, Duration::from_millis(100), least_rate).await
    }

    async fn transfer(
        &self,
        source: &Source,
        connections: usize,
        patience: Duration,
        least_rate: u64,
    ) -> Result<Arrived, TransferError> {
        let reach = Reach::new(reqwest::Client::builder, None, self.budgets.clone()).unwrap();
        let options = Options {
            connections,
            tries: 4,
            first_wait: Duration::from_millis(1),
            patience,
            least_rate,
        };
        let transfer = Transfer {
            reach: &reach,
            source,
            target: &self.target(),
            options: &options,
            limiter: &Limiter::new(0.0),
            signal: self.signal.subscribe(),
            meter: &self.meter,
        };
        transfer.run().await
    }

    pub fn part(&self) -> Vec<u8> {
        std::fs::read(part_of(&self.target())).unwrap()
    }

    pub fn is_whole(&self) -> bool {
        self.part() == *self.site.content.lock().unwrap()
    }
}

pub fn with_ranges() -> Site {
    Site {
        ranges: true,
        ..Site::default()
    }
}
