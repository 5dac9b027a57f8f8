//! A row of the table of faults: what is done, what is expected, and what was seen.
//!
//! Owns the words of a verdict. There are three, and "not possible here" needs a reason: nothing is
//! skipped silently.

use std::fmt::Display;

use crate::samples::Samples;
use crate::tally::{Count, Tally};

/// One fault.
#[derive(Debug)]
pub struct Row {
    /// Its number in the list of faults; 0 for what the list does not have.
    pub number: u8,
    /// What it is asked for by, unique: `daemon-killed`.
    pub name: &'static str,
    /// What is done.
    pub title: &'static str,
    /// What must be seen.
    pub expected: &'static str,
    /// In which modes it says something new.
    pub modes: Modes,
    /// Takes a minute or more: not part of every test run.
    pub slow: bool,
    /// How the fault was made, for a reader who doubts that it was faithful.
    pub stage: &'static str,
    /// Does it.
    pub run: fn(&mut Stage) -> Seen,
}

/// Where a row is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// Under every user, with and without cgroups.
    Every,
    /// Neither the user nor cgroups matter: in the first mode there is.
    Once,
}

impl Modes {
    /// The word in lists.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Every => "every",
            Self::Once => "once",
        }
    }
}

/// How it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Pass,
    /// Not as expected: why.
    Fail(String),
    /// This machine or mode cannot stage it: why.
    NotHere(String),
}

/// What a row saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// In words and figures, for the table.
    pub text: String,
    /// The judgement.
    pub verdict: Verdict,
}

impl Seen {
    /// As expected, with the figures that show it.
    pub fn pass(text: impl Display) -> Self {
        Self { text: text.to_string(), verdict: Verdict::Pass }
    }

    /// Not as expected.
    pub fn fail(why: impl Display) -> Self {
        Self { text: why.to_string(), verdict: Verdict::Fail(why.to_string()) }
    }

    /// Cannot be staged here.
    pub fn not_here(why: impl Display) -> Self {
        Self { text: String::new(), verdict: Verdict::NotHere(why.to_string()) }
    }
}

/// What a row has while it runs: counts and figures that are summed, and complaints.
#[derive(Debug, Default)]
pub struct Stage {
    /// Counts, summed over all rows and modes.
    pub tally: Tally,
    /// Named measurements in milliseconds.
    pub figures: Vec<(String, Samples)>,
    complaints: Vec<String>,
}

impl Stage {
    /// Something is not as promised. The row goes on, to find more, and fails in the end.
    pub fn complain(&mut self, what: impl Display) {
        let what = what.to_string();
        println!("COMPLAINT: {what}");
        self.complaints.push(what);
    }

    /// Complains unless `holds`.
    pub fn demand(&mut self, holds: bool, what: impl Display) {
        if !holds {
            self.complain(what);
        }
    }

    /// What was complained about so far.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Adds to a count.
    pub fn count(&mut self, what: Count, how_many: usize) {
        self.tally.add(what, how_many as u64);
    }

    /// Keeps a measurement under a name, such as `re-attach, 100 tasks`.
    pub fn figure(&mut self, name: impl Display, samples: Samples) {
        self.figures.push((name.to_string(), samples));
    }

    /// A kill of a task's tree, and how many processes of it were alive afterwards, under the
    /// mechanism of this mode.
    pub fn killed_tree(&mut self, survivors: &[u32]) {
        let (kills, left) = if meanwhile_testkit::mode::has_cgroup() {
            (Count::KillsByCgroup, Count::SurvivorsOfCgroup)
        } else {
            (Count::KillsByWalk, Count::SurvivorsOfWalk)
        };
        self.count(kills, 1);
        self.count(left, survivors.len());
        self.demand(survivors.is_empty(), format!("processes survived a kill: {survivors:?}"));
    }
}
