use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::codecs::png::PngEncoder;
use image::{Frame, GenericImageView, Rgb, Rgba};

use super::*;

fn made(bytes: &[u8], width: u32) -> Result<Rendered, Refusal> {
    render(Cursor::new(bytes), bytes.len() as u64, width, false, |_| ())
}

/// Decodes what was made; its content type, size and top left pixel.
fn seen(bytes: &[u8], width: u32) -> (&'static str, (u32, u32), [u8; 4]) {
    let Ok(Rendered::Made(bytes)) = made(bytes, width) else {
        panic!("not made: {:?}", made(bytes, width));
    };
    let picture = image::load_from_memory(&bytes).unwrap();
    (
        content_type(&bytes).unwrap(),
        picture.dimensions(),
        picture.get_pixel(0, 0).0,
    )
}

fn near(a: [u8; 4], b: [u8; 4]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 12)
}

/// A PNG that is red on its left half and blue on its right one.
fn two_colours(width: u32, height: u32) -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, _| {
        if x < width / 2 {
            Rgb([255, 0, 0])
        } else {
            Rgb([0, 0, 255])
        }
    }))
}

fn png(picture: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_with_encoder(PngEncoder::new(&mut bytes)).unwrap();
    bytes
}

/// The start of a PNG whose header says this size.
fn huge_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(&two_colours(4, 4));
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                0xedb8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            }
        })
    })
}

#[test]
fn pictures_become_jpegs_of_the_width_that_is_asked_for() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let mut bytes = Cursor::new(Vec::new());
        two_colours(800, 400).write_to(&mut bytes, format).unwrap();
        let (content_type, size, corner) = seen(bytes.get_ref(), 160);
        assert_eq!((content_type, size), ("image/jpeg", (160, 80)), "{format:?}");
        assert!(near(corner, [255, 0, 0, 255]), "{format:?} {corner:?}");
    }
}

#[test]
fn a_picture_that_is_not_wider_stays_as_it_is() {
    assert_eq!(made(&png(&two_colours(160, 900)), 160), Ok(Rendered::AsItIs));
    assert_eq!(
        made(&png(&two_colours(161, 900)), 160).map(|made| made != Rendered::AsItIs),
        Ok(true)
    );
    // The cover of a video is no file that could be sent.
    let small = png(&two_colours(60, 60));
    let always = render(Cursor::new(&small), small.len() as u64, 160, true, |_| ());
    assert!(matches!(always, Ok(Rendered::Made(_))));
}

#[test]
fn a_picture_stands_upright_as_its_exif_data_say() {
    // TIFF with one entry: orientation 6, a quarter turn to the right.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.set_exif_metadata(exif).unwrap();
    let pixels = two_colours(800, 400).into_rgb8();
    encoder.write_image(&pixels, 800, 400, ExtendedColorType::Rgb8).unwrap();
    let (_, size, corner) = seen(&bytes, 160);
    assert_eq!(size, (160, 320));
    assert!(near(corner, [255, 0, 0, 255]), "{corner:?}");
    // As wide as it is when it stands upright.
    assert_eq!(made(&bytes, 480), Ok(Rendered::AsItIs));
}

#[test]
fn transparent_pixels_stay_transparent_and_opaque_ones_cost_nothing() {
    let clear = DynamicImage::ImageRgba8(RgbaImage::from_pixel(400, 400, Rgba([9, 9, 9, 0])));
    let (content_type, size, corner) = seen(&png(&clear), 160);
    assert_eq!((content_type, size, corner[3]), ("image/webp", (160, 160), 0));
    let opaque = DynamicImage::ImageRgba8(RgbaImage::from_pixel(400, 400, Rgba([9, 99, 9, 255])));
    assert_eq!(seen(&png(&opaque), 160).0, "image/jpeg");
}

#[test]
fn of_what_moves_the_first_frame_is_shown_however_small() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for colour in [[255, 0, 0, 255], [0, 0, 255, 255]] {
        encoder
            .encode_frame(Frame::new(RgbaImage::from_pixel(100, 50, Rgba(colour))))
            .unwrap();
    }
    drop(encoder);
    let (content_type, size, corner) = seen(&bytes, 160);
    assert_eq!((content_type, size), ("image/jpeg", (100, 50)));
    assert!(near(corner, [255, 0, 0, 255]), "{corner:?}");
}

#[test]
fn grey_and_sixteen_bit_pictures_are_made_too() {
    let grey = DynamicImage::from(image::GrayImage::from_pixel(300, 300, image::Luma([200])));
    assert!(near(seen(&png(&grey), 160).2, [200, 200, 200, 255]));
    let deep = DynamicImage::ImageRgb16(two_colours(300, 300).into_rgb16());
    assert!(near(seen(&png(&deep), 160).2, [255, 0, 0, 255]));
}

#[test]
fn pictures_that_claim_too_many_pixels_are_refused_before_they_are_decoded() {
    for (width, height) in [
        (65_535, 65_535),
        (16_385, 1),
        (1, 16_385),
        (u32::MAX >> 1, 2),
        (16_384, 16_384),
    ] {
        let bytes = huge_png(width, height);
        let mut reserved = None;
        let result = render(Cursor::new(&bytes), bytes.len() as u64, 160, false, |bytes| {
            reserved = Some(bytes)
        });
        assert!(result.is_err(), "{width} x {height}: {result:?}");
        assert_eq!(reserved, None, "{width} x {height}");
    }
    // A GIF of 65,535 x 65,535.
    let gif = b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;";
    assert!(made(gif, 160).is_err());
}

#[test]
fn a_jpeg_in_several_passes_is_counted_with_its_coefficients() {
    // Start of image, then a frame header of 12,000 x 12,000 in one pass (0) or several (2).
    for (pass, allowed) in [(0xc0, false), (0xc2, false)] {
        let mut bytes = vec![0xff, 0xd8, 0xff, pass, 0, 17, 8, 0x2e, 0xe0, 0x2e, 0xe0, 3];
        bytes.extend_from_slice(&[1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
        bytes.extend_from_slice(&[0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
        assert_eq!(made(&bytes, 160).is_ok(), allowed, "{pass:x}");
    }
    let flagged = |pass: u8| {
        is_progressive(&mut Cursor::new(vec![
            0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, pass, 0, 17,
        ]))
    };
    assert!(flagged(0xc2).unwrap() && !flagged(0xc0).unwrap());
}

#[test]
fn what_is_no_picture_is_refused_with_a_reason() {
    assert_eq!(made(b"", 160), Err(Refusal::Empty));
    for content in [
        &b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..],
        b"MZ\x90\0",
        b"\0\0\0\0",
        b"RIFF\0\0\0\0WAVE",
    ] {
        assert_eq!(made(content, 160), Err(Refusal::Format));
    }
    let whole = png(&two_colours(300, 300));
    let large = render(Cursor::new(&whole), MAX_FILE + 1, 160, false, |_| ());
    assert_eq!(large, Err(Refusal::File(MAX_FILE + 1)));
    // What browsers know and this server does not is left to them.
    assert_eq!(made(b"\xff\x0a jxl", 160), Ok(Rendered::AsItIs));
}

#[test]
fn cut_and_spoilt_pictures_never_panic() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
        let mut bytes = Cursor::new(Vec::new());
        two_colours(200, 100).write_to(&mut bytes, format).unwrap();
        let whole = bytes.into_inner();
        for length in (0..whole.len()).step_by(1 + whole.len() / 150) {
            let _ = made(&whole[..length], 160);
        }
        for at in (0..whole.len()).step_by(1 + whole.len() / 150) {
            let mut spoilt = whole.clone();
            spoilt[at] = !spoilt[at];
            let _ = made(&spoilt, 160);
        }
    }
    let whole = png(&two_colours(300, 300));
    assert!(matches!(made(&whole[..whole.len() / 2], 160), Err(Refusal::Broken(_))));
}

#[test]
fn a_wide_gamut_stays_and_srgb_is_not_repeated() {
    let mut wide = vec![0; 128];
    wide[16..20].copy_from_slice(b"RGB ");
    assert!(is_worth_keeping(&wide));
    wide.extend_from_slice(b"sRGB IEC61966-2.1");
    assert!(!is_worth_keeping(&wide));
    assert!(!is_worth_keeping(b"short"));
}
