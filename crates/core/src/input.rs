//! What comes in: requests of clients, reports of supervisors, what recovery found.

use std::time::Duration;

use crate::cause::{Actor, SpawnStage};
use crate::config::Config;
use crate::event::{Exit, RunFigures};
use crate::id::{AttemptToken, GroupName, SessionId, TaskId, WaitId};
use crate::spec::{Condition, Placement, TaskSpec};
use crate::state::State;

/// One thing that happened outside, to be applied.
#[derive(Clone, Debug)]
pub enum Input {
    /// A checked batch: accepted whole or refused whole.
    Submit(Vec<NewTask>),
    /// End these; with `cascade` their descendants too.
    Cancel { targets: Vec<TaskId>, by: Actor, cascade: bool },
    /// Make the next attempt of an ended task. `row` is its data when only the store has it.
    Retry { task: TaskId, by: Actor, row: Option<Box<ReopenedTask>> },
    /// Stop it and count it as done (or failed).
    Complete { task: TaskId, by: Actor, failed: bool, message: String },
    /// More running time from now on.
    Extend { task: TaskId, by: Actor, more: Duration },
    /// Cancel what has been queued for too long.
    Prune,
    /// These ended tasks are to be forgotten, rows and files.
    Forget(Vec<TaskId>),
    /// A client blocks until tasks end.
    Wait(Wait),
    /// Its request is over (answered, timed out at the client, or vanished).
    WaitGone(WaitId),
    /// The wait's own time is up: answer it as soon as its seat is back.
    WaitTimedOut(WaitId),
    /// A supervisor reports.
    Report { task: TaskId, token: AttemptToken, report: Report },
    /// After a restart of the daemon: what the owner file of an active attempt says.
    Found { task: TaskId, token: AttemptToken, found: Found },
    /// New settings.
    Configure(Box<Config>),
    /// A lane may (not) start tasks; the reason is shown.
    HoldStarts { reason: Option<String> },
    /// A readiness check succeeded.
    Ready { task: TaskId, token: AttemptToken, how: String },
    /// A session has become another one (cleared, resumed): its unfinished tasks follow it, and so do `ended`
    /// ones, of which it has not heard everything.
    Rebind { from: SessionId, to: SessionId, ended: Vec<TaskId> },
    /// Nothing but time has passed.
    Tick,
}

/// One task of a batch.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Fresh, and not in the store.
    pub id: TaskId,
    /// What to run; defaults applied, paths absolute. Dependencies name tasks of the store or
    /// earlier or later entries of this batch.
    pub spec: Box<TaskSpec>,
    /// Where it belongs.
    pub placement: Box<Placement>,
    /// For each dependency of `spec.after` that is not unfinished here and not in the batch: the
    /// terminal state the store has.
    pub ended_dependencies: Vec<(TaskId, State)>,
}

/// What the core needs to know of a task it had dropped because it had ended.
#[derive(Clone, Debug)]
pub struct ReopenedTask {
    /// Its last attempt's number.
    pub attempt: u32,
    /// Where it belongs.
    pub placement: Placement,
    /// Its retry policy and other fixed parts.
    pub spec: TaskSpec,
    /// Its terminal state.
    pub state: State,
}

/// A client that blocks.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Fresh.
    pub id: WaitId,
    /// The task it runs in, which then may lend its seat.
    pub inside: Option<TaskId>,
    /// Unfinished or ended tasks; the attempt that is current now is waited for.
    pub targets: Vec<WaitTarget>,
    /// Answer at the first success instead of at the last end.
    pub any: bool,
    /// What is waited for.
    pub until: Until,
}

/// One task waited for.
#[derive(Clone, Copy, Debug)]
pub struct WaitTarget {
    /// Which task.
    pub task: TaskId,
    /// Its terminal state when the core no longer has it.
    pub ended: Option<State>,
}

/// What a wait waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The end.
    Done,
    /// Readiness; an end before it is a failure.
    Ready,
}

/// What a supervisor says. Ends are sent again until recorded, so each may come twice.
#[derive(Clone, Debug)]
pub enum Report {
    /// The main process runs.
    Started { pid: u32, supervisor_pid: u32 },
    /// It could not be started, and nothing of it is left.
    SpawnFailed { stage: SpawnStage, errno: i32, what: String },
    /// It is over and its tree is empty (or leftovers were kept as asked).
    Ended { exit: Option<Exit>, why: EndedBy, run: RunFigures },
    /// Nothing can kill what is left of it; more follows when it is empty.
    Unkillable { exit: Option<Exit>, run: RunFigures },
    /// What was unkillable is gone.
    Emptied,
    /// The supervisor did not take the start (died, connection lost before `started`): it never
    /// ran, proven by the owner file.
    NeverRan,
    /// The supervisor is gone without an exit record; what was left has been killed and verified.
    Lost,
}

/// What made the end come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The task itself.
    Itself,
    /// Our stop (cancel, complete).
    Stop,
    /// The running time allowed.
    Timeout { after: Duration },
    /// The silence allowed.
    IdleTimeout { after: Duration },
    /// Evidence of the kernel's or our memory limit.
    OutOfMemory { limit: Option<u64> },
    /// Our sampled limit of processes.
    PidsLimit { limit: u64 },
    /// Its log could not be kept.
    LogFull,
}

/// What recovery found about an attempt that was active when the daemon went away.
#[derive(Clone, Debug)]
pub enum Found {
    /// Its supervisor lives and was reached; `pid` once the main process runs.
    Alive { pid: Option<u32>, supervisor_pid: u32 },
    /// Any report the owner file or the supervisor gives.
    Reported(Report),
    /// It ran, its supervisor is gone, its remains are gone, and the boot id is another.
    Rebooted,
}

/// Why a request is refused. The daemon turns each into a code, a message and hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Exit code 3.
    UnknownTask(TaskId),
    /// A dependency that is neither kept nor in the batch (3).
    UnknownDependency { task: TaskId, dependency: TaskId },
    /// A task after itself, directly or through others of the batch (4).
    Cycle(Vec<TaskId>),
    /// Too many dependencies (4).
    TooManyDependencies { limit: usize },
    /// Launched too deep (4): `limits.depth`.
    TooDeep { depth: u32, limit: u32 },
    /// Too many live descendants of the root session (4): `limits.descendants`.
    TooManyDescendants { session: SessionId, live: u32, limit: u32 },
    /// The queue is full (4): `limits.queued`.
    QueueFull { queued: u32, limit: u32 },
    /// Only people may go over a lane's limit (4).
    OverLimitNotAllowed,
    /// A wait for oneself or an ancestor (4).
    WaitsForAncestor { inside: TaskId, target: TaskId },
    /// `retry` of a task that has not ended (4).
    NotEnded { task: TaskId, state: State },
    /// `extend`, `complete` of a task that has (4).
    AlreadyEnded { task: TaskId, state: State },
    /// `extend` of a task without a deadline or not running (4).
    NothingToExtend { task: TaskId },
    /// Starts are held (disk full, memory): new work is refused (4).
    Held { reason: String },
    /// A group that has nothing in it (3).
    EmptyGroup(GroupName),
}

impl Condition {
    /// Whether a task that ended so meets the condition.
    #[must_use]
    pub const fn is_met_by(self, state: State) -> bool {
        match self {
            Self::Any => state.is_terminal(),
            Self::Ok => matches!(state, State::Completed),
            Self::Fail => state.is_terminal() && !matches!(state, State::Completed),
        }
    }
}
