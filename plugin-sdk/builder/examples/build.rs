//! Builds plugin crates from the command line: `cargo run -p modelshelf-plugin-builder --example build -- OUT CRATE...`

use modelshelf_plugin_builder::{BuildOptions, Toolchain, ToolchainOptions, build_all};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let out = arguments.next().ok_or("usage: build OUT CRATE...")?;
    let crates: Vec<std::path::PathBuf> = arguments.map(Into::into).collect();
    let toolchain = Toolchain::ensure(&ToolchainOptions::default())?;
    for plugin in build_all(
        &toolchain,
        &crates,
        &BuildOptions::into_dir(std::path::PathBuf::from(out)),
    )? {
        println!("{}: {} bytes", plugin.wasm.display(), plugin.size);
    }
    Ok(())
}
