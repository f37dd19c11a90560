//! What the previews show.

use super::canvas::{Canvas, Colour, HEIGHT, WIDTH, hsl, mix};
use super::random::Random;

const W: f32 = WIDTH as f32;
const H: f32 = HEIGHT as f32;

/// A kind of picture.
#[derive(Debug, Clone, Copy)]
pub enum Motif {
    /// Ridges in the mist under a low sun.
    Hills,
    /// Soft lights out of focus.
    Lights,
    /// A skyline at night.
    City,
    /// A pattern of overlapping waves.
    Waves,
    /// One large flower.
    Flower,
    /// Shards around a centre.
    Crystal,
    /// A ringed planet and stars.
    Planet,
    /// A head and shoulders against a halo.
    Portrait,
    /// A sun over a grid that runs to the horizon.
    Horizon,
    /// Flat shapes in the manner of a poster.
    Poster,
}

/// Draws the motif in shades around a hue (in turns).
pub fn draw(motif: Motif, hue: f32, random: &mut Random) -> Canvas {
    match motif {
        Motif::Hills => hills(hue, random),
        Motif::Lights => lights(hue, random),
        Motif::City => city(hue, random),
        Motif::Waves => waves(hue, random),
        Motif::Flower => flower(hue, random),
        Motif::Crystal => crystal(hue, random),
        Motif::Planet => planet(hue, random),
        Motif::Portrait => portrait(hue, random),
        Motif::Horizon => horizon(hue, random),
        Motif::Poster => poster(hue, random),
    }
}

fn hills(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[
        hsl(hue + 0.55, 0.45, 0.34),
        hsl(hue + 0.08, 0.6, 0.66),
        hsl(hue, 0.8, 0.8),
    ]);
    let sun = (random.between(0.25, 0.75) * W, random.between(0.3, 0.42) * H);
    canvas.glow(sun, 190.0, hsl(hue + 0.03, 0.9, 0.85), 0.8);
    canvas.disc(sun, 44.0, hsl(hue + 0.05, 0.95, 0.93), 0.95);
    for layer in 0..5 {
        let depth = layer as f32 / 4.0;
        let near = hsl(hue + 0.5, 0.4, 0.58 - 0.42 * depth);
        let (base, swing) = (H * (0.48 + 0.12 * layer as f32), 26.0 + 14.0 * depth);
        let (a, b) = (random.between(0.0, 6.0), random.between(0.0, 6.0));
        canvas.below(near, mix(near, hsl(hue + 0.5, 0.4, 0.1), 0.5), |x| {
            base + swing * (x / (52.0 + 30.0 * depth) + a).sin() + swing * 0.35 * (x / 17.0 + b).sin()
        });
    }
    canvas
}

fn lights(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[
        hsl(hue, 0.5, 0.09),
        hsl(hue + 0.1, 0.55, 0.2),
        hsl(hue + 0.02, 0.6, 0.07),
    ]);
    for _ in 0..46 {
        let centre = (random.between(-20.0, W + 20.0), random.between(0.0, H));
        let radius = random.between(10.0, 52.0);
        let colour = hsl(hue + random.between(-0.12, 0.14), 0.85, random.between(0.5, 0.75));
        canvas.disc(centre, radius, colour, 0.16);
        canvas.ring(centre, radius, 2.0, colour, 0.28);
        canvas.glow(centre, radius * 0.7, hsl(hue, 0.3, 0.95), 0.12);
    }
    canvas
}

fn city(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[
        hsl(hue, 0.55, 0.12),
        hsl(hue + 0.05, 0.6, 0.34),
        hsl(hue + 0.16, 0.75, 0.6),
    ]);
    canvas.disc(
        (random.between(70.0, W - 70.0), 110.0),
        40.0,
        hsl(hue + 0.15, 0.4, 0.9),
        0.9,
    );
    for row in 0..3 {
        let wall = hsl(hue + 0.02, 0.4, 0.26 - 0.09 * row as f32);
        let mut left = -random.between(0.0, 30.0);
        while left < W {
            let width = random.between(34.0, 72.0);
            let top = H * (0.34 + 0.15 * row as f32) + random.between(0.0, H * 0.2);
            canvas.rect((left, top), (left + width, H), wall, 1.0);
            if row > 0 {
                windows(&mut canvas, (left, top), width, hue, random);
            }
            left += width + random.between(0.0, 8.0);
        }
    }
    canvas
}

fn windows(canvas: &mut Canvas, (left, top): (f32, f32), width: f32, hue: f32, random: &mut Random) {
    let columns = ((width - 8.0) / 10.0) as usize;
    for row in 0..((H - top) / 15.0) as usize {
        for column in 0..columns {
            if random.below(10) < 4 {
                let at = (left + 7.0 + 10.0 * column as f32, top + 9.0 + 15.0 * row as f32);
                let light = hsl(hue + 0.14 + random.between(-0.04, 0.04), 0.85, 0.68);
                canvas.rect(at, (at.0 + 4.5, at.1 + 7.0), light, 0.9);
            }
        }
    }
}

fn waves(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[hsl(hue, 0.5, 0.88), hsl(hue + 0.06, 0.55, 0.72)]);
    let step = random.between(52.0, 68.0);
    let rows = (H / (step * 0.5)) as i32 + 3;
    for row in -1..rows {
        let shift = if row % 2 == 0 { 0.0 } else { step };
        for column in -1..(W / (step * 2.0)) as i32 + 2 {
            let centre = (column as f32 * step * 2.0 + shift, row as f32 * step * 0.5 + step);
            let tone = row as f32 / rows as f32;
            canvas.disc(centre, step, hsl(hue + 0.1 * tone, 0.6, 0.3 + 0.12 * tone), 1.0);
            for ring in 1..5 {
                let radius = step * (1.0 - 0.2 * ring as f32) + step * 0.1;
                canvas.ring(centre, radius, 5.0, hsl(hue + 0.08 * tone, 0.5, 0.78), 0.9);
            }
        }
    }
    canvas
}

fn flower(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[hsl(hue + 0.4, 0.35, 0.2), hsl(hue + 0.35, 0.4, 0.36)]);
    let centre = (W / 2.0 + random.between(-30.0, 30.0), H * 0.44);
    canvas.rect(
        (centre.0 - 4.0, centre.1),
        (centre.0 + 4.0, H),
        hsl(0.33, 0.4, 0.3),
        1.0,
    );
    let petals = 7 + random.below(5) as usize;
    for layer in 0..3 {
        let length = 170.0 - 45.0 * layer as f32;
        for petal in 0..petals {
            let turn = (petal as f32 + 0.5 * layer as f32) / petals as f32 * std::f32::consts::TAU;
            let middle = (
                centre.0 + turn.cos() * length * 0.5,
                centre.1 + turn.sin() * length * 0.5,
            );
            let colour = hsl(
                hue + 0.02 * layer as f32,
                0.75,
                0.5 + 0.1 * layer as f32 + 0.03 * (petal % 2) as f32,
            );
            canvas.paint(middle, length * 0.55, 2.0, colour, 0.92, |x, y| {
                let along = (x * turn.cos() + y * turn.sin()) / (length * 0.5);
                let across = (-x * turn.sin() + y * turn.cos()) / (length * 0.2);
                (along.hypot(across) - 1.0) * length * 0.2
            });
        }
    }
    canvas.disc(centre, 30.0, hsl(hue + 0.12, 0.85, 0.55), 1.0);
    canvas.disc(centre, 17.0, hsl(hue + 0.1, 0.8, 0.4), 1.0);
    canvas
}

fn crystal(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[
        hsl(hue + 0.04, 0.45, 0.1),
        hsl(hue, 0.5, 0.26),
        hsl(hue - 0.06, 0.5, 0.12),
    ]);
    let centre = (W / 2.0, H / 2.0);
    canvas.glow(centre, 260.0, hsl(hue, 0.8, 0.6), 0.6);
    for shard in 0..17 {
        let turn = shard as f32 / 17.0 * std::f32::consts::TAU + random.between(-0.12, 0.12);
        let (length, width) = (random.between(110.0, 250.0), random.between(13.0, 32.0));
        let reach = length * 0.5;
        let middle = (centre.0 + turn.cos() * reach, centre.1 + turn.sin() * reach);
        for (side, light) in [(-1.0, 0.78), (1.0, 0.5)] {
            let colour = hsl(hue + random.between(-0.05, 0.05), 0.7, light);
            canvas.paint(middle, reach, 1.5, colour, 0.85, |x, y| {
                let along = (x * turn.cos() + y * turn.sin()).abs();
                let across = (-x * turn.sin() + y * turn.cos()) * side;
                (across - width * (1.0 - along / reach)).max(-across)
            });
        }
    }
    canvas
}

fn planet(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[
        hsl(hue + 0.1, 0.5, 0.05),
        hsl(hue, 0.55, 0.15),
        hsl(hue - 0.1, 0.5, 0.06),
    ]);
    for _ in 0..150 {
        let star = (random.between(0.0, W), random.between(0.0, H));
        canvas.disc(
            star,
            random.between(0.4, 1.8),
            [1.0, 1.0, 0.96],
            random.between(0.3, 1.0),
        );
    }
    let (centre, radius) = ((W * 0.5, H * 0.45), random.between(84.0, 112.0));
    canvas.glow(centre, radius * 2.0, hsl(hue, 0.8, 0.5), 0.5);
    canvas.disc(centre, radius, hsl(hue, 0.65, 0.56), 1.0);
    for band in -3..4 {
        let height = band as f32 * radius * 0.27;
        let colour = hsl(hue + 0.05, 0.6, if band % 2 == 0 { 0.66 } else { 0.46 });
        canvas.paint(centre, radius, 3.0, colour, 0.75, |x, y| {
            (x.hypot(y) - radius).max((y - height - 4.0 * (x / 30.0).sin()).abs() - radius * 0.08)
        });
    }
    let night = (centre.0, centre.1);
    canvas.paint(night, radius, 50.0, hsl(hue, 0.5, 0.04), 0.8, |x, y| {
        (x.hypot(y) - radius + 24.0).max(radius * 0.9 - (x + radius * 0.5).hypot(y + radius * 0.5))
    });
    canvas.paint(centre, radius * 2.0, 2.0, hsl(hue + 0.12, 0.55, 0.78), 0.85, |x, y| {
        let (along, across) = (x * 0.94 - y * 0.34, (x * 0.34 + y * 0.94) * 3.6);
        let behind = if across < 0.0 { radius - x.hypot(y) } else { -1.0 };
        ((along.hypot(across) - radius * 1.62).abs() - radius * 0.16).max(behind)
    });
    canvas
}

fn portrait(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[hsl(hue, 0.5, 0.7), hsl(hue + 0.08, 0.55, 0.45)]);
    let head = (W / 2.0, H * 0.4);
    let halo: Colour = hsl(hue + 0.12, 0.8, 0.78);
    canvas.disc(head, 150.0, halo, 0.85);
    for ray in 0..24 {
        let turn = ray as f32 / 24.0 * std::f32::consts::TAU;
        let end = (head.0 + turn.cos() * 180.0, head.1 + turn.sin() * 180.0);
        canvas.disc(end, 6.0, halo, 0.9);
    }
    let (hair, skin, cloth) = (
        hsl(hue + 0.55, 0.4, 0.16),
        hsl(0.07, 0.45, random.between(0.5, 0.8)),
        hsl(hue + 0.5, 0.5, 0.34),
    );
    let long = random.between(60.0, 150.0);
    canvas.paint((head.0, head.1 + long * 0.5), 130.0 + long, 2.0, hair, 1.0, |x, y| {
        (x / 96.0).hypot(y / (104.0 + long * 0.5)) * 96.0 - 96.0
    });
    let shoulders = (W / 2.0, H + 40.0);
    canvas.paint(shoulders, 260.0, 2.0, cloth, 1.0, |x, y| {
        (x / 1.0).hypot(y / 1.15) - 185.0
    });
    canvas.rect(
        (head.0 - 26.0, head.1 + 50.0),
        (head.0 + 26.0, head.1 + 150.0),
        mix(skin, hair, 0.2),
        1.0,
    );
    canvas.paint(head, 100.0, 2.0, skin, 1.0, |x, y| {
        (x / 66.0).hypot(y / 84.0) * 66.0 - 66.0
    });
    let side = if random.below(2) == 0 { -1.0 } else { 1.0 };
    canvas.paint((head.0, head.1 - 46.0), 100.0, 2.0, hair, 1.0, |x, y| {
        ((x - 20.0 * side) / 80.0).hypot(y / 46.0) * 46.0 - 46.0
    });
    for eye in [-1.0, 1.0] {
        let at = (head.0 + 25.0 * eye, head.1 + 12.0);
        canvas.paint(at, 14.0, 1.5, hair, 1.0, |x, y| (x / 10.0).hypot(y / 4.0) * 4.0 - 4.0);
    }
    canvas.paint((head.0, head.1 + 50.0), 20.0, 1.5, hsl(0.98, 0.5, 0.45), 1.0, |x, y| {
        (x / 14.0).hypot(y / 4.5) * 4.5 - 4.5
    });
    canvas
}

fn horizon(hue: f32, random: &mut Random) -> Canvas {
    let level = H * 0.58;
    let mut canvas = Canvas::gradient(&[
        hsl(hue + 0.1, 0.7, 0.1),
        hsl(hue, 0.75, 0.32),
        hsl(hue - 0.12, 0.85, 0.62),
    ]);
    let sun = (W / 2.0, level - 70.0);
    let radius = random.between(92.0, 118.0);
    canvas.glow(sun, radius * 1.9, hsl(hue - 0.15, 0.9, 0.6), 0.6);
    canvas.paint(sun, radius, 1.5, hsl(hue - 0.2, 0.95, 0.66), 1.0, |x, y| {
        let slit = if y > 0.0 {
            7.0 - (y + radius).rem_euclid(22.0) + y / 22.0
        } else {
            -1.0
        };
        (x.hypot(y) - radius).max(slit)
    });
    let ground = hsl(hue + 0.06, 0.7, 0.08);
    canvas.below(ground, ground, |_| level);
    let line = hsl(hue + 0.35, 0.95, 0.62);
    for step in 0..15 {
        let y = level + (H - level) * (step as f32 / 14.0).powi(2);
        canvas.rect((0.0, y), (W, y + 1.8), line, 0.85);
    }
    for step in -12..13 {
        let bottom = step as f32 * 74.0;
        canvas.paint((W / 2.0, (level + H) / 2.0), W, 1.5, line, 0.85, |x, y| {
            let share = (y + (H - level) / 2.0) / (H - level);
            if !(0.0..=1.0).contains(&share) {
                return 9.0;
            }
            (x - bottom * (0.14 + 0.86 * share)).abs() - 0.9
        });
    }
    canvas
}

fn poster(hue: f32, random: &mut Random) -> Canvas {
    let mut canvas = Canvas::gradient(&[hsl(hue + 0.12, 0.35, 0.9), hsl(hue + 0.1, 0.4, 0.84)]);
    let tones = [
        hsl(hue, 0.7, 0.52),
        hsl(hue + 0.5, 0.5, 0.32),
        hsl(hue + 0.1, 0.85, 0.6),
        hsl(hue + 0.55, 0.4, 0.7),
    ];
    for shape in 0..9 {
        let centre = (random.between(20.0, W - 20.0), random.between(30.0, H - 30.0));
        let size = random.between(40.0, 112.0);
        let colour = tones[shape % tones.len()];
        match random.below(4) {
            0 => canvas.disc(centre, size, colour, 0.92),
            1 => canvas.ring(centre, size, size * 0.3, colour, 0.92),
            2 => canvas.rect(
                (centre.0 - size, centre.1 - size * 0.3),
                (centre.0 + size, centre.1 + size * 0.3),
                colour,
                0.92,
            ),
            _ => canvas.paint(centre, size, 1.5, colour, 0.92, |x, y| (x.abs() + y.abs()) - size * 0.9),
        }
    }
    canvas
}
