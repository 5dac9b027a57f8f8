//! `cargo xtask test`: every test, in every mode this machine can offer, and an account of it.
//!
//! A test run is a list of modes (who runs the tests, what cgroups they get). Each mode is one run
//! of the test binaries through `runner`, which puts itself into that mode and then becomes the
//! test. A mode the machine cannot offer is reported with its reason; a tool the tests need and
//! that is missing fails the command at once. Nothing is skipped silently.
//!
//! ```text
//! main -> mode::all -> for each: tests::run -> cargo nextest / cargo test
//!                                                -> runner (cgroup, uid, env) -> exec test binary
//!      -> report::print (counts per mode and promise, leaks, what could not be tested and why)
//! ```

mod cgroup;
mod leftovers;
mod mode;
mod report;
mod results;
mod runner;
mod staged;
mod staging;
mod suite;

use std::path::PathBuf;

use crate::{Outcome, cargo};

pub(crate) use runner::{RUNNER_COMMAND, run_in_mode};
pub(crate) use staged::{Door, Stages};

/// Programs the tests start. Rust's own tools are known to be there: we run.
const NEEDED: [(&str, &str); 10] = [
    ("cc", "building the bundled SQLite"),
    ("sh", "tasks of the end-to-end tests"),
    ("bash", "tasks of the end-to-end tests"),
    ("setsid", "escapees of the cancel tests"),
    ("nohup", "escapees of the cancel tests"),
    ("env", "escapees of the cancel tests"),
    ("python3", "tasks that need system calls a shell has not"),
    ("node", "the agent CLIs of the tests with real ones"),
    ("npm", "installing those"),
    ("script", "a terminal for Claude Code"),
];

/// Every mode there is.
pub(crate) const MODES: [&str; 6] =
    ["root/controllers", "root/cgroup", "root/off", "user/controllers", "user/cgroup", "user/off"];

/// Packages whose promises depend on cgroups: they run in every mode. The others are run once per
/// user, because nothing they do can see a cgroup.
const TOUCH_CGROUPS: [&str; 5] = [
    "meanwhile-supervisor",
    "meanwhile-host",
    "meanwhile-daemon",
    "meanwhile-testkit",
    "meanwhile",
];

pub(crate) fn main(arguments: &[String]) -> Outcome {
    let request = Request::parse(arguments)?;
    let missing = missing_tools();
    if !missing.is_empty() {
        return Err(format!("missing tools; install them and run again:\n{}", missing.join("\n")));
    }
    let target = cargo::target_directory()?;
    // A person who asks for single packages may have a reason why the binary is not there.
    let binary = if request.packages.is_empty() {
        cargo::build_binary()?
    } else {
        cargo::build_binary().unwrap_or_else(|_| target.join("debug/meanwhile"))
    };
    let engine = suite::Engine::find(request.plain);
    println!("test engine: {engine}");

    cgroup::sweep_dead_runs();
    let scratch = mode::Scratch::new()?;
    let mut account = report::Account::default();
    let mut faults = suite::Faults::new(request.filter.is_empty() && request.packages.is_empty())?;
    for mode in mode::all(&scratch) {
        if !request.wants(&mode.name()) {
            account.not_tested(&mode, "not asked for on the command line");
            continue;
        }
        match &mode.available {
            Err(reason) => account.not_tested(&mode, reason),
            Ok(place) => {
                println!("\n=== {} ===", mode.name());
                let run = suite::Run {
                    engine: &engine,
                    target: &target,
                    binary: &binary,
                    scratch: &scratch,
                    filter: &request.filter,
                    packages: &request.packages_in(&mode),
                };
                account.tested(&mode, run.start(&mode, place, &mut faults)?);
            }
        }
    }
    // They know no modes: once, when everything is tested.
    if request.is_whole() {
        account.beside("agents", crate::agents::in_tests()?);
        account.beside("conformance", crate::conformance::in_tests()?);
        account.beside("clients", crate::clients::in_tests()?);
        account.beside("simulation", crate::sim::in_tests()?);
    }
    account.print(&target)
}

/// What was asked for on the command line.
struct Request {
    modes: Vec<String>,
    filter: Vec<String>,
    /// Only these packages.
    packages: Vec<String>,
    /// `cargo test` even where nextest is installed.
    plain: bool,
}

impl Request {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut request =
            Self { modes: Vec::new(), filter: Vec::new(), packages: Vec::new(), plain: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--plain" {
                request.plain = true;
            } else if argument == "--package" {
                let name = rest.next().ok_or("--package wants the name of a package")?;
                request.packages.push(name.clone());
            } else if argument == "--mode" {
                let known = MODES.join(" ");
                let name = rest.next().ok_or_else(|| format!("--mode wants one of {known}"))?;
                if !MODES.contains(&name.as_str()) {
                    return Err(format!("no mode `{name}`; there are {known}"));
                }
                request.modes.push(name.clone());
            } else {
                request.filter.push(argument.clone());
            }
        }
        Ok(request)
    }

    /// The packages to run in a mode; empty for the whole workspace.
    fn packages_in(&self, mode: &mode::Mode) -> Vec<String> {
        if !self.packages.is_empty() {
            return self.packages.clone();
        }
        let some = if mode.covers_everything { &[][..] } else { &TOUCH_CGROUPS };
        some.iter().map(|name| (*name).to_owned()).collect()
    }

    const fn is_whole(&self) -> bool {
        self.modes.is_empty() && self.filter.is_empty() && self.packages.is_empty()
    }

    fn wants(&self, mode: &str) -> bool {
        self.modes.is_empty() || self.modes.iter().any(|wanted| wanted == mode)
    }
}

fn missing_tools() -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NEEDED
        .iter()
        .filter(|(name, _)| !directories.iter().any(|directory| directory.join(name).is_file()))
        .map(|(name, purpose)| format!("  {name}: needed for {purpose}"))
        .collect()
}
