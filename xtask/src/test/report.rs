//! The account at the end of a test run: which promise was tested in which mode.
//!
//! Owns the printed tables, the full matrix in `target/test-report.md` and the closing line. A
//! failed test, a leftover process or an engine failure makes the run fail; a mode that could not
//! be had is told with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::mode::Mode;
use super::results::Verdict;
use super::suite::Ran;
use crate::Outcome;

/// What is known at the end, mode by mode.
#[derive(Default)]
pub(super) struct Account {
    modes: Vec<(String, Result<Ran, String>)>,
    /// What ran once, beside the modes: its name and what it said.
    beside: Vec<(&'static str, Result<String, String>)>,
}

impl Account {
    pub(super) fn not_tested(&mut self, mode: &Mode, reason: &str) {
        self.modes.push((mode.name(), Err(reason.to_owned())));
    }

    pub(super) fn tested(&mut self, mode: &Mode, ran: Ran) {
        self.modes.push((mode.name(), Ok(ran)));
    }

    pub(super) fn beside(&mut self, name: &'static str, outcome: Result<String, String>) {
        self.beside.push((name, outcome));
    }

    /// Prints everything, writes the matrix, and fails where anything failed.
    pub(super) fn print(&self, target: &Path) -> Outcome {
        let matrix = self.matrix();
        let file = target.join("test-report.md");
        std::fs::write(&file, self.markdown(&matrix))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;

        println!("\n=== what was tested where ===");
        let mut totals = Counts::default();
        for (name, outcome) in &self.modes {
            match outcome {
                Err(reason) => println!("{name:<17} NOT TESTED: {reason}"),
                Ok(ran) => {
                    let counts = Counts::of(ran);
                    println!("{name:<17} {counts}");
                    totals.add(&counts);
                }
            }
        }
        for (name, outcome) in &self.beside {
            match outcome {
                Ok(line) => println!("{name:<17} {line}"),
                Err(why) => println!("{name:<17} FAILED: {why}"),
            }
        }
        if self.beside.is_empty() {
            println!(
                "{:<17} NOT RUN: only some of the tests were asked for",
                "agents, conformance, clients, simulation"
            );
        }
        self.print_promises(&matrix);
        self.print_trouble();
        println!("every promise by mode: {}", file.display());

        let tested = self.modes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        println!("\ntest: {totals}, in {tested} of {} modes", self.modes.len());
        let broken = self.beside.iter().any(|(_, outcome)| outcome.is_err());
        if broken || totals.failed > 0 || totals.leftovers > 0 || totals.engine_failures > 0 {
            return Err("not every promise is kept".to_owned());
        }
        if totals.executed() == 0 {
            return Err("no test was executed".to_owned());
        }
        Ok(())
    }

    fn matrix(&self) -> BTreeMap<&str, BTreeMap<&str, &Verdict>> {
        let mut matrix: BTreeMap<&str, BTreeMap<&str, &Verdict>> = BTreeMap::new();
        for (mode, outcome) in &self.modes {
            for (test, verdict) in outcome.iter().flat_map(|ran| &ran.results) {
                matrix.entry(test).or_default().insert(mode, verdict);
            }
        }
        matrix
    }

    fn print_promises(&self, matrix: &BTreeMap<&str, BTreeMap<&str, &Verdict>>) {
        let mut by_modes: BTreeMap<usize, usize> = BTreeMap::new();
        let mut nowhere = BTreeSet::new();
        for (test, modes) in matrix {
            let shown = modes.values().filter(|v| !matches!(v, Verdict::NotHere(_))).count();
            *by_modes.entry(shown).or_default() += 1;
            if let (0, Some(Verdict::NotHere(reason))) = (shown, modes.values().next()) {
                nowhere.insert(format!("{test}: {reason}"));
            }
        }
        let shown: Vec<String> =
            by_modes.iter().map(|(modes, tests)| format!("{tests} in {modes} modes")).collect();
        println!("promises: {} ({})", matrix.len(), shown.join(", "));
        for line in nowhere {
            println!("tested in no mode of this machine: {line}");
        }
    }

    fn print_trouble(&self) {
        for (mode, outcome) in &self.modes {
            let Ok(ran) = outcome else { continue };
            for (test, verdict) in &ran.results {
                match verdict {
                    Verdict::Failed => println!("FAILED in {mode}: {test}"),
                    Verdict::NotHere(reason) => println!("not here in {mode}: {test}: {reason}"),
                    Verdict::Passed => {}
                }
            }
            for line in &ran.leftovers {
                println!("LEFT BEHIND in {mode}: {line}");
            }
            if let Some(line) = &ran.engine_failure {
                println!("FAILED in {mode}: {line}");
            }
        }
    }

    fn markdown(&self, matrix: &BTreeMap<&str, BTreeMap<&str, &Verdict>>) -> String {
        let names: Vec<&str> = self.modes.iter().map(|(name, _)| name.as_str()).collect();
        let mut text = format!(
            "# Which promise was tested in which mode\n\n| promise | {} |\n",
            names.join(" | ")
        );
        let _ = writeln!(text, "|---|{}", "---|".repeat(names.len()));
        for (test, modes) in matrix {
            let cells: Vec<&str> = names
                .iter()
                .map(|mode| match modes.get(mode) {
                    Some(Verdict::Passed) => "kept",
                    Some(Verdict::Failed) => "BROKEN",
                    Some(Verdict::NotHere(_)) => "not here",
                    None => "",
                })
                .collect();
            let _ = writeln!(text, "| {test} | {} |", cells.join(" | "));
        }
        text.push('\n');
        for (mode, outcome) in &self.modes {
            if let Err(reason) = outcome {
                let _ = writeln!(text, "- `{mode}` was not tested: {reason}");
            }
        }
        text
    }
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    not_here: usize,
    leftovers: usize,
    engine_failures: usize,
}

impl Counts {
    fn of(ran: &Ran) -> Self {
        let mut counts = Self { leftovers: ran.leftovers.len(), ..Self::default() };
        counts.engine_failures = usize::from(ran.engine_failure.is_some());
        for (_, verdict) in &ran.results {
            match verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed => counts.failed += 1,
                Verdict::NotHere(_) => counts.not_here += 1,
            }
        }
        counts
    }

    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.not_here += other.not_here;
        self.leftovers += other.leftovers;
        self.engine_failures += other.engine_failures;
    }

    fn executed(&self) -> usize {
        self.passed + self.failed
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} tests executed: {} passed, {} failed, {} not possible here, {} processes left behind",
            self.executed(),
            self.passed,
            self.failed,
            self.not_here,
            self.leftovers
        )
    }
}
