//! Two clients change the same and different models at once, at random but from a seed. A model of what must hold is kept
//! beside them; at the end disk, metadata files, API and a freshly started server must all agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use modelshelf_tests::model::wire;
use modelshelf_tests::{Call, Connection, Library, Model, Server};
use serde_json::{Value, json};

/// Operations of both clients together.
const OPERATIONS: usize = 10_000;
/// Models that both clients edit.
const COMMON: usize = 12;
/// Models of each client alone, which are also renamed, deleted and brought back.
const OWN: usize = 6;
/// Another seed is another run; the failing one is printed.
const SEED: u64 = 0x5eed_2026;

/// A small generator: tests need numbers that are the same everywhere, not good ones.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// What must hold of a model, as one client knows it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Expected {
    /// Fields that only this client sets.
    fields: BTreeMap<String, Value>,
    /// Tags that only this client adds and removes.
    tags: BTreeSet<String>,
}

/// A model of one client alone.
#[derive(Debug, Clone)]
struct Own {
    name: String,
    /// The act that took it away, to be undone.
    deleted: Option<Value>,
    expected: Expected,
    theirs: Value,
}

struct Client {
    number: usize,
    root: PathBuf,
    random: Random,
    common: Vec<Expected>,
    own: Vec<Own>,
    renames: usize,
}

impl Client {
    fn new(number: usize, root: &Path) -> Self {
        let own = |place: usize| Own {
            name: format!("own{number}/m{place}"),
            deleted: None,
            expected: Expected::default(),
            theirs: json!({"of": [number, place]}),
        };
        Self {
            number,
            root: root.to_owned(),
            random: Random(SEED ^ number as u64),
            common: vec![Expected::default(); COMMON],
            own: (0..OWN).map(own).collect(),
            renames: 0,
        }
    }

    fn path(&self, name: &str) -> String {
        wire(&self.root.join(format!("{name}.safetensors")))
    }

    /// An edit of a model: the request, with what is expected noted.
    fn edit(&mut self, path: String, expected: impl FnOnce(&mut Self) -> &mut Expected) -> (&'static str, Value) {
        let (kind, value) = (self.random.below(4), self.random.next() % 1_000);
        let tag = format!("c{}-{}", self.number, value % 7);
        let field = format!("client_{}_{}", self.number, value % 5);
        let expected = expected(self);
        match kind {
            0 => {
                expected.tags.insert(tag.clone());
                ("add-tags", json!({"file_path": path, "tags": [tag]}))
            }
            1 => {
                expected.tags.remove(&tag);
                ("bulk-edit", json!({"file_paths": [path], "remove_tags": [tag]}))
            }
            2 => {
                expected.fields.insert(field.clone(), json!(value));
                ("bulk-edit", json!({"file_paths": [path], "set": {field: value}}))
            }
            _ => {
                expected.fields.insert(field.clone(), json!({"n": value}));
                ("save-metadata", json!({"file_path": path, field: {"n": value}}))
            }
        }
    }

    async fn step(&mut self, line: &mut Line) -> Result<()> {
        if self.random.below(100) < 60 {
            let place = self.random.below(COMMON);
            let path = self.path(&format!("common/m{place}"));
            let (route, body) = self.edit(path, |client| &mut client.common[place]);
            return ask(line, &format!("loras/{route}"), body).await.map(|_| ());
        }
        let place = self.random.below(OWN);
        let path = self.path(&self.own[place].name);
        if let Some(act) = self.own[place].deleted.take() {
            let answer = ask(line, "undo", json!({"id": act})).await?;
            ensure!(answer["conflicts"] == json!([]), "{answer}");
            return Ok(());
        }
        match self.random.below(20) {
            0 => {
                let answer = ask(line, "loras/delete", json!({"file_path": path})).await?;
                self.own[place].deleted = Some(answer["undo_id"].clone());
            }
            1 => {
                self.renames += 1;
                let name = format!("r{}", self.renames);
                ask(line, "loras/rename", json!({"file_path": path, "new_file_name": name})).await?;
                self.own[place].name = format!("own{}/{name}", self.number);
            }
            2 => {
                // What was undone never was.
                let body = json!({"file_path": path, "notes": "soon undone", "tags": ["gone"]});
                let answer = ask(line, "loras/save-metadata", body).await?;
                let answer = ask(line, "undo", json!({"id": answer["undo_id"]})).await?;
                ensure!(answer["conflicts"] == json!([]), "{answer}");
            }
            _ => {
                let (route, body) = self.edit(path, |client| &mut client.own[place].expected);
                ask(line, &format!("loras/{route}"), body).await?;
            }
        }
        Ok(())
    }
}

/// A client's connection, which it keeps.
struct Line {
    connection: Connection,
    address: std::net::SocketAddr,
}

async fn ask(line: &mut Line, route: &str, body: Value) -> Result<Value> {
    let call = Call::post(&format!("/api/lm/{route}"), &body);
    let reply = line.connection.exchange(&call.bytes(line.address), false).await?;
    let answer = reply.json()?;
    ensure!(
        reply.status == 200 && answer["success"] == true,
        "{route} {body}: {answer}"
    );
    Ok(answer)
}

async fn run(client: &mut Client, server: &Server) -> Result<()> {
    let address = server.address();
    let mut line = Line {
        connection: Connection::open(address).await?,
        address,
    };
    for operation in 0..OPERATIONS / 2 {
        let done = client.step(&mut line).await;
        done.with_context(|| format!("client {}, operation {operation}, seed {SEED:#x}", client.number))?;
    }
    Ok(())
}

fn sidecar(root: &Path, name: &str) -> Result<Value> {
    let path = root.join(format!("{name}.metadata.json"));
    let text = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// Whether a metadata file says what is expected by these clients, and nothing else of theirs.
fn check(name: &str, sidecar: &Value, expected: &[&Expected]) {
    let tags: BTreeSet<String> = sidecar["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tag| tag.as_str().map(str::to_owned))
        .collect();
    let wanted: BTreeSet<String> = expected.iter().flat_map(|own| own.tags.iter().cloned()).collect();
    assert_eq!(tags, wanted, "tags of {name}, seed {SEED:#x}");
    let fields = sidecar.as_object().into_iter().flatten();
    let fields: BTreeMap<String, Value> = fields
        .filter(|(key, _)| key.starts_with("client_"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let wanted: BTreeMap<String, Value> = expected.iter().flat_map(|own| own.fields.clone()).collect();
    assert_eq!(fields, wanted, "fields of {name}, seed {SEED:#x}");
}

async fn items(server: &Server) -> Result<BTreeMap<String, Value>> {
    let list = server.list("loras", &[("page_size", "100")]).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items
        .into_iter()
        .map(|item| (item["file_path"].as_str().unwrap_or_default().to_owned(), item))
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_lose_no_update_of_each_other_and_all_views_agree() -> Result<()> {
    // Each operation has eight files wait for the disk, and it is not the disk that is tested.
    let library = Library::in_memory()?;
    for place in 0..COMMON {
        library.add(&Model::lora(&format!("common/m{place}")).side("theirs", place))?;
    }
    for number in 0..2 {
        for place in 0..OWN {
            let model = Model::lora(&format!("own{number}/m{place}")).preview("png");
            library.add(&model.side("theirs", json!({"of": [number, place]})))?;
        }
    }
    let root = library.root("loras");
    let data = library.path().join("data");
    let server = library.options().data_dir(&data).serve().await?;
    let (mut one, mut two) = (Client::new(0, &root), Client::new(1, &root));
    tokio::try_join!(run(&mut one, &server), run(&mut two, &server))?;

    let mut listed = BTreeSet::new();
    for place in 0..COMMON {
        let name = format!("common/m{place}");
        let own = sidecar(&root, &name)?;
        check(&name, &own, &[&one.common[place], &two.common[place]]);
        assert_eq!(own["theirs"], place);
        listed.insert(one.path(&name));
    }
    for client in [&one, &two] {
        for own in &client.own {
            let model = root.join(format!("{}.safetensors", own.name));
            assert_eq!(model.exists(), own.deleted.is_none(), "{}", own.name);
            if own.deleted.is_some() {
                continue;
            }
            let beside = sidecar(&root, &own.name)?;
            check(&own.name, &beside, &[&own.expected]);
            assert_eq!(
                json!([beside["theirs"], beside["file_path"], beside["notes"]]),
                json!([own.theirs, wire(&model), ""])
            );
            assert!(model.with_extension("png").exists(), "{}", own.name);
            listed.insert(wire(&model));
        }
    }
    let shown = items(&server).await?;
    assert_eq!(shown.keys().cloned().collect::<BTreeSet<_>>(), listed);
    for (path, item) in &shown {
        let beside: Value = serde_json::from_slice(&std::fs::read(Path::new(path).with_extension("metadata.json"))?)?;
        assert_eq!(
            json!([item["tags"], item["file_name"]]),
            json!([beside["tags"], beside["file_name"]]),
            "{path}"
        );
    }
    assert_eq!(
        items(&library.serve().await?).await?,
        shown,
        "a fresh server sees the same"
    );
    server.stop().await?;
    Ok(())
}
