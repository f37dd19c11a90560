//! What a Modelshelf model type depends on.
//!
//! A model type is a WebAssembly component that the host runs in a sandbox. It says what it is ([`Descriptor`]),
//! gives the rules of its files and answers its own routes. Everything else, from the file system to the network,
//! is the host's.
//!
//! ```
//! use modelshelf_plugin_sdk::{Descriptor, ModelType, export_model_type};
//!
//! struct Vae;
//!
//! impl ModelType for Vae {
//!     fn describe() -> Descriptor {
//!         Descriptor::new("vae", "vaes", "VAEs")
//!             .extensions([".safetensors", ".pt"])
//!             .root("vae", ["vae"], "default_vae_root")
//!     }
//! }
//!
//! export_model_type!(Vae);
//! ```
//!
//! [`ModelType`] has a default for every other method. On `wasm32` the modules [`library`], [`settings`], [`kv`],
//! [`events`], [`remote`] and [`log`] call the host; everywhere else they call the fake host of the `testing` module, so
//! that `cargo test` proves a plugin without a WebAssembly runtime.

#![warn(missing_docs)]

/// The generated bindings. Not part of the API: use what this crate re-exports.
#[doc(hidden)]
#[allow(missing_docs, clippy::too_many_arguments)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "model-type",
        path: "../wit/v0.1.0",
        pub_export_macro: true,
        export_macro_name: "export_world",
        default_bindings_module: "::modelshelf_plugin_sdk::bindings",
        additional_derives: [PartialEq],
    });
}

mod defaults;
mod descriptor;
mod error;
#[doc(hidden)]
pub mod export;
mod host;
mod model_type;
mod request;
mod response;
mod router;
pub mod rules;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bindings::modelshelf::plugin::description::{
    Capabilities, Column, Descriptor, Facet, HashPolicy, HeaderInterest, RootKind, SettingEquals, SubType,
};
pub use bindings::modelshelf::plugin::rule_types::{
    Derived, FileChoice, FileFacts, Header, Initial, MergeInput, NamePatterns, OrganiseInput, Placement, QueryFilter,
    SelectInput, Selection as FileSelection, Tensor,
};
pub use bindings::modelshelf::plugin::types::{Json, Model, Pair, RemoteIdentity, Request, Response};
pub use error::{PluginError, Result};
pub use host::{events, kv, library, log, remote, settings};
pub use model_type::{ModelType, json_of};
pub use router::{Handler, Method, Registrar, Route, dispatch};

/// Compiles the examples of the handbook, so that they can't go stale.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins.md")]
struct Handbook;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn the_handbook_shows_the_minimal_plugin_as_it_is() {
        let handbook = include_str!("../../docs/plugins.md");
        let guest = include_str!("../../tests/guests/minimal/src/lib.rs");
        let (plugin, _tests) = guest.split_once("\n#[cfg(test)]").expect("the guest has tests");
        assert!(
            handbook.contains(plugin),
            "docs/plugins.md differs from tests/guests/minimal"
        );
        assert!(plugin.lines().count() < 40);
    }

    #[test]
    fn the_handbook_names_every_item_of_the_interface() {
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let handbook = include_str!("../../docs/plugins.md");
        let named: HashSet<&str> = handbook.split(|letter| !is_word(letter)).collect();
        for wit in [
            include_str!("../../wit/v0.1.0/describe.wit"),
            include_str!("../../wit/v0.1.0/host.wit"),
            include_str!("../../wit/v0.1.0/rules.wit"),
            include_str!("../../wit/v0.1.0/types.wit"),
            include_str!("../../wit/v0.1.0/world.wit"),
        ] {
            let code = wit.lines().map(|line| line.split("//").next().unwrap_or_default());
            // Names of parameters, and types of results, are in parentheses.
            for line in code.map(|line| line.split('(').next().unwrap_or_default()) {
                for word in line.split(|letter| !is_word(letter)).filter(|word| !word.is_empty()) {
                    assert!(
                        named.contains(word) || WIT_WORDS.contains(&word),
                        "{word:?} of {line:?}"
                    );
                }
            }
        }
    }

    /// What WIT itself is made of.
    const WIT_WORDS: [&str; 22] = [
        "package",
        "interface",
        "world",
        "use",
        "import",
        "export",
        "record",
        "variant",
        "enum",
        "resource",
        "type",
        "func",
        "list",
        "option",
        "tuple",
        "string",
        "bool",
        "u8",
        "u16",
        "u32",
        "u64",
        "f64",
    ];
}
