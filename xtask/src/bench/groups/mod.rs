//! The groups of figures, in the order they are run and shown.
//!
//! Owns the table of groups. One file per group; each measures its contestants in alternating rounds and says what
//! must be reached.

mod calls;
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
];
