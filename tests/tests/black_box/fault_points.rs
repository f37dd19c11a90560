//! A crash at every step on the disk that an act takes: after the next start there is the old or the new state, whole, and
//! no byte of any model or metadata file is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use modelshelf_tests::model::{sha256, wire};
use modelshelf_tests::{Library, Model, Server, binary};
use serde_json::{Value, json};

use crate::acts::{files, post};

const TRASH: &str = "/.lm-pending-delete/";
/// No act of these tests takes as many steps.
const MOST: usize = 120;

type Files = BTreeMap<String, Vec<u8>>;

struct Shelf {
    library: Library,
    data: PathBuf,
    fault: PathBuf,
    server: Option<Server>,
}

impl Shelf {
    async fn new(models: Vec<Model>) -> Result<Self> {
        let library = Library::of(models)?;
        let (data, fault) = (library.path().join("data"), library.path().join("fault"));
        let mut shelf = Self {
            library,
            data,
            fault,
            server: None,
        };
        shelf.start().await?;
        Ok(shelf)
    }

    async fn start(&mut self) -> Result<()> {
        // The killed one must be gone before its data folder is taken.
        self.server = None;
        let options = self.library.options().data_dir(&self.data).silent();
        let server = options.environment("MODELSHELF_FAULT", &self.fault).serve().await?;
        // What the store knew is shown until it was compared with the disk.
        server.scan("loras", false).await?;
        self.server = Some(server);
        Ok(())
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("a server")
    }

    fn path(&self, name: &str) -> String {
        wire(&self.library.root("loras").join(format!("{name}.safetensors")))
    }

    fn arm(&self, kind: &str, step: usize) -> Result<()> {
        Ok(std::fs::write(&self.fault, format!("{kind} {step}"))?)
    }

    fn disarm(&self) {
        let _ = std::fs::remove_file(&self.fault);
    }

    /// What a person has in the folders, without what waits in the trash.
    fn visible(&self) -> Result<Files> {
        let mut all = files(&self.library.root("loras"))?;
        all.retain(|path, _| !path.contains(TRASH));
        Ok(all)
    }

    /// Digests of all that is kept anywhere, trash and history included.
    fn kept(&self) -> Result<BTreeSet<String>> {
        let mut kept: BTreeSet<String> = files(&self.library.root("loras"))?
            .values()
            .map(|bytes| sha256(bytes))
            .collect();
        let history = self.data.join("history");
        if history.exists() {
            for bytes in files(&history)?.into_values() {
                // Behind the first line of a step lies what the file was.
                let line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                kept.insert(sha256(&bytes[line..]));
            }
        }
        Ok(kept)
    }
}

/// What clients see, without what tells runs apart.
async fn listed(server: &Server) -> Result<Vec<Value>> {
    let mut items = server.list("loras", &[("page_size", "100")]).await?["items"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for item in &mut items {
        // It has the time of the preview's file in it.
        item.as_object_mut().map(|item| item.remove("media_url"));
    }
    items.sort_by_key(|item| item["file_path"].to_string());
    Ok(items)
}

/// The newest act of the history.
async fn newest(shelf: &Shelf) -> Result<Value> {
    let history = shelf.server()?.get_json("/api/lm/history", &[]).await?;
    Ok(history["acts"][0]["id"].clone())
}

/// An act's request; of an undo, of the newest act.
async fn asked(shelf: &Shelf, act: &impl Fn(&Shelf) -> (String, Value)) -> Result<(String, Value)> {
    match act(shelf) {
        (route, _) if route == "undo" => Ok((route, json!({"id": newest(shelf).await?}))),
        asked => Ok(asked),
    }
}

/// Crashes an act, `(route, body)`, at each of its steps in turn.
async fn crash_everywhere(mut shelf: Shelf, act: impl Fn(&Shelf) -> (String, Value)) -> Result<()> {
    let before = shelf.visible()?;
    let digests: BTreeSet<String> = before.values().map(|bytes| sha256(bytes)).collect();
    let old = listed(shelf.server()?).await?;
    // Once without a crash.
    let (route, body) = asked(&shelf, &act).await?;
    let (status, answer) = post(shelf.server()?, &route, body).await?;
    ensure!(status == 200 && answer["success"] == true, "{route}: {answer}");
    let (after, new) = (shelf.visible()?, listed(shelf.server()?).await?);
    assert_ne!(before, after, "{route} does something");
    take_back(&shelf, &before).await?;

    let mut crashes = 0;
    for step in 1..=MOST {
        let (route, body) = asked(&shelf, &act).await?;
        shelf.arm("act", step)?;
        let died = match post(shelf.server()?, &route, body).await {
            Ok((status, answer)) => {
                ensure!(status == 200 && answer["success"] == true, "{route}: {answer}");
                false
            }
            Err(_) => true,
        };
        shelf.disarm();
        if !died {
            break;
        }
        crashes += 1;
        shelf.start().await?;
        let (now, lists) = (shelf.visible()?, listed(shelf.server()?).await?);
        let lost = digests.difference(&shelf.kept()?).count();
        assert_eq!(lost, 0, "{route}, step {step}: contents are lost");
        if route == "loras/bulk-edit" {
            // Each model by itself is old or new; what was done is one act, and can be taken back.
            let whole = |(path, bytes): (&String, &Vec<u8>)| [before.get(path), after.get(path)].contains(&Some(bytes));
            assert!(
                now.len() == before.len() && now.iter().all(whole),
                "{route}, step {step}"
            );
            let known = |item: &Value| old.contains(item) || new.contains(item);
            assert!(lists.iter().all(known), "{route}, step {step}: {lists:?}");
        } else {
            assert!(
                now == before || now == after,
                "{route}, step {step}: neither old nor new but {:?}",
                now.keys().collect::<Vec<_>>()
            );
            assert_eq!(
                lists,
                if now == before { old.clone() } else { new.clone() },
                "{route}, step {step}"
            );
        }
        if now != before {
            take_back(&shelf, &before).await?;
        }
    }
    let release = binary::find()?.to_string_lossy().contains("release");
    assert!(release || crashes >= 6, "only {crashes} steps");
    Ok(())
}

/// Undoes the last act, and looks whether all is as it was.
async fn take_back(shelf: &Shelf, before: &Files) -> Result<()> {
    let id = newest(shelf).await?;
    let (status, answer) = post(shelf.server()?, "undo", json!({"id": id})).await?;
    ensure!(status == 200 && answer["conflicts"] == json!([]), "{answer}");
    assert_eq!(&shelf.visible()?, before, "after the undo");
    Ok(())
}

fn two() -> Vec<Model> {
    vec![
        Model::lora("a/one").preview("png").side("theirs", json!({"x": 1})),
        Model::lora("two").preview("webp").tags(&["t"]),
    ]
}

#[tokio::test]
async fn a_rename() -> Result<()> {
    crash_everywhere(Shelf::new(two()).await?, |shelf| {
        (
            "loras/rename".into(),
            json!({"file_path": shelf.path("a/one"), "new_file_name": "uno"}),
        )
    })
    .await
}

#[tokio::test]
async fn a_bulk_delete() -> Result<()> {
    crash_everywhere(Shelf::new(two()).await?, |shelf| {
        let paths = [shelf.path("a/one"), shelf.path("two")];
        ("loras/bulk-delete".into(), json!({"file_paths": paths}))
    })
    .await
}

#[tokio::test]
async fn a_move_of_several() -> Result<()> {
    crash_everywhere(Shelf::new(two()).await?, |shelf| {
        let (paths, target) = ([shelf.path("a/one"), shelf.path("two")], shelf.path("b/c/x"));
        let target = target.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        (
            "loras/move_models_bulk".into(),
            json!({"file_paths": paths, "target_path": target}),
        )
    })
    .await
}

#[tokio::test]
async fn an_auto_organise() -> Result<()> {
    crash_everywhere(Shelf::new(two()).await?, |_| ("loras/auto-organize".into(), json!({}))).await
}

#[tokio::test]
async fn an_undo_of_a_move() -> Result<()> {
    crash_undo("loras/move_model", |shelf| {
        let target = shelf.path("b/x").trim_end_matches("/x.safetensors").to_owned();
        json!({"file_path": shelf.path("a/one"), "target_path": target})
    })
    .await
}

#[tokio::test]
async fn an_edit() -> Result<()> {
    crash_everywhere(Shelf::new(two()).await?, |shelf| {
        (
            "loras/save-metadata".into(),
            json!({"file_path": shelf.path("two"), "notes": "new", "tags": []}),
        )
    })
    .await
}

#[tokio::test]
async fn a_bulk_edit() -> Result<()> {
    crash_everywhere(Shelf::new(two()).await?, |shelf| {
        let paths = [shelf.path("a/one"), shelf.path("two")];
        (
            "loras/bulk-edit".into(),
            json!({"file_paths": paths, "set": {"base_model": "B"}}),
        )
    })
    .await
}

#[tokio::test]
async fn a_replaced_preview() -> Result<()> {
    let picture = |width: u32| {
        let mut bytes = Cursor::new(Vec::new());
        let image = image::DynamicImage::new_rgb8(width, 9);
        image
            .write_to(&mut bytes, image::ImageFormat::Png)
            .map(|()| bytes.into_inner())
    };
    let address = crate::replacing_previews::web(vec![("/a.png", "200 OK".into(), picture(500)?)]).await?;
    let mut shelf = Shelf::new(two()).await?;
    std::fs::write(shelf.data.join("settings.toml"), crate::replacing_previews::PRIVATE)?;
    shelf.start().await?;
    crash_everywhere(shelf, move |shelf| {
        (
            "loras/set-preview-from-url".into(),
            json!({"model_path": shelf.path("a/one"), "image_url": format!("{address}/a.png"), "nsfw_level": 2}),
        )
    })
    .await
}

async fn crash_undo(act: &str, body: impl Fn(&Shelf) -> Value) -> Result<()> {
    let shelf = Shelf::new(two()).await?;
    let (status, answer) = post(shelf.server()?, act, body(&shelf)).await?;
    ensure!(status == 200, "{answer}");
    crash_everywhere(shelf, |_| ("undo".into(), Value::Null)).await
}

#[tokio::test]
async fn an_undo_of_a_rename() -> Result<()> {
    crash_undo(
        "loras/rename",
        |shelf| json!({"file_path": shelf.path("a/one"), "new_file_name": "uno"}),
    )
    .await
}

#[tokio::test]
async fn an_undo_of_a_delete() -> Result<()> {
    crash_undo("loras/delete", |shelf| json!({"file_path": shelf.path("a/one")})).await
}

#[tokio::test]
async fn copies_that_are_linked_are_whole_whatever_ends_it() -> Result<()> {
    let models = vec![Model::lora("a").seed(1), Model::lora("b").seed(1)];
    let mut shelf = Shelf::new(models).await?;
    let before = shelf.visible()?;
    for step in 1..=MOST {
        shelf.arm("act", step)?;
        let body = json!({"keep": shelf.path("a"), "replace": [shelf.path("b")]});
        let answer = post(shelf.server()?, "loras/link-duplicates", body).await;
        shelf.disarm();
        if let Ok((status, answer)) = answer {
            ensure!(status == 200 && answer["success"] == true, "{answer}");
            ensure!(step > 4, "{step} steps only");
            return Ok(());
        }
        shelf.start().await?;
        let mut now = shelf.visible()?;
        // The hash is the server's own field, and may be put there anew.
        now.retain(|path, _| !path.ends_with(".json"));
        let weights: Files = before
            .clone()
            .into_iter()
            .filter(|(path, _)| !path.ends_with(".json"))
            .collect();
        assert_eq!(now, weights, "step {step}");
        let acts = shelf.server()?.get_json("/api/lm/history", &[]).await?;
        if acts["acts"][0]["can_undo"] == true {
            post(shelf.server()?, "undo", json!({"id": acts["acts"][0]["id"]})).await?;
        }
    }
    anyhow::bail!("it never ended")
}

#[tokio::test]
async fn a_crash_while_a_crash_is_mended_is_mended_by_the_next_start() -> Result<()> {
    let mut shelf = Shelf::new(two()).await?;
    let before = shelf.visible()?;
    for step in 1..=MOST {
        // In the middle of the act.
        shelf.arm("act", 9)?;
        let body = json!({"file_paths": [shelf.path("a/one"), shelf.path("two")]});
        ensure!(
            post(shelf.server()?, "loras/bulk-delete", body).await.is_err(),
            "it died"
        );
        shelf.arm("recovery", step)?;
        let died = shelf.start().await.is_err();
        shelf.disarm();
        if died {
            shelf.start().await?;
        }
        assert_eq!(shelf.visible()?, before, "step {step}");
        if !died {
            ensure!(
                step > 1 || binary::find()?.to_string_lossy().contains("release"),
                "{step}"
            );
            return Ok(());
        }
    }
    anyhow::bail!("it never ended")
}

/// Where a folder refuses: nothing is changed, and the answer says why.
async fn refused(shelf: &Shelf, acts: &[(&str, Value)]) -> Result<()> {
    let (before, old) = (files(&shelf.library.root("loras"))?, listed(shelf.server()?).await?);
    for (route, body) in acts {
        let (status, answer) = post(shelf.server()?, route, body.clone()).await?;
        let told = status >= 400 || answer["failure_count"] == 1 || answer["results"][0]["success"] == false;
        assert!(
            told && !answer.to_string().contains("request id"),
            "{route}: {status} {answer}"
        );
        assert_eq!(files(&shelf.library.root("loras"))?, before, "{route}");
        assert_eq!(listed(shelf.server()?).await?, old, "{route}");
    }
    Ok(())
}

fn acts_on(shelf: &Shelf, name: &str) -> Vec<(&'static str, Value)> {
    let path = shelf.path(name);
    vec![
        ("loras/rename", json!({"file_path": path, "new_file_name": "other"})),
        ("loras/delete", json!({"file_path": path})),
        ("loras/bulk-delete", json!({"file_paths": [path]})),
        (
            "loras/save-metadata",
            json!({"file_path": path, "notes": "n".repeat(1 << 19)}),
        ),
        (
            "loras/bulk-edit",
            json!({"file_paths": [path], "add_tags": ["n".repeat(1 << 19)]}),
        ),
    ]
}

/// A mounted folder; gone when dropped.
struct Mount(PathBuf);

impl Mount {
    /// None where this process must not mount.
    fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        let mut command = std::process::Command::new("mount");
        let done = command
            .args(arguments)
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        if done.is_ok_and(|status| status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped: nothing can be mounted here");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_read_only_folder_refuses_every_act_and_nothing_changes() -> Result<()> {
    let mut shelf = Shelf::new(two()).await?;
    let folder = shelf.library.root("loras").join("a");
    let source = wire(&folder);
    let Some(bound) = Mount::new(&["--bind", &source], &folder) else {
        return Ok(());
    };
    let Some(_read_only) = Mount::new(&["-o", "remount,ro,bind"], &folder) else {
        return Ok(());
    };
    shelf.start().await?;
    refused(&shelf, &acts_on(&shelf, "a/one")).await?;
    drop(bound);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_refuses_what_needs_room_and_loses_nothing() -> Result<()> {
    let mut shelf = Shelf::new(two()).await?;
    let folder = shelf.library.root("loras").join("full");
    std::fs::create_dir(&folder)?;
    let Some(_disk) = Mount::new(&["-t", "tmpfs", "-o", "size=128k", "tmpfs"], &folder) else {
        return Ok(());
    };
    shelf.library.add(&Model::lora("full/m").preview("png"))?;
    shelf.start().await?;
    // Renaming and deleting need no room for the model.
    let mut acts = acts_on(&shelf, "full/m");
    acts.drain(..3);
    refused(&shelf, &acts).await?;
    let big = vec![7; 1 << 20];
    ensure!(std::fs::write(folder.join("fill"), big).is_err(), "the disk is full");
    refused(&shelf, &acts).await?;
    // The metadata file that would say its new name has no room.
    refused(&shelf, &acts_on(&shelf, "full/m")[..1]).await?;
    Ok(())
}

#[tokio::test]
async fn a_target_that_exists_and_a_source_that_vanished_are_told_and_nothing_is_lost() -> Result<()> {
    let shelf = Shelf::new(two()).await?;
    let taken = shelf.library.root("loras").join("a/other.safetensors");
    std::fs::write(&taken, "a person's")?;
    refused(&shelf, &acts_on(&shelf, "a/one")[..1]).await?;
    let vanished = shelf.library.root("loras").join("two.safetensors");
    std::fs::rename(&vanished, shelf.library.path().join("elsewhere"))?;
    for (route, body) in &acts_on(&shelf, "two") {
        if *route == "loras/delete" {
            continue;
        }
        let before = files(&shelf.library.root("loras"))?;
        let (status, answer) = post(shelf.server()?, route, body.clone()).await?;
        let told = status >= 400 || answer["failure_count"] == 1 || answer["results"][0]["success"] == false;
        assert!(told, "{route}: {status} {answer}");
        assert_eq!(files(&shelf.library.root("loras"))?, before, "{route}");
    }
    Ok(())
}

#[tokio::test]
async fn whatever_a_sidecar_is_no_act_loses_a_byte_of_it() -> Result<()> {
    for kind in ["invalid", "bom", "unknown"] {
        let shelf = Shelf::new(two()).await?;
        let beside = shelf.library.root("loras").join("a/one.metadata.json");
        let own = std::fs::read_to_string(&beside)?;
        let content = match kind {
            "invalid" => "{\"notes\": \"typed by a person\", ".to_owned(),
            "bom" => format!("\u{feff}{own}"),
            _ => own.replacen('{', "{\"zz_first\": [1.50, null, {\"deep\": \"ü\"}],", 1),
        };
        std::fs::write(&beside, &content)?;
        let digest = sha256(content.as_bytes());
        let path = shelf.path("a/one");
        for (route, body) in [
            ("loras/save-metadata", json!({"file_path": path, "notes": "n"})),
            ("loras/add-tags", json!({"file_path": path, "tags": ["x"]})),
            ("loras/exclude", json!({"file_path": path})),
            ("loras/unexclude", json!({"file_path": path})),
            (
                "loras/bulk-edit",
                json!({"file_paths": [path], "set": {"base_model": "B"}}),
            ),
            ("loras/rename", json!({"file_path": path, "new_file_name": "uno"})),
            ("loras/delete", json!({"file_path": shelf.path("a/uno")})),
        ] {
            let (status, answer) = post(shelf.server()?, route, body).await?;
            assert_eq!(status, 200, "{kind}, {route}: {answer}");
            assert!(shelf.kept()?.contains(&digest), "{kind}, {route}");
        }
        if kind == "unknown" {
            let all = files(&shelf.library.root("loras"))?;
            let last = all
                .iter()
                .find(|(path, _)| path.contains(TRASH) && path.ends_with("uno.metadata.json"));
            let last: Value = serde_json::from_slice(last.context("the sidecar in the trash")?.1)?;
            assert_eq!(last["zz_first"], json!([1.5, null, {"deep": "ü"}]));
        }
    }
    Ok(())
}
