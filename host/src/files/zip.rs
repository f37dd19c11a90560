//! One member of a zip file, read as it is unpacked. Source of the form: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.
//!
//! Only what large downloads need: members that are stored or deflated, sizes of more than 4 GiB, no encryption, one file.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use flate2::bufread::DeflateDecoder;

use super::foreign::ForeignFile;

/// The end of the central directory, with the longest comment behind it.
const LONGEST_END: u64 = 22 + 65_535;
/// Most bytes of a central directory.
const LARGEST_DIRECTORY: u64 = 64 << 20;

/// Why a zip file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// It is none, or a part of one.
    #[error("{0}")]
    Form(&'static str),
    /// Its bytes can't be read, or do not unpack.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file in a zip file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, with folders.
    pub name: String,
    /// Bytes of it, as the zip file says.
    pub size: u64,
    packed: u64,
    deflated: bool,
    checksum: u32,
    header: u64,
}

/// A zip file.
pub struct Zip {
    path: PathBuf,
    members: Vec<Member>,
}

impl Zip {
    /// Reads what a zip file lists.
    ///
    /// # Errors
    /// When it is none, or not whole.
    pub fn open(path: &Path) -> Result<Self, ZipError> {
        let mut file = ForeignFile::existing(path).map_err(io::Error::from)?.into_file();
        let members = directory(&mut file)?;
        Ok(Self {
            path: path.to_owned(),
            members,
        })
    }

    /// Its files.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A file as it is unpacked. The last read fails when its size or checksum is another than the zip file says.
    ///
    /// # Errors
    /// When it is not where the zip file says.
    pub fn read(&self, member: &Member) -> Result<Unpacked, ZipError> {
        let mut file = ForeignFile::existing(&self.path).map_err(io::Error::from)?.into_file();
        file.seek(SeekFrom::Start(member.header))?;
        let mut header = [0; 30];
        file.read_exact(&mut header)?;
        if number(&header, 0, 4) != Some(0x0403_4b50) {
            return Err(ZipError::Form("a file in it is not where it says"));
        }
        let skipped = number(&header, 26, 2).unwrap_or_default() + number(&header, 28, 2).unwrap_or_default();
        file.seek(SeekFrom::Current(skipped.cast_signed()))?;
        let packed = BufReader::with_capacity(1 << 18, file.take(member.packed));
        Ok(Unpacked {
            source: match member.deflated {
                true => Source::Deflated(Box::new(DeflateDecoder::new(packed))),
                false => Source::Stored(packed),
            },
            left: member.size,
            checksum: member.checksum,
            hash: crc32fast::Hasher::new(),
        })
    }
}

enum Source {
    Stored(BufReader<Take<File>>),
    Deflated(Box<DeflateDecoder<BufReader<Take<File>>>>),
}

/// The bytes of a file, of which there are never more than the zip file says.
pub struct Unpacked {
    source: Source,
    left: u64,
    checksum: u32,
    hash: crc32fast::Hasher,
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::Stored(source) => source.read(buffer)?,
            Source::Deflated(source) => source.read(buffer)?,
        };
        let wrong = |what: &'static str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        self.left = match self.left.checked_sub(read as u64) {
            Some(left) => left,
            None => return wrong("a file in the zip file is larger than it says"),
        };
        self.hash.update(buffer.get(..read).unwrap_or_default());
        if read == 0 && !buffer.is_empty() && (self.left > 0 || self.hash.clone().finalize() != self.checksum) {
            return wrong("a file in the zip file is not whole, or another than it says");
        }
        Ok(read)
    }
}

/// A little-endian number of so many bytes, at most 8.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let own = bytes.get(at..at.checked_add(length)?)?;
    let mut whole = [0; 8];
    whole.get_mut(..length)?.copy_from_slice(own);
    Some(u64::from_le_bytes(whole))
}

fn part(file: &mut File, from: u64, length: u64) -> Result<Vec<u8>, ZipError> {
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn directory(file: &mut File) -> Result<Vec<Member>, ZipError> {
    const NONE: ZipError = ZipError::Form("it has no end of a zip file; it is another file, or not whole");
    let size = file.metadata()?.len();
    let from = size.saturating_sub(LONGEST_END);
    let end = part(file, from, LONGEST_END)?;
    let is_end = |at: &usize| number(&end, *at, 4) == Some(0x0605_4b50);
    let at = (0..end.len().saturating_sub(21)).rev().find(is_end).ok_or(NONE)?;
    let (mut length, mut start) = (
        number(&end, at + 12, 4).ok_or(NONE)?,
        number(&end, at + 16, 4).ok_or(NONE)?,
    );
    // Where a number has no room, the file says so with all bits set, and has it in a record before.
    let locator = at
        .checked_sub(20)
        .filter(|locator| number(&end, *locator, 4) == Some(0x0706_4b50));
    if let Some(place) = locator.and_then(|locator| number(&end, locator + 8, 8)) {
        let large = part(file, place, 56)?;
        if number(&large, 0, 4) != Some(0x0606_4b50) {
            return Err(NONE);
        }
        length = number(&large, 40, 8).ok_or(NONE)?;
        start = number(&large, 48, 8).ok_or(NONE)?;
    }
    if length > LARGEST_DIRECTORY {
        return Err(ZipError::Form("its list of files is too long"));
    }
    let list = part(file, start, length)?;
    let mut members = Vec::new();
    let mut rest = list.as_slice();
    while number(rest, 0, 4) == Some(0x0201_4b50) {
        const BROKEN: ZipError = ZipError::Form("its list of files is broken");
        let field = |at: usize, length: usize| number(rest, at, length).ok_or(BROKEN);
        let (name, extra, comment) = (field(28, 2)? as usize, field(30, 2)? as usize, field(32, 2)? as usize);
        let texts = rest.get(46..).ok_or(BROKEN)?;
        let large = texts.get(name..name + extra).map(large_numbers).ok_or(BROKEN)?;
        let mut large = large.iter();
        // In this order, and each only where it has no room in its own place.
        let mut or_large = |value: u64| match value {
            0xffff_ffff => large.next().copied().ok_or(BROKEN),
            value => Ok(value),
        };
        let (size, packed, header) = (
            or_large(field(24, 4)?)?,
            or_large(field(20, 4)?)?,
            or_large(field(42, 4)?)?,
        );
        let is_encrypted = field(8, 2)? & 1 == 1;
        let method = field(10, 2)?;
        if !is_encrypted && [0, 8].contains(&method) {
            members.push(Member {
                name: String::from_utf8_lossy(texts.get(..name).unwrap_or_default()).into_owned(),
                size,
                packed,
                deflated: method == 8,
                checksum: u32::try_from(field(16, 4)?).unwrap_or_default(),
                header,
            });
        }
        rest = texts.get(name + extra + comment..).ok_or(BROKEN)?;
    }
    Ok(members)
}

/// The numbers of the extra field 1, which holds those that are too large for their place.
fn large_numbers(mut extra: &[u8]) -> Vec<u64> {
    while let (Some(kind), Some(length)) = (number(extra, 0, 2), number(extra, 2, 2)) {
        let Some(own) = extra.get(4..4 + length as usize) else {
            break;
        };
        if kind == 1 {
            return own.chunks_exact(8).filter_map(|bytes| number(bytes, 0, 8)).collect();
        }
        extra = extra.get(4 + length as usize..).unwrap_or_default();
    }
    Vec::new()
}

/// Zip files for tests.
#[cfg(test)]
pub mod made {
    use std::io::Write;

    /// A zip file of these files, deflated; `large` has it say sizes and places as it would of a file of more than 4 GiB.
    pub fn of(members: &[(&str, &[u8])], large: bool) -> Vec<u8> {
        let (mut out, mut list) = (Vec::new(), Vec::new());
        for (name, content) in members {
            let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            packed.write_all(content).unwrap();
            let packed = packed.finish().unwrap();
            let header = out.len() as u64;
            let sum = crc32fast::hash(content);
            let start = |signature: u32, version_made: bool| {
                let mut bytes = signature.to_le_bytes().to_vec();
                bytes.extend(if version_made { vec![45, 0] } else { Vec::new() });
                bytes.extend([45, 0, 0, 0, 8, 0, 0, 0, 0, 0]);
                bytes.extend(sum.to_le_bytes());
                bytes
            };
            let narrow = |value: u64| if large { u32::MAX } else { value as u32 }.to_le_bytes();
            out.extend(start(0x0403_4b50, false));
            out.extend((packed.len() as u32).to_le_bytes());
            out.extend((content.len() as u32).to_le_bytes());
            out.extend((name.len() as u16).to_le_bytes());
            out.extend([0, 0]);
            out.extend(name.as_bytes());
            out.extend(&packed);
            let mut extra = Vec::new();
            if large {
                // Another field comes first.
                extra.extend([0x55, 0x54, 1, 0, 9, 1, 0, 24, 0]);
                for value in [content.len() as u64, packed.len() as u64, header] {
                    extra.extend(value.to_le_bytes());
                }
            }
            list.extend(start(0x0201_4b50, true));
            list.extend(narrow(packed.len() as u64));
            list.extend(narrow(content.len() as u64));
            list.extend((name.len() as u16).to_le_bytes());
            list.extend((extra.len() as u16).to_le_bytes());
            list.extend([0; 10]);
            list.extend(narrow(header));
            list.extend(name.as_bytes());
            list.extend(extra);
        }
        let start = out.len() as u64;
        let count = members.len() as u16;
        let length = list.len() as u64;
        out.extend(&list);
        if large {
            let place = out.len() as u64;
            out.extend(0x0606_4b50_u32.to_le_bytes());
            out.extend([0; 36]);
            out.extend(length.to_le_bytes());
            out.extend(start.to_le_bytes());
            out.extend(0x0706_4b50_u32.to_le_bytes());
            out.extend([0; 4]);
            out.extend(place.to_le_bytes());
            out.extend([1, 0, 0, 0]);
        }
        let narrow = |value: u64| if large { u32::MAX } else { value as u32 }.to_le_bytes();
        out.extend(0x0605_4b50_u32.to_le_bytes());
        out.extend([0; 4]);
        out.extend(count.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(narrow(length));
        out.extend(narrow(start));
        out.extend([2, 0, b'h', b'i']);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A zip file in a folder that is gone when the test is.
    struct Opened {
        zip: Zip,
        _folder: tempfile::TempDir,
    }

    impl std::ops::Deref for Opened {
        type Target = Zip;

        fn deref(&self) -> &Zip {
            &self.zip
        }
    }

    fn opened(bytes: &[u8]) -> Result<Opened, ZipError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        std::fs::write(&path, bytes).unwrap();
        Ok(Opened {
            zip: Zip::open(&path)?,
            _folder: folder,
        })
    }

    fn content(zip: &Zip, member: &Member) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        zip.read(member).map_err(io::Error::other)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn files_are_found_and_unpacked_whether_small_or_large() {
        let noise: Vec<u8> = (0..300_000_u32)
            .map(|own| (own.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for large in [false, true] {
            let zip = opened(&made::of(
                &[("a/b.txt", b"hello"), ("noise", &noise), ("empty", b"")],
                large,
            ))
            .unwrap();
            let names: Vec<&str> = zip.members().iter().map(|member| member.name.as_str()).collect();
            assert_eq!(names, ["a/b.txt", "noise", "empty"]);
            let [first, second, third] = zip.members() else {
                panic!()
            };
            assert_eq!(content(&zip, first).unwrap(), b"hello");
            assert_eq!((second.size, content(&zip, second).unwrap()), (300_000, noise.clone()));
            assert_eq!(content(&zip, third).unwrap(), b"");
        }
    }

    #[test]
    fn what_is_not_whole_or_lies_about_itself_is_an_error() {
        assert!(opened(b"").is_err() && opened(b"no zip file at all, however long it is").is_err());
        let whole = made::of(&[("a", b"hello hello hello hello")], false);
        assert!(opened(&whole[..whole.len() - 10]).is_err());
        let find = |what: &[u8]| whole.windows(4).rposition(|own| own == what).unwrap();
        let entry = find(&0x0201_4b50_u32.to_le_bytes());
        for (at, what) in [(16, "checksum"), (24, "size"), (42, "place")] {
            let mut other = whole.clone();
            other[entry + at] ^= 1;
            let zip = opened(&other).unwrap();
            assert!(content(&zip, &zip.members()[0]).is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(place in 0_usize..400, value: u8, large: bool) {
            let mut bytes = made::of(&[("a", b"hello"), ("b", b"there")], large);
            let place = place % bytes.len();
            bytes[place] = value;
            if let Ok(zip) = opened(&bytes) {
                for member in zip.members() {
                    let _ = content(&zip, member);
                }
            }
        }
    }
}
