//! The process that compiles one component: standard input has its size (8 bytes, little-endian) and the component,
//! standard output takes the code, standard error a reason.

use std::io::{Read, Write};
use std::process::ExitCode;

use clap::Args;
use wasmtime::Engine;

use crate::library::parallel::lower_priority;
use crate::plugins::engine::code_config;

/// Name of the hidden subcommand.
pub const COMMAND: &str = "compile-component";
/// Exit code for what is no component.
pub const INVALID: i32 = 2;

/// Arguments of the hidden subcommand.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// Memory of this process in MiB.
    #[arg(long)]
    memory_mib: u64,
    /// Processor time of this process in seconds.
    #[arg(long)]
    seconds: u64,
}

/// Compiles what standard input has.
pub fn run(args: &WorkerArgs) -> ExitCode {
    lower_priority();
    bound(args);
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(INVALID as u8)
        }
    }
}

fn compile() -> wasmtime::Result<()> {
    let mut stdin = std::io::stdin();
    let mut size = [0; 8];
    stdin.read_exact(&mut size)?;
    let mut wasm = Vec::new();
    stdin.by_ref().take(u64::from_le_bytes(size)).read_to_end(&mut wasm)?;
    // Whoever started this process holds the other end for as long as it lives.
    std::thread::Builder::new().name("parent".into()).spawn(move || {
        let _ = stdin.read(&mut [0]);
        std::process::abort();
    })?;
    let code = Engine::new(&code_config())?.precompile_component(&wasm)?;
    let mut stdout = std::io::stdout();
    stdout.write_all(&code)?;
    stdout.flush()?;
    Ok(())
}

/// Has the system bound this process, where it can.
fn bound(args: &WorkerArgs) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let memory = args.memory_mib << 20;
        // A system that refuses one of these still has the parent, which ends this process in time.
        let bound = |resource: Resource, most: u64| {
            // Above the soft limit, so that the signal says which limit it was.
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most.saturating_add(5)),
            };
            let _ = setrlimit(resource, limit);
        };
        bound(Resource::Data, memory);
        bound(Resource::Fsize, memory);
        bound(Resource::Cpu, args.seconds.max(1));
        bound(Resource::Core, 0);
    }
    #[cfg(not(unix))]
    let _ = args;
}
