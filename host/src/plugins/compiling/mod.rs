//! Compiling components from strangers in a process of its own.
//!
//! Compiling is superlinear in memory and time for input that is made for it, and can't be interrupted. So [`bounds`] first
//! looks at what a component claims to have, and then this program starts itself again as [`worker`], whose memory and
//! processor time the system bounds and which is ended when its time is over, when nobody waits for the result any more,
//! or when this process ends.

mod bounds;
pub mod worker;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::error::LoadError;

/// Components that are compiled at the same time.
const AT_ONCE: usize = 2;
/// How many times its processor time a worker may take by the clock: it has the lowest priority.
const CLOCK: u64 = 10;
/// How often a worker is looked after.
const POLL: Duration = Duration::from_millis(10);
/// Longest text of a worker that is shown, in bytes.
const MAX_TEXT: u64 = 4 << 10;

/// The table `[compile]` of settings.toml: what compiling a component that is not built in may use.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompileSettings {
    /// Size of the component in MiB.
    pub file_mib: u64,
    /// Functions in all of its modules.
    pub functions: u64,
    /// Types, imports and exports in all of its modules, each.
    pub items: u64,
    /// Memory of the compiling process in MiB (Linux).
    pub memory_mib: u64,
    /// Processor time in seconds; ten times as long by the clock.
    pub seconds: u64,
}

impl Default for CompileSettings {
    fn default() -> Self {
        Self {
            file_mib: 64,
            functions: 100_000,
            items: 20_000,
            memory_mib: 2_048,
            seconds: 120,
        }
    }
}

/// What ended a compilation.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It has more of something than it may have.
    #[error(
        "it has {count} {what}, more than the limit of {most}; raise `{setting}` under [compile] in settings.toml if you trust it"
    )]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        count: u64,
        /// How much it may have.
        most: u64,
        /// The setting.
        setting: &'static str,
    },
    /// Its time was over.
    #[error(
        "compiling it takes more than {0} s of processor time; raise `seconds` under [compile] in settings.toml if you trust it"
    )]
    Time(u64),
    /// The compiling process had no more memory.
    #[error(
        "compiling it takes more than {0} MiB of memory; raise `memory_mib` under [compile] in settings.toml if you trust it"
    )]
    Memory(u64),
    /// The compiler's reason.
    #[error("{0}")]
    Invalid(String),
    /// The compiling process ended otherwise.
    #[error("the process that compiles it ended with {status}: {text}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// What it wrote.
        text: String,
    },
    /// The compiling process can't be started or given its work.
    #[error("can't compile in a process of its own: {0}")]
    Process(#[from] std::io::Error),
    /// Nobody waits for the result any more.
    #[error("it was not compiled to its end, since nothing waits for it any more")]
    Abandoned,
}

impl CompileError {
    /// The error of loading the component with this name.
    pub(super) fn of(self, name: &str) -> LoadError {
        let name = name.to_owned();
        match self {
            Self::Invalid(reason) => LoadError::Component { name, reason },
            source => LoadError::Compile { name, source },
        }
    }
}

/// Compiles components.
pub struct Compiler {
    // None = in this process.
    program: Option<PathBuf>,
    settings: CompileSettings,
    permits: Arc<Semaphore>,
}

impl Compiler {
    /// Compiles in processes of this program, which must answer to [`worker::COMMAND`].
    ///
    /// # Errors
    /// When the program does not know its own file.
    pub fn own_program(settings: CompileSettings) -> std::io::Result<Self> {
        // Still there when the file was replaced by a newer version.
        let kernel = Path::new("/proc/self/exe");
        let program = match kernel.exists() {
            true => kernel.to_owned(),
            false => std::env::current_exe()?,
        };
        Ok(Self::with(Some(program), settings))
    }

    /// Compiles in this process, without bounds: for tests and benches, whose program is another one.
    pub fn in_this_process() -> Self {
        Self::with(None, CompileSettings::default())
    }

    fn with(program: Option<PathBuf>, settings: CompileSettings) -> Self {
        Self {
            program,
            settings,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Whether components are compiled in processes of their own.
    pub(super) fn has_processes(&self) -> bool {
        self.program.is_some()
    }

    /// Compiles a component into a file. The process ends when the future is dropped.
    ///
    /// # Errors
    /// Whichever limit it ran into, or why it is no component.
    pub(super) async fn compile_into(&self, wasm: Arc<[u8]>, code: File) -> Result<(), CompileError> {
        let Some(program) = self.program.clone() else {
            return Err(CompileError::Abandoned);
        };
        let settings = self.settings.clone();
        let abandoned = CancellationToken::new();
        let _ends_when_dropped = abandoned.clone().drop_guard();
        let permit = self.permits.clone().acquire_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            bounds::check(&wasm, &settings)?;
            run(&program, &settings, &wasm, code, &abandoned)
        });
        work.await.map_err(|error| std::io::Error::other(error.to_string()))?
    }
}

/// Ends and reaps a process when it is dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only for a process that was reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(
    program: &Path,
    settings: &CompileSettings,
    wasm: &[u8],
    code: File,
    abandoned: &CancellationToken,
) -> Result<(), CompileError> {
    let started = Instant::now();
    let mut command = Command::new(program);
    command
        .arg(worker::COMMAND)
        .args(["--memory-mib", &settings.memory_mib.to_string()])
        .args(["--seconds", &settings.seconds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::from(code))
        .stderr(Stdio::piped());
    // It needs nothing of the environment, which may hold keys.
    #[cfg(unix)]
    command.env_clear();
    let mut worker = Worker(command.spawn()?);
    let (stdin, stderr) = (worker.0.stdin.take(), worker.0.stderr.take());
    // The pipe stays open for as long as the process may run: when this process dies, the worker reads its end.
    let (Some(stdin), Some(mut stderr)) = (stdin, stderr) else {
        return Err(std::io::Error::other("the process has no pipes").into());
    };
    let status = std::thread::scope(|scope| {
        // A thread of its own, since a process that hangs reads nothing.
        let feeding = scope.spawn(|| feed(&stdin, wasm));
        let status = loop {
            if let Some(status) = worker.0.try_wait()? {
                break status;
            }
            if started.elapsed() >= Duration::from_secs(settings.seconds.saturating_mul(CLOCK)) {
                drop(worker);
                return Err(CompileError::Time(settings.seconds));
            }
            if abandoned.is_cancelled() {
                drop(worker);
                return Err(CompileError::Abandoned);
            }
            std::thread::sleep(POLL);
        };
        // What can't be written is told better by how the process ended.
        let _ = feeding.join();
        Ok(status)
    })?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let _ = stderr.by_ref().take(MAX_TEXT).read_to_end(&mut text);
    Err(failure(
        status,
        String::from_utf8_lossy(&text).trim().to_owned(),
        settings,
    ))
}

fn feed(mut stdin: &std::process::ChildStdin, wasm: &[u8]) -> std::io::Result<()> {
    stdin.write_all(&(wasm.len() as u64).to_le_bytes())?;
    stdin.write_all(wasm)?;
    stdin.flush()
}

fn failure(status: ExitStatus, text: String, settings: &CompileSettings) -> CompileError {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;

        use rustix::process::Signal;
        let is = |signal: Signal| status.signal() == Some(signal.as_raw());
        if is(Signal::XCPU) {
            return CompileError::Time(settings.seconds);
        }
        // Rust aborts when it gets no memory; a file that grows too large has as much code.
        if is(Signal::ABORT) || is(Signal::XFSZ) {
            return CompileError::Memory(settings.memory_mib);
        }
    }
    match status.code() {
        Some(worker::INVALID) => CompileError::Invalid(text),
        _ => CompileError::Ended { status, text },
    }
}
