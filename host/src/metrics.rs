//! What the server counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

static CONTENT_BYTES: AtomicU64 = AtomicU64::new(0);

/// Notes that so many bytes of model files or sidecars were read for the library.
/// Looking at names, sizes and times is not reading.
pub fn content_read(bytes: u64) {
    CONTENT_BYTES.fetch_add(bytes, Ordering::Relaxed);
}

/// Bytes of content that the library read since the server started.
pub fn content_bytes() -> u64 {
    CONTENT_BYTES.load(Ordering::Relaxed)
}
