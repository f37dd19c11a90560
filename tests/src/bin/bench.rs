//! The benchmarks; `cargo xtask bench` builds everything and runs them.

use modelshelf_tests::bench::{Options, run, usage};

// One thread for the load, so that most of the machine is the server's.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Options::parse(std::env::args().skip(1))? {
        Some(options) => run(&options).await,
        None => {
            println!("{}", usage());
            Ok(())
        }
    }
}
