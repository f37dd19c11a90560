//! The cover image that a video in an MP4 or QuickTime file may carry (`moov/udta/meta/ilst/covr`).
//! No video is decoded: there is no decoder in Rust alone that is kept up.

use std::io::{Read, Seek, SeekFrom};

/// Largest cover in bytes.
const MAX_COVER: u64 = 16 << 20;
/// Boxes of one level that are looked at.
const MAX_BOXES: usize = 4096;

/// The bytes of the cover; none when there is none, or the file is not of this kind.
///
/// # Errors
/// When the file can't be read.
pub fn of_video(source: &mut (impl Read + Seek)) -> std::io::Result<Option<Vec<u8>>> {
    let mut place = (0, source.seek(SeekFrom::End(0))?);
    for name in [b"moov", b"udta", b"meta", b"ilst", b"covr", b"data"] {
        let Some((start, end)) = find(source, place, name)? else {
            return Ok(None);
        };
        // Four bytes of version and flags, eight of type and language.
        let skipped = match name {
            b"meta" => 4,
            b"data" => 8,
            _ => 0,
        };
        place = (start.saturating_add(skipped), end);
    }
    let (start, end) = place;
    let Some(length) = end.checked_sub(start).filter(|length| (1..=MAX_COVER).contains(length)) else {
        return Ok(None);
    };
    source.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 == length).then_some(bytes))
}

/// Where the content of the first box with this name begins and ends, within a stretch of the file.
fn find(
    source: &mut (impl Read + Seek),
    (mut at, end): (u64, u64),
    name: &[u8; 4],
) -> std::io::Result<Option<(u64, u64)>> {
    for _ in 0..MAX_BOXES {
        if end.saturating_sub(at) < 8 {
            break;
        }
        source.seek(SeekFrom::Start(at))?;
        let mut head = [0; 8];
        source.read_exact(&mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (end - at, 8),
            1 if end - at >= 16 => {
                let mut size = [0; 8];
                source.read_exact(&mut size)?;
                (u64::from_be_bytes(size), 16)
            }
            size => (u64::from(size), 8),
        };
        let Some(next) = at.checked_add(size).filter(|next| size >= header && *next <= end) else {
            break;
        };
        if kind == *name {
            return Ok(Some((at + header, next)));
        }
        at = next;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut bytes = (content.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(content);
        bytes
    }

    fn video(cover: &[u8]) -> Vec<u8> {
        let data = boxed(b"data", &[&[0, 0, 0, 13, 0, 0, 0, 0], cover].concat());
        let list = boxed(b"ilst", &[boxed(b"name", b"x"), boxed(b"covr", &data)].concat());
        let meta = boxed(b"meta", &[vec![0; 4], boxed(b"hdlr", &[0; 25]), list].concat());
        let movie = boxed(b"moov", &[boxed(b"mvhd", &[0; 100]), boxed(b"udta", &meta)].concat());
        [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"mdat", &[7; 50]), movie].concat()
    }

    #[test]
    fn the_cover_is_found_behind_the_video() {
        let found = of_video(&mut Cursor::new(video(b"picture"))).unwrap();
        assert_eq!(found.as_deref(), Some(&b"picture"[..]));
    }

    #[test]
    fn what_is_cut_short_or_no_video_has_no_cover_and_never_panics() {
        let whole = video(b"picture");
        for length in 0..whole.len() {
            let _ = of_video(&mut Cursor::new(&whole[..length]));
        }
        for at in 0..whole.len() {
            let mut spoilt = whole.clone();
            spoilt[at] = 0xff;
            let _ = of_video(&mut Cursor::new(spoilt));
        }
        assert_eq!(of_video(&mut Cursor::new(b"")).unwrap(), None);
        assert_eq!(of_video(&mut Cursor::new(b"<svg>not a video</svg>")).unwrap(), None);
    }
}
