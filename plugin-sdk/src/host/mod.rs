//! What a plugin may ask of the host: one module for each import of the WIT world.
//!
//! Outside WebAssembly there is no host, and the generated imports would only panic; there each function asks the
//! fake host of the current thread.

pub mod events;
pub mod kv;
pub mod library;
pub mod log;
pub mod remote;
pub mod settings;

/// One expression for a component and one for its tests.
macro_rules! in_component_or_test {
    ($component:expr, $test:expr $(,)?) => {{
        #[cfg(target_family = "wasm")]
        let answer = $component;
        #[cfg(not(target_family = "wasm"))]
        let answer = $test;
        answer
    }};
}
use in_component_or_test;
