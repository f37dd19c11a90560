//! A small library that looks like a real one, for a first look at the server without models of one's own.
//!
//! Every weight file is valid: the header has the metadata that training tools write and names and shapes of the
//! architecture's own tensors. The numbers in the tensors are zero but for a few bytes that make each file distinct;
//! where the file system can, they take no room.

mod canvas;
mod catalogue;
mod motifs;
mod random;
mod sidecar;
mod weights;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::steps::root;
use catalogue::{Entry, KINDS};
use random::Random;

/// Changes when the library's content does; an older one is made anew.
const EDITION: &str = "modelshelf demonstration library, edition 1\n";
const MARKER: &str = "demo-library.txt";

/// A demonstration library on the disk.
pub struct Demo {
    folder: PathBuf,
}

impl Demo {
    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server's arguments for this library, save those that were given.
    pub fn arguments(&self, given: &[String]) -> Vec<String> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut arguments: Vec<String> = KINDS
            .iter()
            .flat_map(|kind| ["--root".to_owned(), format!("{kind}={}", path(kind))])
            .collect();
        let has_data_dir = crate::run::value_of(given, "--data-dir").is_some();
        if !has_data_dir {
            arguments.extend(["--data-dir".to_owned(), path("data")]);
        }
        arguments
    }
}

/// The library in the workspace's target folder under this name, made when it isn't there yet.
///
/// # Errors
/// When it can't be written.
pub fn in_target_dir(name: &str) -> Result<Demo> {
    let folder = root().join("target").join(name);
    let shown = folder.display();
    if std::fs::read_to_string(folder.join(MARKER)).is_ok_and(|text| text == EDITION) {
        println!("serving the demonstration library in {shown} (delete that folder to start afresh)");
    } else {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| shown.to_string())?;
        }
        let count = make(&folder)?;
        println!("a demonstration library of {count} models was made in {shown}");
    }
    Ok(Demo { folder })
}

/// Makes the library in a folder that is empty or absent, and says what is in it.
///
/// # Errors
/// When the folder holds something, or can't be written.
pub fn make_and_say(folder: &Path) -> Result<()> {
    if folder.exists() && folder.read_dir()?.next().is_some() {
        bail!("{} is not empty", folder.display());
    }
    let count = make(folder)?;
    println!("{count} models in {}", folder.display());
    Ok(())
}

/// Writes all models and, at the very end, the marker that the library is whole.
fn make(folder: &Path) -> Result<usize> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    // Sidecars hold absolute paths.
    let folder = folder.canonicalize()?;
    for kind in KINDS {
        std::fs::create_dir_all(folder.join(kind))?;
    }
    let entries = catalogue::entries();
    // Drawing is most of the work, and each model is independent of the others.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..workers)
            .map(|worker| {
                let (folder, entries) = (&folder, &entries);
                scope.spawn(move || {
                    let mut own = entries.iter().enumerate().skip(worker).step_by(workers);
                    own.try_for_each(|(index, entry)| write_model(folder, index, entry))
                })
            })
            .collect();
        for part in parts {
            part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    let extra = write_odd_ones(&folder, &entries)?;
    std::fs::write(folder.join(MARKER), EDITION)?;
    Ok(entries.len() + extra)
}

fn write_model(folder: &Path, index: usize, entry: &Entry) -> Result<()> {
    let mut random = Random::new(index as u64 + 1);
    let directory = folder.join(entry.kind).join(entry.folder);
    std::fs::create_dir_all(&directory)?;
    let file = directory.join(format!("{}.{}", entry.stem, entry.extension()));
    let written = weights::write(&file, entry, &mut random).with_context(|| file.display().to_string())?;
    let preview = match entry.motif {
        None => None,
        Some(motif) => {
            let preview = file.with_extension(if index.is_multiple_of(2) { "png" } else { "preview.png" });
            let png = motifs::draw(motif, entry.hue, &mut random).png()?;
            std::fs::write(&preview, png)?;
            Some(preview)
        }
    };
    if entry.sidecar {
        let text = sidecar::text(index, entry, &file, &written, preview.as_deref(), &mut random)?;
        std::fs::write(file.with_extension("metadata.json"), text)?;
    }
    Ok(())
}

/// What every grown library has too: copies under other names, and a download that broke off.
fn write_odd_ones(folder: &Path, entries: &[Entry]) -> Result<usize> {
    let copies = entries
        .iter()
        .filter(|entry| entry.kind == "loras" && entry.sidecar)
        .step_by(9)
        .take(3);
    let target = folder.join("loras/unsorted");
    std::fs::create_dir_all(&target)?;
    let mut made = 0;
    for entry in copies {
        let from = folder
            .join(entry.kind)
            .join(entry.folder)
            .join(format!("{}.safetensors", entry.stem));
        std::fs::copy(&from, target.join(format!("{} copy.safetensors", entry.stem)))?;
        made += 1;
    }
    std::fs::write(target.join("broken_download.safetensors"), weights::broken_off())?;
    Ok(made + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_whole_and_every_sidecar_belongs_to_its_file() {
        let folder = std::env::temp_dir().join(format!("modelshelf-demo-test-{}", std::process::id()));
        let count = make(&folder).unwrap();
        assert!(count >= 60, "{count}");
        let mut models = 0;
        let mut folders = vec![folder.canonicalize().unwrap()];
        while let Some(next) = folders.pop() {
            for entry in next.read_dir().unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().ends_with(".metadata.json") {
                    let side: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                    let model = PathBuf::from(side["file_path"].as_str().unwrap());
                    assert_eq!(model.metadata().unwrap().len(), side["size"].as_u64().unwrap());
                    let preview = side["preview_url"].as_str().unwrap();
                    assert!(preview.is_empty() || Path::new(preview).is_file(), "{preview}");
                } else if matches!(path.extension().and_then(|e| e.to_str()), Some("safetensors" | "gguf")) {
                    models += 1;
                }
            }
        }
        assert_eq!(models, count);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
