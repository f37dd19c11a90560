//! Builds plugin crates from the command line: `cargo run -p modelshelf-plugin-builder --example build -- [--dev] OUT CRATE...`

use modelshelf_plugin_builder::{BuildOptions, Profile, Toolchain, ToolchainOptions, build_all};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let dev = arguments.next_if(|first| first == "--dev").is_some();
    let out = arguments.next().ok_or("usage: build [--dev] OUT CRATE...")?;
    let crates: Vec<std::path::PathBuf> = arguments.map(Into::into).collect();
    let toolchain = Toolchain::ensure(&ToolchainOptions::default())?;
    let options = BuildOptions {
        profile: if dev { Profile::Dev } else { Profile::Plugin },
        ..BuildOptions::into_dir(std::path::PathBuf::from(out))
    };
    for plugin in build_all(&toolchain, &crates, &options)? {
        println!("{}: {} bytes", plugin.wasm.display(), plugin.size);
    }
    Ok(())
}
