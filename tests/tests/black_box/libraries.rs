//! Named libraries, switched while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Library, Model, Server, ServerOptions, names, sorted_names};
use serde_json::{Value, json};

/// Two libraries, and the original's settings that name them.
struct Two {
    home: Library,
    work: Library,
    settings: PathBuf,
    data: PathBuf,
}

impl Two {
    fn new() -> Result<Self> {
        let home = Library::of([Model::lora("amber").sidecar(), Model::lora("birch").sidecar()])?;
        let work = Library::of([
            Model::lora("cedar").sidecar(),
            Model::new("checkpoints", "full").sidecar(),
        ])?;
        let (settings, data) = (home.path().join("settings.json"), home.path().join("data"));
        let two = Self {
            home,
            work,
            settings,
            data,
        };
        two.write("home")?;
        Ok(two)
    }

    fn write(&self, active: &str) -> Result<()> {
        let folders = |library: &Library| {
            let root = |name: &str| json!([wire(&library.root(name))]);
            json!({"loras": root("loras"), "checkpoints": root("checkpoints"), "embeddings": root("embeddings")})
        };
        let settings = json!({
            "active_library": active,
            "show_only_sfw": false,
            "libraries": {
                "home": {"folder_paths": folders(&self.home), "default_lora_root": wire(&self.home.root("loras"))},
                "work": {"folder_paths": folders(&self.work), "default_lora_root": wire(&self.work.root("loras"))},
            },
        });
        std::fs::write(&self.settings, settings.to_string())?;
        Ok(())
    }

    fn options(&self) -> ServerOptions {
        ServerOptions::default()
            .argument("--settings-json")
            .argument(&self.settings)
            .data_dir(&self.data)
    }

    async fn serve(&self) -> Result<Server> {
        self.options().serve().await
    }
}

async fn activate(server: &Server, name: &str) -> Result<Value> {
    server
        .post_json("/api/lm/settings/libraries/activate", &json!({"library": name}))
        .await
}

/// Waits until a listing has exactly these names.
async fn listed(server: &Server, prefix: &str, wanted: &[&str]) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let now = sorted_names(&server.list(prefix, &[]).await?);
        if now == wanted {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("{prefix}: {now:?} instead of {wanted:?}\n{}", server.log());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn active(server: &Server) -> Result<Value> {
    Ok(server.get_json("/api/lm/settings/libraries", &[]).await?["active_library"].clone())
}

#[tokio::test]
async fn another_library_is_served_after_it_was_activated_and_the_first_comes_back_at_once() -> Result<()> {
    let two = Two::new()?;
    let server = two.serve().await?;
    let libraries = server.get_json("/api/lm/settings/libraries", &[]).await?;
    assert_eq!(libraries["success"], true);
    assert_eq!(libraries["active_library"], "home");
    assert_eq!(
        libraries["libraries"]["work"]["folder_paths"]["loras"][0],
        wire(&two.work.root("loras"))
    );
    listed(&server, "loras", &["amber", "birch"]).await?;
    let amber = server.item("loras", "amber").await?;
    let list = Call::get("/api/lm/loras/list?page_size=1");
    let etag = server.send(&list).await?.header("etag").to_owned();

    let mut socket = server.socket("/ws/fetch-progress").await?;
    let answer = activate(&server, "work").await?;
    assert_eq!(
        (&answer["success"], &answer["active_library"]),
        (&json!(true), &json!("work"))
    );
    assert!(answer["libraries"]["home"].is_object());
    let told = socket.find(|message| message["type"] == "library_activated").await?;
    assert_eq!(told["library"], "work");
    for prefix in ["loras", "checkpoints", "embeddings"] {
        socket
            .find(|message| message["type"] == "models_changed" && message["pageType"] == prefix)
            .await?;
    }
    listed(&server, "loras", &["cedar"]).await?;
    listed(&server, "checkpoints", &["full"]).await?;
    let settings = server.get_json("/api/lm/settings", &[]).await?;
    assert_eq!(settings["settings"]["default_lora_root"], wire(&two.work.root("loras")));
    let status = server.get_json("/api/lm/loras/status", &[]).await?;
    assert_eq!(status["library"], "work");
    assert_eq!(status["roots"][0]["path"], wire(&two.work.root("loras")));
    // An answer of the other library is not taken for this one's.
    let again = server.send(&list.clone().header("If-None-Match", &etag)).await?;
    assert_eq!(again.status, 200);

    // What is known of the first library is there without a scan.
    activate(&server, "home").await?;
    assert_eq!(names(&server.list("loras", &[]).await?), ["amber", "birch"]);
    assert_eq!(server.item("loras", "amber").await?, amber);
    let before = std::fs::read_to_string(&two.settings)?;
    activate(&server, "home").await?;
    assert_eq!(
        std::fs::read_to_string(&two.settings)?,
        before,
        "the original's file is never written"
    );
    Ok(())
}

#[tokio::test]
async fn previews_of_a_library_that_is_not_active_are_not_served() -> Result<()> {
    let two = Two::new()?;
    two.home.add(&Model::lora("amber").preview("png"))?;
    let server = two.serve().await?;
    let url = server.item("loras", "amber").await?["preview_url"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(server.get(&url).await?.status, 200);
    activate(&server, "work").await?;
    assert_eq!(server.get(&url).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn a_library_that_cannot_be_activated_is_refused_and_nothing_changes() -> Result<()> {
    let two = Two::new()?;
    let server = two.serve().await?;
    let target = "/api/lm/settings/libraries/activate";
    for (body, status) in [
        (json!({}), 400),
        (json!({"library": "  "}), 400),
        (json!({"library": 7}), 400),
        (json!([]), 400),
        (json!({"library": "attic"}), 404),
    ] {
        let reply = server.send(&Call::post(target, &body)).await?;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        let answer = reply.json()?;
        assert!(answer["success"] == false && answer["error"].is_string(), "{answer}");
    }
    let broken = Call::new("POST", target)
        .header("Sec-Fetch-Site", "same-origin")
        .body("{".to_owned());
    assert_eq!(server.send(&broken).await?.status, 400);
    let foreign = Call::post(target, &json!({"library": "work"})).header("Sec-Fetch-Site", "cross-site");
    assert_eq!(server.send(&foreign).await?.status, 403);
    let reply = server.send(&Call::post(target, &json!({"library": "attic"}))).await?;
    assert!(reply.text().contains("home, work"), "{}", reply.text());
    assert_eq!(active(&server).await?, "home");
    // The other name of the parameter.
    server.post_json(target, &json!({"library_name": "work"})).await?;
    assert_eq!(active(&server).await?, "work");
    Ok(())
}

#[tokio::test]
async fn the_choice_lasts_over_restarts_until_the_settings_or_the_command_line_name_another() -> Result<()> {
    let two = Two::new()?;
    let server = two.serve().await?;
    activate(&server, "work").await?;
    server.stop().await?;

    let server = two.serve().await?;
    assert_eq!(active(&server).await?, "work");
    listed(&server, "loras", &["cedar"]).await?;
    server.stop().await?;

    let server = two.options().argument("--library").argument("home").serve().await?;
    assert_eq!(active(&server).await?, "home");
    server.stop().await?;
    let server = two.serve().await?;
    assert_eq!(active(&server).await?, "work", "one run with another is no choice");
    activate(&server, "home").await?;
    server.stop().await?;

    // The original was switched meanwhile.
    two.write("work")?;
    let server = two.serve().await?;
    assert_eq!(active(&server).await?, "work");
    server.stop().await?;

    let error = two
        .options()
        .argument("--library")
        .argument("attic")
        .start()
        .await
        .err();
    let message = error.map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(message.contains("attic") && message.contains("home, work"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_server_without_named_libraries_has_one() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = library.serve().await?;
    let answer = activate(&server, "default").await?;
    assert_eq!(
        answer["libraries"]["default"]["folder_paths"]["loras"][0],
        wire(&library.root("loras"))
    );
    assert_eq!(names(&server.list("loras", &[]).await?), ["amber"]);
    Ok(())
}

#[tokio::test]
async fn no_request_fails_while_libraries_are_switched() -> Result<()> {
    let two = Two::new()?;
    for number in 0..60 {
        two.home
            .add(&Model::lora(&format!("h{number:02}")).sidecar().preview("png"))?;
        two.work
            .add(&Model::lora(&format!("w{number:02}")).sidecar().preview("png"))?;
    }
    let server = Arc::new(two.serve().await?);
    let over = Arc::new(AtomicBool::new(false));
    let targets = [
        "/api/lm/loras/list?page_size=100",
        "/api/lm/loras/list?search=h0&sort_by=date",
        "/api/lm/loras/folders",
        "/api/lm/checkpoints/list",
        "/api/lm/settings",
        "/api/lm/loras/status",
        "/loras",
    ];
    let askers: Vec<_> = targets
        .into_iter()
        .map(|target| {
            let (server, over) = (server.clone(), over.clone());
            tokio::spawn(async move {
                let mut answers = 0;
                while !over.load(Ordering::Relaxed) {
                    let reply = server.get(target).await?;
                    if reply.status != 200 {
                        bail!("{target}: {} {}", reply.status, reply.text());
                    }
                    answers += 1;
                    // One library's models or the other's, never both.
                    if target.contains("page_size") {
                        let listed = names(&reply.json()?);
                        let (home, work) = (
                            listed.iter().any(|name| name.starts_with('h')),
                            listed.iter().any(|name| name.starts_with('w')),
                        );
                        if home && work {
                            bail!("mixed: {listed:?}");
                        }
                    }
                }
                Ok(answers)
            })
        })
        .collect();
    for _ in 0..6 {
        activate(&server, "work").await?;
        // Scans of the library that is left must not stand in the way.
        let scanning = server.clone();
        let scan = tokio::spawn(async move { scanning.get("/api/lm/loras/scan?full_rebuild=true").await });
        activate(&server, "home").await?;
        assert_eq!(scan.await??.status, 200);
    }
    over.store(true, Ordering::Relaxed);
    for asker in askers {
        assert!(asker.await?? > 0);
    }
    let all: Vec<String> = (0..60).map(|number| format!("h{number:02}")).collect();
    let mut wanted: Vec<&str> = vec!["amber", "birch"];
    wanted.extend(all.iter().map(String::as_str));
    listed(&server, "loras", &wanted).await?;
    Ok(())
}

#[tokio::test]
async fn folders_of_the_command_line_belong_to_every_library() -> Result<()> {
    let two = Two::new()?;
    let shared = Library::of([Model::lora("shared").sidecar()])?;
    let options = two.options().root("loras", Path::new(&shared.root("loras")));
    let server = options.serve().await?;
    listed(&server, "loras", &["amber", "birch", "shared"]).await?;
    activate(&server, "work").await?;
    listed(&server, "loras", &["cedar", "shared"]).await?;
    Ok(())
}
