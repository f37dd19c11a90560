//! From what was asked for to a file with addresses, a hash and a place: the steps before the first byte.
//! Source of their order: contract section 6.1.2.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::DownloadError;
use super::install::{self, Origin};
use super::ledger::{Ledger, QueueRow};
use super::transfer::{Hosts, Key, NamedSize, Private, Source};
use super::wanted::Wanted;
use crate::app::App;
use crate::library::path_template;
use crate::model_types::TypeService;
use crate::moment;
use crate::plugins::CallError;
use crate::plugins::bindings::{GuestError, SelectInput};
use crate::providers::{self, id_of, objects, sha256_of};
use crate::updates::TrackedVersion;

/// `metadata_source` of what no provider described.
pub const NOBODY: &str = "";
/// The setting that holds CivitAI's key.
const KEY: &str = "civitai_api_key";

/// Why nothing is downloaded although nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// `previously_downloaded_version` or `base_model_excluded`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The file that would have come.
    pub file_name: String,
    /// The version.
    pub version_id: Option<u64>,
    /// The base model, where it is the reason.
    pub base_model: Option<String>,
}

/// A file that can be fetched.
pub struct Plan {
    /// The type whose library it goes to.
    pub service: Arc<TypeService>,
    /// Where from.
    pub source: Source,
    /// Where to, while nothing else has that name.
    pub target: PathBuf,
    /// What it is.
    pub origin: Origin,
    /// Its model, version and names, for the ledger.
    pub row: QueueRow,
    /// An image of the version, with its level.
    pub picture: Option<super::preview::Picture>,
}

/// What came of looking.
pub enum Resolved {
    /// It can be fetched.
    Plan(Box<Plan>),
    /// It is not to be.
    Skip(Skip),
}

/// What a version's id names in the libraries: the type, and whether there is any file.
fn library_with(app: &App, version: u64, only: Option<&str>) -> Option<String> {
    let types = app.types.load();
    let mut slots = types.iter().filter(|slot| only.is_none_or(|id| slot.info.id() == id));
    let found = slots.find(|slot| {
        let snapshot = slot.service().map(|service| service.library.snapshot());
        snapshot.is_some_and(|snapshot| snapshot.keys().version_id(version).next().is_some())
    });
    found.map(|slot| slot.info.id().to_owned())
}

/// Asks who has the version.
///
/// # Errors
/// When nobody says what it is.
async fn version_of(app: &App, wanted: &Wanted) -> Result<providers::Found<providers::Object>, DownloadError> {
    let (model, version) = (wanted.model_id, wanted.version_id);
    let found = if wanted.source.as_deref() == Some("civarchive") {
        app.providers
            .version_from(providers::Source::CivArchive, model, version)
            .await
    } else {
        app.providers.version(model, version).await
    };
    found.map_err(DownloadError::Metadata)
}

/// The type that takes a provider's type.
///
/// # Errors
/// When none does.
async fn type_of(app: &App, version: &Map<String, Value>) -> Result<Arc<TypeService>, DownloadError> {
    let named = version
        .get("model")
        .and_then(|model| model.get("type"))
        .and_then(Value::as_str);
    let named = named.unwrap_or_default().to_owned();
    let lower = named.to_lowercase();
    let types = app.types.load_full();
    let mut slots = types.iter();
    let slot = slots.find(|slot| slot.info.descriptor.remote_types.contains(&lower));
    let slot = slot.ok_or_else(|| DownloadError::Type(named.clone()))?;
    let service = slot.service();
    let service = service.ok_or_else(|| DownloadError::NotReady(slot.info.id().to_owned()))?;
    match service.plugin.validate_remote_type(named.clone()).await {
        Ok(()) => Ok(service),
        Err(CallError::Guest(_)) => Err(DownloadError::Type(named)),
        Err(error) => Err(error.into()),
    }
}

/// The file of a version that is meant, and the kind of root it belongs in.
///
/// # Errors
/// When there is none.
async fn file_of<'v>(
    service: &TypeService,
    version: &'v Map<String, Value>,
    wanted: &Wanted,
) -> Result<(&'v Map<String, Value>, String), DownloadError> {
    let input = SelectInput {
        remote_version: serde_json::to_string(version).unwrap_or_default(),
        choice: wanted.choice(),
    };
    let answer = service.plugin.select_file([input].into()).await?.into_iter().next();
    let selection = match answer {
        Some(Ok(selection)) => selection,
        Some(Err(GuestError::NotFound(_))) | None => return Err(DownloadError::NoFile),
        Some(Err(error)) => return Err(CallError::Guest(error).into()),
    };
    let files = version.get("files").and_then(Value::as_array);
    let file = files.and_then(|files| files.get(selection.file as usize)?.as_object());
    Ok((file.ok_or(DownloadError::NoFile)?, selection.root_key))
}

/// The folder that a version's file goes into.
///
/// # Errors
/// When no folder is named, or it lies outside the library.
pub async fn folder_of(
    app: &App,
    service: &Arc<TypeService>,
    version: &Map<String, Value>,
    root_key: &str,
    wanted: &Wanted,
) -> Result<PathBuf, DownloadError> {
    let place = &wanted.place;
    let named_root = Path::new(&place.model_root);
    if !place.use_default_paths {
        if place.model_root.is_empty() {
            return Err(DownloadError::NoFolder);
        }
        return install::folder(service, named_root, &place.relative_path).await;
    }
    let root = if place.use_save_dir_as_root && !place.model_root.is_empty() {
        named_root.to_owned()
    } else {
        default_root(app, service, root_key)?
    };
    let info = service.plugin.info();
    let template = app
        .active
        .load()
        .contract
        .path_template(info.id(), &info.descriptor.default_path_template);
    let input = template.of_remote(version);
    let filed = path_template::file(&service.plugin, &template, vec![input])
        .await
        .into_iter()
        .next();
    let filed = filed.ok_or(DownloadError::Outside)?.map_err(DownloadError::Broken)?;
    install::folder(service, &root, &filed.folder).await
}

/// The root that new files of this kind go into.
///
/// # Errors
/// When there is none.
pub fn default_root(app: &App, service: &TypeService, root_key: &str) -> Result<PathBuf, DownloadError> {
    let info = service.plugin.info();
    let kinds = &info.descriptor.roots;
    let kind = kinds.iter().find(|kind| kind.key == root_key).or_else(|| kinds.first());
    let missing = || DownloadError::NoDefaultRoot(info.id().to_owned());
    let kind = kind.ok_or_else(missing)?;
    let active = app.active.load();
    let set = active.contract.text(&kind.default_root_setting, "");
    let own = || service.library.roots().iter().filter(|root| *root.key == *kind.key);
    let root = own().find(|root| *root.wire == *set).or_else(|| own().next());
    Ok(root.ok_or_else(missing)?.path.clone())
}

/// The file that is meant, before it is asked whether it is to come, and where to.
pub struct Chosen {
    /// The provider's version, with its model inside.
    pub version: providers::Object,
    /// Who described it.
    pub source: providers::Source,
    /// The type that takes it.
    pub service: Arc<TypeService>,
    /// The file, as the version has it.
    pub file: providers::Object,
    /// The kind of root that it belongs in.
    pub root_key: String,
    /// Its name, as every system takes it.
    pub name: String,
}

/// Finds out what file is meant.
///
/// # Errors
/// When nobody says what the version is, no type takes it, or it has no such file.
pub async fn choose(app: &App, wanted: &Wanted) -> Result<Chosen, DownloadError> {
    let found = version_of(app, wanted).await?;
    let version = found.value;
    let service = type_of(app, &version).await?;
    let (file, root_key) = file_of(&service, &version, wanted).await?;
    let name = install::file_name(&text(file, "name"))?;
    Ok(Chosen {
        file: file.clone(),
        version,
        source: found.source,
        service,
        root_key,
        name,
    })
}

/// Looks everything up.
///
/// # Errors
/// Why it can't be downloaded.
pub async fn resolve(app: &App, ledger: &Arc<Ledger>, wanted: &Wanted) -> Result<Resolved, DownloadError> {
    let explicit = wanted.choice().is_some();
    if let (false, Some(version)) = (explicit, wanted.version_id)
        && let Some(model_type) = library_with(app, version, None)
    {
        return Err(DownloadError::Exists(model_type));
    }
    let Chosen {
        version,
        source: described_by,
        service,
        file,
        root_key,
        name,
    } = choose(app, wanted).await?;
    let file = &file;
    let model_type = service.plugin.info().id().to_owned();
    let version_id = id_of(version.get("id"));
    let base_model = text(&version, "baseModel");
    if let Some(skip) = skipped(app, ledger, wanted, &model_type, version_id, &base_model, &name).await? {
        return Ok(Resolved::Skip(skip));
    }
    let sha256 = sha256_of(file);
    if let Some(version) = version_id
        && exists(&service, version, explicit.then_some((&name, sha256.as_deref())))
    {
        return Err(DownloadError::Exists(model_type));
    }
    if service.plugin.info().extension_of(&name).is_none() {
        return Err(DownloadError::Kind(name));
    }
    let folder = folder_of(app, &service, &version, &root_key, wanted).await?;
    let urls = addresses(file, wanted.source.as_deref() == Some("civarchive"));
    if urls.is_empty() {
        return Err(DownloadError::NoUrl);
    }
    let autov3 = file
        .get("hashes")
        .and_then(|hashes| hashes.get("AutoV3"))
        .and_then(Value::as_str);
    let autov3 = autov3.and_then(crate::library::safetensors::autov3);
    let model_name = version
        .get("model")
        .and_then(|model| model.get("name"))
        .and_then(Value::as_str);
    let picture = super::preview::choose(&version, &app.active.load().contract);
    let signed = |id: Option<u64>| id.map(u64::cast_signed);
    let row = QueueRow {
        model_id: signed(id_of(version.get("modelId")).or(wanted.model_id)),
        model_version_id: signed(version_id),
        model_name: model_name.unwrap_or_default().to_owned(),
        version_name: text(&version, "name"),
        thumbnail_url: picture.as_ref().map(|picture| picture.url.clone()).unwrap_or_default(),
        ..QueueRow::default()
    };
    let source = Source {
        urls,
        key: Some(key(app)),
        key_setting: KEY,
        gated: is_gated(&version, moment::now()),
        sha256,
        size: file.get("sizeKB").and_then(Value::as_f64).and_then(NamedSize::of_kib),
        hosts: Hosts::Any,
        private: private(app),
    };
    Ok(Resolved::Plan(Box::new(Plan {
        service,
        source,
        target: folder.join(name),
        origin: Origin {
            source: described_by.as_str(),
            version: Some(version),
            autov3,
            hf_url: None,
        },
        row,
        picture,
    })))
}

async fn skipped(
    app: &App,
    ledger: &Arc<Ledger>,
    wanted: &Wanted,
    model_type: &str,
    version_id: Option<u64>,
    base_model: &str,
    file_name: &str,
) -> Result<Option<Skip>, DownloadError> {
    let (skip_known, excluded) = {
        let active = app.active.load();
        let excluded = active.contract.list("download_skip_base_models");
        let excluded = excluded.iter().any(|name| name == base_model);
        (
            active.contract.flag("skip_previously_downloaded_model_versions", false),
            excluded,
        )
    };
    if let (true, None, Some(version)) = (skip_known, wanted.choice(), version_id) {
        let (own, id) = (ledger.clone(), model_type.to_owned());
        let known = tokio::task::spawn_blocking(move || own.was_downloaded(&id, version)).await;
        if known.map_err(|error| DownloadError::Broken(error.to_string()))?? {
            return Ok(Some(Skip {
                reason: "previously_downloaded_version",
                message: format!("Version {version} was downloaded before and is skipped, as the settings say"),
                file_name: file_name.to_owned(),
                version_id,
                base_model: None,
            }));
        }
    }
    Ok(excluded.then(|| Skip {
        reason: "base_model_excluded",
        message: format!("The settings leave out models for {base_model}"),
        file_name: file_name.to_owned(),
        version_id,
        base_model: Some(base_model.to_owned()),
    }))
}

/// Whether a version, or one file of it, is in the library.
fn exists(service: &TypeService, version: u64, file: Option<(&String, Option<&str>)>) -> bool {
    let snapshot = service.library.snapshot();
    let slots: Vec<_> = snapshot.keys().version_id(version).collect();
    let mut records = slots.into_iter().filter_map(|slot| snapshot.get(slot));
    records.any(|record| match file {
        None => true,
        Some((_, Some(sha256))) if record.sha256.is_some() => record.sha256_hex() == sha256,
        Some((name, _)) => Path::new(name).file_stem().and_then(|stem| stem.to_str()) == Some(&record.file_name),
    })
}

/// Addresses of a file: its live mirrors, else the one of its provider. Source: contract section 6.1.4.
fn addresses(file: &Map<String, Value>, mirrors_first: bool) -> Vec<String> {
    let live = objects(file.get("mirrors")).filter(|mirror| mirror.get("deletedAt").is_none_or(Value::is_null));
    let mut urls: Vec<String> = live
        .map(|mirror| text(mirror, "url"))
        .filter(|url| !url.is_empty())
        .collect();
    if mirrors_first {
        urls.sort_by_key(|url| url.contains("civitai."));
    }
    let own = text(file, "downloadUrl");
    if urls.is_empty() && !own.is_empty() {
        urls.push(own);
    }
    // The other name of the site asks for a session of its own.
    let usual = |url: String| {
        url.replacen(
            "https://civitai.red/api/download/",
            "https://civitai.com/api/download/",
            1,
        )
    };
    urls.into_iter().map(usual).collect()
}

/// What of this machine and of private networks files may come from: what settings name as an address of a provider, and
/// everything where they say so. Addresses of files are a provider's or a mirror's word.
pub fn private(app: &App) -> Private {
    let (providers, downloads) = (&app.settings.providers, &app.settings.downloads);
    let named = [
        &providers.civitai,
        &providers.civarchive,
        &providers.archive_url,
        &downloads.huggingface,
    ];
    Private {
        all: providers.private_addresses,
        named: named
            .into_iter()
            .filter_map(|text| reqwest::Url::parse(text).ok())
            .collect(),
    }
}

/// The provider's key, for the addresses that may see it.
fn key(app: &App) -> Key {
    let client = app.providers.client();
    Key::new(move |url| client.authorization_for(url))
}

/// Whether a version must be bought or waited for; `now` is in seconds since 1970.
fn is_gated(version: &Map<String, Value>, now: f64) -> bool {
    let mut access = TrackedVersion::default();
    access.learn_access(version);
    access.in_early_access(now) || access.is_paid()
}

fn text(object: &Map<String, Value>, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn live_mirrors_come_before_the_providers_address() {
        let file = object(
            json!({"downloadUrl": "https://civitai.red/api/download/models/1", "mirrors": [
                {"url": "https://civitai.com/api/download/models/1", "deletedAt": null},
                {"url": "https://gone.example/a", "deletedAt": "2025"},
                {"url": "https://m.example/a"},
            ]}),
        );
        assert_eq!(
            addresses(&file, true),
            ["https://m.example/a", "https://civitai.com/api/download/models/1"]
        );
        let alone = object(json!({"downloadUrl": "https://civitai.red/api/download/models/1"}));
        assert_eq!(addresses(&alone, false), ["https://civitai.com/api/download/models/1"]);
        assert!(addresses(&Map::new(), false).is_empty());
    }

    #[test]
    fn what_must_be_bought_or_waited_for_is_told_until_its_day_has_come() {
        let gated = |value: Value| is_gated(&object(value), 1.8e9);
        for value in [
            json!({"earlyAccessEndsAt": "2030-01-01T00:00:00Z"}),
            json!({"availability": "EarlyAccess"}),
            json!({"paidAccess": {"permanent": true}}),
            json!({"paidAccess": "{\"endsAt\": \"2030-01-01T00:00:00Z\"}"}),
        ] {
            assert!(gated(value.clone()), "{value}");
        }
        for value in [
            json!({}),
            json!({"earlyAccessEndsAt": null, "paidAccess": {"permanent": false}}),
            json!({"earlyAccessEndsAt": "2024-01-01T00:00:00Z", "availability": "Public"}),
            json!({"paidAccess": {"endsAt": "2024-01-01T00:00:00Z"}}),
        ] {
            assert!(!gated(value.clone()), "{value}");
        }
    }
}
