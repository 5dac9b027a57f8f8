//! `cargo xtask points`: the product killed at every place of a test build, at every pass.
//!
//! Owns the two builds it needs. What is done and judged is `meanwhile-faults`' business (its module `points`); the
//! same is row 14 of `cargo xtask faults`.

use std::process::Command;

use crate::{Outcome, cargo};

pub(crate) fn main(arguments: &[String]) -> Outcome {
    cargo::build_fault_points()?;
    let program = cargo::build_program("meanwhile-faults")?;
    let status = Command::new(&program)
        .arg("points")
        .args(arguments)
        .status()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    if status.success() { Ok(()) } else { Err("not every place is survived".to_owned()) }
}
