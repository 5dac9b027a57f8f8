//! nq: no server, a lock file per job. One directory runs one job at a time, so that two of them make two slots.
//!
//! Owns the directories. Its log files are its queue, so that its output is always kept.

use crate::Outcome;
use crate::bench::ground::{Ground, Scratch, finish};

#[derive(Debug, Clone)]
pub(in crate::bench) struct Nq(pub(super) &'static str);

/// Some directories that take turns.
pub(in crate::bench) struct Lanes {
    scratch: Scratch,
    program: &'static str,
}

impl Nq {
    pub(in crate::bench) fn start(&self, ground: &Ground) -> Outcome<Lanes> {
        Ok(Lanes { scratch: ground.scratch("nq")?, program: self.0 })
    }
}

impl Lanes {
    pub(in crate::bench) fn command(&self, lane: usize, words: &[&str]) -> std::process::Command {
        let mut command = self.scratch.command(self.program);
        command.env("NQDIR", self.scratch.path().join(lane.to_string())).args(words);
        command
    }

    /// Queues a job in a directory; answers its id.
    pub(in crate::bench) fn call(&self, lane: usize, words: &[&str]) -> Outcome<String> {
        finish(self.command(lane, words))
    }

    pub(in crate::bench) fn file(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }
}
