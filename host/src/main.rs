//! The `host` binary.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use modelshelf_host::cli::Cli;
use modelshelf_host::server;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Cli::parse().into_serve();
    let filter = EnvFilter::try_new(&args.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        logs.init();
    } else {
        logs.with_ansi(false).init();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: can't start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(server::run(args));
    // A scan that still reads a file must not hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
