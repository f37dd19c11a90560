//! Plugins for tests: those that `cargo xtask plugins --guests` built, and further versions of them.

use std::path::PathBuf;

use anyhow::{Result, ensure};

/// The file of a guest.
///
/// # Errors
/// When it is not built.
pub fn guest(name: &str) -> Result<PathBuf> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../target/guests/{name}.wasm"));
    ensure!(
        file.is_file(),
        "{} is not built: cargo xtask plugins --guests",
        file.display()
    );
    Ok(file)
}

/// A component that does the same and has another digest: the given one with a custom section.
pub fn altered(wasm: &[u8], version: u32) -> Vec<u8> {
    let (name, number) = (b"version", version.to_le_bytes());
    // Id 0, the section's size, and its name with its length; each fits into one byte of LEB128.
    let mut section = vec![0, (1 + name.len() + number.len()) as u8, name.len() as u8];
    section.extend(name);
    section.extend(number);
    [wasm, &section].concat()
}

/// A component in which one text stands instead of another of the same length.
///
/// # Errors
/// When the lengths differ, or the text is not there.
pub fn patched(wasm: &[u8], was: &str, is: &str) -> Result<Vec<u8>> {
    ensure!(was.len() == is.len(), "{was:?} and {is:?} differ in length");
    let (mut patched, mut at, mut found) = (wasm.to_vec(), 0, 0);
    while let Some(place) = patched[at..]
        .windows(was.len())
        .position(|window| window == was.as_bytes())
    {
        patched[at + place..at + place + is.len()].copy_from_slice(is.as_bytes());
        at += place + is.len();
        found += 1;
    }
    ensure!(found > 0, "{was:?} is not in the component");
    Ok(patched)
}
