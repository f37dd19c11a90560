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

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  run [--dev] [-- ARGS]     build the plugins and the server, then start it with ARGS; without a library to serve it
                            makes a demonstration library (--dev: a debug build)
  demo [--dev] [-- ARGS]    the same with a stand-in for CivitAI that the server asks, to try downloads, metadata and
                            updates by hand; Ctrl-C ends both
  test [--no-browser]       everything that CI checks: format, lints, unit tests, black-box tests, documentation
                            tests, and the pages in a real browser
  plugins [--guests]        build the built-in plugins into target/plugins (and those of the tests into target/guests)
  bench [-- ARGS]           build in release and run the benchmarks (ARGS: see `cargo xtask bench -- --help`)
  demo-library DIR          make the demonstration library in DIR";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = dispatch(&arguments) {
        eprintln!("xtask: {error:#}");
        std::process::exit(1);
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        bail!("no command\n\n{USAGE}");
    };
    // What follows `--` belongs to the program that is started.
    let (own, passed) = match rest.iter().position(|argument| argument == "--") {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &rest[rest.len()..]),
    };
    match command.as_str() {
        "run" => {
            let [dev] = flags(own, ["--dev"])?;
            run::run(dev, passed)
        }
        "demo" => {
            let [dev] = flags(own, ["--dev"])?;
            run::demo(dev, passed)
        }
        "test" => {
            let [no_browser] = flags(own, ["--no-browser"])?;
            test::test(!no_browser)
        }
        "plugins" => {
            let [guests] = flags(own, ["--guests"])?;
            plugins::build(guests)
        }
        "bench" => {
            let [] = flags(own, [])?;
            bench::bench(passed)
        }
        "demo-library" => match own {
            [dir] => demo::make_and_say(dir.as_ref()),
            _ => bail!("demo-library takes one folder\n\n{USAGE}"),
        },
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command {other:?}\n\n{USAGE}"),
    }
}

/// Which of the known flags are given; any other argument is an error.
fn flags<const N: usize>(arguments: &[String], known: [&str; N]) -> Result<[bool; N]> {
    for argument in arguments {
        if !known.contains(&argument.as_str()) {
            bail!("unknown argument {argument:?} (arguments of the program go after --)\n\n{USAGE}");
        }
    }
    Ok(known.map(|flag| arguments.iter().any(|argument| argument == flag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_flag_is_refused_and_a_known_one_is_seen() {
        let given = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(flags(&given("--dev"), ["--dev"]).unwrap(), [true]);
        assert_eq!(flags(&[], ["--dev"]).unwrap(), [false]);
        assert!(flags(&given("--root x"), ["--dev"]).is_err());
    }
}
