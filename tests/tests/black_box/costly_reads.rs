//! Reads whose cost is in what strangers send or write: they end, and hold nobody else up.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use modelshelf_tests::{Call, Library, Model, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const ONE_THREAD: &str = "[workers]\nthreads = 1\nqueue = 0\nseconds = 60.0\n";

/// Expressions that are large when compiled.
fn costly(number: usize) -> Call {
    let patterns: Vec<String> = (0..8).map(|index| format!("\\w{{18}}{number}x{index}")).collect();
    let mut query = vec![("name_pattern_use_regex", "true")];
    query.extend(
        patterns
            .iter()
            .map(|pattern| ("name_pattern_exclude", pattern.as_str())),
    );
    Call::get("/api/lm/loras/list").query(&query)
}

async fn cheap_reads_are_served(server: &Server) -> Result<()> {
    ensure!(server.get("/healthz").await?.status == 200);
    ensure!(server.list("loras", &[("search", "amber")]).await?["total"] == 1);
    Ok(())
}

#[tokio::test]
async fn costly_searches_beyond_the_pool_are_refused_for_a_moment_and_cheap_reads_are_served() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = library.options().settings(ONE_THREAD).serve().await?;
    let calls: Vec<Call> = (0..20).map(costly).collect();
    let (replies, cheap) = tokio::join!(
        join_all(calls.iter().map(|call| server.send(call))),
        cheap_reads_are_served(&server)
    );
    cheap?;
    let replies = replies.into_iter().collect::<Result<Vec<_>>>()?;
    ensure!(replies.iter().any(|reply| reply.status == 200));
    let refused = replies
        .iter()
        .find(|reply| reply.status != 200)
        .context("none was refused")?;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, "1"),
        "{}",
        refused.text()
    );
    ensure!(refused.json()?["success"] == false);
    Ok(())
}

#[tokio::test]
async fn a_costly_search_whose_client_left_makes_room_for_the_next() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = library.options().settings(ONE_THREAD).serve().await?;
    for number in 0..20 {
        let mut client = TcpStream::connect(server.address()).await?;
        client.write_all(&costly(number).bytes(server.address())).await?;
        drop(client);
    }
    loop {
        let reply = server.send(&costly(20)).await?;
        if reply.status == 200 {
            break;
        }
        ensure!(reply.status == 503, "{}", reply.text());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    cheap_reads_are_served(&server).await
}

#[tokio::test]
async fn a_deeply_nested_description_is_shown_and_holds_nobody_up() -> Result<()> {
    let deep = format!("<p>before</p>{}inside", "<div>".repeat(100_000));
    let library = Library::of([Model::lora("amber").side("modelDescription", deep.as_str())])?;
    let server = library.serve().await?;
    let path = library.root("loras").join("amber.safetensors");
    let path = path.to_str().context("path")?;
    let call = Call::get("/api/lm/loras/model-description").query(&[("file_path", path)]);
    // Clients that leave at once.
    for _ in 0..3 {
        let mut client = TcpStream::connect(server.address()).await?;
        client.write_all(&call.bytes(server.address())).await?;
    }
    let (reply, cheap) = tokio::join!(server.send(&call), cheap_reads_are_served(&server));
    cheap?;
    let answer = reply?.json()?;
    let html = answer["safe_html"].as_str().context("safe_html")?;
    ensure!(
        html.starts_with("<p>before</p><div>") && html.contains("inside"),
        "{html}"
    );
    ensure!(answer["description"] == deep && answer["truncated"] == false);
    Ok(())
}
