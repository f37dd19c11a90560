//! `host plugin ...` and `--plugin FOLDER`, as an author of a model type uses them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use modelshelf_tests::{Library, Model, Server, ServerOptions, binary, component, names};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Builds take long on a busy machine; what is asserted is that they happen.
const BUILDING: Duration = Duration::from_secs(400);

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

/// Runs the program to its end, with what it builds and compiles kept for the other tests.
async fn host(arguments: &[&str], folder: &Path) -> Result<Output> {
    let (program, caches) = (binary::find()?, target().join("test-cache"));
    // What the checks compile, the tests' servers find, and the other way round.
    binary::share_compiled_code(&program, &caches.join("modelshelf"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", caches)
        .env("MODELSHELF_PLUGIN_TARGET", target().join("plugins-build"))
        .stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || command.output());
    Ok(tokio::time::timeout(BUILDING, running).await???)
}

/// What `check --json` says, and whether the program ended without an error.
pub async fn checked(file: &Path) -> Result<(Value, bool)> {
    let file = file.display().to_string();
    let output = host(&["plugin", "check", "--json", &file], Path::new(".")).await?;
    let report = serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    Ok((report, output.status.success()))
}

/// What one check found, as text.
pub fn found(report: &Value, check: &str) -> String {
    let checks = report["checks"].as_array().into_iter().flatten();
    checks
        .filter(|case| case["name"] == check)
        .map(|case| case["findings"].to_string())
        .collect()
}

#[tokio::test]
async fn every_type_of_ours_passes_the_conformance_kit() -> Result<()> {
    // `bare` is written against the first version of the interface itself, and must go on working.
    let mut files = vec![component::guest("minimal")?, component::guest("bare")?];
    for entry in std::fs::read_dir(target().join("plugins"))? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    ensure!(files.len() > 4, "{files:?}");
    for file in files {
        let (report, passed) = checked(&file).await?;
        assert!(passed && report["ok"] == true && report["warnings"] == 0, "{report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn what_breaks_the_interface_is_named_with_its_place() -> Result<()> {
    let (report, passed) = checked(&component::guest("faulty")?).await?;
    assert!(!passed && report["ok"] == false);
    let routes = found(&report, "routes");
    for part in [
        "/trap",
        "src/lib.rs:",
        "modelshelf_guest_faulty::trap",
        "/spin",
        "2000 ms",
        "/large",
    ] {
        assert!(routes.contains(part), "{part} is not in {routes}");
    }
    // The rules are sound, so that nothing is found there.
    assert_eq!(found(&report, "derive"), "[]");

    assert_eq!(found(&report, "merge-remote"), "[]");

    let (report, passed) = checked(&component::guest("clash")?).await?;
    assert!(!passed);
    assert!(
        found(&report, "load").contains("clashes with the shared route"),
        "{report}"
    );
    Ok(())
}

/// What the kit says of `faulty` with one of its switches turned.
async fn checked_wrong(switch: &str) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("wrong.wasm");
    let wasm = std::fs::read(component::guest("faulty")?)?;
    let (sound, wrong) = (format!("{switch}-is-sound"), format!("{switch}-is-wrong"));
    std::fs::write(&file, component::patched(&wasm, &sound, &wrong)?)?;
    let (report, passed) = checked(&file).await?;
    assert!(!passed);
    Ok(report)
}

#[tokio::test]
async fn a_rule_that_always_traps_is_a_finding_and_ends_no_check() -> Result<()> {
    let report = checked_wrong("format").await?;
    for check in ["format", "cost"] {
        let findings = found(&report, check);
        assert!(findings.contains("asked to trap by the version"), "{check}: {findings}");
    }
    // The checks after these have been made, too.
    assert!(found(&report, "routes").contains("/trap"), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn words_that_a_person_typed_and_a_merge_overwrites_are_found() -> Result<()> {
    let findings = found(&checked_wrong("merge").await?, "merge-remote");
    assert!(findings.contains("civitai.trainedWords"), "{findings}");
    Ok(())
}

#[tokio::test]
async fn a_component_of_another_interface_hears_which_version_fits() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("later.wasm");
    let wasm = std::fs::read(component::guest("minimal")?)?;
    std::fs::write(&file, component::patched(&wasm, "@0.1.0", "@0.9.0")?)?;
    let (report, passed) = checked(&file).await?;
    assert!(!passed);
    let load = found(&report, "load");
    assert!(
        load.contains("version 0.9.0") && load.contains("speaks 0.1.0"),
        "{load}"
    );
    Ok(())
}

#[tokio::test]
async fn types_that_few_need_have_a_page_where_they_have_a_folder() -> Result<()> {
    let library = Library::of([Model::new("vae", "anime").extension("safetensors")])?;
    let server = library.serve().await?;
    assert_eq!(server.get("/api/lm/vaes/list").await?.status, 404);
    assert!(!server.get("/loras").await?.text().contains("href=\"/vaes\""));
    drop(server);

    let server = library.options().root("vae", &library.root("vae")).serve().await?;
    server.wait_ready("vaes").await?;
    let item = server.item("vaes", "anime").await?;
    assert_eq!(item["sub_type"], "tiny_vae");
    assert_eq!(server.get("/api/lm/controlnets/list").await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn a_named_component_is_served_anew_when_its_file_changes() -> Result<()> {
    let library = Library::new()?;
    let folder = library.path().join("minimals");
    std::fs::create_dir(&folder)?;
    let file = library.path().join("minimal.wasm");
    let wasm = std::fs::read(component::guest("minimal")?)?;
    std::fs::write(&file, &wasm)?;
    let server = library
        .options()
        .plugin(&file)
        .root("minimals", &folder)
        .serve()
        .await?;
    server.wait_ready("minimals").await?;
    let before = known(&server, "minimal", |_| true).await?;
    std::fs::write(&file, component::altered(&wasm, 2))?;
    let after = known(&server, "minimal", |own| own["digest"] != before["digest"]).await?;
    assert!(after["failure"].is_null(), "{after}");
    std::fs::write(&file, b"no component")?;
    let failed = known(&server, "minimal", |own| own["failure"].is_object()).await?;
    assert_eq!(failed["digest"], after["digest"]);
    assert_eq!(server.get("/api/lm/minimals/list").await?.status, 200);
    Ok(())
}

/// What the server says of a plugin, once that is as wanted.
async fn known(server: &Server, id: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let waiting = async {
        loop {
            let all = server.get_json("/api/plugins", &[]).await?;
            let own = all["plugins"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|plugin| plugin["id"] == id);
            if let Some(own) = own.filter(|own| wanted(own)) {
                return anyhow::Ok(own.clone());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(BUILDING, waiting)
        .await
        .with_context(|| server.log())?
}

#[tokio::test]
async fn a_component_is_one_plugin_wherever_it_is_named_from_and_whatever_happens_to_its_folder() -> Result<()> {
    let library = Library::new()?;
    let models = library.path().join("minimals");
    std::fs::create_dir(&models)?;
    let folder = library.path().join("built");
    std::fs::create_dir(&folder)?;
    let file = folder.join("minimal.wasm");
    let wasm = std::fs::read(component::guest("minimal")?)?;
    std::fs::write(&file, &wasm)?;
    // The working folder of a test's server is its home, so that this way leads there.
    let mut options = library.options().root("minimals", &models);
    let launcher = format!("cd '{}' && exec \"$0\" \"$@\"", library.path().display());
    options = options.launched_by(&["sh", "-c", &launcher]);
    let server = options.plugin(Path::new("built/minimal.wasm")).serve().await?;
    server.wait_ready("minimals").await?;
    let before = known(&server, "minimal", |_| true).await?;
    assert_eq!(before["source"], file.display().to_string());

    std::fs::write(&file, b"no component")?;
    known(&server, "minimal", |own| own["failure"].is_object()).await?;
    assert_eq!(sources(&server, "minimal.wasm").await?, 1);

    // As `cargo clean` and the build after it do.
    std::fs::remove_dir_all(&folder)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::create_dir(&folder)?;
    std::fs::write(&file, component::altered(&wasm, 3))?;
    known(&server, "minimal", |own| {
        own["failure"].is_null() && own["digest"] != before["digest"]
    })
    .await?;
    assert_eq!(sources(&server, "minimal.wasm").await?, 1);
    Ok(())
}

/// How many of the plugins that the server knows come from a path with this end.
async fn sources(server: &Server, end: &str) -> Result<usize> {
    let all = server.get_json("/api/plugins", &[]).await?;
    let plugins = all["plugins"].as_array().context("plugins")?;
    Ok(plugins
        .iter()
        .filter(|plugin| plugin["source"].as_str().is_some_and(|source| source.contains(end)))
        .count())
}

/// A server of one crate, which finds the compilers of whoever runs the tests.
async fn serving_crate(folder: &Path, root: &str, target: Option<PathBuf>) -> Result<Server> {
    let models = folder.join("models");
    std::fs::create_dir(&models)?;
    let mut options = ServerOptions::default()
        .root(root, &models)
        .argument("--plugin")
        .argument(folder.join(root))
        .environment("HOME", std::env::var_os("HOME").unwrap_or_default());
    if let Some(target) = target {
        options = options.environment("MODELSHELF_PLUGIN_TARGET", target);
    }
    // Whose built-in types are ready, before which nothing is known of plugins.
    options.serve().await
}

#[tokio::test]
async fn a_crate_that_is_broken_at_the_start_and_mended_is_one_plugin() -> Result<()> {
    let author = Author::new()?;
    // What the template itself has a struct called after, which must not matter.
    author.types("host plugin new fields").await?;
    let source = author.path().join("fields/src/lib.rs");
    let code = std::fs::read_to_string(&source)?;
    std::fs::write(&source, format!("{code}\nfn broken( {{}}\n"))?;
    let server = serving_crate(author.path(), "fields", Some(target().join("plugins-build"))).await?;
    let failed = async {
        while !server
            .get_json("/api/plugins", &[])
            .await?
            .to_string()
            .contains("could not build")
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(BUILDING, failed)
        .await
        .with_context(|| server.log())??;
    assert_eq!(sources(&server, "fields").await?, 1);

    std::fs::write(&source, &code)?;
    let mended = known(&server, "fields", |own| own["state"] == "serving").await?;
    assert!(mended["failure"].is_null(), "{mended}");
    assert_eq!(sources(&server, "fields").await?, 1);

    // A folder that is made later is looked at, too.
    let part = author.path().join("fields/parts");
    std::fs::create_dir(&part)?;
    let with_part = format!("{code}\n#[path = \"../parts/text.rs\"]\npub mod text;\n");
    std::fs::write(part.join("text.rs"), "")?;
    std::fs::write(&source, with_part)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(part.join("text.rs"), "pub fn broken( {}\n")?;
    let failed = known(&server, "fields", |own| own["failure"].is_object()).await?;
    let reason = failed["failure"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("parts/text.rs"), "{reason}");
    Ok(())
}

#[tokio::test]
async fn a_build_ends_with_the_server() -> Result<()> {
    let author = Author::new()?;
    author.types("host plugin new slow").await?;
    let (folder, started) = (author.path().join("slow"), author.path().join("pid"));
    // It writes its id in one step, so that no half of it is read.
    let script = format!(
        "fn main() {{\n    std::fs::write(\"{0}.part\", std::process::id().to_string()).unwrap();\n    \
         std::fs::rename(\"{0}.part\", \"{0}\").unwrap();\n    \
         std::thread::sleep(std::time::Duration::from_secs(600));\n}}\n",
        started.display()
    );
    std::fs::write(folder.join("build.rs"), script)?;
    // In a folder of its own: nothing else may wait for this build.
    let server = serving_crate(author.path(), "slow", None).await?;
    let waiting = async {
        while !started.is_file() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(BUILDING, waiting)
        .await
        .with_context(|| server.log())?;
    let script: u32 = std::fs::read_to_string(&started)?.parse()?;
    assert!(runs(script));
    let plugins = server.get_json("/api/plugins", &[]).await?["plugins"].clone();
    let own = plugins.as_array().context("plugins")?.iter();
    let own: Vec<&Value> = own.filter(|plugin| plugin["built_in"] == false).collect();
    let source = folder.canonicalize()?.display().to_string();
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(
        json!([own[0]["state"], own[0]["source"], own[0]["failure"]]),
        json!(["building", source, null])
    );
    server.stop().await?;
    let ended = async {
        while runs(script) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await?;
    Ok(())
}

/// Whether a process is there that has not ended, as far as the system tells.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn inspect_says_what_a_component_is_and_costs() -> Result<()> {
    let file = component::guest("minimal")?.display().to_string();
    let output = host(&["plugin", "inspect", "--json", &file], Path::new(".")).await?;
    let facts: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        (&facts["id"], &facts["prefix"], &facts["interface"]),
        (&json!("minimal"), &json!("minimals"), &json!("0.1.0"))
    );
    assert_eq!(facts["bytes"], std::fs::metadata(&file)?.len());
    assert!(
        facts["exports"]
            .as_array()
            .is_some_and(|exports| exports.contains(&json!("derive"))),
        "{facts}"
    );
    assert!(
        facts["cost"]["call_us"].as_f64().is_some_and(|cost| cost > 0.0),
        "{facts}"
    );
    Ok(())
}

/// The commands of the tutorial, in order: the lines of its shell blocks.
fn tutorial() -> Vec<String> {
    let book = include_str!("../../../docs/plugins.md");
    let (_, rest) = book.split_once("## A model type from nothing").unwrap_or_default();
    let (part, _) = rest.split_once("\n## ").unwrap_or((rest, ""));
    let blocks = part
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| Some(block.split_once("```")?.0));
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

struct Author {
    folder: TempDir,
}

impl Author {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("modelshelf-author-").tempdir()?;
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn types(&self, command: &str) -> Result<()> {
        let words: Vec<&str> = command.split(' ').collect();
        ensure!(words.first() == Some(&"host"), "{command}");
        let output = host(&words[1..], self.path()).await?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(output.status.success(), "{command}\n{out}\n{err}");
        Ok(())
    }
}

#[tokio::test]
async fn the_tutorial_leads_from_an_empty_folder_to_a_type_that_changes_while_it_is_served() -> Result<()> {
    let author = Author::new()?;
    let commands = tutorial();
    let [new, test, serve] = &commands[..] else {
        panic!("the tutorial has other commands than this test knows: {commands:?}")
    };
    author.types(new).await?;
    author.types(test).await?;
    // What cargo prints about tests is not in the way of a program that reads the report.
    let output = host(&["plugin", "test", "--json", "upscaler"], author.path()).await?;
    let report: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())?;
    assert_eq!(report["ok"], true);

    let models = author.path().join("models");
    std::fs::create_dir(&models)?;
    std::fs::write(models.join("first.pt"), b"weights")?;
    let models = models.display().to_string();
    let mut options = ServerOptions::default().environment("MODELSHELF_PLUGIN_TARGET", target().join("plugins-build"));
    for word in serve.split(' ').skip(1) {
        let word = word.replace("/path/to/models", &models);
        // The server of a test has a working folder of its own.
        let is_crate = word == "upscaler";
        options = options.argument(if is_crate {
            author.path().join(&word).display().to_string()
        } else {
            word
        });
    }
    let server = options
        .environment("HOME", std::env::var_os("HOME").unwrap_or_default())
        .start()
        .await?;
    let source = author.path().join("upscaler/src/lib.rs");
    let code = std::fs::read_to_string(&source)?;

    let ready = async {
        while server.get("/api/lm/upscalers/list").await?.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server.wait_ready("upscalers").await
    };
    tokio::time::timeout(BUILDING, ready)
        .await
        .with_context(|| server.log())??;
    let page = server.wait_for("upscalers", |page| page["total"] == 1).await?;
    assert_eq!(names(&page), ["first"]);
    assert_eq!(server.get("/upscalers").await?.status, 200);
    let mut socket = server.socket("/ws/fetch-progress").await?;
    let before = known(&server, "upscaler", |own| own["failure"].is_null()).await?;

    // A change is served without a restart, on the same socket.
    let changed = code.replace(
        "json!({\"tensors\": fields.tensors})",
        "json!({\"count\": fields.tensors})",
    );
    assert_ne!(changed, code);
    std::fs::write(&source, &changed)?;
    known(&server, "upscaler", |own| own["digest"] != before["digest"]).await?;
    socket.find(|message| message["type"] == "plugins_changed").await?;
    let answer = server.get_json("/api/lm/upscalers/tensors/first", &[]).await?;
    assert_eq!(answer, json!({"success": true, "count": 0}));

    // What does not compile is told with its place, and the last good version goes on.
    std::fs::write(&source, format!("{changed}\nfn broken( {{}}\n"))?;
    let failed = known(&server, "upscaler", |own| own["failure"].is_object()).await?;
    let reason = failed["failure"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("src/lib.rs:") && reason.contains("error"), "{reason}");
    assert!(server.log().contains("src/lib.rs:"), "{}", server.log());
    assert_eq!(server.get_json("/api/lm/upscalers/tensors/first", &[]).await?, answer);

    // So does a version that the server can't take: its routes clash.
    std::fs::write(&source, changed.replace("{prefix}/tensors/{name}", "{prefix}/list"))?;
    let clashing = known(&server, "upscaler", |own| {
        own["failure"]["reason"] != failed["failure"]["reason"]
    })
    .await?;
    assert!(
        clashing["failure"]["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("clashes"),
        "{clashing}"
    );
    assert_eq!(server.get_json("/api/lm/upscalers/tensors/first", &[]).await?, answer);

    std::fs::write(&source, &code)?;
    known(&server, "upscaler", |own| own["failure"].is_null()).await?;
    let answer = server.get_json("/api/lm/upscalers/tensors/first", &[]).await?;
    assert_eq!(answer, json!({"success": true, "tensors": 0}));
    Ok(())
}
