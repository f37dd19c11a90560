//! A crash at every step on the disk that an act takes: after the next start there is the old or the new state, whole, and
//! no byte of any model or metadata file is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use modelshelf_tests::civitai::Civitai;
use modelshelf_tests::model::{sha256, wire};
use modelshelf_tests::{Library, Model, Mount, Server, binary};
use serde_json::{Value, json};

use crate::acts::{files, post};
use crate::remote_metadata::{known, sidecar};

pub const TRASH: &str = "/.lm-pending-delete/";
/// No act of these tests takes as many steps.
const MOST: usize = 120;

type Files = BTreeMap<String, Vec<u8>>;

pub struct Shelf {
    pub library: Library,
    data: PathBuf,
    fault: PathBuf,
    server: Option<Server>,
}

impl Shelf {
    pub async fn new(models: Vec<Model>) -> Result<Self> {
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

    pub async fn start(&mut self) -> Result<()> {
        // The killed one must be gone before its data folder is taken.
        self.server = None;
        let options = self.library.options().data_dir(&self.data).silent();
        let server = options.environment("MODELSHELF_FAULT", &self.fault).serve().await?;
        // What the store knew is shown until it was compared with the disk.
        server.scan("loras", false).await?;
        self.server = Some(server);
        Ok(())
    }

    pub fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("a server")
    }

    pub fn path(&self, name: &str) -> String {
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
    pub fn kept(&self) -> Result<BTreeSet<String>> {
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
pub async fn listed(server: &Server) -> Result<Vec<Value>> {
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

pub fn two() -> Vec<Model> {
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
async fn a_move_to_another_file_system() -> Result<()> {
    let mut shelf = Shelf::new(two()).await?;
    let folder = shelf.library.root("loras").join("disk");
    std::fs::create_dir(&folder)?;
    let Some(_disk) = Mount::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &folder) else {
        return Ok(());
    };
    shelf.start().await?;
    crash_everywhere(shelf, |shelf| {
        let target = shelf.path("disk/b/x").trim_end_matches("/x.safetensors").to_owned();
        (
            "loras/move_model".into(),
            json!({"file_path": shelf.path("a/one"), "target_path": target}),
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

#[tokio::test]
async fn metadata_of_a_provider_are_taken_whole_or_not_at_all() -> Result<()> {
    let mut shelf = Shelf::new(two()).await?;
    let file = shelf.library.root("loras").join("a/one.safetensors");
    let civitai = Civitai::start([known(5, "Amber", &file)?]).await?;
    std::fs::write(shelf.data.join("settings.toml"), civitai.settings())?;
    shelf.start().await?;
    let (before, old) = (shelf.visible()?, sidecar(&file)?);
    for step in 1..=MOST {
        shelf.arm("act", step)?;
        let answer = post(
            shelf.server()?,
            "loras/fetch-civitai",
            json!({"file_path": shelf.path("a/one")}),
        )
        .await;
        shelf.disarm();
        if let Ok((status, answer)) = &answer {
            ensure!(*status == 200 && answer["success"] == true, "{answer}");
            let release = binary::find()?.to_string_lossy().contains("release");
            ensure!(release || step > 4, "{step} steps only");
        } else {
            shelf.start().await?;
        }
        let now = sidecar(&file)?;
        assert_eq!(now["theirs"], json!({"x": 1}), "step {step}");
        let is_old = now == old;
        assert!(is_old || now["civitai"]["id"] == 50, "step {step}: {now}");
        if is_old {
            assert_eq!(shelf.visible()?, before, "step {step}");
        } else {
            take_back(&shelf, &before).await?;
        }
        if answer.is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!("it never ended")
}
