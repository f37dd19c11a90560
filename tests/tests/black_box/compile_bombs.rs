//! Components that are made to take a compiler's time and memory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use modelshelf_tests::{Call, Library, Model, Server};
use serde_json::{Value, json};

fn leb(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    leb(out, content.len());
    out.extend_from_slice(content);
}

/// A component with one module of empty functions, the first of which has so many names.
fn bomb(functions: usize, exports: usize) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    let mut types = Vec::new();
    leb(&mut types, functions);
    types.resize(types.len() + functions, 0);
    section(&mut module, 3, &types);
    let mut names = Vec::new();
    leb(&mut names, exports);
    for index in 0..exports {
        let name = index.to_string();
        leb(&mut names, name.len());
        names.extend_from_slice(name.as_bytes());
        names.extend_from_slice(&[0, 0]);
    }
    section(&mut module, 7, &names);
    let mut code = Vec::new();
    leb(&mut code, functions);
    code.extend([2, 0, 0x0b].repeat(functions));
    section(&mut module, 10, &code);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(&mut component, 1, &module);
    component
}

struct Bombed {
    server: Server,
    library: Library,
    file: PathBuf,
}

impl Bombed {
    /// A server that is given this component, and these settings.
    async fn start(component: &[u8], settings: &str) -> Result<Self> {
        let library = Library::of([Model::lora("amber")])?;
        let file = library.path().join("bomb.wasm");
        std::fs::write(&file, component)?;
        let server = library.options().plugin(&file).settings(settings).start().await?;
        server.wait_ready("loras").await?;
        Ok(Self { server, library, file })
    }

    async fn known(&self) -> Result<Value> {
        let answer = self.server.get_json("/api/plugins", &[]).await?;
        let plugins = answer["plugins"].as_array().context("plugins")?;
        let source = self.file.to_str().context("path")?;
        let own = plugins.iter().find(|plugin| plugin["source"] == source);
        Ok(own.cloned().unwrap_or_default())
    }

    /// Waits until the component is left out; gives the reason.
    async fn refused(&self) -> Result<String> {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let known = self.known().await?;
            if let Some(reason) = known["failure"]["reason"].as_str() {
                return Ok(reason.to_owned());
            }
            ensure!(Instant::now() < end, "{known}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn others_serve(&self) -> Result<()> {
        ensure!(self.server.list("loras", &[("search", "amber")]).await?["total"] == 1);
        ensure!(self.server.get("/api/lm/loras/letter-counts").await?.status == 200);
        ensure!(self.server.get_json("/api/lm/settings", &[]).await?["success"] == true);
        Ok(())
    }
}

#[tokio::test]
async fn what_claims_too_much_is_left_out_with_the_setting_that_says_how_much() -> Result<()> {
    for (component, parts) in [
        (
            bomb(900_000, 1),
            &["900000 functions", "`functions` under [compile]"][..],
        ),
        (bomb(1, 100_000), &["100000 exports", "`items` under [compile]"]),
    ] {
        let bombed = Bombed::start(&component, "").await?;
        let reason = bombed.refused().await?;
        for part in parts.iter().chain(&["bomb.wasm"]) {
            ensure!(reason.contains(part), "{reason}");
        }
        bombed.others_serve().await?;
    }
    let bombed = Bombed::start(b"\0asm", "").await?;
    std::fs::File::options()
        .write(true)
        .open(&bombed.file)?
        .set_len(300 << 20)?;
    let source = modelshelf_tests::http::encode(bombed.file.to_str().context("path")?);
    let reload = Call::post(&format!("/api/plugins/{source}/reload"), &json!({}));
    let reply = bombed.server.send(&reload).await?;
    ensure!(
        reply.status == 422 && reply.text().contains("MiB"),
        "{} {}",
        reply.status,
        reply.text()
    );
    Ok(())
}

#[tokio::test]
async fn what_does_not_compile_in_its_time_or_memory_is_left_out() -> Result<()> {
    const BOUNDS: &str = "[compile]\nfunctions = 1_000_000\n";
    let component = bomb(900_000, 1);
    for (bound, part) in [
        ("seconds = 1", "more than 1 s of processor time"),
        ("memory_mib = 128", "more than 128 MiB"),
    ] {
        let bombed = Bombed::start(&component, &format!("{BOUNDS}{bound}\n")).await?;
        let reason = bombed.refused().await?;
        ensure!(reason.contains(part) && reason.contains("bomb.wasm"), "{reason}");
        bombed.others_serve().await?;
    }
    Ok(())
}

/// Processes that a process started.
#[cfg(target_os = "linux")]
fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let listed = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(listed.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(found)
}

#[cfg(target_os = "linux")]
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_waits_for_a_plugin_that_is_compiled_and_its_compiler_ends_with_the_server() -> Result<()> {
    let bounds = "[compile]\nfunctions = 1_000_000\nseconds = 600\nmemory_mib = 8192\n";
    let bombed = Bombed::start(&bomb(900_000, 1), bounds).await?;
    let end = Instant::now() + Duration::from_secs(60);
    let compilers = loop {
        let found = children(bombed.server.pid())?;
        if !found.is_empty() {
            break found;
        }
        ensure!(Instant::now() < end, "no compiler was started");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(bombed.known().await?["state"], "building");
    bombed.others_serve().await?;
    // Neither saving a setting nor another plugin waits.
    let saved = bombed
        .server
        .post_json("/api/lm/settings", &json!({"show_only_sfw": true}))
        .await?;
    assert_eq!(saved["success"], true);
    bombed
        .server
        .post_json("/api/plugins/vae/disable", &json!({}))
        .await
        .ok();
    bombed
        .server
        .post_json("/api/plugins/embedding/disable", &json!({}))
        .await?;
    assert_eq!(bombed.known().await?["state"], "building");
    let Bombed { server, library, .. } = bombed;
    server.kill();
    let end = Instant::now() + Duration::from_secs(60);
    while compilers.iter().any(|pid| runs(*pid)) {
        ensure!(Instant::now() < end, "the compiler outlives the server");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(library);
    Ok(())
}
