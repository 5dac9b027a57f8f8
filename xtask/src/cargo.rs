//! Cargo as a subprocess: where the workspace is, and the built binary's path.
//!
//! Owns every call of cargo other than the test run itself. Never guesses paths: it asks cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Outcome;

/// The cargo that started us, so that a toolchain override (`cargo +nightly xtask`) is kept.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The workspace's root: the parent of this crate's directory.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// `cargo metadata` of our own packages, without their dependencies.
pub(crate) fn metadata() -> Outcome<Value> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// The directory cargo builds into, whatever configuration says.
pub(crate) fn target_directory() -> Outcome<PathBuf> {
    metadata()?["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| "cargo metadata names no target directory".to_owned())
}

/// Builds `meanwhile` (debug profile) and answers where the executable is.
pub(crate) fn build_binary() -> Outcome<PathBuf> {
    build_program("meanwhile")
}

/// The same as it is released. Takes minutes where nothing is built yet.
pub(crate) fn build_release_binary() -> Outcome<PathBuf> {
    build("meanwhile", &["--release"])
}

/// Builds the program that has the name of its package (debug profile).
pub(crate) fn build_program(name: &str) -> Outcome<PathBuf> {
    build(name, &[])
}

/// Builds `meanwhile` with its fault points, beside the other builds; `meanwhile-faults` looks for it there.
pub(crate) fn build_fault_points() -> Outcome<PathBuf> {
    let directory = target_directory()?.join("fault-points");
    let directory = directory.to_str().ok_or("the target directory's path is not UTF-8")?;
    build("meanwhile", &["--features", "fault-points", "--target-dir", directory])
}

/// What `git` calls the state of the tree; empty outside a checkout.
pub(crate) fn commit() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=10"])
        .current_dir(root())
        .output();
    output.map_or_else(
        |_| String::new(),
        |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
    )
}

/// Builds the MCP server with the fixtures of the conformance suite.
pub(crate) fn build_conformance_server() -> Outcome<PathBuf> {
    build_of("meanwhile-mcp", "conformance_server", &["--features", "fixtures"])
}

fn build(name: &str, options: &[&str]) -> Outcome<PathBuf> {
    build_of(name, name, options)
}

fn build_of(package: &str, name: &str, options: &[&str]) -> Outcome<PathBuf> {
    let output = cargo()
        .args(["build", "--package", package, "--bin", name])
        .args(options)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{name}` does not build (see above)"));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| format!("cargo built no executable called `{name}`"))
}

/// The host triple, needed to name cargo's runner setting.
pub(crate) fn host_triple() -> Outcome<String> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(program)
        .arg("-vV")
        .output()
        .map_err(|error| format!("cannot run rustc: {error}"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .ok_or_else(|| "rustc -vV names no host".to_owned())
}
