//! The plugins that are part of the `host` binary.
//!
//! `build.rs` embeds every component that lies in `target/plugins` at build time;
//! `cargo xtask plugins` puts them there. This is the only place that knows of them.

/// Whether the built-in component of this name is served although no settings name a folder for it.
pub fn needs_no_folder(name: &str) -> bool {
    !ONLY_WITH_FOLDERS.contains(&name)
}

include!(concat!(env!("OUT_DIR"), "/builtin_plugins.rs"));
