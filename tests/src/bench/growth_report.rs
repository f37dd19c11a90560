//! The tables of how everything grows.

use std::fmt::Write;

use anyhow::Result;

use super::growth::Grown;
use super::report::{Measured, rounded};

/// One table for each kind of measurement, with a column for each size.
///
/// # Errors
/// Never, in practice: writing into a text does not fail.
pub fn tables(out: &mut String, grown: &[Grown]) -> Result<()> {
    if grown.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n# Growth\n")?;
    writeln!(
        out,
        "Libraries of loras alone, each with a sidecar of some kilobytes, in folders of a few hundred. One connection. The first, a \
         middle and the last page of 100 items of each listing take turns; the slowest counts, since a third of the requests is more \
         than a hundredth. A cell is p99 in milliseconds unless it says otherwise; `x` is how many times the cell before it."
    )?;
    for (group, title) in [
        ("growth", "Starting, reading and changing"),
        ("sorts", "Every order"),
        (
            "filters",
            "Filters, by name, newest first, random and most versions first",
        ),
        ("others", "Other requests"),
        ("index", "The index without HTTP"),
    ] {
        table(out, title, grown, group)?;
    }
    Ok(())
}

fn table(out: &mut String, title: &str, grown: &[Grown], group: &str) -> Result<()> {
    let rows = |grown: &'_ Grown| -> Vec<String> {
        let own = grown.measured.iter().filter(|row| row.group == group);
        own.map(|row| row.name.clone()).collect()
    };
    let mut names: Vec<String> = Vec::new();
    for name in grown.iter().flat_map(rows) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## {title}\n")?;
    write!(out, "| what |")?;
    for grown in grown {
        write!(out, " {} |", thousands(grown.size))?;
    }
    writeln!(out, " to reach |\n|---|{}---|", "--:|".repeat(grown.len()))?;
    for name in names {
        write!(out, "| {name} |")?;
        let (mut before, mut targets) = (None, Vec::new());
        for grown in grown {
            let row = grown.measured.iter().find(|row| row.group == group && row.name == name);
            write!(out, " {} |", row.map_or_else(String::new, |row| cell(row, before)))?;
            before = row.map(|row| row.value);
            if let Some((row, target)) = row.and_then(|row| Some((row, row.target?))) {
                let met = if target.is_met(row.value) {
                    "reached"
                } else {
                    "**missed**"
                };
                targets.push(format!("{}: {} {met}", thousands(grown.size), target.text(&row.unit)));
            }
        }
        writeln!(out, " {} |", targets.join("; "))?;
    }
    Ok(())
}

fn cell(row: &Measured, before: Option<f64>) -> String {
    let unit = match row.unit.text() {
        "ms" => String::new(),
        unit => format!(" {unit}"),
    };
    let growth = before
        .filter(|before| *before > 0.0)
        .map_or_else(String::new, |before| format!(" (x{})", rounded(row.value / before)));
    format!("{}{unit}{growth}", rounded(row.value))
}

/// 100000 as 100,000.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Target, Unit};

    #[test]
    fn sizes_stand_side_by_side_with_their_growth() {
        let grown = |size, value| Grown {
            size,
            measured: vec![Measured::new("sorts", "name", value, Unit::Milliseconds).target(Target::Below(2.0))],
        };
        let mut out = String::new();
        tables(&mut out, &[grown(1_000, 1.0), grown(1_000_000, 3.0)]).unwrap();
        assert!(out.contains("| what | 1,000 | 1,000,000 | to reach |"), "{out}");
        assert!(
            out.contains("| name | 1.00 | 3.00 (x3.00) | 1,000: < 2 ms reached; 1,000,000: < 2 ms **missed** |"),
            "{out}"
        );
        assert!(!out.contains("Other requests"), "{out}");
    }
}
