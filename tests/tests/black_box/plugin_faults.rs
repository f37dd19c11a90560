//! Plugins that misbehave, and plugins from outside.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use modelshelf_tests::component::guest;
use modelshelf_tests::{Library, Model, Server, ServerOptions, names};
use serde_json::json;

/// A server with the faulty plugin and limits that are quick to reach.
async fn faulty(library: &Library, limits: &str) -> Result<Server> {
    let config = library.path().join("limits.toml");
    std::fs::write(&config, format!("[limits]\n{limits}\n"))?;
    let folder = library.path().join("faulties");
    std::fs::create_dir_all(&folder)?;
    let options = library.options().plugin(&guest("faulty")?).root("faulties", &folder);
    let server = options.argument("--config").argument(&config).serve().await?;
    server.wait_ready("faulties").await?;
    Ok(server)
}

/// Asserts that a route of the faulty plugin fails as it should: a 500 that tells a stranger nothing, the reason in the
/// log, and everything else works afterwards.
async fn contained(server: &Server, route: &str, reason: &[&str]) -> Result<()> {
    let reply = server.get(&format!("/api/lm/faulties/{route}")).await?;
    let answer = reply.json()?;
    ensure!(
        reply.status == 500 && answer["success"] == false,
        "{route}: {} {answer}",
        reply.status
    );
    let error = answer["error"].as_str().unwrap_or_default();
    ensure!(
        !error.contains("wasm") && !error.contains("asked to"),
        "{route} tells too much: {error}"
    );
    // The log comes through a pipe of its own, later than the answer.
    let end = Instant::now() + Duration::from_secs(20);
    while !reason.iter().any(|reason| server.log().contains(reason)) && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = server.log();
    ensure!(log.contains("faulty"), "the log does not name the plugin:\n{log}");
    ensure!(
        reason.iter().any(|reason| log.contains(reason)),
        "none of {reason:?} is in the log:\n{log}"
    );
    ensure!(
        server.get("/api/lm/faulties/ok").await?.json()? == json!({"success": true}),
        "after {route}"
    );
    ensure!(server.list("loras", &[]).await?["total"] == 1, "after {route}");
    Ok(())
}

fn library() -> Result<Library> {
    Library::of([Model::lora("amber")])
}

#[tokio::test]
async fn a_trap_ends_its_own_request_only() -> Result<()> {
    let library = library()?;
    let server = faulty(&library, "").await?;
    contained(&server, "trap", &["asked to trap", "unreachable"]).await
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_time_limit() -> Result<()> {
    let library = library()?;
    let server = faulty(&library, "call_ms = 300").await?;
    let started = Instant::now();
    contained(&server, "spin", &["limit"]).await?;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn an_endless_loop_does_not_hold_up_other_requests() -> Result<()> {
    let library = library()?;
    let server = faulty(&library, "call_ms = 1500").await?;
    // More of them than there are threads that serve requests.
    let spins = futures_util::future::join_all((0..8).map(|_| server.get("/api/lm/faulties/spin")));
    let others = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let started = Instant::now();
        for _ in 0..20 {
            assert_eq!(server.get("/api/lm/loras/list").await?.status, 200);
        }
        Ok::<_, anyhow::Error>(started.elapsed())
    };
    let (spins, others) = tokio::join!(spins, others);
    assert!(others? < Duration::from_millis(1200));
    for reply in spins {
        assert!(matches!(reply?.status, 500 | 503));
    }
    Ok(())
}

#[tokio::test]
async fn an_allocation_of_four_gigabytes_ends_at_the_memory_limit() -> Result<()> {
    let library = library()?;
    let server = faulty(&library, "").await?;
    contained(&server, "hog", &["memory", "alloc", "unreachable"]).await
}

#[tokio::test]
async fn endless_recursion_ends_at_the_stack_limit() -> Result<()> {
    let library = library()?;
    let server = faulty(&library, "").await?;
    contained(&server, "deep", &["stack", "out of bounds"]).await
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() -> Result<()> {
    let library = library()?;
    let server = faulty(&library, "memory_mib = 256\noutput_mib = 1").await?;
    contained(&server, "huge", &["limit", "memory"]).await
}

#[tokio::test]
async fn a_rule_that_traps_on_one_file_spoils_that_file_only() -> Result<()> {
    let library = library()?;
    for name in ["good-1", "trap-me", "good-2"] {
        Model::new("faulties", name).extension("faulty").write(library.path())?;
    }
    let server = faulty(&library, "").await?;
    let page = server.list("faulties", &[]).await?;
    assert_eq!(names(&page), ["good-1", "good-2", "trap-me"]);
    let problem = |name: &str| {
        let items = page["items"].as_array().into_iter().flatten();
        items
            .filter(|item| item["file_name"] == name)
            .any(|item| item["problem"].is_string())
    };
    assert!(problem("trap-me"));
    assert!(!problem("good-1") && !problem("good-2"), "{page}");
    Ok(())
}

#[tokio::test]
async fn a_route_that_is_taken_keeps_the_plugin_out_and_both_are_named() -> Result<()> {
    let library = library()?;
    let server = library.options().plugin(&guest("clash")?).serve().await?;
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("clash") && line.contains("/list"))
        .unwrap_or_default();
    assert!(line.contains("{prefix}/list") || line.contains("clashes/list"), "{log}");
    assert!(line.contains("shared route"), "{line}");
    assert_eq!(server.get("/api/lm/clashes/list").await?.status, 404);
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_component_is_left_out_with_a_reason() -> Result<()> {
    let library = library()?;
    let file = library.path().join("nothing.wasm");
    std::fs::write(&file, b"\0asm\x01\0\0\0")?;
    let server = library.options().plugin(&file).serve().await?;
    assert!(server.log().contains("nothing.wasm"), "{}", server.log());
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    Ok(())
}

#[tokio::test]
async fn a_type_from_outside_has_everything_that_a_built_in_one_has() -> Result<()> {
    let library = library()?;
    for name in ["one", "sub/two"] {
        Model::new("minimals", name)
            .extension("mini")
            .sidecar()
            .write(library.path())?;
    }
    let plugins = library.path().join("plugins");
    std::fs::create_dir(&plugins)?;
    std::fs::copy(guest("minimal")?, plugins.join("minimal.wasm"))?;
    let options = ServerOptions::default().root("minimals", &library.root("minimals"));
    let server = options.argument("--plugin-dir").argument(&plugins).start().await?;
    server.wait_ready("minimals").await?;
    assert_eq!(names(&server.list("minimals", &[]).await?), ["one", "two"]);
    assert_eq!(
        server.get_json("/api/lm/minimals/folders", &[]).await?,
        json!({"folders": ["", "sub"]})
    );
    assert_eq!(server.get("/minimals").await?.status, 200);
    assert_eq!(server.item("minimals", "one").await?["sub_type"], "minimal");
    Ok(())
}

#[tokio::test]
async fn a_scan_can_be_cancelled_while_a_rule_does_not_end() -> Result<()> {
    let library = Library::new()?;
    let config = library.path().join("limits.toml");
    std::fs::write(
        &config,
        "[limits]\nrule_ms = 600000\n[scan]\nwatch = false\nstable_seconds = 0.0\n",
    )?;
    let folder = library.path().join("faulties");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("spin-me.faulty"), b"x")?;
    let options = library.options().plugin(&guest("faulty")?).root("faulties", &folder);
    let server = options.argument("--config").argument(&config).start().await?;
    server
        .wait_for_status("faulties", |status| status["progress"]["stage"] == "count_models")
        .await?;
    let asked = Instant::now();
    server.post_json("/api/lm/faulties/cancel-task", &json!({})).await?;
    server
        .wait_for_status("faulties", |status| status["is_initializing"] == false)
        .await?;
    assert!(asked.elapsed() < Duration::from_secs(20));
    // The next scan can run: nothing is held.
    std::fs::remove_file(folder.join("spin-me.faulty"))?;
    std::fs::write(folder.join("good.faulty"), b"x")?;
    let answer = server.scan("faulties", false).await?;
    assert_eq!(answer["status"], "success");
    assert_eq!(names(&server.list("faulties", &[]).await?), ["good"]);
    Ok(())
}
