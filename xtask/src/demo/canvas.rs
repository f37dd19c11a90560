//! A picture in memory: gradients and smooth-edged shapes.

use anyhow::Result;

pub const WIDTH: usize = 384;
pub const HEIGHT: usize = 576;

/// Red, green and blue from 0 to 1.
pub type Colour = [f32; 3];

/// A colour of this hue (in turns), saturation and lightness.
pub fn hsl(hue: f32, saturation: f32, lightness: f32) -> Colour {
    let amplitude = saturation * lightness.min(1.0 - lightness);
    [0.0, 8.0, 4.0].map(|offset: f32| {
        let k = (offset + hue.rem_euclid(1.0) * 12.0).rem_euclid(12.0);
        lightness - amplitude * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0)
    })
}

pub fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    let share = share.clamp(0.0, 1.0);
    [0, 1, 2].map(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// The pixels, in rows.
pub struct Canvas(Vec<Colour>);

impl Canvas {
    /// A vertical gradient over these colours.
    pub fn gradient(stops: &[Colour]) -> Self {
        let mut pixels = Vec::with_capacity(WIDTH * HEIGHT);
        for y in 0..HEIGHT {
            let at = y as f32 / HEIGHT as f32 * (stops.len() - 1) as f32;
            let stop = (at as usize).min(stops.len() - 2);
            let colour = mix(stops[stop], stops[stop + 1], at - stop as f32);
            pixels.extend(std::iter::repeat_n(colour, WIDTH));
        }
        Self(pixels)
    }

    /// Paints where `distance` is negative, up to `reach` pixels around (x, y); edges are smoothed over `blur` pixels.
    /// The distance is asked for relative to the centre.
    pub fn paint(
        &mut self,
        (x, y): (f32, f32),
        reach: f32,
        blur: f32,
        colour: Colour,
        opacity: f32,
        distance: impl Fn(f32, f32) -> f32,
    ) {
        let range = |centre: f32, limit: usize| {
            let low = (centre - reach - blur).max(0.0) as usize;
            let high = ((centre + reach + blur).ceil().max(0.0) as usize).min(limit);
            low.min(limit)..high
        };
        for row in range(y, HEIGHT) {
            for column in range(x, WIDTH) {
                let away = distance(column as f32 + 0.5 - x, row as f32 + 0.5 - y);
                let cover = (0.5 - away / blur).clamp(0.0, 1.0) * opacity;
                if cover > 0.0 {
                    let pixel = &mut self.0[row * WIDTH + column];
                    *pixel = mix(*pixel, colour, cover);
                }
            }
        }
    }

    pub fn disc(&mut self, centre: (f32, f32), radius: f32, colour: Colour, opacity: f32) {
        self.paint(centre, radius, 1.5, colour, opacity, |x, y| x.hypot(y) - radius);
    }

    /// A disc whose edge fades away.
    pub fn glow(&mut self, centre: (f32, f32), radius: f32, colour: Colour, opacity: f32) {
        self.paint(centre, radius, radius, colour, opacity, |x, y| {
            x.hypot(y) - radius * 0.5
        });
    }

    pub fn ring(&mut self, centre: (f32, f32), radius: f32, width: f32, colour: Colour, opacity: f32) {
        self.paint(centre, radius + width, 1.5, colour, opacity, |x, y| {
            (x.hypot(y) - radius).abs() - width / 2.0
        });
    }

    /// A box, given by its corners.
    pub fn rect(&mut self, from: (f32, f32), to: (f32, f32), colour: Colour, opacity: f32) {
        let half = ((to.0 - from.0) / 2.0, (to.1 - from.1) / 2.0);
        let centre = (from.0 + half.0, from.1 + half.1);
        self.paint(centre, half.0.max(half.1), 1.0, colour, opacity, |x, y| {
            (x.abs() - half.0).max(y.abs() - half.1)
        });
    }

    /// Everything below a line, which gives the height at each column.
    pub fn below(&mut self, colour: Colour, deeper: Colour, line: impl Fn(f32) -> f32) {
        for column in 0..WIDTH {
            let top = line(column as f32);
            for row in (top - 1.0).max(0.0) as usize..HEIGHT {
                let depth = row as f32 + 0.5 - top;
                let shade = mix(colour, deeper, depth / (HEIGHT as f32 * 0.4));
                let pixel = &mut self.0[row * WIDTH + column];
                *pixel = mix(*pixel, shade, depth + 0.5);
            }
        }
    }

    /// Darker towards the corners, so that a card's caption stands out.
    fn vignette(&mut self) {
        for (index, pixel) in self.0.iter_mut().enumerate() {
            let x = (index % WIDTH) as f32 / WIDTH as f32 - 0.5;
            let y = (index / WIDTH) as f32 / HEIGHT as f32 - 0.5;
            let dark = 1.0 - (x * x + y * y) * 0.55;
            *pixel = pixel.map(|channel| channel * dark);
        }
    }

    /// The picture as a PNG file.
    pub fn png(mut self) -> Result<Vec<u8>> {
        self.vignette();
        let bytes: Vec<u8> = self
            .0
            .iter()
            .flatten()
            .map(|channel| (channel.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)
            .collect();
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, WIDTH as u32, HEIGHT as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&bytes)?;
        writer.finish()?;
        Ok(file)
    }
}
