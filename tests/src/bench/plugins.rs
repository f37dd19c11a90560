//! The server's own benchmarks: what a call into a plugin costs, beside the same rules run natively, and what the
//! index costs without HTTP.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::report::{Measured, Target, Unit};
use super::workspace;

/// Runs one of the server's examples, if it has it; what it says goes into a table.
///
/// # Errors
/// When it doesn't build or fails.
pub fn measure(example: &str, group: &'static str, arguments: &[String]) -> Result<Vec<Measured>> {
    let examples = workspace().join("host/examples");
    if !examples.join(format!("{example}.rs")).is_file() && !examples.join(example).is_dir() {
        println!("host/examples/{example}.rs is not there and is not run");
        return Ok(Vec::new());
    }
    println!("host/examples/{example}.rs {}", arguments.join(" "));
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "host",
            "--example",
            example,
            "--",
        ])
        .args(arguments)
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    if !output.status.success() {
        bail!("{example} failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| parse(group, line))
        .collect())
}

fn parse(group: &'static str, line: &str) -> Option<Measured> {
    let value: Value = serde_json::from_str(line).ok()?;
    let name = value["name"].as_str()?;
    let unit = Unit::Other(value["unit"].as_str().unwrap_or_default().to_owned());
    println!("{name}: {} {}", value["value"], unit.text());
    let mut measured = Measured::new(group, name, value["value"].as_f64()?, unit);
    measured.target = value["below"].as_f64().map(Target::Below);
    Some(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_measurement_are_passed_over() {
        assert!(parse("plugins", "Compiling host").is_none());
        assert!(parse("plugins", r#"{"name":"x"}"#).is_none());
        let measured = parse("plugins", r#"{"name":"empty call","value":9.5,"unit":"µs"}"#).unwrap();
        assert_eq!((measured.name.as_str(), measured.value), ("empty call", 9.5));
    }
}
