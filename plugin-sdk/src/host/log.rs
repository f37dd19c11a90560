//! Lines in the server's log, under the plugin's id.
//!
//! A line above 4 KiB is cut; after 100 lines in one call the rest is dropped.

#[cfg(target_family = "wasm")]
use crate::bindings::modelshelf::plugin::log as import;

pub use crate::bindings::modelshelf::plugin::log::Level;

/// Writes one line.
pub fn write(level: Level, message: &str) {
    super::in_component_or_test!(
        import::write(level, message),
        crate::testing::state::log(level, message)
    )
}

/// Writes a line that only somebody who looks for a fault wants to see.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a line that says what happened.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a line about something that went on, but not well.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes a line about something that failed.
pub fn error(message: &str) {
    write(Level::Error, message);
}
