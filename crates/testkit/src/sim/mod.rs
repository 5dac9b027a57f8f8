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
    play(seed, &script(seed), backend, Telling::Nothing)
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

/// Runs a script in the setting of a seed. A panic of the code under test is a violation.
#[must_use]
pub fn play(seed: u64, steps: &[Step], backend: Backend, telling: Telling) -> Run {
    let (setting, _) = step::script(seed);
    let mut world = world::World::new(seed, &setting, backend);
    if telling == Telling::Everything {
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
