//! Which room may depend on which, and what outside crates a room may use.
//!
//! Owns the table of allowed edges. It reads what cargo resolved from every `Cargo.toml`, so an
//! edge cannot hide behind a renamed or target-specific dependency.

use serde_json::Value;

use super::Complaint;
use super::tree::Tree;
use crate::{Outcome, cargo};

/// Places to be killed at, empty but in a test build: no knowledge goes through it.
const FAULTPOINT: &str = "meanwhile-faultpoint";

/// Each room with the rooms it may depend on. Tests may use `testkit` besides.
const ALLOWED: [(&str, &[&str]); 16] = [
    ("meanwhile-core", &[]),
    (FAULTPOINT, &[]),
    ("meanwhile-api", &[]),
    ("meanwhile-supervisor", &[FAULTPOINT]),
    ("meanwhile-store", &["meanwhile-core", FAULTPOINT]),
    ("meanwhile-host", &["meanwhile-core", "meanwhile-supervisor", FAULTPOINT]),
    (
        "meanwhile-daemon",
        &[
            "meanwhile-core",
            "meanwhile-store",
            "meanwhile-host",
            "meanwhile-supervisor",
            "meanwhile-api",
            "meanwhile-routes",
            FAULTPOINT,
        ],
    ),
    // The world outside, a try at a time: it knows nothing of tasks.
    ("meanwhile-routes", &[]),
    // A client like any other: it must not know more than the interface tells.
    ("meanwhile-mcp", &["meanwhile-api"]),
    // Files and words of agents: it asks nobody.
    ("meanwhile-integrations", &[]),
    (
        "meanwhile",
        &[
            "meanwhile-api",
            "meanwhile-daemon",
            "meanwhile-integrations",
            "meanwhile-mcp",
            "meanwhile-supervisor",
            FAULTPOINT,
        ],
    ),
    ("meanwhile-testkit", &["meanwhile-core", "meanwhile-store"]),
    // Reads records itself, so that it need not believe the program it breaks.
    (
        "meanwhile-faults",
        &["meanwhile-core", "meanwhile-store", "meanwhile-supervisor", "meanwhile-testkit"],
    ),
    // Gives foreign bytes to every way in, so it must reach all of them.
    (
        "meanwhile-fuzz",
        &[
            "meanwhile-core",
            "meanwhile-api",
            "meanwhile-store",
            "meanwhile-supervisor",
            "meanwhile-host",
            "meanwhile-daemon",
            "meanwhile-mcp",
        ],
    ),
    ("xtask", &[]),
    ("meanwhile-agents", &["meanwhile-core"]),
];

/// Rooms whose outside dependencies are a closed list, with the reason the complaint gives.
const CLOSED: [(&str, &[&str], &str); 2] = [
    ("meanwhile-core", &[], "core is pure: what is true, and what happens next"),
    (
        "meanwhile-supervisor",
        &["libc", "rustix"],
        "the process that owns a task stays small and has no runtime",
    ),
];

/// Crates that bring an async runtime, and the rooms that may have one.
const RUNTIMES: [&str; 4] = ["tokio", "hyper", "hyper-util", "futures"];
const MAY_HAVE_A_RUNTIME: [&str; 6] = [
    "meanwhile-api",
    "meanwhile-daemon",
    "meanwhile-mcp",
    "meanwhile",
    "meanwhile-testkit",
    "meanwhile-fuzz",
];

/// The only file of the command line that may name the daemon and the supervisor.
const ENTRY: &str = "crates/cli/src/entry.rs";

pub(super) fn check(tree: &Tree, complaints: &mut Vec<Complaint>) -> Outcome {
    let metadata = cargo::metadata()?;
    let root = metadata["workspace_root"].as_str().unwrap_or_default().to_owned();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        check_package(tree, &root, package, complaints);
    }
    check_entry(tree, complaints);
    check_lock(tree, complaints);
    Ok(())
}

fn check_package(tree: &Tree, root: &str, package: &Value, complaints: &mut Vec<Complaint>) {
    let name = package["name"].as_str().unwrap_or_default();
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    let manifest = manifest.strip_prefix(root).unwrap_or(manifest).trim_start_matches('/');
    let Some((_, allowed)) = ALLOWED.iter().find(|(room, _)| *room == name) else {
        complaints.push(Complaint::new(
            manifest,
            1,
            format!(
                "`{name}` is no known room: add it to xtask/src/tidy/edges.rs and ARCHITECTURE.md"
            ),
        ));
        return;
    };
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let to = dependency["name"].as_str().unwrap_or_default();
        let in_tests = dependency["kind"] == "dev";
        let line = line_of(tree, manifest, to);
        let ours = dependency["path"].is_string();
        if ours && !allowed.contains(&to) && !(in_tests && to == "meanwhile-testkit") {
            complaints.push(Complaint::new(
                manifest,
                line,
                format!(
                    "`{name}` must not depend on `{to}`: allowed are {allowed:?} (ARCHITECTURE.md)"
                ),
            ));
        }
        if ours || in_tests {
            continue;
        }
        let closed = CLOSED.iter().find(|(room, list, _)| *room == name && !list.contains(&to));
        if let Some((_, list, why)) = closed {
            complaints.push(Complaint::new(
                manifest,
                line,
                format!("`{name}` may use {list:?} only, not `{to}`: {why}"),
            ));
        }
        if RUNTIMES.contains(&to) && !MAY_HAVE_A_RUNTIME.contains(&name) {
            complaints.push(Complaint::new(
                manifest,
                line,
                format!("`{name}` must do without an async runtime (`{to}`): move that code to daemon or api"),
            ));
        }
    }
}

/// The binary reaches the daemon and the supervisor in one file, where the process is still one
/// thread without a runtime.
fn check_entry(tree: &Tree, complaints: &mut Vec<Complaint>) {
    for (file, source) in tree.rust() {
        if file.room() != "cli" || file.path == ENTRY || file.is_test_target() {
            continue;
        }
        for (number, line) in source.code.iter().enumerate() {
            for name in ["meanwhile_daemon", "meanwhile_supervisor"] {
                if line.contains(name) {
                    complaints.push(Complaint::new(
                        &file.path,
                        number + 1,
                        format!("only {ENTRY} may name `{name}`: talk to the daemon through meanwhile_api"),
                    ));
                }
            }
        }
    }
}

/// Everything foreign comes from the one default registry: no git and no mirror sources.
fn check_lock(tree: &Tree, complaints: &mut Vec<Complaint>) {
    let Some(lock) = tree.files().iter().find(|file| file.path == "Cargo.lock") else {
        complaints.push(Complaint::new("Cargo.lock", 1, "missing: commit it"));
        return;
    };
    for (number, line) in lock.text.lines().enumerate() {
        let is_source = line.starts_with("source = ");
        if is_source && !line.starts_with("source = \"registry+https://github.com/rust-lang/") {
            complaints.push(Complaint::new(
                "Cargo.lock",
                number + 1,
                "a dependency from elsewhere than the default registry: use a published version",
            ));
        }
    }
}

fn line_of(tree: &Tree, manifest: &str, dependency: &str) -> usize {
    let file = tree.files().iter().find(|file| file.path == manifest);
    file.and_then(|file| file.text.lines().position(|line| line.starts_with(dependency)))
        .map_or(1, |at| at + 1)
}
