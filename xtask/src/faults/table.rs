//! The account of the faults as text: a line per run, a table at the end, and the judgement.
//!
//! Owns no facts: everything comes from the account's JSON.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Outcome;

/// One run while it is made.
pub(super) fn one_line(run: &Value) -> String {
    let verdict = text(run, "verdict");
    let seconds = run["seconds"].as_f64().unwrap_or_default();
    let said = if verdict == "pass" { text(run, "seen") } else { text(run, "why") };
    format!("{verdict} ({seconds:.1} s): {said}")
}

/// Everything, for the person at the keyboard.
pub(super) fn print(account: &Value) {
    println!("\n=== faults ===");
    for row in list(account, "rows") {
        let runs: Vec<&Value> =
            list(account, "runs").filter(|run| run["name"] == row["name"]).collect();
        if runs.is_empty() {
            continue;
        }
        println!("{:>2} {}: {}", row["number"], text(row, "name"), text(row, "title"));
        println!("   expected: {}", text(row, "expected"));
        for run in runs {
            println!("   {:<17} {}", text(run, "mode"), one_line(run));
        }
    }
    println!("\n=== counts ===");
    let counts = counts(account);
    for (bad, of, words) in RATIOS {
        let of = counts.get(of).copied().unwrap_or_default();
        println!("{words:<44} {} / {of}", counts.get(bad).copied().unwrap_or_default());
    }
    println!("\n=== figures ===");
    for (name, samples) in figures(account) {
        println!("{name:<44} {}", samples.words());
    }
    for mode in list(account, "modes").filter(|mode| !mode["not_run"].is_null()) {
        println!("{} was not run: {}", text(mode, "name"), text(mode, "not_run"));
    }
}

/// Fails where a row did, or where nothing was run.
pub(super) fn judge(account: &Value) -> Outcome {
    let (passed, failed, not_here) = verdicts(list(account, "runs"));
    println!("\nfaults: {passed} passed, {failed} failed, {not_here} not possible here");
    if failed > 0 {
        return Err("not every fault was survived as promised".to_owned());
    }
    if passed == 0 {
        return Err("no row was run".to_owned());
    }
    Ok(())
}

/// Passed, failed, not possible here.
fn verdicts<'a>(runs: impl Iterator<Item = &'a Value>) -> (usize, usize, usize) {
    let mut seen = (0, 0, 0);
    for run in runs {
        match text(run, "verdict") {
            "pass" => seen.0 += 1,
            "not possible here" => seen.2 += 1,
            _ => seen.1 += 1,
        }
    }
    seen
}

/// A count, of which other, in words.
pub(super) const RATIOS: [(&str, &str, &str); 8] = [
    ("lost", "tasks", "acknowledged tasks lost"),
    ("doubled", "begins", "attempts run twice"),
    ("false_ends", "ends", "false terminal states"),
    ("log_bytes_lost", "log_bytes", "log bytes lost below the cap"),
    ("survivors_of_cgroup", "kills_by_cgroup", "survivors of trees killed by cgroup"),
    ("survivors_of_walk", "kills_by_walk", "survivors of trees killed by walk"),
    ("limit_violations", "transitions", "limit violations over transitions"),
    ("strangers_signalled", "strangers", "strangers with a reused pid signalled"),
];

/// Counts, summed over all runs.
pub(super) fn counts(account: &Value) -> BTreeMap<&str, u64> {
    let mut sums = BTreeMap::new();
    for run in list(account, "runs") {
        for (name, count) in run["counts"].as_object().into_iter().flatten() {
            *sums.entry(name.as_str()).or_default() += count.as_u64().unwrap_or_default();
        }
    }
    sums
}

/// Measurements, put together over all runs.
pub(super) fn figures(account: &Value) -> BTreeMap<&str, Samples> {
    let mut found: BTreeMap<&str, Samples> = BTreeMap::new();
    for run in list(account, "runs") {
        for figure in list(run, "figures") {
            let values = list(figure, "ms").filter_map(Value::as_f64);
            found.entry(text(figure, "name")).or_default().0.extend(values);
        }
    }
    found
}

/// Milliseconds.
#[derive(Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    fn words(&self) -> String {
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        format!("p50 {p50:.1} ms, p99 {p99:.1} ms (n = {})", self.count())
    }
}

pub(super) fn list<'a>(from: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    from[name].as_array().into_iter().flatten()
}

pub(super) fn text<'a>(from: &'a Value, name: &str) -> &'a str {
    from[name].as_str().unwrap_or_default()
}
