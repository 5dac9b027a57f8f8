//! What a reader gets: plain types, everything the outside may be told about a task.

use std::time::Duration;

use meanwhile_core::cause::{Actor, Cause};
use meanwhile_core::event::{Exit, RunFigures, Stop};
use meanwhile_core::spec::{Placement, TaskSpec};
use meanwhile_core::time::Due;
use meanwhile_core::{
    AttemptToken, GroupName, LaneName, LoadedTask, SessionId, State, TaskId, Wall,
};

/// One kept task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    pub id: TaskId,
    pub spec: TaskSpec,
    pub placement: Placement,
    /// When it was accepted.
    pub created_at: Wall,
    /// That of its latest attempt.
    pub state: State,
    /// Its place in its lane while it is queued; lower starts first.
    pub order: u64,
    /// A delay or backoff while it is queued.
    pub not_before: Option<Due>,
    /// A stop that was asked for and has not been seen through.
    pub stop: Option<Stop>,
    /// Spent of the policy's retries since somebody last asked for an attempt.
    pub retries_used: u32,
    /// Spent of the retries that an idempotent task gets when its supervisor was lost, likewise.
    pub lost_retries: u32,
    /// Terminal, but its unkillable processes keep the seat.
    pub seat_kept: bool,
    /// Tasks launched directly from it, oldest first.
    pub children: Vec<TaskId>,
    /// Oldest first, never empty; the last is the current one.
    pub attempts: Vec<AttemptRecord>,
}

/// One execution of a task, or the wish for one.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// From 1.
    pub number: u32,
    pub state: State,
    /// When it was queued: the submission, or the retry.
    pub queued_at: Wall,
    /// Why it ended; none before.
    pub cause: Option<Cause>,
    /// What its main process did; none before, and where the truth is not known.
    pub exit: Option<Exit>,
    /// What fences it; none until it was starting.
    pub token: Option<AttemptToken>,
    /// Its main process. Kept after the end, when it names nobody any more.
    pub pid: Option<u32>,
    /// Its supervisor. Kept after the end likewise.
    pub supervisor_pid: Option<u32>,
    /// When its main process started (until the end: when we learned of it).
    pub started_at: Option<Wall>,
    /// When it ended.
    pub ended_at: Option<Wall>,
    /// When its timeout ends it.
    pub deadline: Option<Wall>,
    /// The last change of its running time.
    pub extended: Option<Extension>,
    /// Since when and how it is known to be ready.
    pub ready: Option<ReadyRecord>,
    /// Starts of it that took their supervisor down.
    pub crashes: u32,
    /// What its supervisor measured; none until the end, and where it was lost.
    pub run: Option<RunFigures>,
}

/// A change of the running time allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// What is allowed now; none is for ever.
    pub timeout: Option<Duration>,
    pub by: Actor,
}

/// How and when a task became ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyRecord {
    pub at: Wall,
    /// The matching line or the port.
    pub how: String,
}

/// Which tasks. What is left out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In any of these states; empty is any state.
    pub states: Vec<State>,
    pub lane: Option<LaneName>,
    pub group: Option<GroupName>,
    pub session: Option<SessionId>,
    pub name: Option<String>,
    /// Launched directly from this task.
    pub parent: Option<TaskId>,
    /// Bears all of these marks.
    pub labels: Vec<(String, String)>,
    /// Accepted at this moment or later.
    pub since: Option<Wall>,
}

/// How many tasks are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts([u64; State::ALL.len()]);

/// One entry of the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Its place in the log: from 1, without gaps within a batch, never used twice.
    pub seq: u64,
    /// When, by the wall clock; order is `seq`'s.
    pub at: Wall,
    pub task: TaskId,
    pub attempt: u32,
    pub what: Logged,
}

/// A fact as the log keeps it: what the rows of the task hold anyway is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    Submitted,
    Starting,
    Started { pid: u32, supervisor_pid: u32 },
    Ready { how: String },
    Extended { timeout: Option<Duration>, deadline: Option<Wall>, by: Actor },
    StopRequested { stop: Stop },
    Ended { state: State, cause: Cause, exit: Option<Exit>, seat_kept: bool },
    DeadlineNear { deadline: Wall },
    Rebound { session: SessionId },
    Requeued { crashes: u32 },
    Retried { by: Option<Actor> },
    Emptied,
    Refused { what: String },
    Forgotten,
}

/// Which events. What is left out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// About this task.
    pub task: Option<TaskId>,
    /// About kept tasks of this session.
    pub session: Option<SessionId>,
}

impl TaskRecord {
    /// The latest attempt.
    #[must_use]
    pub fn current(&self) -> &AttemptRecord {
        self.attempts.last().expect("a task has at least one attempt")
    }

    /// The same as the core takes it; what its dependencies have come to is left to the caller.
    pub(crate) fn into_loaded(self) -> LoadedTask {
        let timeout = self.current().timeout(&self.spec);
        let TaskRecord {
            id,
            spec,
            placement,
            created_at,
            state,
            order,
            not_before,
            stop,
            retries_used,
            lost_retries,
            seat_kept,
            children: _,
            mut attempts,
        } = self;
        let AttemptRecord { number, queued_at, token, deadline, ready, crashes, .. } =
            attempts.pop().expect("a task has at least one attempt");
        LoadedTask {
            id,
            spec,
            placement,
            state,
            attempt: number,
            order,
            created_at,
            queued_at,
            not_before,
            token,
            stop,
            crashes,
            retries_used,
            lost_retries,
            timeout,
            deadline,
            ready: ready.is_some(),
            seat_kept,
            ended_dependencies: Vec::new(),
        }
    }
}

impl AttemptRecord {
    /// The running time allowed to this attempt; none is for ever.
    #[must_use]
    pub fn timeout(&self, spec: &TaskSpec) -> Option<Duration> {
        self.extended.as_ref().map_or(spec.timing.timeout, |e| e.timeout)
    }
}

impl StateCounts {
    /// Adds tasks in a state.
    pub const fn add(&mut self, state: State, tasks: u64) {
        self.0[state as usize] += tasks;
    }

    /// Tasks in a state.
    #[must_use]
    pub const fn of(&self, state: State) -> u64 {
        self.0[state as usize]
    }

    /// Every state with its number of tasks, in the order a task passes them.
    pub fn iter(&self) -> impl Iterator<Item = (State, u64)> + '_ {
        State::ALL.into_iter().map(|s| (s, self.of(s)))
    }
}

impl Logged {
    /// The word in the log and on the wire; the same as [`meanwhile_core::Fact::name`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Starting => "starting",
            Self::Started { .. } => "started",
            Self::Ready { .. } => "ready",
            Self::Extended { .. } => "extended",
            Self::StopRequested { .. } => "stop_requested",
            Self::Ended { .. } => "ended",
            Self::DeadlineNear { .. } => "deadline_near",
            Self::Rebound { .. } => "rebound",
            Self::Requeued { .. } => "requeued",
            Self::Retried { by: None } => "retried",
            Self::Retried { by: Some(_) } => "reopened",
            Self::Emptied => "emptied",
            Self::Refused { .. } => "refused",
            Self::Forgotten => "forgotten",
        }
    }
}
