//! Facts. Once committed they are what happened; state is nothing but their sum.
//!
//! The store appends every event to its log and folds it into its tables in the same transaction.

use std::time::Duration;

use crate::cause::{Actor, Cause};
use crate::id::{AttemptToken, SessionId, TaskId};
use crate::notice::Notice;
use crate::spec::{Placement, TaskSpec};
use crate::state::State;
use crate::time::{Due, Wall};

/// One fact about one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the wall clock. Order is the store's sequence number, never this.
    pub at: Wall,
    /// About which task.
    pub task: TaskId,
    /// About which attempt, from 1; 0 for `Forgotten`, which is about all of them.
    pub attempt: u32,
    /// What.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Accepted: `queued`, attempt 1. `order` is its place in its lane (lower starts first).
    Submitted {
        spec: Box<TaskSpec>,
        placement: Box<Placement>,
        order: u64,
        not_before: Option<Due>,
    },
    /// Given a seat and a token: `starting`. Committed before anything is spawned.
    Starting { token: AttemptToken },
    /// Its main process runs: `running`. Times from the supervisor.
    Started { pid: u32, supervisor_pid: u32, deadline: Option<Wall> },
    /// It said that it is ready (`how`: the matching line or the port).
    Ready { how: String },
    /// The running time allowed to this attempt was changed (also while it is queued); the deadline
    /// as it now is, once it runs.
    Extended { timeout: Option<Duration>, deadline: Option<Wall>, by: Actor },
    /// Somebody asked for its end; it goes on until its supervisor says it is over.
    StopRequested { stop: Stop },
    /// The attempt is over. Terminal. With a notice, the task is, and its session is told.
    Ended { end: Box<End>, notice: Option<Box<Notice>> },
    /// Four fifths of its running time are gone, and its session is told. Said again after a restart: the
    /// notice is the same one then.
    DeadlineNear { deadline: Wall, notice: Box<Notice> },
    /// Its session has become another one: it belongs to that, and so do its unread notices.
    Rebound { session: SessionId },
    /// Its supervisor never ran it: the same attempt is `queued` again, at its old place.
    Requeued { crashes: u32 },
    /// A further attempt is `queued` (`attempt` of the event is its number).
    ///
    /// The budget spent so far, this retry included, is part of the fact (0 and 0 when somebody
    /// asked for it): `retries_used` of the policy's retries, `lost_retries` of those an idempotent
    /// task gets when its supervisor or machine was lost. Infrastructure crashes, readiness, any
    /// extension and the deadline belong to the attempt before and start anew.
    Retried {
        order: u64,
        not_before: Option<Due>,
        by: Option<Actor>,
        retries_used: u32,
        lost_retries: u32,
    },
    /// Its processes, alive after `unkillable`, are gone at last: the seat is free.
    Emptied,
    /// Something came that cannot be: recorded, not applied.
    Refused { what: String },
    /// The task and its files were deleted (retention, `clean`).
    Forgotten,
}

/// A wish that an attempt end, kept until it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `cancel`.
    Cancel { by: Actor },
    /// `complete [--failed]`: it counts as this.
    Report { by: Actor, failed: bool, message: String },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// A terminal state.
    pub state: State,
    /// Why.
    pub cause: Cause,
    /// What the main process did, if it ran and the truth is known.
    pub exit: Option<Exit>,
    /// Figures of the run, when there was one.
    pub run: Option<RunFigures>,
    /// The seat is kept: processes of it still live (`unkillable`).
    pub seat_kept: bool,
}

/// How a main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What the supervisor measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFigures {
    /// When the main process was started.
    pub started_at: Wall,
    /// When it ended.
    pub ended_at: Wall,
    /// Between the two by the monotonic clock.
    pub ran_for: Duration,
    /// Processor time in user and system mode of all that was waited for.
    pub cpu: Duration,
    /// Largest resident set of one process, in bytes.
    pub max_rss: u64,
    /// Bytes the task wrote, dropped ones included.
    pub log_bytes: u64,
    /// Bytes of them that are not kept.
    pub dropped_bytes: u64,
    /// Processes that outlived the main process.
    pub leaked: u32,
    /// Some of their names, for people.
    pub leaked_names: Vec<String>,
}

impl Fact {
    /// The word in the event log and on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::Starting { .. } => "starting",
            Self::Started { .. } => "started",
            Self::Ready { .. } => "ready",
            Self::Extended { .. } => "extended",
            Self::StopRequested { .. } => "stop_requested",
            Self::Ended { .. } => "ended",
            Self::DeadlineNear { .. } => "deadline_near",
            Self::Rebound { .. } => "rebound",
            Self::Requeued { .. } => "requeued",
            Self::Retried { by: None, .. } => "retried",
            Self::Retried { by: Some(_), .. } => "reopened",
            Self::Emptied => "emptied",
            Self::Refused { .. } => "refused",
            Self::Forgotten => "forgotten",
        }
    }

    /// Whether losing this fact in a crash loses nothing that was promised: it may ride along with
    /// the next commit instead of having one of its own.
    #[must_use]
    pub const fn may_wait(&self) -> bool {
        match self {
            Self::Started { .. } | Self::Refused { .. } => true,
            Self::Submitted { .. }
            | Self::Starting { .. }
            | Self::Ready { .. }
            | Self::Extended { .. }
            | Self::StopRequested { .. }
            | Self::Ended { .. }
            | Self::DeadlineNear { .. }
            | Self::Rebound { .. }
            | Self::Requeued { .. }
            | Self::Retried { .. }
            | Self::Emptied
            | Self::Forgotten => false,
        }
    }
}
