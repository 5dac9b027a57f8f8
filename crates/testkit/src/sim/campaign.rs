//! Many seeds on all processors.
//!
//! Owns the sums. The result does not depend on the number of threads: seeds are added up in their order.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::env::{Figures, Violation};
use super::random::Trace;
use super::{Backend, run};

/// A seed whose run broke a promise.
#[derive(Clone, Debug)]
pub struct Failed {
    pub seed: u64,
    pub backend: Backend,
    pub violation: Violation,
}

/// The sums of many runs.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub seeds: u64,
    pub figures: Figures,
    /// Of all traces, in the order of the seeds.
    pub trace: u64,
    /// The first few, in the order of the seeds.
    pub failed: Vec<Failed>,
    pub violations: u64,
}

/// Failed seeds that are kept.
const FAILED_KEPT: usize = 20;

/// Runs the seeds `first..first + seeds`.
#[must_use]
pub fn campaign(first: u64, seeds: u64, backend: Backend, threads: usize) -> Campaign {
    let next = AtomicU64::new(0);
    let runs = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut mine = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds {
                        break;
                    }
                    let run = run(first + at, backend);
                    mine.push((at, (run.figures, run.trace, run.violation)));
                }
                runs.lock().expect("no thread dies holding it").extend(mine);
            });
        }
    });
    let runs = runs.into_inner().expect("no thread dies holding it");
    let mut figures = Figures::default();
    let mut trace = Trace::new();
    let mut failed = Vec::new();
    let mut violations = 0;
    for (at, (of_run, trace_of_run, violation)) in runs {
        figures.add(&of_run);
        trace.add(trace_of_run);
        if let Some(violation) = violation {
            violations += 1;
            if failed.len() < FAILED_KEPT {
                failed.push(Failed { seed: first + at, backend, violation });
            }
        }
    }
    Campaign { seeds, figures, trace: trace.value(), failed, violations }
}
