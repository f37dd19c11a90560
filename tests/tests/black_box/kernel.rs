//! Limits and mounts of the system, in name spaces of their own, so that nothing else on the machine meets them. Where
//! the system lets nobody make these, there is nothing to test.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Library, Model, skip, sorted_names};
use serde_json::{Value, json};

/// Whether a program can be started so.
fn works(launcher: &[&str]) -> bool {
    let Some((program, arguments)) = launcher.split_first() else {
        return false;
    };
    let status = Command::new(program)
        .args(arguments)
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let works = status.is_ok_and(|status| status.success());
    if !works {
        skip(&format!("{launcher:?} does not work"));
    }
    works
}

fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args([name, &pid.to_string()]).status()?;
    ensure!(status.success(), "kill {name}");
    Ok(())
}

#[tokio::test]
async fn when_the_system_watches_no_more_folders_they_are_looked_at_instead() -> Result<()> {
    let limited = "echo 6 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    let launcher = ["unshare", "-Ur", "sh", "-c", limited, "sh"];
    if !works(&launcher) {
        return Ok(());
    }
    let library = Library::of((0..20).map(|number| Model::lora(&format!("f{number}/m{number}"))))?;
    let options = library.options().launched_by(&launcher);
    let settings = "poll_seconds = 1\nstable_seconds = 0.1";
    let server = options.scan_settings(settings).serve().await?;
    let polled = |status: &Value| status["roots"][0]["watched"] == "polling";
    let status = server.wait_for_status("loras", polled).await?;
    let problem = status["roots"][0]["watch_problem"].as_str().unwrap_or_default();
    assert!(problem.contains("fs.inotify.max_user_watches"), "{problem}");
    library.add(&Model::lora("f3/new"))?;
    library.add(&Model::lora("new folder/newer"))?;
    server.wait_for("loras", |page| page["total"] == 22).await?;
    Ok(())
}

#[tokio::test]
async fn when_more_happens_than_the_system_can_tell_everything_is_looked_at() -> Result<()> {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?;
    if limit.trim().parse().unwrap_or(usize::MAX) > 20_000 {
        return Ok(());
    }
    let library = Library::of([Model::lora("here"), Model::lora("sub/there")])?;
    let server = library.options().watching().serve().await?;
    let is_watched = |status: &Value| status["roots"][0]["watched"] == "events";
    server.wait_for_status("loras", is_watched).await?;
    signal(server.pid(), "-STOP")?;
    // Two files in turn, since the same event twice in a row is one.
    let noise = ["a.txt", "b.txt"].map(|name| library.root("loras").join(name));
    for number in 0..12_000 {
        std::fs::write(&noise[number % 2], "x")?;
    }
    // Of this nothing is told any more.
    library.add(&Model::lora("sub/late"))?;
    std::fs::remove_file(library.root("loras").join("here.safetensors"))?;
    signal(server.pid(), "-CONT")?;
    server.wait_for_names("loras", &["late", "there"]).await?;
    assert!(server.log().contains("changes were missed"), "{}", server.log());
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_mounted_a_second_time_is_an_alias() -> Result<()> {
    let library = Library::of([Model::lora("a/amber"), Model::lora("deep/b/birch")])?;
    let root = library.root("loras");
    std::fs::create_dir(root.join("z again"))?;
    let mount = format!(
        "mount --bind '{}' '{}' && exec \"$@\"",
        wire(&root.join("a")),
        wire(&root.join("z again"))
    );
    let launcher = ["unshare", "-Urm", "sh", "-c", &mount, "sh"];
    if !works(&launcher) {
        return Ok(());
    }
    let server = library.options().watching().launched_by(&launcher).serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["amber", "birch"]);
    let alias = format!("{}/z again/amber.safetensors", wire(&root));
    assert_eq!(server.item("loras", "amber").await?["aliases"], json!([alias]));
    let duplicates = server.get_json("/api/lm/loras/find-duplicates", &[]).await?;
    assert_eq!(duplicates["count"], 0, "{duplicates}");
    // What comes is listed once too, whichever path tells of it.
    library.add(&Model::lora("a/new"))?;
    let page = server.wait_for("loras", |page| page["total"] == 3).await?;
    assert_eq!(sorted_names(&page), ["amber", "birch", "new"]);
    server.scan("loras", false).await?;
    assert_eq!(server.list("loras", &[]).await?["total"], 3);
    Ok(())
}

#[tokio::test]
async fn an_empty_folder_that_can_not_be_removed_does_not_take_an_organise_back() -> Result<()> {
    let library = Library::of([Model::lora("a/amber").base("SDXL 1.0").tags(&["style"])])?;
    let root = library.root("loras");
    std::fs::create_dir(root.join("mounted"))?;
    let mount = format!("mount -t tmpfs tmpfs '{}' && exec \"$@\"", wire(&root.join("mounted")));
    let launcher = ["unshare", "-Urm", "sh", "-c", &mount, "sh"];
    if !works(&launcher) {
        return Ok(());
    }
    let server = library.options().launched_by(&launcher).serve().await?;
    let answer = crate::acts::done(&server, "loras/auto-organize", json!({})).await?;
    assert_eq!(answer["summary"]["success"], 1, "{answer}");
    assert!(root.join("SDXL 1.0/style/amber.safetensors").exists() && root.join("mounted").exists());
    assert_eq!(server.item("loras", "amber").await?["folder"], "SDXL 1.0/style");
    Ok(())
}
