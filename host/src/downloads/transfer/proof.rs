//! What can be said of a file that no hash proves: its size, and whether its content is of the kind that its name says.
//!
//! Servers answer with success and send something else: an error page, a message, compressed bytes, the pointer of a
//! large file store, half of the file.

use std::io::Read;
use std::path::Path;

use super::source::NamedSize;
use crate::files::foreign::ForeignFile;
use crate::library::safetensors::{self, HeaderError};

/// Bytes that are looked at from the start of a file.
const START: usize = 512;
/// First words of a pointer of Git LFS. Source: its specification.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Why a file is not the model that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It has another size than the provider names.
    #[error("it has {actual} bytes, but the provider names {expected}")]
    Size {
        /// What the provider names.
        expected: u64,
        /// What arrived.
        actual: u64,
    },
    /// It stands for a file that is elsewhere.
    #[error("it is a pointer of Git LFS, which stands for the file")]
    LfsPointer,
    /// It is a page or a message.
    #[error("it is {0}")]
    Text(&'static str),
    /// It is compressed.
    #[error("it is compressed with gzip")]
    Gzip,
    /// Its first bytes are not those of its format.
    #[error("it is no {0} file")]
    Format(&'static str),
    /// Its header says so.
    #[error("it {0}")]
    Header(#[from] HeaderError),
}

/// Looks at the file at `path`, which is to be called `name`. Blocks.
///
/// # Errors
/// The outer one when the file can't be read, the inner one when it can't be the model.
pub fn check(path: &Path, name: &Path, size: Option<NamedSize>) -> std::io::Result<Result<(), Unfit>> {
    let file = ForeignFile::existing(path).map_err(std::io::Error::from)?;
    let actual = file.len();
    if let Some(size) = size.filter(|size| !size.fits(actual)) {
        let expected = size.bytes;
        return Ok(Err(Unfit::Size { expected, actual }));
    }
    let mut start = Vec::with_capacity(START);
    file.into_file().take(START as u64).read_to_end(&mut start)?;
    let ending = name.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let ending = ending.to_ascii_lowercase();
    if let Err(unfit) = begins_well(&start, &ending) {
        return Ok(Err(unfit));
    }
    if !matches!(ending.as_str(), "safetensors" | "sft") {
        return Ok(Ok(()));
    }
    match safetensors::check_whole(path) {
        Err(HeaderError::Io(error)) => Err(error),
        checked => Ok(checked.map_err(Unfit::from)),
    }
}

fn begins_well(start: &[u8], ending: &str) -> Result<(), Unfit> {
    if start.starts_with(LFS_POINTER) {
        return Err(Unfit::LfsPointer);
    }
    if start.starts_with(&[0x1f, 0x8b]) && ending != "gz" {
        return Err(Unfit::Gzip);
    }
    if ending == "gguf" && !start.starts_with(b"GGUF") {
        return Err(Unfit::Format("GGUF"));
    }
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |word: &str| {
        text.get(..word.len())
            .is_some_and(|own| own.eq_ignore_ascii_case(word.as_bytes()))
    };
    if begins("<!doctype") || begins("<html") || begins("<head") {
        return Err(Unfit::Text("a web page"));
    }
    if begins("<?xml") {
        return Err(Unfit::Text("a message in XML"));
    }
    // The length of a safetensors header comes first, so that one of these never begins a model.
    let is_json = begins("{\"") || (begins("{") && text[1..].trim_ascii_start().starts_with(b"\""));
    if is_json && ending != "json" {
        return Err(Unfit::Text("a message in JSON"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, content: &[u8], size: Option<NamedSize>) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        std::fs::write(&path, content).unwrap();
        let checked = check(&path, Path::new(name), size).unwrap();
        checked.map_err(|unfit| unfit.to_string())
    }

    fn weights(data: usize, behind: usize) -> Vec<u8> {
        let header = format!(r#"{{"t":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}}}"#);
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(vec![7; data + behind]);
        file
    }

    #[test]
    fn a_whole_model_is_fit() {
        let file = weights(100, 0);
        let size = Some(NamedSize::exact(file.len() as u64));
        assert_eq!(checked("a.safetensors", &file, size), Ok(()));
        assert_eq!(checked("a.SFT", &file, None), Ok(()));
        assert_eq!(checked("a.pt", b"\x80\x02}q\x00", None), Ok(()));
        assert_eq!(checked("a.ckpt", b"PK\x03\x04", None), Ok(()));
        assert_eq!(checked("a.gguf", b"GGUF\x03", None), Ok(()));
    }

    #[test]
    fn what_stands_for_a_model_or_is_a_part_of_it_is_not_fit() {
        let whole = weights(100, 0);
        for (name, content, word) in [
            ("a.safetensors", &whole[..whole.len() - 1], "incomplete"),
            ("a.safetensors", &weights(100, 3)[..], "3 bytes"),
            (
                "a.safetensors",
                b"version https://git-lfs.github.com/spec/v1\noid",
                "Git LFS",
            ),
            ("a.pt", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
            ("a.pt", b"\n <!DOCTYPE html><p>", "web page"),
            ("a.ckpt", b"\xef\xbb\xbf<HTML>", "web page"),
            ("a.ckpt", b"<?xml version='1.0'?><Error>", "XML"),
            ("a.bin", b"{ \"error\": \"no\"}", "JSON"),
            ("a.pt", b"\x1f\x8b\x08", "gzip"),
            ("a.gguf", b"GGML", "GGUF"),
        ] {
            let error = checked(name, content, None).unwrap_err();
            assert!(error.contains(word), "{name}: {error}");
        }
        let error = checked("a.pt", b"\x80\x02", Some(NamedSize::exact(3))).unwrap_err();
        assert!(error.contains("2 bytes") && error.contains("names 3"), "{error}");
    }
}
