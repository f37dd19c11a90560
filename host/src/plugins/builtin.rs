//! The plugins that are part of the `host` binary.
//!
//! `build.rs` embeds every component that lies in `target/plugins` at build time;
//! `cargo xtask plugins` puts them there. This is the only place that knows of them.

include!(concat!(env!("OUT_DIR"), "/builtin_plugins.rs"));
