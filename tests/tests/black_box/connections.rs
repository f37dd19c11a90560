//! Bounds on connections and on bodies of requests: slow and greedy clients end, and others are served meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use modelshelf_tests::http::{Connection, Reply};
use modelshelf_tests::slow::SlowClients;
use modelshelf_tests::{Call, Library, Model, Server};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Tells a hang from a wait.
const PATIENCE: Duration = Duration::from_secs(60);

async fn server(connections: &str) -> Result<Server> {
    let library = Library::of([Model::lora("amber")])?;
    let options = library.options().settings(&format!("[connections]\n{connections}"));
    let server = options.serve().await?;
    // The server has read it; its listing needs no files.
    drop(library);
    Ok(server)
}

/// Everything that comes until the server ends the connection.
async fn rest(stream: &mut TcpStream) -> Result<String> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .context("the server did not end the connection")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn begin(server: &Server, text: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server.address()).await?;
    stream.write_all(text.as_bytes()).await?;
    Ok(stream)
}

/// The head of a change with a body of this length, and the body's beginning.
async fn begin_body(server: &Server, length: usize, sent: usize) -> Result<TcpStream> {
    let address = server.address();
    let head = format!(
        "POST /api/lm/loras/bulk-edit HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: {length}\r\n\r\n"
    );
    begin(server, &(head + &" ".repeat(sent))).await
}

async fn is_served(server: &Server) -> Result<()> {
    ensure!(server.get("/api/lm/loras/list").await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn a_connection_that_sends_no_whole_head_is_ended() -> Result<()> {
    let server = server("header_seconds = 0.3").await?;
    for text in ["", "GET /healthz HTTP/1.1\r\nHost: 127.0"] {
        assert_eq!(rest(&mut begin(&server, text).await?).await?, "", "{text}");
    }
    // The second request of a connection, too.
    let mut stream = begin(&server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut first = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut first)).await??;
    assert_eq!(&first, b"HTTP/1.1 200");
    stream.write_all(b"GET /h").await?;
    let answer = rest(&mut stream).await?;
    assert!(answer.ends_with("ok"), "{answer}");
    is_served(&server).await
}

#[tokio::test]
async fn a_connection_without_a_request_is_ended() -> Result<()> {
    let server = server("idle_seconds = 0.3").await?;
    let mut stream = begin(&server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    assert!(rest(&mut stream).await?.ends_with("ok"));
    Ok(())
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_with_408() -> Result<()> {
    let server = server("body_seconds = 0.3").await?;
    let answer = rest(&mut begin_body(&server, 1_000, 10).await?).await?;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    is_served(&server).await
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_with_408() -> Result<()> {
    let server = server("body_seconds = 0.5\nbody_bytes_per_second = 10_000").await?;
    let stream = begin_body(&server, 100_000, 10).await?;
    let (mut reading, mut writing) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = [0; 12];
    timeout(PATIENCE, reading.read_exact(&mut answer)).await??;
    assert_eq!(&answer, b"HTTP/1.1 408");
    drop(reading);
    timeout(PATIENCE, trickle).await??;
    Ok(())
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_ended() -> Result<()> {
    const REQUESTS: usize = 2_000;
    let server = server("send_seconds = 0.5").await?;
    let stream = TcpStream::connect(server.address()).await?;
    let (mut reading, mut writing) = stream.into_split();
    let ask = tokio::spawn(async move {
        let request = "GET /locales/en.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        // Fails once the server has ended the connection.
        let _ = writing.write_all(request.repeat(REQUESTS).as_bytes()).await;
        writing
    });
    sleep(Duration::from_secs(3)).await;
    let (mut bytes, one) = (Vec::new(), server.get("/locales/en.json").await?.body.len());
    let _ = timeout(PATIENCE, reading.read_to_end(&mut bytes)).await?;
    ask.await?;
    assert!(bytes.len() < REQUESTS * one, "{} bytes", bytes.len());
    is_served(&server).await
}

#[tokio::test]
async fn large_bodies_wait_for_memory_and_small_ones_do_not() -> Result<()> {
    let server = server("bodies_mib = 1\nbodies_wait_seconds = 0.3").await?;
    // Until the first one holds its share, the second may be read, and the first be the one that is refused.
    let refused = timeout(PATIENCE, async {
        loop {
            let holding = begin_body(&server, 1 << 20, 700 << 10).await?;
            sleep(Duration::from_millis(200)).await;
            let call = Call::post("/api/lm/loras/bulk-edit", &json!({})).body(vec![b' '; 600 << 10]);
            let reply = server.send(&call).await?;
            if reply.status == 503 {
                return anyhow::Ok((reply, holding));
            }
        }
    });
    let (refused, holding): (Reply, TcpStream) = refused.await??;
    assert!(!refused.header("retry-after").is_empty() && refused.json()?["success"] == false);
    let small = Call::post("/api/lm/loras/bulk-edit", &json!({"file_paths": []}));
    assert_eq!(server.send(&small).await?.status, 400);
    drop(holding);
    Ok(())
}

#[tokio::test]
async fn a_full_server_ends_silent_connections_and_refuses_when_all_are_busy() -> Result<()> {
    let server = server("total = 4").await?;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(begin(&server, "GET / HT").await?);
    }
    is_served(&server).await?;
    // The oldest made room.
    assert_eq!(rest(&mut silent[0]).await?, "");
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(begin_body(&server, 1_000, 10).await?);
    }
    // Connections are accepted in order, but their requests are read by tasks of their own.
    let refused = timeout(PATIENCE, async {
        loop {
            let mut stream = TcpStream::connect(server.address()).await?;
            let mut text = String::new();
            let read = timeout(Duration::from_millis(300), stream.read_to_string(&mut text)).await;
            if matches!(read, Ok(Ok(_))) && !text.is_empty() {
                return anyhow::Ok(text);
            }
            // A busy connection whose request was not read yet may have made room for the next one.
            drop(stream);
            busy.push(begin_body(&server, 1_000, 10).await?);
        }
    });
    let refused = refused.await??;
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after"),
        "{refused}"
    );
    drop(busy);
    let served = timeout(PATIENCE, async { while is_served(&server).await.is_err() {} });
    served.await?;
    Ok(())
}

#[tokio::test]
async fn one_address_has_a_bound_of_its_own() -> Result<()> {
    let server = server("each_address = 3").await?;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(begin(&server, "").await?);
    }
    is_served(&server).await?;
    for stream in &mut silent[..3] {
        assert_eq!(rest(stream).await?, "");
    }
    Ok(())
}

#[tokio::test]
async fn honest_clients_are_served_among_two_thousand_slow_ones() -> Result<()> {
    let server = server("").await?;
    let address = server.address();
    let slow = SlowClients::start(address, 2_000).await?;
    let mut honest = JoinSet::new();
    for _ in 0..16 {
        honest.spawn(async move {
            let request = Call::get("/api/lm/loras/list").bytes(address);
            for _ in 0..20 {
                let mut connection = Connection::open(address).await?;
                for _ in 0..5 {
                    let (status, _) = connection.measure(&request).await?;
                    ensure!(status == 200, "{status}");
                }
            }
            Ok(())
        });
    }
    let all = timeout(PATIENCE, async {
        while let Some(done) = honest.join_next().await {
            done??;
        }
        anyhow::Ok(())
    });
    all.await??;
    drop(slow);
    Ok(())
}

#[tokio::test]
async fn json_of_too_many_values_or_levels_is_refused_before_it_is_parsed() -> Result<()> {
    let server = server("").await?;
    let bombs = [
        format!("[{}1]", "[],".repeat(8 << 20)),
        format!("[{}1]", "{\"\":0},".repeat(3 << 20)),
        "[".repeat(1_000),
        format!("{{\"a\":{}", "{\"a\":".repeat(1_000)),
    ];
    for bomb in bombs {
        let start: String = bomb.chars().take(20).collect();
        let reply = server
            .send(&Call::post("/api/lm/loras/bulk-edit", &json!({})).body(bomb))
            .await?;
        assert_eq!(reply.status, 413, "{start}");
        assert!(reply.text().contains("JSON"), "{start}: {}", reply.text());
    }
    Ok(())
}

#[tokio::test]
async fn patterns_parameters_and_searches_of_a_request_have_bounds() -> Result<()> {
    let server = server("").await?;
    let list = "/api/lm/loras/list?name_pattern_use_regex=true";
    let status = async |target: String| anyhow::Ok(server.get(&target).await?.status);
    assert_eq!(
        status(format!("{list}{}", "&name_pattern_include=a".repeat(100))).await?,
        200
    );
    for (target, what) in [
        (
            format!("{list}{}", "&name_pattern_exclude=%5Cw%7B18%7D0".repeat(101)),
            "patterns",
        ),
        (
            format!(
                "{list}{}",
                format!("&name_pattern_exclude={}", "a".repeat(900)).repeat(20)
            ),
            "patterns",
        ),
        (format!("{list}{}", "&tag_include=a".repeat(1_001)), "parameters"),
        (format!("{list}&search={}", "a+".repeat(600)), "search"),
    ] {
        let reply = server.get(&target).await?;
        assert_eq!(reply.status, 400, "{what}");
        assert!(reply.text().contains(what), "{what}: {}", reply.text());
    }
    // A head that is larger than any is not read at all.
    assert_eq!(
        status(format!("{list}&tag_include={}", "a".repeat(200_000))).await?,
        431
    );
    Ok(())
}
