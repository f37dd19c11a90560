//! Transfers from a server in this process that misbehaves as told.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shown;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use super::*;
use crate::files::hash::hex;

/// What the server does with the next request for the file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Whim {
    /// Sends so many bytes and drops the connection.
    Drop(usize),
    /// Answers with a status.
    Status(u16),
    /// A break of no length.
    Busy,
}

#[derive(Default)]
struct Site {
    content: Mutex<Vec<u8>>,
    etag: Mutex<String>,
    whims: Mutex<VecDeque<Whim>>,
    ranges: bool,
    // What `/file` leads to expires after so many uses.
    uses: Option<usize>,
    used: AtomicUsize,
    sent: AtomicU64,
    asked: AtomicUsize,
    keys: Mutex<Vec<(String, bool)>>,
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
    let mut response = Body::from_stream(pieces).into_response();
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

struct Setting {
    site: Arc<Site>,
    base: String,
    folder: tempfile::TempDir,
    signal: watch::Sender<Signal>,
    meter: Meter,
}

impl Setting {
    async fn new(size: usize, site: Site) -> Self {
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
            signal: watch::channel(Signal::Run).0,
            meter: Meter::default(),
        }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("a.safetensors")
    }

    fn source(&self, paths: &[&str]) -> Source {
        Source {
            urls: paths.iter().map(|path| format!("{}{path}", self.base)).collect(),
            key: None,
            key_setting: "a_key",
            gated: false,
            sha256: Some(hex(&Sha256::digest(&*self.site.content.lock().unwrap()))),
        }
    }

    async fn run(&self, source: &Source, connections: usize) -> Result<Arrived, TransferError> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let options = Options {
            connections,
            tries: 4,
            first_wait: Duration::from_millis(1),
            patience: Duration::from_secs(20),
        };
        let transfer = Transfer {
            client: &client,
            source,
            target: &self.target(),
            options: &options,
            limiter: &Limiter::new(0.0),
            signal: self.signal.subscribe(),
            meter: &self.meter,
        };
        transfer.run().await
    }

    fn part(&self) -> Vec<u8> {
        std::fs::read(part_of(&self.target())).unwrap()
    }

    fn is_whole(&self) -> bool {
        self.part() == *self.site.content.lock().unwrap()
    }
}

fn with_ranges() -> Site {
    Site {
        ranges: true,
        ..Site::default()
    }
}

const LARGE: usize = 50 << 20;

#[tokio::test]
async fn a_large_file_comes_over_several_connections_each_byte_once() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    let arrived = setting.run(&setting.source(&["/file"]), 3).await.unwrap();
    assert_eq!(arrived.bytes, LARGE as u64);
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), LARGE as u64);
    assert_eq!(
        (setting.meter.here(), setting.meter.total()),
        (LARGE as u64, Some(LARGE as u64))
    );
    assert!(setting.site.asked.load(Ordering::Relaxed) >= 3);
}

#[tokio::test]
async fn a_small_file_takes_one_request() {
    let setting = Setting::new(1000, with_ranges()).await;
    setting.run(&setting.source(&["/signed/0"]), 3).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn drops_breaks_and_faults_of_the_server_are_gone_over_and_no_byte_comes_twice() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    *setting.site.whims.lock().unwrap() = [
        Whim::Status(500),
        Whim::Busy,
        Whim::Drop(100),
        Whim::Drop(5_000_000),
        Whim::Status(503),
        Whim::Drop(0),
        Whim::Drop(1),
    ]
    .into();
    setting.run(&setting.source(&["/file"]), 2).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), LARGE as u64);
}

#[tokio::test]
async fn a_server_without_ranges_gives_the_file_whole() {
    let setting = Setting::new(100_000, Site::default()).await;
    setting.site.whims.lock().unwrap().push_back(Whim::Drop(50_000));
    setting.run(&setting.source(&["/file"]), 3).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), 150_000);
}

#[tokio::test]
async fn an_expired_address_is_asked_for_again() {
    let site = Site {
        uses: Some(2),
        ..with_ranges()
    };
    let setting = Setting::new(LARGE, site).await;
    *setting.site.whims.lock().unwrap() = [Whim::Drop(10), Whim::Drop(20), Whim::Drop(30), Whim::Drop(40)].into();
    setting.run(&setting.source(&["/file"]), 1).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), LARGE as u64);
}

#[tokio::test]
async fn a_stopped_transfer_goes_on_where_it_was() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    *setting.site.whims.lock().unwrap() = [Whim::Drop(3_000_000), Whim::Status(404)].into();
    // Another file by then: what is here is of no use, unless it is the same.
    let error = setting.run(&setting.source(&["/signed/0"]), 1).await.unwrap_err();
    assert!(matches!(error, TransferError::Gone { status: 404, .. }), "{error}");
    setting.run(&setting.source(&["/signed/0"]), 1).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), LARGE as u64);
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_fetched_anew() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    *setting.site.whims.lock().unwrap() = [Whim::Drop(3_000_000), Whim::Status(404)].into();
    let mut source = setting.source(&["/signed/0"]);
    source.sha256 = None;
    setting.run(&source, 1).await.unwrap_err();
    setting
        .site
        .content
        .lock()
        .unwrap()
        .iter_mut()
        .for_each(|byte| *byte ^= 1);
    *setting.site.etag.lock().unwrap() = "\"two\"".into();
    setting.run(&source, 1).await.unwrap();
    assert!(setting.is_whole());
}

#[tokio::test]
async fn a_wrong_hash_is_kept_aside_and_told() {
    let setting = Setting::new(1000, with_ranges()).await;
    let mut source = setting.source(&["/file"]);
    source.sha256 = Some("ab".repeat(32));
    let error = setting.run(&source, 2).await.unwrap_err();
    let TransferError::WrongHash { kept, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(std::fs::read(kept).unwrap().len(), 1000);
    assert!(!part_of(&setting.target()).exists() && !state_of(&setting.target()).exists());
    assert!(!setting.target().exists());
}

#[tokio::test]
async fn the_next_address_is_asked_when_one_has_nothing() {
    let setting = Setting::new(1000, with_ranges()).await;
    setting
        .run(&setting.source(&["/status/404", "/status/451", "/file"]), 2)
        .await
        .unwrap();
    assert!(setting.is_whole());
}

#[tokio::test]
async fn each_refusal_has_its_own_error() {
    let setting = Setting::new(10, with_ranges()).await;
    let ask = async |path: &str, gated: bool, key: bool| {
        let mut source = setting.source(&[path]);
        source.gated = gated;
        source.key = Key::below(format!("{}/", setting.base), "secret").filter(|_| key);
        setting.run(&source, 1).await.unwrap_err()
    };
    assert!(matches!(
        ask("/status/401", false, false).await,
        TransferError::KeyMissing { .. }
    ));
    assert!(matches!(
        ask("/status/403", false, true).await,
        TransferError::KeyRejected { .. }
    ));
    assert!(matches!(
        ask("/status/403", true, true).await,
        TransferError::EarlyAccess
    ));
    assert!(matches!(
        ask("/status/451", false, true).await,
        TransferError::Region { .. }
    ));
    assert!(matches!(
        ask("/status/410", false, true).await,
        TransferError::Gone { .. }
    ));
    assert!(matches!(
        ask("/status/500", false, true).await,
        TransferError::Refused { status: 500, .. }
    ));
    assert!(matches!(ask("/page", false, true).await, TransferError::Page { .. }));
    assert!(matches!(
        ask("/status/200", false, true).await,
        TransferError::Empty { .. }
    ));
    let mut nowhere = setting.source(&[]);
    nowhere.urls = vec!["http://127.0.0.1:9/x".into()];
    assert!(matches!(
        setting.run(&nowhere, 1).await.unwrap_err(),
        TransferError::Network { .. }
    ));
}

#[tokio::test]
async fn a_key_does_not_go_along_a_redirect() {
    let setting = Setting::new(10, with_ranges()).await;
    let mut source = setting.source(&["/file"]);
    source.key = Key::below(format!("{}/file", setting.base), "secret");
    setting.run(&source, 1).await.unwrap();
    let keys = setting.site.keys.lock().unwrap().clone();
    assert_eq!(keys, [("/file".to_owned(), true), ("/signed/0".to_owned(), false)]);
}

#[tokio::test]
async fn pausing_holds_it_and_stopping_ends_it() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    let source = setting.source(&["/file"]);
    setting.signal.send_replace(Signal::Pause);
    let control = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(setting.site.asked.load(Ordering::Relaxed), 0);
        setting.signal.send_replace(Signal::Stop);
    };
    let (result, ()) = tokio::join!(setting.run(&source, 2), control);
    assert!(matches!(result.unwrap_err(), TransferError::Stopped));
}
