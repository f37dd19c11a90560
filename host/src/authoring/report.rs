//! What was found, for people and for programs.

use std::path::Path;

use serde_json::json;

use super::conformance::{Case, Severity};
use super::inspect::Facts;

/// Shows what the checks found; whether none of it is an error.
pub fn cases(wasm: &Path, cases: &[Case], as_json: bool) -> bool {
    let count = |severity: Severity| {
        let findings = cases.iter().flat_map(|case| &case.findings);
        findings.filter(|finding| finding.severity == severity).count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if as_json {
        let report = json!({
            "file": wasm.display().to_string(), "ok": errors == 0, "errors": errors, "warnings": warnings, "checks": cases,
        });
        println!("{report:#}");
        return errors == 0;
    }
    for case in cases {
        let worst = case.findings.iter().map(|finding| finding.severity).max();
        let mark = match worst {
            None => "ok     ",
            Some(Severity::Warning) => "warning",
            Some(Severity::Error) => "ERROR  ",
        };
        println!("{mark} {}: {}", case.name, case.claim);
        for finding in &case.findings {
            println!("          {}", finding.text.replace('\n', "\n          "));
        }
    }
    println!(
        "{}: {} checks, {errors} errors, {warnings} warnings",
        wasm.display(),
        cases.len()
    );
    errors == 0
}

/// Shows what a component is.
pub fn facts(facts: &Facts, as_json: bool) {
    let all = json!(facts);
    if as_json {
        println!("{all:#}");
        return;
    }
    println!("{}", facts.file);
    line(
        "type",
        &format!(
            "{} {} ({}), page /{}",
            facts.id, facts.version, facts.display_name, facts.prefix
        ),
    );
    line("interface", &facts.interface);
    line("sha256", &facts.sha256);
    line(
        "size",
        &format!("{} kB, compiled and loaded in {} ms", facts.bytes / 1000, facts.load_ms),
    );
    line("exports", &facts.exports.join(", "));
    for (interface, functions) in &facts.imports {
        line("imports", &format!("{interface}: {}", functions.join(", ")));
    }
    for route in &facts.routes {
        line("route", route);
    }
    line("asks for", &facts.asks_for());
    let cost = &facts.cost;
    line("a call", &format!("{:.1} µs with a fresh instance", cost.call_us));
    line(
        "derive",
        &format!(
            "{:.2} µs for one file, in batches of {}",
            cost.derive_us_per_item, cost.batch
        ),
    );
    line(
        "format",
        &format!(
            "{:.2} µs for one model, in batches of {}",
            cost.format_us_per_item, cost.batch
        ),
    );
}

fn line(name: &str, text: &str) {
    println!("  {name:<10} {text}");
}
