//! The `host` binary.

use std::process::ExitCode;

use clap::Parser;
use modelshelf_host::cli::{Cli, ServeArgs, Task};
use modelshelf_host::plugins::compiling::worker;
use modelshelf_host::terminal::{LogWriter, Terminal};
use modelshelf_host::{access, authoring, server};
use tracing_subscriber::EnvFilter;

// A library is millions of small texts that several threads make at once, which glibc's allocator is slow at.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Cli::parse().task() {
        Task::Serve(args) => serve(args),
        Task::Compile(args) => worker::run(&args),
        Task::Plugin(command) => {
            let filter = EnvFilter::try_from_env("MODELSHELF_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .init();
            authoring::run(command)
        }
        Task::Password(command) => ended(access::command::password(&command)),
        Task::Token(command) => ended(access::command::token(&command)),
    }
}

fn serve(args: ServeArgs) -> ExitCode {
    let filter = EnvFilter::try_new(&args.log).unwrap_or_else(|error| {
        eprintln!(
            "warning: the log filter {:?} can't be used ({error}); logging `info`",
            args.log
        );
        EnvFilter::new("info")
    });
    let terminal = Terminal::of_standard_error();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(LogWriter(terminal.clone()));
    if terminal.is_some() {
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
    let result = runtime.block_on(server::run(args, terminal.clone()));
    // A scan that still reads a file must not hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    if let Some(terminal) = terminal {
        terminal.clear();
    }
    ended(result)
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, without those that its own text has already.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
