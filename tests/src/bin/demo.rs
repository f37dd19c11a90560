//! The stand-in CivitAI with a library to try it on; `cargo xtask demo` builds everything and runs it.

use anyhow::{Context, Result};
use modelshelf_tests::demo;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .context("usage: demo LIBRARY [ARGUMENTS OF THE SERVER]; LIBRARY as `cargo xtask demo-library` makes it")?;
    demo::run(folder.as_ref(), &arguments.collect::<Vec<_>>()).await
}
