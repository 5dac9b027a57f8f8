//! One run of the test binaries in one mode.
//!
//! Owns the call of `cargo nextest run` (preferred: a process per test, hung tests are ended and
//! named) or, where nextest is not installed, of `cargo test`. Turns either's output into results. The
//! short rows of the faults follow, so that they are counted and reported as tests are.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::cgroup::Place;
use super::leftovers;
use super::mode::{Mode, Scratch};
use super::results::{self, Verdict};
use super::runner::RUNNER_COMMAND;
use super::staged::Door;
use crate::faults::{Account, Rows};
use crate::{Outcome, cargo};

/// Names of the variables that carry orders to `runner`.
pub(super) mod orders {
    pub(in crate::test) const SCRATCH: &str = "MEANWHILE_XTASK_SCRATCH";
    pub(in crate::test) const ISOLATION: &str = "MEANWHILE_XTASK_ISOLATION";
    pub(in crate::test) const CGROUP: &str = "MEANWHILE_XTASK_CGROUP";
    pub(in crate::test) const UID: &str = "MEANWHILE_XTASK_UID";
    pub(in crate::test) const NONCE: &str = "MEANWHILE_XTASK_NONCE";
    pub(in crate::test) const BINARY: &str = "MEANWHILE_XTASK_BINARY";
    /// Set when the runner shall name each binary on stdout: libtest's own lines do not.
    pub(in crate::test) const ANNOUNCE: &str = "MEANWHILE_XTASK_ANNOUNCE";
}

/// What executes the tests.
pub(super) enum Engine {
    Nextest,
    CargoTest,
}

impl Engine {
    /// `plain` asks for `cargo test` even where nextest is installed.
    pub(super) fn find(plain: bool) -> Self {
        if plain {
            return Self::CargoTest;
        }
        let found = cargo::cargo()
            .args(["nextest", "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if found { Self::Nextest } else { Self::CargoTest }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nextest => out.write_str("cargo nextest"),
            Self::CargoTest => out.write_str(
                "cargo test (cargo-nextest is not installed, or --plain was given).\n\
                 NOTE: every test runs all the same, but those of one binary share a process, and\n\
                 a hung test is not ended. For the full guarantee: cargo install cargo-nextest",
            ),
        }
    }
}

/// What a run in one mode gave.
pub(super) struct Ran {
    pub(super) results: Vec<(String, Verdict)>,
    /// Processes that outlived their test.
    pub(super) leftovers: Vec<String>,
    /// Set when the engine itself failed, for example because a test binary did not build.
    pub(super) engine_failure: Option<String>,
}

/// A run, ready to start.
pub(super) struct Run<'a> {
    pub(super) engine: &'a Engine,
    pub(super) target: &'a Path,
    /// The `meanwhile` that end-to-end tests run.
    pub(super) binary: &'a Path,
    pub(super) scratch: &'a Scratch,
    pub(super) filter: &'a [String],
    /// Empty for the whole workspace.
    pub(super) packages: &'a [String],
}

impl Run<'_> {
    pub(super) fn start(&self, mode: &Mode, place: &Place, faults: &mut Faults) -> Outcome<Ran> {
        let directory = self.scratch.for_mode(mode)?;
        let junit = self.target.join("nextest/ci/junit.xml");
        let _ = std::fs::remove_file(&junit);

        let mut command = cargo::cargo();
        command.args(self.engine_arguments(&cargo::host_triple()?)?);
        command
            .env(orders::SCRATCH, &directory)
            .env(orders::ISOLATION, mode.isolation.word())
            .env(orders::CGROUP, place.base.clone().unwrap_or_default())
            .env(orders::NONCE, &self.scratch.nonce)
            .env(orders::BINARY, self.binary)
            .env(orders::ANNOUNCE, if matches!(self.engine, Engine::CargoTest) { "1" } else { "" })
            .env(
                orders::UID,
                self.scratch.switch_to(mode.user).map_or_else(String::new, |uid| uid.to_string()),
            );
        let (success, text) = match self.engine {
            Engine::Nextest => {
                let status = command.status().map_err(|error| format!("cargo nextest: {error}"))?;
                (status.success(), std::fs::read_to_string(&junit).unwrap_or_default())
            }
            Engine::CargoTest => {
                let output = command
                    .stderr(Stdio::inherit())
                    .output()
                    .map_err(|error| format!("cargo test: {error}"))?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                print!("{text}");
                (output.status.success(), text)
            }
        };
        let mut results = match self.engine {
            Engine::Nextest => results::from_junit(&text),
            Engine::CargoTest => results::from_libtest(&text),
        };
        results::note_untestable(&mut results, &directory.join("tmp"));
        let door = Door::new(mode, place, self.scratch, &directory, self.binary);
        results.extend(faults.run(&mode.name(), &door)?);
        let any_failed = results.iter().any(|(_, verdict)| *verdict == Verdict::Failed);
        let engine_failure = (!success && !any_failed)
            .then(|| "the engine failed without naming a test (see above)".to_owned());
        let leftovers = leftovers::find(place.base.as_deref(), &directory, &self.scratch.nonce);
        Ok(Ran { results, leftovers, engine_failure })
    }

    fn engine_arguments(&self, triple: &str) -> Outcome<Vec<OsString>> {
        let xtask = own_executable()?;
        // The array form of the setting survives blanks in the path.
        let runner = format!(
            "target.{triple}.runner=[{:?}, {RUNNER_COMMAND:?}]",
            xtask.display().to_string()
        );
        let mut arguments: Vec<OsString> = match self.engine {
            Engine::Nextest => ["nextest", "run", "--profile", "ci"].map(OsString::from).into(),
            Engine::CargoTest => ["test", "--no-fail-fast"].map(OsString::from).into(),
        };
        arguments.extend(["--config".into(), runner.into()]);
        if matches!(self.engine, Engine::Nextest) && !self.filter.is_empty() {
            arguments.push("--no-tests=pass".into());
        }
        if self.packages.is_empty() {
            arguments.push("--workspace".into());
        }
        for package in self.packages {
            arguments.extend(["--package".into(), package.into()]);
        }
        arguments.extend(self.filter.iter().map(OsString::from));
        Ok(arguments)
    }
}

/// The rows of `cargo xtask faults` that take under a minute, as part of the run.
pub(super) struct Faults {
    rows: Option<Rows>,
    account: Account,
}

impl Faults {
    /// With `wanted` false none is run: somebody asked for some tests only.
    pub(super) fn new(wanted: bool) -> Outcome<Self> {
        let rows = if wanted { Some(Rows::build()?) } else { None };
        Ok(Self { rows, account: Account::default() })
    }

    fn run(&mut self, mode: &str, door: &Door) -> Outcome<Vec<(String, Verdict)>> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let before = self.account.runs().len();
        rows.run(mode, door, &rows.chosen(&[], false)?, &mut self.account)?;
        let new = self.account.runs()[before..].iter().map(|run| {
            let verdict = match run["verdict"].as_str() {
                Some("pass") => Verdict::Passed,
                Some("not possible here") => {
                    Verdict::NotHere(run["why"].as_str().unwrap_or_default().to_owned())
                }
                _ => Verdict::Failed,
            };
            (format!("faults {}", run["name"].as_str().unwrap_or_default()), verdict)
        });
        Ok(new.collect())
    }
}

/// Our path as it was when we started: cargo may rebuild xtask while the suite runs.
pub(super) fn own_executable() -> Outcome<PathBuf> {
    let path = std::env::current_exe().map_err(|error| format!("own executable: {error}"))?;
    let text = path.to_string_lossy();
    Ok(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text)))
}
