//! From a picture of any size to one of the width that is asked for.
//!
//! The pictures come from strangers, so nothing is decoded before its header says that it fits. A picture with
//! transparent pixels becomes a lossless WebP, so that it fits light and dark pages; every other one a JPEG.

use std::io::{BufRead, Read, Seek, SeekFrom};

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, ExtendedColorType, GrayImage, ImageDecoder, ImageEncoder, ImageFormat, ImageReader,
    Limits, RgbImage, RgbaImage,
};

/// Most pixels on a side.
pub const MAX_SIDE: u32 = 16_384;
/// Largest file in bytes.
pub const MAX_FILE: u64 = 64 << 20;
/// Largest decoded picture in bytes.
pub const MAX_DECODED: u64 = 256 << 20;
/// Most memory in bytes that decoding one picture may take, buffers of decoders included.
pub const MAX_WORK: u64 = 512 << 20;

/// Quality of JPEGs, of 100.
const QUALITY: u8 = 80;
/// Bytes of a file that are looked at to know its format.
const HEAD: usize = 4096;
/// Segments of a JPEG that are passed over to find its frame header.
const MAX_SEGMENTS: usize = 1000;
/// Largest colour profile in bytes that a thumbnail keeps.
const MAX_PROFILE: usize = 32 << 10;

/// Why a picture can't be shown smaller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// It has too many bytes.
    #[error("the file has {} MiB, and at most {} MiB are read", .0 >> 20, MAX_FILE >> 20)]
    File(u64),
    /// Its content is no picture.
    #[error("its content is no JPEG, PNG, WebP or GIF, whatever its name says")]
    Format,
    /// It would take too much room.
    #[error("its {width} x {height} pixels are more than are decoded ({MAX_SIDE} on a side, {} MiB in all)", MAX_DECODED >> 20)]
    Pixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// It asks for more than its pixels need.
    #[error("decoding it would take more memory than is allowed")]
    Memory,
    /// It breaks its format's rules.
    #[error("it is broken ({0})")]
    Broken(String),
}

/// What became of a picture.
#[derive(Debug, PartialEq, Eq)]
pub enum Rendered {
    /// A JPEG or WebP.
    Made(Vec<u8>),
    /// It is small enough already, or of a format that browsers may know and the server does not.
    AsItIs,
}

/// Makes a picture `width` pixels wide, upright as its EXIF data say; of one that moves the first frame. One that is not
/// wider stays as it is, or with `always` is made in its own width. `size` is the length of `source`; `reserve` is
/// called with the bytes that decoding takes, before it begins, and what it gives is kept until that ends.
///
/// # Errors
/// What is wrong with the picture. Reading errors count as that, too.
pub fn render<R: BufRead + Seek, P>(
    source: R,
    size: u64,
    width: u32,
    always: bool,
    reserve: impl FnOnce(u64) -> P,
) -> Result<Rendered, Refusal> {
    match decode(source, size, width, always, reserve)? {
        None => Ok(Rendered::AsItIs),
        Some(decoded) => encode(decoded.picture, decoded.profile).map(Rendered::Made),
    }
}

/// A picture, upright and as wide as was asked for.
pub struct Decoded {
    /// Its pixels: grey, RGB or RGBA in eight bits.
    pub picture: DynamicImage,
    /// Whether its file may hold more frames than this one.
    pub may_move: bool,
    // Its colour profile, where that says something.
    profile: Option<Vec<u8>>,
}

/// The first half of [`render`]: the picture, or none where the file serves as it is.
///
/// # Errors
/// As [`render`].
pub fn decode<R: BufRead + Seek, P>(
    mut source: R,
    size: u64,
    width: u32,
    always: bool,
    reserve: impl FnOnce(u64) -> P,
) -> Result<Option<Decoded>, Refusal> {
    if size == 0 {
        return Err(Refusal::Empty);
    }
    let mut head = Vec::with_capacity(HEAD);
    (&mut source).take(HEAD as u64).read_to_end(&mut head).map_err(broken)?;
    let format = match image::guess_format(&head) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif)) => format,
        Ok(ImageFormat::Avif | ImageFormat::Bmp) if !always => return Ok(None),
        _ if is_jxl(&head) && !always => return Ok(None),
        _ => return Err(Refusal::Format),
    };
    if size > MAX_FILE {
        return Err(Refusal::File(size));
    }
    let progressive = format == ImageFormat::Jpeg && is_progressive(&mut source).map_err(broken)?;
    source.seek(SeekFrom::Start(0)).map_err(broken)?;
    let mut reader = ImageReader::with_format(source, format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refusal)?;
    let (own_width, own_height) = decoder.dimensions();
    let needs = work(&decoder, format, progressive);
    if decoder.total_bytes() > MAX_DECODED || needs > MAX_WORK {
        return Err(Refusal::Pixels {
            width: own_width,
            height: own_height,
        });
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let on_its_side = matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let upright_width = if on_its_side { own_height } else { own_width };
    let may_move = may_move(format, &head);
    if upright_width <= width && !always && !may_move {
        return Ok(None);
    }
    let share = f64::from(width.min(upright_width)) / f64::from(upright_width.max(1));
    let scaled = |side: u32| ((f64::from(side) * share).round() as u32).max(1);
    let profile = decoder.icc_profile().ok().flatten();

    let kept = reserve(needs);
    let decoded = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    let profile = profile.filter(|profile| decoded.color().has_color() && is_worth_keeping(profile));
    let mut small = shrink(decoded, scaled(own_width), scaled(own_height))?;
    drop(kept);
    small.apply_orientation(orientation);
    Ok(Some(Decoded {
        picture: small,
        may_move,
        profile,
    }))
}

/// The content type of what [`render`] made; none when the bytes are not whole.
pub fn content_type(made: &[u8]) -> Option<&'static str> {
    if made.starts_with(b"\xff\xd8") && made.ends_with(b"\xff\xd9") {
        return Some("image/jpeg");
    }
    let length = made
        .strip_prefix(b"RIFF")?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)?;
    (u64::from(length) + 8 == made.len() as u64).then_some("image/webp")
}

/// Memory that decoding takes: the picture, what decoders keep beside it, and the same in eight bits.
fn work(decoder: &impl ImageDecoder, format: ImageFormat, progressive: bool) -> u64 {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let beside = match format {
        // Coefficients of three channels in two bytes each.
        ImageFormat::Jpeg if progressive => 6 * pixels,
        ImageFormat::Gif | ImageFormat::WebP => decoder.total_bytes(),
        _ => 0,
    };
    let converted = match decoder.color_type() {
        ColorType::L8 | ColorType::Rgb8 | ColorType::Rgba8 => 0,
        _ => 4 * pixels,
    };
    decoder.total_bytes().saturating_add(beside.max(converted))
}

fn shrink(picture: DynamicImage, width: u32, height: u32) -> Result<DynamicImage, Refusal> {
    let (own_width, own_height) = (picture.width(), picture.height());
    let has_alpha = picture.color().has_alpha();
    let (pixels, kind) = match picture {
        DynamicImage::ImageLuma8(grey) => (grey.into_raw(), PixelType::U8),
        picture if has_alpha => (picture.into_rgba8().into_raw(), PixelType::U8x4),
        picture => (picture.into_rgb8().into_raw(), PixelType::U8x3),
    };
    let pixels = if (width, height) == (own_width, own_height) {
        pixels
    } else {
        let source = ImageRef::new(own_width, own_height, &pixels, kind).map_err(broken)?;
        let mut small = Image::new(width, height, kind);
        Resizer::new().resize(&source, &mut small, None).map_err(broken)?;
        small.into_vec()
    };
    let small = match kind {
        PixelType::U8 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        PixelType::U8x4 => RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    small.ok_or_else(|| Refusal::Broken("it has too few pixels".into()))
}

fn encode(picture: DynamicImage, profile: Option<Vec<u8>>) -> Result<Vec<u8>, Refusal> {
    let (width, height) = (picture.width(), picture.height());
    let mut made = Vec::new();
    let result = match picture {
        DynamicImage::ImageRgba8(pixels) if pixels.pixels().any(|pixel| pixel.0[3] < 255) => {
            let mut encoder = WebPEncoder::new_lossless(&mut made);
            if let Some(profile) = profile {
                // What can't hold a profile is shown without.
                let _ = encoder.set_icc_profile(profile);
            }
            encoder.write_image(&pixels, width, height, ExtendedColorType::Rgba8)
        }
        other => {
            let mut encoder = JpegEncoder::new_with_quality(&mut made, QUALITY);
            if let Some(profile) = profile {
                let _ = encoder.set_icc_profile(profile);
            }
            encoder.write_image(&other.into_rgb8(), width, height, ExtendedColorType::Rgb8)
        }
    };
    result.map_err(broken)?;
    Ok(made)
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal::Broken(error.to_string())
}

fn refusal(error: ImageError) -> Refusal {
    match error {
        ImageError::Limits(limit) if matches!(limit.kind(), LimitErrorKind::DimensionError) => {
            Refusal::Broken(format!("it has more than {MAX_SIDE} pixels on a side"))
        }
        ImageError::Limits(_) => Refusal::Memory,
        other => broken(other),
    }
}

/// Whether a picture may have more than one frame, of which a thumbnail shows the first.
fn may_move(format: ImageFormat, head: &[u8]) -> bool {
    match format {
        ImageFormat::Gif => true,
        // The flags of the extended header.
        ImageFormat::WebP => head.get(12..16) == Some(b"VP8X") && head.get(20).is_some_and(|flags| flags & 2 != 0),
        // APNG's chunk stands before the picture's.
        ImageFormat::Png => head.windows(4).any(|name| name == b"acTL"),
        _ => false,
    }
}

/// Whether a file begins as JPEG XL.
pub fn is_jxl(head: &[u8]) -> bool {
    head.starts_with(b"\xff\x0a") || head.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n")
}

/// Whether a JPEG comes in several passes, for which its decoder keeps all coefficients.
fn is_progressive(source: &mut (impl Read + Seek)) -> std::io::Result<bool> {
    source.seek(SeekFrom::Start(2))?;
    for _ in 0..MAX_SEGMENTS {
        let mut marker = [0; 4];
        if source.read_exact(&mut marker).is_err() || marker[0] != 0xff {
            // Whatever it is, the decoder says.
            return Ok(true);
        }
        match marker[1] {
            0xc2 | 0xc6 | 0xca | 0xce => return Ok(true),
            0xc0 | 0xc1 | 0xc3 | 0xc5 | 0xc7 | 0xc9 | 0xcb | 0xcd | 0xcf => return Ok(false),
            _ => {
                let length = i64::from(u16::from_be_bytes([marker[2], marker[3]]));
                source.seek(SeekFrom::Current((length - 2).max(0)))?;
            }
        }
    }
    Ok(true)
}

/// Whether a colour profile says something that browsers would not assume: sRGB is what they do.
fn is_worth_keeping(profile: &[u8]) -> bool {
    profile.len() <= MAX_PROFILE
        && profile.get(16..20) == Some(b"RGB ")
        && !profile.windows(4).any(|name| name == b"sRGB")
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
