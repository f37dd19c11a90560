//! Things in the place of files that are none: pipes, devices, files of the kernel, and links to disks that are offline.
//! Each is named, with what to do, and stops nothing else.
#![cfg(target_os = "linux")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use modelshelf_tests::{Call, Library, Model, Server, sorted_names};
use serde_json::{Value, json};

fn pipe(path: &Path) -> Result<()> {
    ensure!(Command::new("mkfifo").arg(path).status()?.success());
    Ok(())
}

fn beside(library: &Library, name: &str) -> PathBuf {
    library.root("loras").join(name)
}

async fn problems(server: &Server) -> Result<String> {
    Ok(server.get_json("/api/lm/loras/problems", &[]).await?.to_string())
}

fn model(library: &Library, name: &str) -> String {
    beside(library, &format!("{name}.safetensors")).display().to_string()
}

async fn edit(server: &Server, path: &str, notes: &str) -> Result<(u16, String)> {
    let body = json!({ "file_path": path, "notes": notes });
    let reply = server.send(&Call::post("/api/lm/loras/save-metadata", &body)).await?;
    Ok((reply.status, reply.text()))
}

/// Memory that a process had at most, in MiB.
fn peak(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .context("VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? / 1024)
}

#[tokio::test]
async fn metadata_files_that_are_no_files_leave_out_their_models_alone() -> Result<()> {
    let library = Library::of(["good", "piped", "zeros", "kernel", "info"].map(|name| Model::new("loras", name)))?;
    pipe(&beside(&library, "piped.metadata.json"))?;
    symlink("/dev/zero", beside(&library, "zeros.metadata.json"))?;
    symlink("/proc/kmsg", beside(&library, "kernel.metadata.json"))?;
    symlink("/dev/zero", beside(&library, "info.civitai.info"))?;
    symlink("/dev/zero", beside(&library, "good.png"))?;
    let server = library.serve().await?;
    // What another program noted is passed over, with a line in the log.
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["good", "info"]);
    let told = problems(&server).await?;
    for (name, kind) in [
        ("piped", "a pipe, not a regular file"),
        ("zeros", "a device, not a regular file"),
        ("kernel", "on proc, which holds no real files"),
    ] {
        assert!(told.contains(&format!("{name}.metadata.json is {kind}")), "{told}");
    }
    assert!(
        server.log().contains("info.civitai.info is a device"),
        "{}",
        server.log()
    );
    let (status, answer) = edit(&server, &model(&library, "good"), "x").await?;
    assert_eq!(status, 200, "{answer}");
    // Mended, they are found.
    std::fs::remove_file(beside(&library, "piped.metadata.json"))?;
    server.scan("loras", false).await?;
    assert_eq!(
        sorted_names(&server.list("loras", &[]).await?),
        ["good", "info", "piped"]
    );
    assert!(peak(server.pid())? < 1024, "{} MiB", peak(server.pid())?);
    Ok(())
}

#[tokio::test]
async fn a_pipe_that_takes_the_place_of_a_metadata_file_stops_no_edit_of_another_model() -> Result<()> {
    let library = Library::of([Model::lora("a").sidecar().tags(&["kept"]), Model::lora("b").sidecar()])?;
    let server = library.serve().await?;
    let sidecar = beside(&library, "a.metadata.json");
    let away = beside(&library, "a.away");
    std::fs::rename(&sidecar, &away)?;
    pipe(&sidecar)?;
    let (status, answer) = edit(&server, &model(&library, "a"), "x").await?;
    assert!(status == 409 && answer.contains("a pipe"), "{status} {answer}");
    assert_eq!(edit(&server, &model(&library, "b"), "x").await?.0, 200);
    server.scan("loras", false).await?;
    server.scan("loras", true).await?;
    let item = server.item("loras", "a").await?;
    assert_eq!(item["tags"], json!(["kept"]), "{item}");
    assert!(
        item["problem"].as_str().is_some_and(|text| text.contains("a pipe")),
        "{item}"
    );
    std::fs::rename(&away, &sidecar)?;
    server.scan("loras", false).await?;
    assert!(server.item("loras", "a").await?["problem"].is_null());
    assert_eq!(edit(&server, &model(&library, "a"), "x").await?.0, 200);
    Ok(())
}

/// A library in whose root the files of one model are links to another disk.
struct Linked {
    library: Library,
    disk: PathBuf,
}

impl Linked {
    /// `b` whose files with these endings are on the other disk, and `a`, which is not.
    fn new(endings: &[&str]) -> Result<Self> {
        let b = Model::lora("b").name("Shown").tags(&["kept"]).preview("png");
        let library = Library::of([Model::lora("a").sidecar(), b])?;
        let disk = library.path().join("disk");
        std::fs::create_dir(&disk)?;
        for ending in endings {
            let (from, to) = (beside(&library, &format!("b{ending}")), disk.join(format!("b{ending}")));
            std::fs::rename(&from, &to)?;
            symlink(&to, &from)?;
        }
        Ok(Self { library, disk })
    }

    fn detach(&self) -> Result<()> {
        Ok(std::fs::rename(&self.disk, self.library.path().join("detached"))?)
    }

    fn attach(&self) -> Result<()> {
        Ok(std::fs::rename(self.library.path().join("detached"), &self.disk)?)
    }

    async fn b(&self, server: &Server) -> Result<Value> {
        server.item("loras", "b").await
    }
}

#[tokio::test]
async fn a_model_whose_metadata_file_is_on_a_disk_that_is_offline_keeps_what_is_known() -> Result<()> {
    let linked = Linked::new(&[".metadata.json"])?;
    let server = linked.library.serve().await?;
    let before = linked.b(&server).await?;
    assert_eq!(
        (&before["model_name"], &before["tags"]),
        (&json!("Shown"), &json!(["kept"]))
    );
    linked.detach()?;
    let link = beside(&linked.library, "b.metadata.json");
    for full in [false, true, false] {
        server.scan("loras", full).await?;
        let item = linked.b(&server).await?;
        assert_eq!(
            (&item["model_name"], &item["tags"]),
            (&json!("Shown"), &json!(["kept"])),
            "{item}"
        );
        assert_eq!(item["offline"], true, "{item}");
        let problem = item["problem"].as_str().unwrap_or_default();
        assert!(
            problem.contains("b.metadata.json is a link to") && problem.contains("attach the disk"),
            "{problem}"
        );
        assert!(link.is_symlink(), "the link was written over");
    }
    assert_eq!(server.item("loras", "a").await?["offline"], false);
    let path = model(&linked.library, "b");
    let (status, answer) = edit(&server, &path, "x").await?;
    assert!(status == 409 && answer.contains("attach the disk"), "{status} {answer}");
    let body = json!({ "file_path": path, "new_file_name": "c" });
    let reply = server.send(&Call::post("/api/lm/loras/rename", &body)).await?;
    assert!(
        reply.status == 409 && reply.text().contains("attach the disk"),
        "{} {}",
        reply.status,
        reply.text()
    );
    assert!(link.is_symlink() && Path::new(&path).is_file());
    linked.attach()?;
    server.scan("loras", false).await?;
    let item = linked.b(&server).await?;
    assert_eq!((&item["tags"], &item["offline"]), (&json!(["kept"]), &json!(false)));
    assert!(item["problem"].is_null(), "{item}");
    assert_eq!(edit(&server, &path, "x").await?.0, 200);
    // The link stays a link, and what it leads to was written.
    assert!(link.is_symlink());
    assert!(std::fs::read_to_string(linked.disk.join("b.metadata.json"))?.contains("\"x\""));
    Ok(())
}

#[tokio::test]
async fn a_model_on_a_disk_that_is_offline_is_listed_as_offline_and_neither_edited_nor_deleted() -> Result<()> {
    let linked = Linked::new(&[".safetensors"])?;
    let server = linked.library.serve().await?;
    linked.detach()?;
    let path = model(&linked.library, "b");
    for full in [false, true] {
        server.scan("loras", full).await?;
        let item = linked.b(&server).await?;
        assert_eq!(
            (&item["tags"], &item["offline"]),
            (&json!(["kept"]), &json!(true)),
            "{item}"
        );
    }
    let (status, answer) = edit(&server, &path, "x").await?;
    assert!(status == 409 && answer.contains("attach the disk"), "{status} {answer}");
    let delete = json!({ "file_paths": [path] });
    let reply = server.send(&Call::post("/api/lm/loras/bulk-delete", &delete)).await?;
    assert!(
        reply.text().contains("attach the disk"),
        "{} {}",
        reply.status,
        reply.text()
    );
    assert!(Path::new(&path).is_symlink() && sorted_names(&server.list("loras", &[]).await?) == ["a", "b"]);
    linked.attach()?;
    server.scan("loras", false).await?;
    let item = linked.b(&server).await?;
    assert_eq!((&item["tags"], &item["offline"]), (&json!(["kept"]), &json!(false)));
    assert!(item["problem"].is_null(), "{item}");
    Ok(())
}

#[tokio::test]
async fn a_preview_on_a_disk_that_is_offline_stays_the_models() -> Result<()> {
    let linked = Linked::new(&[".png"])?;
    let server = linked.library.serve().await?;
    let url = linked.b(&server).await?["preview_url"]
        .as_str()
        .context("a preview")?
        .to_owned();
    assert_eq!(server.get(&url).await?.status, 200);
    let sidecar = std::fs::read_to_string(beside(&linked.library, "b.metadata.json"))?;
    linked.detach()?;
    server.scan("loras", true).await?;
    let offline = linked.b(&server).await?["preview_url"]
        .as_str()
        .context("a preview")?
        .to_owned();
    assert_eq!(server.get(&offline).await?.status, 404);
    assert_eq!(
        std::fs::read_to_string(beside(&linked.library, "b.metadata.json"))?,
        sidecar
    );
    linked.attach()?;
    server.scan("loras", false).await?;
    let back = linked.b(&server).await?["preview_url"]
        .as_str()
        .context("a preview")?
        .to_owned();
    assert_eq!(server.get(&back).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_disk_that_comes_back_is_found_without_a_scan() -> Result<()> {
    let linked = Linked::new(&[".metadata.json"])?;
    linked.detach()?;
    let server = linked.library.options().watching().serve().await?;
    // Nothing is known of it, and a blank metadata file would hide the one on the disk.
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["a"]);
    assert!(problems(&server).await?.contains("attach the disk"));
    linked.attach()?;
    server.wait_for_names("loras", &["a", "b"]).await?;
    assert_eq!(linked.b(&server).await?["tags"], json!(["kept"]));
    Ok(())
}

#[tokio::test]
async fn folders_of_the_kernel_below_a_root_are_not_walked() -> Result<()> {
    let library = Library::of([Model::lora("good")])?;
    symlink("/proc", beside(&library, "processes"))?;
    symlink("/sys", beside(&library, "system"))?;
    symlink("/proc/kmsg", beside(&library, "kernel.safetensors"))?;
    let server = library.options().watching().serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["good"]);
    let told = problems(&server).await?;
    for (name, system) in [
        ("processes", "proc"),
        ("system", "sysfs"),
        ("kernel.safetensors", "proc"),
    ] {
        assert!(told.contains(&format!("{name} is on {system}")), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pipe_in_the_history_stops_no_start() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    assert_eq!(edit(&server, &model(&library, "a"), "x").await?.0, 200);
    server.stop().await?;
    for entry in std::fs::read_dir(data.join("history"))? {
        let act = entry?.path().join("act.json");
        std::fs::remove_file(&act)?;
        pipe(&act)?;
    }
    let server = library.options().data_dir(&data).serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["a"]);
    assert!(server.log().contains("act.json is a pipe"), "{}", server.log());
    Ok(())
}

#[tokio::test]
async fn plugins_that_are_no_files_are_left_out_and_named() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    let plugins = library.path().join("plugins");
    std::fs::create_dir(&plugins)?;
    pipe(&plugins.join("piped.wasm"))?;
    symlink("/dev/zero", plugins.join("zeros.wasm"))?;
    pipe(&library.path().join("named.wasm"))?;
    let options = library.options().plugin(&library.path().join("named.wasm"));
    let server = options.argument("--plugin-dir").argument(&plugins).serve().await?;
    assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["a"]);
    for (name, kind) in [("piped", "a pipe"), ("zeros", "a device"), ("named", "a pipe")] {
        assert!(
            server.log().contains(&format!("{name}.wasm is {kind}")),
            "{}",
            server.log()
        );
    }
    assert!(peak(server.pid())? < 1024, "{} MiB", peak(server.pid())?);
    Ok(())
}

#[tokio::test]
async fn files_of_the_server_that_are_empty_or_broken_are_put_aside_and_stop_no_start() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    for (round, content) in ["", "{", "[1]"].into_iter().enumerate() {
        let data = library.path().join(format!("data-{round}"));
        std::fs::create_dir(&data)?;
        let names = [
            "plugins.json",
            "changed_settings.json",
            "secrets.json",
            "active_library.json",
        ];
        for name in names {
            std::fs::write(data.join(name), content)?;
        }
        std::fs::write(data.join("library.sqlite"), "")?;
        let server = library.options().data_dir(&data).serve().await?;
        assert_eq!(sorted_names(&server.list("loras", &[]).await?), ["a"]);
        let log = server.log();
        for name in names {
            let aside = std::fs::read_dir(&data)?.flatten().map(|entry| entry.file_name());
            let mut aside = aside.filter_map(|own| own.into_string().ok());
            let is_kept = aside.any(|own| own.starts_with(&format!("{name}.aside-")));
            assert!(
                is_kept && log.contains(&format!("{name}.aside-")),
                "{content:?} {name}: {log}"
            );
        }
        assert!(
            log.contains("library.sqlite") && log.contains("the file is empty"),
            "{log}"
        );
        // New ones are written in their places.
        let saved = server
            .post_json("/api/lm/settings", &json!({ "show_only_sfw": true }))
            .await?;
        assert_eq!(saved["success"], true, "{saved}");
        server.stop().await?;
        assert!(data.join("changed_settings.json").is_file());
    }
    Ok(())
}

#[tokio::test]
async fn settings_behind_a_link_that_leads_nowhere_are_an_error_that_says_so() -> Result<()> {
    let library = Library::of([Model::lora("a")])?;
    for name in ["settings.toml", "secrets.json"] {
        let data = library.path().join(format!("data-{name}"));
        std::fs::create_dir(&data)?;
        symlink("/nowhere/disk/file", data.join(name))?;
        let mut options = library.options().data_dir(&data);
        if name == "settings.toml" {
            options = options.argument("--config").argument(data.join(name));
        }
        let refused = options.start().await;
        let error = match refused {
            Ok(_) => anyhow::bail!("{name}: the server started"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(name) && error.contains("attach the disk"), "{error}");
        assert!(data.join(name).is_symlink());
    }
    Ok(())
}
