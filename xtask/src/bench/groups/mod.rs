//! The groups of figures, in the order they are run and shown.
//!
//! Owns the table of groups. One file per group; each measures its contestants in alternating rounds and says what
//! must be reached.

mod calls;
mod idle;
mod log;
mod memory;
mod recovery;
mod scale;
mod throughput;

use super::Bench;
use super::record::Figure;
use crate::Outcome;

/// What a group found.
pub(super) struct Findings {
    pub(super) figures: Vec<Figure>,
    pub(super) remarks: Vec<String>,
}

/// A group: what `--only` names, its heading, and how it is measured.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) measure: fn(&Bench) -> Outcome<Findings>,
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "throughput",
        title: "Many tasks in one submission",
        measure: throughput::measure,
    },
    Group { name: "calls", title: "One call per task", measure: calls::measure },
    Group { name: "log", title: "A gigabyte of output", measure: log::measure },
    Group { name: "memory", title: "Memory", measure: memory::measure },
    Group { name: "scale", title: "A growing store", measure: scale::measure },
    Group {
        name: "recovery",
        title: "Coming back, coming up, and a crowd",
        measure: recovery::measure,
    },
    Group { name: "idle", title: "Nothing to do", measure: idle::measure },
];
