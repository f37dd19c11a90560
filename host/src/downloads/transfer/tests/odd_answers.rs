//! Answers that HTTP allows and few servers give, and answers that only look like success.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, Uri, header};
use futures_util::StreamExt;

use super::super::{NamedSize, TransferError, part_of};
use super::site::{Setting, Site, with_ranges};

type Answer = Response<Body>;

/// A server that answers by path; `/plain/...` is what it sends to requests without a range.
async fn serve(content: Vec<u8>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router =
        Router::new().fallback(async move |uri: Uri, headers: HeaderMap| answer(&content, uri.path(), &headers));
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

fn answer(content: &[u8], path: &str, headers: &HeaderMap) -> Answer {
    let total = content.len();
    let asked = headers.get(header::RANGE).map(|range| {
        let (first, last) = range.to_str().unwrap()["bytes=".len()..].split_once('-').unwrap();
        (
            first.parse::<usize>().unwrap(),
            last.parse::<usize>().unwrap().min(total - 1),
        )
    });
    let Some((first, last)) = asked else {
        return whole(content);
    };
    let part = |range: String, from: usize, to: usize| {
        let answer = Response::builder().status(StatusCode::PARTIAL_CONTENT);
        let body = content[from..=to].to_vec();
        answer.header(header::CONTENT_RANGE, range).body(body.into()).unwrap()
    };
    match path {
        "/earlier" => part(format!("bytes {}-{last}/{total}", first / 2), first / 2, last),
        "/all" => part(format!("bytes 0-{}/{total}", total - 1), 0, total - 1),
        "/units" => part(format!("Bytes  {first}-{last} / {total}"), first, last),
        "/no-total" => part(format!("bytes {first}-{last}/*"), first, last),
        "/later" => part(format!("bytes {}-{last}/{total}", first + 1), first + 1, last),
        "/lying" => part(format!("bytes {first}-{last}/{total}"), first, last - 1),
        "/nonsense" => part("pages 1-2/3".into(), first, last),
        "/missing" => {
            let mut answer = part(String::new(), first, last);
            answer.headers_mut().remove(header::CONTENT_RANGE);
            answer
        }
        "/unsatisfied" => {
            let answer = Response::builder().status(StatusCode::RANGE_NOT_SATISFIABLE);
            answer.body(Body::empty()).unwrap()
        }
        "/part-as-success" => {
            let mut answer = part(format!("bytes {first}-{}/{total}", last / 2), first, last / 2);
            *answer.status_mut() = StatusCode::OK;
            answer
        }
        _ => whole(content),
    }
}

fn whole(content: &[u8]) -> Answer {
    Response::new(content.to_vec().into())
}

#[tokio::test]
async fn a_file_arrives_however_its_ranges_are_named() {
    for path in [
        "/earlier",
        "/all",
        "/units",
        "/no-total",
        "/later",
        "/lying",
        "/nonsense",
        "/missing",
        "/unsatisfied",
        "/part-as-success",
    ] {
        // More than the first request asks for, so that later ones start in the middle.
        let setting = Setting::new(9 << 20, with_ranges()).await;
        let content = setting.site.content.lock().unwrap().clone();
        let base = serve(content).await;
        let mut source = setting.source(&[]);
        source.urls = vec![format!("{base}{path}")];
        let arrived = setting
            .run(&source, 2)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(setting.is_whole(), "{path}");
        assert_eq!(arrived.bytes, 9 << 20, "{path}");
    }
}

/// A source without a hash at a server that answers each request with this.
async fn without_hash(setting: &Setting, answer: fn() -> Answer) -> super::super::Source {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    let router = Router::new().fallback(async move || answer());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut source = setting.source(&[]);
    (source.urls, source.sha256) = (vec![url], None);
    source
}

fn typed(name: header::HeaderName, value: &'static str, body: &'static [u8]) -> Answer {
    Response::builder().header(name, value).body(body.into()).unwrap()
}

#[tokio::test]
async fn pages_messages_and_compressed_bytes_are_no_files_in_any_letter_case() {
    let setting = Setting::new(10, Site::default()).await;
    for (answer, word) in [
        (
            (|| typed(header::CONTENT_TYPE, "Text/HTML; charset=utf-8", b"<p>")) as fn() -> Answer,
            "web page",
        ),
        (
            || typed(header::CONTENT_TYPE, "Application/JSON", b"{}"),
            "application/json",
        ),
        (|| typed(header::CONTENT_ENCODING, "GZIP", b"\x1f\x8b"), "gzip"),
        (|| typed(header::CONTENT_ENCODING, "br", b"x"), "br"),
    ] {
        let source = without_hash(&setting, answer).await;
        let error = setting.run(&source, 1).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert!(!setting.target().exists());
    }
}

#[tokio::test]
async fn what_no_hash_proves_is_kept_aside_when_its_content_is_not_a_model() {
    let setting = Setting::new(10, Site::default()).await;
    for (answer, word) in [
        (
            (|| whole(b"version https://git-lfs.github.com/spec/v1\noid sha256:1")) as fn() -> Answer,
            "Git LFS",
        ),
        (|| whole(b"{\"error\": \"no\"}"), "JSON"),
        (|| whole(b"<!DOCTYPE html>"), "web page"),
        (|| whole(b"\x1f\x8b\x08"), "gzip"),
        (|| whole(&[9; 100]), "header"),
    ] {
        let source = without_hash(&setting, answer).await;
        let error = setting.run(&source, 1).await.unwrap_err();
        let TransferError::Unfit { kept, reason } = &error else {
            panic!("{error}")
        };
        assert!(reason.to_string().contains(word), "{reason}");
        assert!(kept.ends_with("a.safetensors.rejected") && kept.is_file());
        assert!(!part_of(&setting.target()).exists());
    }
}

#[tokio::test]
async fn the_size_that_the_provider_names_decides_where_no_hash_does() {
    let setting = Setting::new(10, Site::default()).await;
    let mut source = without_hash(&setting, || whole(&[9; 5000])).await;
    source.size = Some(NamedSize::exact(5001));
    let error = setting.run(&source, 1).await.unwrap_err();
    let is_other = matches!(
        error,
        TransferError::OtherSize {
            expected: 5001,
            actual: 5000,
            ..
        }
    );
    assert!(is_other, "{error}");
}

fn endless() -> Answer {
    let drops = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![7; 4096]));
    Response::new(Body::from_stream(drops))
}

#[tokio::test]
async fn a_file_without_end_ends_at_the_size_that_the_provider_names_and_leaves_nothing() {
    let setting = Setting::new(10, Site::default()).await;
    let mut source = without_hash(&setting, endless).await;
    source.sha256 = Some("ab".repeat(32));
    source.size = NamedSize::of_kib(30.0);
    let error = setting.run(&source, 1).await.unwrap_err();
    assert!(
        matches!(error, TransferError::Endless { expected: 30_720, .. }),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(setting.folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_server_that_trickles_is_given_up() {
    let setting = Setting::new(10, Site::default()).await;
    let source = without_hash(&setting, || {
        let drops = futures_util::stream::repeat(()).then(async |()| {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            Ok::<_, std::io::Error>("x")
        });
        Response::new(Body::from_stream(drops))
    })
    .await;
    let error = setting.run_at(&source, 1 << 20).await.unwrap_err().to_string();
    assert!(error.contains("fewer than"), "{error}");
}
