//! All set-up of the project: `cargo xtask run | demo | test | plugins | bench | demo-library`.

mod bench;
mod browser;
mod demo;
mod install;
mod plugins;
mod python;
mod run;
mod steps;
mod test;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Set-up of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Builds the plugins and the server, then starts it. Without a library to serve it makes a demonstration library.
    Run {
        /// Builds quickly instead of well.
        #[arg(long)]
        dev: bool,
        /// Arguments of the server.
        #[arg(last = true, value_name = "ARGS")]
        passed: Vec<String>,
    },
    /// As `run`, with a stand-in for CivitAI that the server asks, to try downloads, metadata and updates by hand. Ctrl-C
    /// ends both.
    Demo {
        /// Builds quickly instead of well.
        #[arg(long)]
        dev: bool,
        /// Arguments of the server.
        #[arg(last = true, value_name = "ARGS")]
        passed: Vec<String>,
    },
    /// Runs everything that CI checks: format, lints, unit tests, black-box tests, documentation tests, and the pages in a
    /// real browser.
    Test {
        /// Leaves the tests in the browser out.
        #[arg(long)]
        no_browser: bool,
    },
    /// Builds the built-in plugins into target/plugins.
    Plugins {
        /// Also builds those of the tests, into target/guests.
        #[arg(long)]
        guests: bool,
    },
    /// Builds in release and runs the benchmarks.
    Bench {
        /// Arguments of the benchmarks; see `cargo xtask bench -- --help`.
        #[arg(last = true, value_name = "ARGS")]
        passed: Vec<String>,
    },
    /// Makes the demonstration library in a folder.
    DemoLibrary {
        /// The folder.
        dir: PathBuf,
    },
}

fn main() {
    if let Err(error) = run_command(Cli::parse().command) {
        eprintln!("xtask: {error:#}");
        std::process::exit(1);
    }
}

fn run_command(command: Command) -> Result<()> {
    match command {
        Command::Run { dev, passed } => run::run(dev, &passed),
        Command::Demo { dev, passed } => run::demo(dev, &passed),
        Command::Test { no_browser } => test::test(!no_browser),
        Command::Plugins { guests } => plugins::build(guests),
        Command::Bench { passed } => bench::bench(&passed),
        Command::DemoLibrary { dir } => demo::make_and_say(&dir),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn refusal(arguments: &[&str]) -> Option<ErrorKind> {
        let all = std::iter::once("xtask").chain(arguments.iter().copied());
        Cli::try_parse_from(all).err().map(|error| error.kind())
    }

    #[test]
    fn every_command_answers_help_and_refuses_what_it_does_not_know() {
        Cli::command().debug_assert();
        let names: Vec<String> = Cli::command()
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .collect();
        assert_eq!(names, ["run", "demo", "test", "plugins", "bench", "demo-library"]);
        for name in names.iter().map(String::as_str) {
            assert_eq!(refusal(&[name, "--help"]), Some(ErrorKind::DisplayHelp), "{name}");
            assert_eq!(
                refusal(&[name, "--nonsense"]),
                Some(ErrorKind::UnknownArgument),
                "{name}"
            );
            assert_eq!(refusal(&[name, "a", "b"]), Some(ErrorKind::UnknownArgument), "{name}");
        }
        assert_eq!(refusal(&["--help"]), Some(ErrorKind::DisplayHelp));
        assert_eq!(refusal(&["nonsense"]), Some(ErrorKind::InvalidSubcommand));
        assert!(refusal(&[]).is_some());
    }

    #[test]
    fn what_follows_two_dashes_is_passed_on() {
        let parsed = Cli::try_parse_from(["xtask", "run", "--dev", "--", "--root", "a=b"]).unwrap();
        let Command::Run { dev, passed } = parsed.command else {
            panic!("{parsed:?}")
        };
        assert!(dev && passed == ["--root", "a=b"]);
    }
}
