//! The server's own plugin benchmark: what a call into a plugin costs, beside the same rules run natively.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::report::{Measured, Target, Unit};
use super::workspace;

const EXAMPLE: &str = "plugin_bench";

/// Runs it, if the server has it.
///
/// # Errors
/// When it doesn't build or fails.
pub fn measure() -> Result<Vec<Measured>> {
    let examples = workspace().join("host/examples");
    if !examples.join(format!("{EXAMPLE}.rs")).is_file() && !examples.join(EXAMPLE).is_dir() {
        println!("host/examples/{EXAMPLE}.rs is not there; plugin calls are not measured");
        return Ok(Vec::new());
    }
    println!("plugin calls (host/examples/{EXAMPLE}.rs)");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--release", "--package", "host", "--example", EXAMPLE])
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    if !output.status.success() {
        bail!("{EXAMPLE} failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(parse)
        .collect())
}

fn parse(line: &str) -> Option<Measured> {
    let value: Value = serde_json::from_str(line).ok()?;
    let name = value["name"].as_str()?;
    let unit = Unit::Other(value["unit"].as_str().unwrap_or_default().to_owned());
    println!("{name}: {} {}", value["value"], unit.text());
    let mut measured = Measured::new("plugins", name, value["value"].as_f64()?, unit);
    measured.target = value["below"].as_f64().map(Target::Below);
    Some(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_measurement_are_passed_over() {
        assert!(parse("Compiling host").is_none());
        assert!(parse(r#"{"name":"x"}"#).is_none());
        let measured = parse(r#"{"name":"empty call","value":9.5,"unit":"µs"}"#).unwrap();
        assert_eq!((measured.name.as_str(), measured.value), ("empty call", 9.5));
    }
}
