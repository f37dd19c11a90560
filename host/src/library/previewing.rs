//! Giving a model another preview: what came is looked at by content, made small, and takes the place of what is there.
//! Sources of names, sizes and order: contract section 4.3.
//!
//! The old previews wait in the trash, so that the act is undone by moving them back.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use image::DynamicImage;
use serde_json::{Map, Value};

use super::collection::Library;
use super::edit::Edit;
use super::editing::{EditError, Outcome, Tools};
use super::history::{ActKind, Draft, HistoryError};
use super::preview;
use super::sidecar::{self, Sidecar};
use super::thumbnails::render::{self, Decoded, Refusal};
use super::trash;
use crate::files::rooted::MAX_NAME;

/// Largest file in bytes that is taken as a preview.
pub const MAX_BYTES: usize = 64 << 20;
/// Width in pixels that pictures get. Smaller ones are not enlarged.
const WIDTH: u32 = 480;
/// Quality of WebP pictures, of 100.
const QUALITY: f32 = 85.0;
/// The one ending of the list that is another program's and stays.
const OTHERS: &str = ".example.0.jpeg";

/// Why something can't be a preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// Its content is neither picture nor video.
    #[error(
        "The content is no picture (JPEG, PNG, WebP, GIF, AVIF, JPEG XL) and no video (MP4, WebM, MOV, AVI), whatever its name says"
    )]
    Format,
    /// It has too many bytes.
    #[error("A preview may have at most {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// It is a picture that can't be used.
    #[error("The picture can't be used: {0}")]
    Picture(#[from] Refusal),
}

/// A preview as it will lie beside its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPreview {
    ending: &'static str,
    bytes: Vec<u8>,
}

impl NewPreview {
    /// Makes a preview of any picture or video: pictures become WebP, 480 pixels wide and without metadata; what moves
    /// and what is not decoded here stays as it is. Computes for a while. `name` is the file's, and says no more than
    /// which of two endings a video gets.
    ///
    /// # Errors
    /// When the content is something else, broken or too large.
    pub fn made_of(bytes: Vec<u8>, name: &str) -> Result<Self, PreviewError> {
        let as_it_is = Self::as_it_is(bytes, name)?;
        if ![".jpg", ".png", ".webp", ".gif"].contains(&as_it_is.ending) {
            return Ok(as_it_is);
        }
        // One at a time: a picture may take half a gigabyte.
        static DECODING: Mutex<()> = Mutex::new(());
        let turn = DECODING.lock().unwrap_or_else(PoisonError::into_inner);
        let source = Cursor::new(&as_it_is.bytes);
        let decoded = render::decode(source, as_it_is.bytes.len() as u64, WIDTH, true, |_| ())?;
        drop(turn);
        match decoded {
            Some(Decoded {
                picture,
                may_move: false,
                ..
            }) => Ok(Self {
                ending: ".webp",
                bytes: webp(picture),
            }),
            _ => Ok(as_it_is),
        }
    }

    /// A picture or video that stays as it is, under the ending of its content.
    ///
    /// # Errors
    /// When the content is something else, or too large.
    pub fn as_it_is(bytes: Vec<u8>, name: &str) -> Result<Self, PreviewError> {
        if bytes.len() > MAX_BYTES {
            return Err(PreviewError::TooLarge);
        }
        let ending = ending(&bytes, name).ok_or(PreviewError::Format)?;
        Ok(Self { ending, bytes })
    }

    /// What follows the stem of the model in the name of the preview.
    pub fn ending(&self) -> &'static str {
        self.ending
    }

    /// The file's content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn webp(picture: DynamicImage) -> Vec<u8> {
    let encoded = if picture.color().has_alpha() {
        let pixels = picture.into_rgba8();
        webp::Encoder::from_rgba(&pixels, pixels.width(), pixels.height()).encode(QUALITY)
    } else {
        let pixels = picture.into_rgb8();
        webp::Encoder::from_rgb(&pixels, pixels.width(), pixels.height()).encode(QUALITY)
    };
    encoded.to_vec()
}

/// The ending of what a content is; none when it is neither picture nor video.
fn ending(content: &[u8], name: &str) -> Option<&'static str> {
    let named = |ending: &str| name.to_ascii_lowercase().ends_with(ending);
    let at = |place: usize, what: &[u8]| content.get(place..).is_some_and(|rest| rest.starts_with(what));
    if render::is_jxl(content) {
        return Some(".jxl");
    }
    if at(0, b"\x1a\x45\xdf\xa3") {
        // Other kinds of this container play in no browser.
        let head = &content[..content.len().min(64)];
        return head.windows(4).any(|kind| kind == b"webm").then_some(".webm");
    }
    if at(0, b"RIFF") && at(8, b"AVI ") {
        return Some(".avi");
    }
    if at(4, b"ftyp") {
        return match content.get(8..12)? {
            b"avif" | b"avis" => Some(".avif"),
            b"heic" | b"heix" | b"mif1" | b"msf1" | b"hevc" => None,
            b"qt  " if !named(".mp4") => Some(".mov"),
            _ if named(".mov") => Some(".mov"),
            _ => Some(".mp4"),
        };
    }
    // QuickTime had no `ftyp` in its early days.
    if named(".mov") && [b"moov", b"mdat", b"wide"].iter().any(|kind| at(4, *kind)) {
        return Some(".mov");
    }
    match image::guess_format(content).ok()? {
        image::ImageFormat::Jpeg => Some(".jpg"),
        image::ImageFormat::Png => Some(".png"),
        image::ImageFormat::WebP => Some(".webp"),
        image::ImageFormat::Gif => Some(".gif"),
        _ => None,
    }
}

impl Library {
    /// Replaces the previews of a model by one, with its NSFW level (contract section 4.1). Blocks; one act at a time in
    /// a library.
    ///
    /// # Errors
    /// When there is no such model, or its files can't be changed; nothing is changed then.
    pub fn set_preview(
        &self,
        tools: &Tools,
        path: &str,
        preview: &NewPreview,
        level: u32,
    ) -> Result<Outcome, EditError> {
        self.check_inside(&[path.to_owned()])?;
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut draft = tools
            .history
            .begin(ActKind::Preview, self.info().id(), None, &self.allowed())?;
        // A draft that does not come to its end takes back what was done.
        self.set_preview_one(&mut draft, path, preview, level, Vec::new())?;
        self.write_manifests(tools, &draft);
        let undo_id = draft.end()?;
        let models = self.take_up(tools, vec![(path.to_owned(), Ok(()))], &[]);
        Ok(Outcome { undo_id, models })
    }

    /// Replaces the previews of a model as a part of an act, together with further edits of its sidecar. When it fails,
    /// the act must be taken back to where it was before.
    ///
    /// # Errors
    /// As [`Self::set_preview`].
    pub fn set_preview_one(
        &self,
        draft: &mut Draft,
        path: &str,
        preview: &NewPreview,
        level: u32,
        mut edits: Vec<Edit>,
    ) -> Result<(), EditError> {
        let _turn = sidecar::turn(Path::new(path));
        // Before anything moves: a model that is not there, or whose sidecar is another's, is refused.
        self.prepare(path, &[])?;
        let (folder, stem) = self.place_of(path);
        let old = previews(folder, stem);
        if !old.is_empty() {
            let trash = trash::folder_for(draft.allowed(), folder, draft.id()).map_err(|source| HistoryError::Io {
                path: folder.join(trash::STAGING),
                source,
            })?;
            for file in old {
                let Some(name) = file.file_name() else { continue };
                draft.rename(path, &file, &trash.join(name))?;
            }
        }
        edits.push(Edit::Set(put(draft, path, folder, stem, preview, level)?));
        self.edit_held(draft, path, &edits)
    }

    /// Gives a preview to a model that has none, as a part of an act: what its sidecar then says. Nothing when it has one by
    /// now. The model's turn is held.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn add_preview(
        &self,
        draft: &mut Draft,
        path: &str,
        preview: &NewPreview,
        level: u32,
    ) -> Result<Map<String, Value>, EditError> {
        let (folder, stem) = self.place_of(path);
        if previews(folder, stem).is_empty() {
            put(draft, path, folder, stem, preview, level)
        } else {
            Ok(Map::new())
        }
    }

    /// The folder of a model, and its name without its extension.
    fn place_of<'p>(&self, path: &'p str) -> (&'p Path, &'p str) {
        let model = Path::new(path);
        let name = model.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let extension = self.info().extension_of(name).unwrap_or_default();
        let stem = name.strip_suffix(extension).unwrap_or(name);
        (model.parent().unwrap_or(Path::new("/")), stem)
    }
}

/// Writes a preview beside a model as a step of an act; what the sidecar then says.
fn put(
    draft: &mut Draft,
    model: &str,
    folder: &Path,
    stem: &str,
    preview: &NewPreview,
    level: u32,
) -> Result<Map<String, Value>, EditError> {
    let place = folder.join(format!("{stem}{}", preview.ending));
    if place.file_name().is_some_and(|name| name.len() > MAX_NAME) {
        return Err(EditError::TooLong(place));
    }
    let failed = |source| EditError::Write {
        path: place.clone(),
        source,
    };
    let file = draft.allowed().entry(&place).map_err(failed)?;
    draft.keep(model, &trash::noted(&place), None, Some(&preview.bytes))?;
    if let Err(source) = file.create(&preview.bytes) {
        draft.unchanged();
        return Err(failed(source));
    }
    Ok(Map::from_iter([
        ("preview_url".to_owned(), trash::noted(&place).into()),
        ("preview_nsfw_level".to_owned(), level.into()),
    ]))
}

/// The previews of a model, whatever the case of their endings, and the one that its sidecar names.
fn previews(folder: &Path, stem: &str) -> Vec<PathBuf> {
    let ends = |name: &str| {
        let ending = name.strip_prefix(stem)?;
        let mut known = preview::ENDINGS.iter().filter(|known| **known != OTHERS);
        known.any(|known| known.eq_ignore_ascii_case(ending)).then_some(())
    };
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<PathBuf> = names
        .filter(|name| ends(name).is_some())
        .map(|name| folder.join(name))
        .collect();
    let sidecar = Sidecar::read(&sidecar::path_for(folder, stem)).ok().flatten();
    let declared = sidecar.and_then(|sidecar| preview::declared(folder, stem, &sidecar));
    found.extend(declared.filter(|declared| !found.contains(declared)));
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height)
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        bytes.into_inner()
    }

    #[test]
    fn pictures_become_webp_of_480_pixels_and_are_not_enlarged() {
        for (width, expected) in [(960, (480, 50)), (100, (100, 100))] {
            let made = NewPreview::made_of(png(width, 100), "any.name").unwrap();
            assert_eq!(made.ending(), ".webp");
            let picture = image::load_from_memory(made.bytes()).unwrap();
            assert_eq!((picture.width(), picture.height()), expected);
        }
    }

    #[test]
    fn the_content_says_what_it_is_and_the_name_only_which_video() {
        let boxed = |brand: &[u8]| [b"\0\0\0\x18ftyp", brand, &[0; 32]].concat();
        let webm = [b"\x1a\x45\xdf\xa3", &b"xxxx\x42\x82\x84webm"[..], &[0; 32]].concat();
        for (content, name, expected) in [
            (boxed(b"isom"), "a.png", Some(".mp4")),
            (boxed(b"isom"), "a.mov", Some(".mov")),
            (boxed(b"qt  "), "a", Some(".mov")),
            (boxed(b"qt  "), "A.MP4", Some(".mp4")),
            (boxed(b"avif"), "a.mp4", Some(".avif")),
            (boxed(b"heic"), "a.mp4", None),
            (webm, "a", Some(".webm")),
            (b"\x1a\x45\xdf\xa3\x42\x82\x88matroska".to_vec(), "a.webm", None),
            (b"RIFF\0\0\0\0AVI LIST".to_vec(), "a", Some(".avi")),
            (b"\0\0\0\x08wide\0\0\0\x08mdat".to_vec(), "a.mov", Some(".mov")),
            (b"\xff\x0a1234".to_vec(), "a.png", Some(".jxl")),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), "a.png", None),
            (Vec::new(), "a.png", None),
        ] {
            assert_eq!(ending(&content, name), expected, "{name}");
        }
    }

    #[test]
    fn what_moves_stays_as_it_is_and_what_is_broken_is_refused() {
        let mut gif = Vec::new();
        let frame = image::Frame::new(image::RgbaImage::new(600, 4));
        image::codecs::gif::GifEncoder::new(&mut gif)
            .encode_frames([frame.clone(), frame])
            .unwrap();
        let made = NewPreview::made_of(gif.clone(), "a.gif").unwrap();
        assert_eq!((made.ending(), made.bytes()), (".gif", &gif[..]));
        let whole = png(64, 64);
        assert!(matches!(
            NewPreview::made_of(whole[..whole.len() / 2].to_vec(), "a.png"),
            Err(PreviewError::Picture(_))
        ));
        assert!(matches!(
            NewPreview::made_of(vec![0; MAX_BYTES + 1], "a"),
            Err(PreviewError::TooLarge)
        ));
    }
}
