//! The machine: applies inputs to the scheduling state, one at a time.

use std::time::Duration;

use crate::config::Config;
use crate::effect::Effect;
use crate::event::{Event, Stop};
use crate::id::{AttemptToken, LaneName, TaskId};
use crate::input::{Input, Refusal};
use crate::spec::{Placement, TaskSpec};
use crate::state::State;
use crate::time::{Boot, Due, Now, Wall};

/// What one turn of the loop yields: facts to commit in one transaction, then things to do.
#[must_use]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// In order; committed before any effect is performed.
    pub events: Vec<Event>,
    /// In order.
    pub effects: Vec<Effect>,
}

/// An unfinished task (or one whose seat is kept) as the store remembers it.
#[derive(Clone, Debug)]
pub struct LoadedTask {
    pub id: TaskId,
    pub spec: TaskSpec,
    pub placement: Placement,
    pub state: State,
    pub attempt: u32,
    pub order: u64,
    pub created_at: Wall,
    /// When its current attempt was queued: that of `Submitted` or of the last `Retried`.
    pub queued_at: Wall,
    pub not_before: Option<Due>,
    /// Of the current attempt, once it was starting.
    pub token: Option<AttemptToken>,
    /// A stop that was asked for and has not been seen through.
    pub stop: Option<Stop>,
    /// As the last `Requeued` said; 0 after `Retried`.
    pub crashes: u32,
    /// As the last `Retried` said; 0 before the first.
    pub retries_used: u32,
    /// As the last `Retried` said; 0 before the first.
    pub lost_retries: u32,
    /// Running time allowed to the current attempt: as the last `Extended` of this attempt said,
    /// else `spec.timing.timeout`.
    pub timeout: Option<Duration>,
    /// As the last `Started` or `Extended` of the current attempt said.
    pub deadline: Option<Wall>,
    /// A `Ready` came for the current attempt.
    pub ready: bool,
    /// Terminal, but its unkillable processes keep the seat.
    pub seat_kept: bool,
    /// Terminal states of dependencies that are no longer unfinished.
    pub ended_dependencies: Vec<(TaskId, State)>,
}

/// Why a queued task waits, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// All seats of its lane are taken by these.
    LaneFull { lane: LaneName, limit: u32, holders: Vec<TaskId> },
    /// Others of its lane come first; there are this many.
    Behind { lane: LaneName, ahead: u32 },
    /// These have not ended.
    Dependencies { on: Vec<TaskId> },
    /// Not before this moment: `delay`, or backoff before a retry.
    Until { due: Due, backoff: bool },
    /// Too many starts are in flight over all lanes.
    StartsInFlight { limit: u32 },
    /// Starts are held (disk, memory).
    Held { reason: String },
}

/// One lane, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    pub lane: LaneName,
    /// None is unlimited.
    pub limit: Option<u32>,
    /// Tasks that hold a seat, oldest start first.
    pub holders: Vec<TaskId>,
    /// Seats lent out by waiting tasks: (lender, borrower).
    pub lent: Vec<(TaskId, TaskId)>,
    /// Eligible tasks in start order.
    pub queued: Vec<TaskId>,
    /// Queued, but waiting for a dependency or a moment.
    pub blocked: u32,
}

/// A live task as the scheduler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    pub state: State,
    pub attempt: u32,
    pub token: Option<AttemptToken>,
    /// 1 is next in its lane; none unless queued and eligible.
    pub queue_position: Option<u32>,
    pub why: Option<Why>,
    pub stopping: bool,
}

/// The scheduling state of every unfinished task.
#[derive(Debug)]
pub struct Core {}

impl Core {
    /// An empty machine.
    #[must_use]
    pub fn new(_config: Config) -> Self {
        todo!()
    }

    /// The machine as the store remembers it. Active attempts stay as they are until an
    /// [`Input::Found`] says what became of each. `same_boot`: whether boot-time moments still hold.
    #[must_use]
    pub fn load(_config: Config, _tasks: Vec<LoadedTask>, _same_boot: bool, _now: Now) -> Self {
        todo!()
    }

    /// Applies one input. On a refusal nothing has changed.
    pub fn apply(
        &mut self,
        _now: Now,
        _entropy: u64,
        _input: Input,
        _turn: &mut Turn,
    ) -> Result<(), Refusal> {
        todo!()
    }

    /// Restores the invariants after the inputs of a turn: promotes what is ready, arms timers.
    pub fn settle(&mut self, _now: Now, _entropy: u64, _turn: &mut Turn) {
        todo!()
    }

    /// When `Input::Tick` is due next, if nothing else happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Boot> {
        todo!()
    }

    #[must_use]
    pub fn task(&self, _id: TaskId) -> Option<TaskView> {
        todo!()
    }

    #[must_use]
    pub fn lanes(&self) -> Vec<LaneView> {
        todo!()
    }
}
