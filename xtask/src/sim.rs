//! `cargo xtask sim`: ten thousand lives of the queue on a machine that exists in memory only.
//!
//! Builds the simulation of `meanwhile-testkit` optimised and runs it: as the command, and as one step of
//! `cargo xtask test`. Its figures are in `target/sim.json`. Never judges anything: the program does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Outcome, cargo};

/// Optimised and built again in seconds.
const PROFILE: &str = "quick";
/// Written after every run of many seeds.
const FIGURES: &str = "sim.json";

pub(crate) fn main(arguments: &[String]) -> Outcome {
    let target = cargo::target_directory()?;
    let mut command = Command::new(build(&target)?);
    command.args(arguments);
    // Whoever asks for a few seeds only, or for one, leaves the figures of the last whole run alone.
    if arguments.is_empty() {
        command.arg("--json").arg(target.join(FIGURES));
    }
    let status = command.status().map_err(|error| format!("cannot run the simulation: {error}"))?;
    match status.code() {
        Some(0) => Ok(()),
        // It has said which argument it does not know.
        Some(2) => Err("nothing was run".to_owned()),
        _ => Err("not every promise was kept (see above)".to_owned()),
    }
}

/// All of it as a step of the test run: a line for the report, or what broke.
pub(crate) fn in_tests() -> Outcome<Result<String, String>> {
    println!("\n=== simulation ===");
    let target = cargo::target_directory()?;
    let file = target.join(FIGURES);
    let output = Command::new(build(&target)?)
        .arg("--json")
        .arg(&file)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run the simulation: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    if !output.status.success() {
        return Ok(Err("a seed broke a promise (see above)".to_owned()));
    }
    line(&file).map(Ok)
}

/// What the report says of a run.
fn line(file: &Path) -> Outcome<String> {
    let fail = |why: String| format!("cannot read {}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| fail(error.to_string()))?;
    let figures: Value = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    let number = |name: &str| figures[name].as_u64().unwrap_or(0);
    let transitions = figures["figures"]["transitions"].as_u64().unwrap_or(0);
    Ok(format!(
        "{} seeds, {} simulated hours, {transitions} transitions checked, {} violations",
        number("seeds"),
        number("simulated_hours"),
        number("violations")
    ))
}

fn build(target: &Path) -> Outcome<PathBuf> {
    let status = cargo::cargo()
        .args(["build", "--profile", PROFILE, "--package", "meanwhile-testkit", "--bin", "sim"])
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err("the simulation does not build (see above)".to_owned());
    }
    Ok(target.join(PROFILE).join("sim"))
}
