//! Running one row and writing down what came of it.
//!
//! Owns the account as JSON, one object per row and mode. An assertion that fails inside a row is a
//! verdict, so that the account is written all the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use meanwhile_testkit::mode;
use serde_json::{Map, Value, json};

use crate::row::{Row, Seen, Stage, Verdict};
use crate::rows;
use crate::tally::Count;

/// Every row, for whoever decides which are run.
#[must_use]
pub fn list() -> Value {
    rows::all()
        .map(|row| {
            let Row { number, name, title, expected, modes, slow, stage, run: _ } = row;
            json!({
                "number": number, "name": name, "title": title, "expected": expected,
                "modes": modes.word(), "slow": slow, "stage": stage,
            })
        })
        .collect()
}

/// Runs the row of this name in the mode we are in. Answers false when it failed.
///
/// # Errors
/// An unknown name, or a report that cannot be written.
pub fn run(name: &str, report: Option<&Path>) -> Result<bool, String> {
    let row = rows::all().find(|row| row.name == name).ok_or(format!("no row `{name}`"))?;
    println!("MODE: {}", mode::words());
    let mut stage = Stage::default();
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (row.run)(&mut stage)));
    let took = started.elapsed();
    let mut seen = outcome.unwrap_or_else(|panic| Seen::fail(words(panic.as_ref())));
    if !stage.complaints().is_empty() {
        let mut why: Vec<String> = stage.complaints().iter().take(5).cloned().collect();
        if let Verdict::Fail(also) = &seen.verdict {
            why.push(also.clone());
        }
        let more = stage.complaints().len().saturating_sub(5);
        if more > 0 {
            why.push(format!("and {more} more complaints"));
        }
        seen.verdict = Verdict::Fail(why.join("; "));
    }
    let account = account(row, &stage, &seen, took.as_secs_f64());
    println!("{account:#}");
    if let Some(report) = report {
        std::fs::write(report, account.to_string())
            .map_err(|error| format!("cannot write {}: {error}", report.display()))?;
    }
    Ok(!matches!(seen.verdict, Verdict::Fail(_)))
}

fn account(row: &Row, stage: &Stage, seen: &Seen, seconds: f64) -> Value {
    let counts: Map<String, Value> = Count::ALL
        .into_iter()
        .filter(|count| stage.tally.of(*count) > 0)
        .map(|count| (count.word().to_owned(), json!(stage.tally.of(count))))
        .collect();
    let figures: Vec<Value> = stage
        .figures
        .iter()
        .map(|(name, samples)| json!({ "name": name, "ms": samples.milliseconds() }))
        .collect();
    let (verdict, why) = match &seen.verdict {
        Verdict::Pass => ("pass", ""),
        Verdict::Fail(why) => ("fail", why.as_str()),
        Verdict::NotHere(why) => ("not possible here", why.as_str()),
    };
    json!({
        "number": row.number, "name": row.name, "seen": seen.text, "verdict": verdict, "why": why,
        "seconds": seconds, "counts": counts, "figures": figures,
    })
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the row failed without words").to_owned()
}
