//! What is asked of the simulated daemon.
//!
//! Owns the words only; follows `letters.rs` of the real one.

use meanwhile_core::input::Until;
use meanwhile_core::spec::Placement;
use meanwhile_core::{Actor, Config, RequestId, TaskId, TaskSpec, WaitId};

use crate::sim::wire::Job;

/// One ask under way.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Letter {
    pub(in crate::sim) ask: Ask,
    pub(in crate::sim) request: Option<RequestId>,
    /// The client's number; none for letters of the daemon's own threads.
    pub(in crate::sim) from: Option<usize>,
}

#[derive(Clone, Debug)]
pub(in crate::sim) enum Ask {
    Submit(Vec<Prepared>),
    Cancel { targets: Vec<TaskId>, cascade: bool, by: Actor },
    Retry { task: TaskId, by: Actor },
    Complete { task: TaskId, failed: bool, by: Actor },
    Extend { task: TaskId, more_ms: u64, by: Actor },
    Prune,
    Forget(Vec<TaskId>),
    Wait { id: WaitId, wait: WaitFor },
    Hangup(WaitId),
    Configure(Box<Config>),
    Ready(Job),
    RemainsGone { job: Job, emptied: bool },
    Stop { hand_over: bool },
}

#[derive(Clone, Debug)]
pub(in crate::sim) struct WaitFor {
    pub(in crate::sim) inside: Option<TaskId>,
    pub(in crate::sim) targets: Vec<TaskId>,
    pub(in crate::sim) any: bool,
    pub(in crate::sim) until: Until,
    pub(in crate::sim) timeout_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub(in crate::sim) struct Prepared {
    pub(in crate::sim) id: TaskId,
    pub(in crate::sim) spec: Box<TaskSpec>,
    pub(in crate::sim) placement: Box<Placement>,
}
