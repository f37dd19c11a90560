//! For authors of model types: `host plugin new`, `build`, `check`, `test` and `inspect`, and what `--plugin` does while
//! the server runs.

mod building;
mod conformance;
mod inspect;
pub mod live;
mod report;
mod scaffold;
mod subject;
mod watching;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use subject::Subject;

use crate::plugins::{CompileSettings, Compiler};

/// What to do for a model type's author.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Makes a crate for a new model type: it builds, passes its tests and shows a page.
    New {
        /// Name of the crate and id of the type, such as `upscaler`; the folder is called so too.
        name: String,
        /// The plugin-sdk folder of a clone of Modelshelf, when this program does not lie in one.
        #[arg(long, value_name = "DIR")]
        sdk: Option<PathBuf>,
    },
    /// Builds a plugin crate into a component and prints where it is.
    Build {
        /// The crate.
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Folder for the component; `plugins` in cargo's target folder unless set.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Builds quickly instead of well.
        #[arg(long)]
        dev: bool,
    },
    /// Loads a component as the server would, and calls all that it exports with awkward data.
    Check {
        /// A component (.wasm), or a crate, which is built first.
        #[arg(default_value = ".")]
        path: PathBuf,
        #[command(flatten)]
        options: KitArgs,
    },
    /// Runs a crate's own tests, then the checks of `check` on its component.
    Test {
        /// The crate, or a component, which has no tests of its own.
        #[arg(default_value = ".")]
        path: PathBuf,
        #[command(flatten)]
        options: KitArgs,
    },
    /// Shows what a component is, asks for, weighs, and costs.
    Inspect {
        /// The component.
        file: PathBuf,
        #[command(flatten)]
        options: KitArgs,
    },
}

/// How components are looked at.
#[derive(Debug, Clone, Args)]
pub struct KitArgs {
    /// Answers in JSON.
    #[arg(long)]
    json: bool,
    /// Memory of a call, as `[limits] memory_mib` in settings.toml.
    #[arg(long, value_name = "MIB", default_value_t = crate::plugins::limits::Limits::default().memory_mib)]
    memory_mib: usize,
    /// Size of the component, as `[compile] file_mib`.
    #[arg(long, value_name = "MIB", default_value_t = CompileSettings::default().file_mib)]
    compile_file_mib: u64,
    /// Functions of the component, as `[compile] functions`.
    #[arg(long, value_name = "N", default_value_t = CompileSettings::default().functions)]
    compile_functions: u64,
    /// Types, imports and exports of the component, as `[compile] items`.
    #[arg(long, value_name = "N", default_value_t = CompileSettings::default().items)]
    compile_items: u64,
    /// Memory of compiling, as `[compile] memory_mib`.
    #[arg(long, value_name = "MIB", default_value_t = CompileSettings::default().memory_mib)]
    compile_memory_mib: u64,
    /// Time of compiling in seconds, as `[compile] seconds`.
    #[arg(long, value_name = "S", default_value_t = CompileSettings::default().seconds)]
    compile_seconds: u64,
}

impl KitArgs {
    fn compiler(&self) -> anyhow::Result<Compiler> {
        let settings = CompileSettings {
            file_mib: self.compile_file_mib,
            functions: self.compile_functions,
            items: self.compile_items,
            memory_mib: self.compile_memory_mib,
            seconds: self.compile_seconds,
        };
        Compiler::own_program(settings).context("can't find this program's own file")
    }
}

/// Does it; says on standard error why it could not.
pub fn run(command: PluginCommand) -> ExitCode {
    let done = match command {
        PluginCommand::New { name, sdk } => scaffold::make(&name, sdk.as_deref()).map(|()| true),
        PluginCommand::Build { dir, out, dev } => building::build(&dir, out.as_deref(), dev).map(|built| {
            println!("{}", built.wasm.display());
            true
        }),
        PluginCommand::Check { path, options } => component_of(&path).and_then(|wasm| check(&wasm, &options)),
        PluginCommand::Test { path, options } => test(&path, &options),
        PluginCommand::Inspect { file, options } => inspect(&file, &options).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The component that a path names; a crate is built first.
fn component_of(path: &Path) -> anyhow::Result<PathBuf> {
    if path.is_dir() {
        return Ok(building::build(path, None, false)?.wasm);
    }
    Ok(path.to_owned())
}

fn test(path: &Path, options: &KitArgs) -> anyhow::Result<bool> {
    if path.is_dir() {
        eprintln!("== tests of the crate");
        if !building::native_tests(path)? {
            eprintln!("error: the crate's own tests failed; its component was not looked at");
            return Ok(false);
        }
    }
    let wasm = component_of(path)?;
    eprintln!("== checks of the component");
    check(&wasm, options)
}

/// Whether no check found an error.
fn check(wasm: &Path, options: &KitArgs) -> anyhow::Result<bool> {
    let cases = runtime()?.block_on(async {
        match Subject::load(wasm, options.memory_mib, options.compiler()?).await {
            Ok(subject) => conformance::run(&subject).await,
            Err(error) => Ok(vec![conformance::Case::unloadable(&error)]),
        }
    })?;
    Ok(report::cases(wasm, &cases, options.json))
}

fn inspect(file: &Path, options: &KitArgs) -> anyhow::Result<()> {
    let facts = runtime()?.block_on(async {
        let subject = Subject::load(file, options.memory_mib, options.compiler()?).await?;
        inspect::facts(&subject).await
    })?;
    report::facts(&facts, options.json);
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start threads")
}
