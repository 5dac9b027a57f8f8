//! Deterministic simulation: the real core over a real store, on a machine that exists in memory only.
//!
//! ```text
//!   seed ─► script of steps ─► world: clients, clocks, machine ─► shell (the daemon's loop) ─► core, store
//!                                        │                                   │
//!                                        └────── books, checks ◄── facts ────┘──► violation? ─► shrink
//! ```
//!
//! A seed is a script of submissions, cancels, waits and of everything that goes wrong: kills at any point
//! of the loop, failed commits, lost and repeated reports, suspends, reboots, power cuts. Nothing in a run
//! comes from outside of its seed, so that a run can be repeated to the bit.
//!
//! Owns the simulated machine, clients and clocks, and an account of what was promised. Never touches the
//! real machine, but for the files of a SQLite store when one is asked for.

mod acts;
mod books;
mod campaign;
mod check;
mod clients;
mod clock;
mod disk;
mod env;
mod machine;
mod plan;
mod random;
mod shell;
mod shrink;
mod step;
mod supervisor;
mod wire;
mod world;

pub use campaign::{Campaign, Failed, campaign};
pub use disk::Backend;
pub use env::{Figures, Violation};
pub use shrink::{Shrunk, shrink};
pub use step::{Launch, Step};
pub use world::Run;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The script of a seed.
#[must_use]
pub fn script(seed: u64) -> Vec<Step> {
    step::script(seed).1
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, backend: Backend) -> Run {
    play(seed, &script(seed), Conditions::plain(backend))
}

/// Whether a story is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// No story.
    Nothing,
    /// Every step, fact and happening in words.
    Everything,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has panics of a run become violations without being printed. To be called once by a program.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANIC.with(|last| *last.borrow_mut() = Some(info.to_string()));
    }));
}

/// A daemon that is broken on purpose: the simulation must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// It does not remember which requests it has done.
    ForgetsRequests,
    /// It answers before it has committed.
    AnswersFirst,
    /// It takes an attempt whose supervisor was lost for one that never ran.
    RunsLostAgain,
}

/// What a run is made under besides its seed.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub backend: Backend,
    pub telling: Telling,
    pub sabotage: Option<Sabotage>,
}

impl Conditions {
    /// A daemon as it is, without a story.
    #[must_use]
    pub const fn plain(backend: Backend) -> Self {
        Self { backend, telling: Telling::Nothing, sabotage: None }
    }
}

/// Runs a script in the setting of a seed. A panic of the code under test is a violation.
#[must_use]
pub fn play(seed: u64, steps: &[Step], conditions: Conditions) -> Run {
    let (setting, _) = step::script(seed);
    let mut world = world::World::new(seed, &setting, conditions.backend);
    world.env.sabotage = conditions.sabotage;
    if conditions.telling == Telling::Everything {
        world.env.keep_story();
    }
    let played = catch_unwind(AssertUnwindSafe(|| world.play(&setting, steps)));
    let at_step = played.unwrap_or_else(|_| {
        let what = PANIC.with(|last| last.borrow_mut().take());
        world.env.broken("no panic", what.unwrap_or_else(|| "a panic".into()));
        usize::try_from(world.env.figures.steps).unwrap_or(0).saturating_sub(1)
    });
    world.finish(at_step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_run_to_the_bit_on_any_number_of_threads() {
        let (one, two) = (campaign(0, 25, Backend::Memory, 1), campaign(0, 25, Backend::Memory, 2));
        assert_eq!((one.trace, one.figures), (two.trace, two.figures));
        assert_ne!(run(1, Backend::Memory).trace, run(2, Backend::Memory).trace);
    }

    /// But for faults that only one of them can be made to have.
    #[test]
    fn every_promise_is_kept_over_both_stores_and_both_give_the_same_run() {
        for seed in 0..3 {
            let mut steps = script(seed);
            let faulty = |s: &Step| matches!(s, Step::CommitFails { .. } | Step::FillDisk { .. });
            steps.retain(|step| !faulty(step));
            steps.truncate(80);
            let run = |backend| play(seed, &steps, Conditions::plain(backend));
            let (memory, sqlite) = (run(Backend::Memory), run(Backend::Sqlite));
            assert_eq!((memory.violation, sqlite.violation), (None, None), "seed {seed}");
            assert_eq!((memory.trace, memory.figures), (sqlite.trace, sqlite.figures));
            assert!(memory.figures.transitions > 0);
        }
    }

    #[test]
    fn a_daemon_that_is_broken_on_purpose_is_found_and_its_story_is_short() {
        let all = [Sabotage::ForgetsRequests, Sabotage::AnswersFirst, Sabotage::RunsLostAgain];
        for sabotage in all {
            let conditions =
                Conditions { sabotage: Some(sabotage), ..Conditions::plain(Backend::Memory) };
            let found = (0..400).find(|s| play(*s, &script(*s), conditions).violation.is_some());
            let seed = found.unwrap_or_else(|| panic!("{sabotage:?} was not found"));
            let shrunk = shrink(seed, &script(seed), conditions);
            assert!(shrunk.run.violation.is_some(), "{sabotage:?}: a shrunk script fails, too");
            assert!(shrunk.steps.len() < 30, "{sabotage:?}: {} steps", shrunk.steps.len());
            assert!(shrunk.run.story.len() > shrunk.steps.len(), "{sabotage:?}: it is told");
        }
    }
}
