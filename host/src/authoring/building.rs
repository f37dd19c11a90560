//! Building plugin crates, with the builder of the SDK.

use std::path::Path;

use modelshelf_plugin_builder::{BuildOptions, BuiltPlugin, Profile, Toolchain, ToolchainOptions};

/// Builds a crate; what the compiler says goes to standard error.
///
/// # Errors
/// The builder's: no compiler, no crate, or one that does not compile.
pub fn build(dir: &Path, out: Option<&Path>, dev: bool) -> anyhow::Result<BuiltPlugin> {
    let toolchain = Toolchain::ensure(&ToolchainOptions::default())?;
    let out = match out {
        Some(out) => out.to_owned(),
        // A quick build must not take the place of a good one, which a server's build may embed.
        None => {
            modelshelf_plugin_builder::target_folder(&toolchain, dir)?.join(if dev { "plugins-dev" } else { "plugins" })
        }
    };
    let options = BuildOptions {
        profile: if dev { Profile::Dev } else { Profile::Plugin },
        ..BuildOptions::into_dir(out)
    };
    Ok(modelshelf_plugin_builder::build(&toolchain, dir, &options)?)
}

/// Whether the crate's own tests pass.
///
/// # Errors
/// When cargo can't be started.
pub fn native_tests(dir: &Path) -> anyhow::Result<bool> {
    Ok(modelshelf_plugin_builder::native_tests(dir)?)
}
