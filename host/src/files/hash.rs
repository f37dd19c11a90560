//! SHA-256 of whole files, streamed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::cancel::Cancel;

const BLOCK: usize = 1 << 20;

/// Why a file was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The job was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Digest of a file.
///
/// # Errors
/// When the file can't be read to its end, or the job is cancelled meanwhile.
pub fn sha256(path: &Path, cancel: &Cancel) -> Result<[u8; 32], HashError> {
    let mut file = File::open(path)?;
    advise(&file, Advice::Sequential);
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        if cancel.is_set() {
            return Err(HashError::Cancelled);
        }
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        crate::metrics::content_read(read as u64);
        hasher.update(&block[..read]);
    }
    advise(&file, Advice::DontNeed);
    Ok(hasher.finalize().into())
}

enum Advice {
    Sequential,
    DontNeed,
}

/// Tells the kernel how a file is read, so that hashing a library does not push everything
/// else out of the page cache. Failing is harmless.
#[cfg(target_os = "linux")]
fn advise(file: &File, advice: Advice) {
    let advice = match advice {
        Advice::Sequential => rustix::fs::Advice::Sequential,
        Advice::DontNeed => rustix::fs::Advice::DontNeed,
    };
    let _ = rustix::fs::fadvise(file, 0, None, advice);
}

#[cfg(not(target_os = "linux"))]
fn advise(_: &File, _: Advice) {}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of exactly `2 N` hex digits in any case.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_what_it_wrote_in_any_case_and_nothing_else() {
        let bytes = [0, 1, 0xab, 0xff];
        assert_eq!(hex(&bytes), "0001abff");
        assert_eq!(parse_hex::<4>("0001ABff"), Some(bytes));
        assert_eq!(parse_hex::<4>("0001ABf"), None);
        assert_eq!(parse_hex::<4>("0001ABfg"), None);
    }

    #[test]
    fn a_files_digest_is_that_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, b"abc").unwrap();
        let digest = sha256(&path, &Cancel::default()).unwrap();
        assert_eq!(
            hex(&digest),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_cancelled_job_stops_hashing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, b"abc").unwrap();
        let cancel = Cancel::default();
        cancel.set();
        assert!(matches!(sha256(&path, &cancel), Err(HashError::Cancelled)));
    }
}
