//! Making a failing script short: chunks are left out as long as the same promise stays broken.
//!
//! Owns the search (delta debugging by halves). Never changes a step that stays.

use super::step::Step;
use super::{Conditions, Run, Telling, play};

/// Runs at most: shrinking shall not take longer than finding did.
const RUNS: u32 = 1500;

/// A short script that still fails.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub steps: Vec<Step>,
    /// Its run, with a story.
    pub run: Run,
}

/// Shortens the script of a seed whose run broke a promise.
#[must_use]
pub fn shrink(seed: u64, steps: &[Step], conditions: Conditions) -> Shrunk {
    let silent = Conditions { telling: Telling::Nothing, ..conditions };
    let first = play(seed, steps, silent);
    let promise = first.violation.as_ref().map(|v| v.promise);
    let fails = |steps: &[Step]| {
        let run = play(seed, steps, silent);
        run.violation.map(|v| v.promise) == promise
    };
    let mut steps = steps[..steps.len().min(first.at_step + 1)].to_vec();
    if !fails(&steps) {
        steps = super::script(seed);
    }
    let mut runs = 0;
    let mut size = steps.len().div_ceil(2);
    while size > 0 && runs < RUNS {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() && runs < RUNS {
            let mut tried = steps.clone();
            tried.drain(at..(at + size).min(steps.len()));
            runs += 1;
            if fails(&tried) {
                steps = tried;
                shorter = true;
            } else {
                at += size;
            }
        }
        size = if shorter && size == 1 { 1 } else { size / 2 };
    }
    let run = play(seed, &steps, Conditions { telling: Telling::Everything, ..conditions });
    Shrunk { steps, run }
}
