//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::access::command::{PasswordCommand, TokenCommand};
use crate::authoring::PluginCommand;
use crate::plugins::compiling::worker::{COMMAND, WorkerArgs};

/// Serves a library of generative-AI model files; every model type is a WebAssembly component.
#[derive(Debug, Parser)]
#[command(name = "host", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `serve` when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts the server.
    Serve(ServeArgs),
    /// Makes, builds, checks and tests model types.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Sets or removes the password with which people log in.
    #[command(subcommand)]
    Password(PasswordCommand),
    /// Makes, lists and revokes tokens for programs.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Compiles a component for the server, which starts this by itself.
    #[command(name = COMMAND, hide = true)]
    Compile(WorkerArgs),
}

/// What the program was asked to do.
pub enum Task {
    /// Serve.
    Serve(ServeArgs),
    /// Something for a model type's author.
    Plugin(PluginCommand),
    /// Compile a component for the server.
    Compile(WorkerArgs),
    /// Set the password.
    Password(PasswordCommand),
    /// Make or end tokens.
    Token(TokenCommand),
}

impl Cli {
    /// What to do; to serve when no command is named.
    pub fn task(self) -> Task {
        match self.command {
            Some(Command::Serve(args)) => Task::Serve(args),
            Some(Command::Plugin(command)) => Task::Plugin(command),
            Some(Command::Compile(args)) => Task::Compile(args),
            Some(Command::Password(command)) => Task::Password(command),
            Some(Command::Token(command)) => Task::Token(command),
            None => Task::Serve(self.serve),
        }
    }
}

/// Arguments of the server.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8188].
    #[arg(long, value_name = "ADDR:PORT", env = "MODELSHELF_BIND")]
    pub bind: Option<String>,
    /// Folder of the store, caches and settings.toml.
    #[arg(long, value_name = "DIR", env = "MODELSHELF_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// A folder of models, by the name that settings give such folders; repeatable.
    #[arg(long, value_name = "NAME=DIR")]
    pub root: Vec<String>,
    /// A ComfyUI whose models folder and extra_model_paths.yaml are used.
    #[arg(long, value_name = "DIR")]
    pub comfyui: Option<PathBuf>,
    /// An existing settings.json of the original, instead of the one in its usual place.
    #[arg(long, value_name = "FILE")]
    pub settings_json: Option<PathBuf>,
    /// The library to start with, of those that settings name, instead of the one used last.
    #[arg(long, value_name = "NAME")]
    pub library: Option<String>,
    /// A further model type: a component (.wasm), or a crate, which is built. It is watched and served anew when it
    /// changes. One with the id of a built-in type replaces it; repeatable.
    #[arg(long, value_name = "PATH")]
    pub plugin: Vec<PathBuf>,
    /// A folder of further model types.
    #[arg(long, value_name = "DIR")]
    pub plugin_dir: Option<PathBuf>,
    /// Settings to use instead of settings.toml in the data folder.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log, such as `info` or `debug`.
    #[arg(long, value_name = "FILTER", env = "MODELSHELF_LOG", default_value = "info")]
    pub log: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn refusal(arguments: &[&str]) -> Option<ErrorKind> {
        let all = std::iter::once("host").chain(arguments.iter().copied());
        Cli::try_parse_from(all).err().map(|error| error.kind())
    }

    /// Each command with those below it, as its words.
    fn commands(command: &clap::Command, words: &[String]) -> Vec<Vec<String>> {
        let below = command.get_subcommands().flat_map(|sub| {
            let words: Vec<String> = words.iter().cloned().chain([sub.get_name().to_owned()]).collect();
            commands(sub, &words)
        });
        std::iter::once(words.to_vec()).chain(below).collect()
    }

    #[test]
    fn every_command_answers_help_and_refuses_what_it_does_not_know() {
        let all = commands(&Cli::command(), &[]);
        assert!(all.len() >= 8, "{all:?}");
        for words in all {
            let with = |last: &'static str| -> Vec<&str> { words.iter().map(String::as_str).chain([last]).collect() };
            assert_eq!(refusal(&with("--help")), Some(ErrorKind::DisplayHelp), "{words:?}");
            assert_eq!(
                refusal(&with("--nonsense")),
                Some(ErrorKind::UnknownArgument),
                "{words:?}"
            );
        }
        assert_eq!(refusal(&["nonsense"]), Some(ErrorKind::InvalidSubcommand));
        assert_eq!(refusal(&["serve", "nonsense"]), Some(ErrorKind::UnknownArgument));
        assert_eq!(refusal(&["plugin", "nonsense"]), Some(ErrorKind::InvalidSubcommand));
    }
}
