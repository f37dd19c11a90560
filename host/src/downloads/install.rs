//! Where a file is put, and its way from `.part` to a listed model: preview, sidecar, name, record.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::error::DownloadError;
use super::resolve::Plan;
use super::transfer::{self, Arrived, PartOf, TransferError};
use crate::app::App;
use crate::files::FORBIDDEN;
use crate::files::rooted::AllowedFolders;
use crate::library::editing::{self, EditError};
use crate::library::sidecar::{self, Sidecar, SidecarError};
use crate::library::{metadata, refreshing, typed};
use crate::model_types::TypeService;
use crate::moment;
use crate::plugins::bindings::MergeInput;
use crate::providers::id_of;

/// Names that are tried when others are taken.
const NAMES: u32 = 1000;

/// A provider's file name as one that every system takes.
///
/// # Errors
/// When nothing is left of it.
pub fn file_name(name: &str) -> Result<String, DownloadError> {
    let name: String = name
        .trim()
        .chars()
        .map(|own| {
            if FORBIDDEN.contains(&own) || own.is_control() {
                '_'
            } else {
                own
            }
        })
        .collect();
    let name = name.trim_start_matches('.').trim_end_matches([' ', '.']).to_owned();
    if name.is_empty() {
        Err(DownloadError::NoName)
    } else {
        Ok(name)
    }
}

/// A folder below a base, by the text of a request or a template.
///
/// # Errors
/// When it would lead out of the base.
fn folder_below(base: &Path, relative: &str) -> Result<PathBuf, DownloadError> {
    let inside = Path::new(relative)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside || relative.contains('\0') {
        return Err(DownloadError::Outside);
    }
    Ok(base.join(relative))
}

/// The library that a folder belongs to, with links resolved; it may not be there yet. Blocks.
pub fn library_with(app: &App, folder: &Path) -> Option<Arc<TypeService>> {
    let wire = crate::files::wire_path(folder)?;
    let types = app.types.load_full();
    let mut services = types.iter().filter_map(|slot| slot.service());
    services.find(|service| service.library.target(&wire).is_ok())
}

/// The library that a file lies in, or would. Blocks.
pub fn library_of(app: &App, target: &Path) -> Option<Arc<TypeService>> {
    library_with(app, target.parent()?)
}

/// A folder of a library, by its base and the text of a request or a template; it may not be there yet.
///
/// # Errors
/// When it lies outside the library, before or after links are resolved, or the library's folder is away.
pub async fn folder(service: &Arc<TypeService>, base: &Path, relative: &str) -> Result<PathBuf, DownloadError> {
    let folder = folder_below(base, relative)?;
    let wire = crate::files::wire_path(&folder).ok_or(DownloadError::Outside)?;
    let service = service.clone();
    let checked = tokio::task::spawn_blocking(move || service.library.target(&wire)).await;
    checked
        .map_err(|error| DownloadError::Broken(error.to_string()))?
        .map_err(|error| match error {
            EditError::Outside(_) => DownloadError::Outside,
            error => DownloadError::Folder(error),
        })
}

/// The first of a file's possible names that is free: its own, and then ones that differ by its hash. Source: contract section 4.4.
pub fn free_name(wanted: &Path, sha256: Option<&str>, is_free: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let (stem, ending) = (wanted.file_stem()?.to_str()?, wanted.extension()?.to_str()?);
    let mark = sha256.and_then(|hash| hash.get(..4)).unwrap_or("0000");
    let others = (0..NAMES).map(|number| match number {
        0 => format!("{stem}-{mark}.{ending}"),
        number => format!("{stem}-{mark}-{number}.{ending}"),
    });
    std::iter::once(wanted.to_owned())
        .chain(others.map(|name| wanted.with_file_name(name)))
        .find(|path| is_free(path))
}

/// What is known of a file that arrived.
pub struct Origin {
    /// The provider's version, with its model inside.
    pub version: Option<Map<String, Value>>,
    /// Who described it, as `metadata_source` has it.
    pub source: &'static str,
    /// AutoV3 that the provider says.
    pub autov3: Option<String>,
    /// A repository's page.
    pub hf_url: Option<String>,
}

/// Puts a file that arrived into its place: the sidecar first, so that whoever sees the file sees what it is. The path
/// that it got.
///
/// # Errors
/// When a file can't be written; the part is left.
pub async fn install(
    service: &TypeService,
    target: &Path,
    arrived: &Arrived,
    origin: Origin,
    preview: Option<(PathBuf, i64)>,
) -> Result<PathBuf, DownloadError> {
    let mut fields = Map::new();
    if let Some(version) = &origin.version {
        let (path, sha256) = (target.to_owned(), arrived.sha256.clone());
        let read = move || Sidecar::read(&sidecar_of(&path)).ok().flatten();
        let before = tokio::task::spawn_blocking(read).await.ok().flatten();
        let before = before.filter(|before| before.text("sha256") == sha256);
        fields = merged(service, target, before, version, origin.source).await?;
    }
    let (library, plugin) = (service.library.clone(), service.plugin.clone());
    let (target, sha256, bytes) = (target.to_owned(), arrived.sha256.clone(), arrived.bytes);
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let io = |path: &Path, source| DownloadError::Install {
            path: path.to_owned(),
            source,
        };
        let stem = target.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let wire = crate::files::wire_path(&target).ok_or(DownloadError::Outside)?;
        let beside = sidecar_of(&target);
        let now = moment::now();
        let _turn = sidecar::turn(&target);
        let allowed = library.allowed();
        let before = foreign_bytes(&beside).map_err(|source| io(&beside, source))?;
        let there = there(&allowed, &beside, &sha256).map_err(|source| io(&beside, source))?;
        let is_new = there.is_none();
        let mut sidecar = metadata::sidecar_of(library.info(), stem, &wire, bytes, now);
        if let Some(there) = there {
            let place = ["file_name", "file_path"].map(|key| (key.to_owned(), sidecar.0[key].clone()));
            sidecar.0.extend(there.0);
            sidecar.0.extend(place);
        }
        if origin.version.is_some() {
            fields = refreshing::known(fields, origin.source, now);
        }
        sidecar.0.extend(fields);
        let has_preview = Path::new(sidecar.text("preview_url")).is_file();
        let mut set = |key: &str, value: Value| sidecar.0.insert(key.to_owned(), value);
        set("sha256", json!(sha256));
        set("hash_status", json!("completed"));
        set("size", json!(bytes));
        if origin.version.is_none() && is_new {
            set("from_civitai", json!(false));
        }
        if let Some(autov3) = origin.autov3 {
            set("autov3", json!(autov3));
        }
        if let Some(url) = origin.hf_url {
            set("hf_url", json!(url));
        }
        if let (Some((path, level)), false) = (preview, has_preview) {
            set("preview_url", json!(crate::files::wire_path(&path)));
            set("preview_nsfw_level", json!(level));
        }
        let entry = |path: &Path| allowed.target_entry(path).map_err(|source| io(path, source));
        let (own, written) = (
            entry(&beside)?,
            sidecar.content().map_err(|source| io(&beside, source))?,
        );
        match own.write_if(before.as_deref(), &written) {
            Ok(true) => {}
            Ok(false) => {
                return Err(io(
                    &beside,
                    std::io::Error::other("another program is changing it; try again"),
                ));
            }
            Err(source) => return Err(io(&beside, source)),
        }
        let (part, whole) = (entry(&transfer::part_of(&target))?, entry(&target)?);
        if let Err(source) = part.rename_to_new(&whole) {
            if is_new {
                let _ = own.remove_file();
            }
            return Err(io(&target, source));
        }
        let _ = entry(&transfer::state_of(&target)).map(|state| state.remove_file());
        whole.folder().sync();
        library.arrived(&plugin, &handle, &wire);
        Ok(target)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| DownloadError::Broken(error.to_string()))?
}

/// Ends a download whose file has its name already, since the server ended before it was noted: whether `path` is that file.
///
/// # Errors
/// When the work breaks off.
pub async fn finish(plan: &Plan, path: &Path) -> Result<bool, DownloadError> {
    let (service, path) = (plan.service.clone(), path.to_owned());
    let (sha256, version) = (plan.source.sha256.clone(), plan.row.model_version_id);
    let page = plan.origin.hf_url.clone();
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let is_of = |sidecar: &Sidecar| match (&sha256, version) {
            (Some(sha256), _) => sidecar.text("sha256") == sha256,
            (None, Some(version)) => {
                let id = sidecar.civitai().and_then(|stored| id_of(stored.get("id")));
                id == Some(version.cast_unsigned())
            }
            (None, None) => page.is_some_and(|page| sidecar.text("hf_url") == page),
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let wires = (crate::files::wire_path(folder), crate::files::wire_path(&path));
        let (Some(folder_wire), Some(wire), Ok(there)) = (wires.0, wires.1, path.metadata()) else {
            return false;
        };
        let sidecar = Sidecar::read(&sidecar::path_for(folder, stem)).ok().flatten();
        let is_it = |sidecar: Sidecar| sidecar.number("size") == there.len() as f64 && is_of(&sidecar);
        if !there.is_file() || service.library.target(&folder_wire).is_err() || !sidecar.is_some_and(is_it) {
            return false;
        }
        if transfer::part_is_of(&path) == PartOf::Nothing {
            let _ = std::fs::remove_file(transfer::state_of(&path));
        }
        service.library.arrived(&service.plugin, &handle, &wire);
        true
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| DownloadError::Broken(error.to_string()))
}

/// The sidecar of a file.
pub fn sidecar_of(target: &Path) -> PathBuf {
    let stem = target.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    sidecar::path_for(target.parent().unwrap_or(Path::new("/")), stem)
}

/// What lies as the sidecar of a file that arrived: of this file, by its hash, what is kept. One that can't be used is put
/// aside, as an edit does. That of another file stays, and is an error.
fn there(allowed: &AllowedFolders, path: &Path, sha256: &str) -> std::io::Result<Option<Sidecar>> {
    match Sidecar::read(path) {
        Ok(Some(other)) if other.text("sha256") != sha256 => Err(ErrorKind::AlreadyExists.into()),
        Ok(there) => Ok(there),
        Err(SidecarError::Corrupt { .. }) => {
            editing::put_aside(allowed, path, &std::fs::read(path)?).map_err(io_of)?;
            Ok(None)
        }
        Err(error) => Err(io_of(error)),
    }
}

fn io_of(error: SidecarError) -> std::io::Error {
    match error {
        SidecarError::Io { source, .. } => source,
        error => std::io::Error::other(error),
    }
}

/// What the type makes of a provider's word; `before` is the sidecar that it is for, where there is one.
async fn merged(
    service: &TypeService,
    target: &Path,
    before: Option<Sidecar>,
    version: &Map<String, Value>,
    source: &str,
) -> Result<Map<String, Value>, DownloadError> {
    let stem = target.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let wire = crate::files::wire_path(target).ok_or(DownloadError::Outside)?;
    let edited = before.as_ref().map(typed::fields).unwrap_or_default();
    let before = before.unwrap_or_else(|| metadata::sidecar_of(service.library.info(), stem, &wire, 0, 0.0));
    let input = MergeInput {
        sidecar: serde_json::to_string(&before.0).unwrap_or_default(),
        remote_version: serde_json::to_string(version).unwrap_or_default(),
        source: source.to_owned(),
        edited,
    };
    let answers = service.plugin.merge_remote([input].into()).await?;
    let text = answers
        .into_iter()
        .next()
        .ok_or_else(|| DownloadError::Broken("the plugin gave no answer".into()))?
        .map_err(crate::plugins::CallError::Guest)?;
    serde_json::from_str(&text)
        .map_err(|error| DownloadError::Broken(format!("the plugin's answer is no object: {error}")))
}

/// Makes the folder of a file.
///
/// # Errors
/// The system's.
pub fn make_folder(allowed: &AllowedFolders, target: &Path) -> Result<(), DownloadError> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    let made = allowed.make_folders(folder);
    made.map_err(|source| TransferError::disk(folder.to_owned(), source).into())
}

/// The content of a file that may not be there.
fn foreign_bytes(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders_from_outside_stay_in_their_place() {
        assert_eq!(file_name("a b_v1.0.safetensors").unwrap(), "a b_v1.0.safetensors");
        assert_eq!(file_name("../../etc/x.pt").unwrap(), "_.._etc_x.pt");
        assert_eq!(file_name("..hidden\n.pt").unwrap(), "hidden_.pt");
        assert!(file_name(" .. ").is_err());
        let base = Path::new("/root");
        assert_eq!(folder_below(base, "a/b").unwrap(), Path::new("/root/a/b"));
        assert_eq!(folder_below(base, "").unwrap(), Path::new("/root/"));
        #[cfg(unix)]
        assert_eq!(folder_below(base, "a\\b").unwrap(), base.join("a\\b"));
        for outside in ["..", "a/../../b", "/etc", "a\0"] {
            assert!(folder_below(base, outside).is_err(), "{outside:?}");
        }
    }

    #[test]
    fn a_taken_name_gets_the_start_of_the_hash_and_then_a_number() {
        let taken = ["/r/a.b.pt", "/r/a.b-12ab.pt"];
        let is_free = |path: &Path| !taken.contains(&path.to_str().unwrap());
        let wanted = Path::new("/r/a.b.pt");
        assert_eq!(
            free_name(wanted, Some("12abcdef"), is_free).unwrap(),
            Path::new("/r/a.b-12ab-1.pt")
        );
        assert_eq!(free_name(wanted, None, is_free).unwrap(), Path::new("/r/a.b-0000.pt"));
        assert_eq!(
            free_name(Path::new("/r/c.pt"), None, is_free).unwrap(),
            Path::new("/r/c.pt")
        );
    }
}
