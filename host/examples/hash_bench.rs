//! What bounds hashing: processor time for each gigabyte of a file in the page cache, of each part and of all together.
//! Two processors can't do more than two seconds of it in a second, whatever the threads.
//!
//! `cargo run --release -p host --example hash_bench`
#![allow(clippy::disallowed_methods, reason = "benchmarks read what they wrote themselves")]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::Instant;

use modelshelf_host::files::hash::FileHasher;
use sha2::{Digest, Sha256};

const SIZE: usize = 1 << 30;
const BLOCK: usize = 4 << 20;
const PIECE: usize = 256 << 10;
const ROUNDS: usize = 5;

fn main() -> std::io::Result<()> {
    let mut file = tempfile::tempfile()?;
    let block: Vec<u8> = (0..BLOCK).map(|at| (at * 31 + at / 251) as u8).collect();
    for _ in 0..SIZE / BLOCK {
        file.write_all(&block)?;
    }
    let mut buffer = vec![0; PIECE + 4096];
    let start = buffer.as_ptr().align_offset(4096).min(4096);
    let piece = &mut buffer[start..start + PIECE];
    say("read from the page cache", &mut || read(&file, piece, &mut |_| ()));
    say("SHA-256 alone, in the near cache", &mut || {
        let mut sha256 = Sha256::new();
        (0..SIZE / PIECE).for_each(|_| sha256.update(&block[..PIECE]));
        std::hint::black_box(sha256.finalize());
    });
    say("BLAKE3 alone, in the near cache", &mut || {
        let mut blake3 = blake3::Hasher::new();
        (0..SIZE / PIECE).for_each(|_| {
            blake3.update(&block[..PIECE]);
        });
        std::hint::black_box(blake3.finalize());
    });
    let mut hasher = FileHasher::new(BLOCK);
    for (name, crowded) in [
        ("both digests of a file, one thread", true),
        ("both digests of a file, a second thread for SHA-256", false),
    ] {
        hasher.set_crowded(crowded);
        say(name, &mut || {
            let mut file = &file;
            // What was hashed is dropped from the page cache, so it is brought back first.
            let _ = file
                .rewind()
                .and_then(|()| std::io::copy(&mut file, &mut std::io::sink()));
            let _ = file.rewind();
            let (before, started) = (busy(), Instant::now());
            let hashed = hasher.file(file, &mut |_| true).is_ok();
            assert!(hashed, "the file can't be hashed");
            MEASURED.with(|measured| measured.set(Some((busy() - before, started.elapsed().as_secs_f64()))));
        });
    }
    Ok(())
}

thread_local! {
    // Of a round that times a part of itself.
    static MEASURED: std::cell::Cell<Option<(f64, f64)>> = const { std::cell::Cell::new(None) };
}

fn read(mut file: &File, piece: &mut [u8], take: &mut dyn FnMut(&[u8])) {
    let _ = file.rewind();
    while let Ok(count @ 1..) = file.read(piece) {
        take(&piece[..count]);
    }
}

/// The best of some rounds: seconds of processor time, and what one thread's rate would be.
fn say(name: &str, work: &mut dyn FnMut()) {
    let mut best = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        MEASURED.with(|measured| measured.set(None));
        let (before, started) = (busy(), Instant::now());
        work();
        let whole = (busy() - before, started.elapsed().as_secs_f64());
        let (busy, wall) = MEASURED.with(std::cell::Cell::take).unwrap_or(whole);
        best = (best.0.min(busy), best.1.min(wall));
    }
    let gigabytes = SIZE as f64 / 1e9;
    let line = |name: String, value: f64, unit: &str| {
        let value = (value * 1e3).round() / 1e3;
        println!("{}", serde_json::json!({ "name": name, "value": value, "unit": unit }));
    };
    line(format!("{name}: processor time for each GB"), best.0 / gigabytes, "s");
    line(format!("{name}: rate"), gigabytes / best.1 * 1e3, "MB/s");
}

/// Processor time of this process so far, in seconds; 0 where the system does not tell it.
fn busy() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
