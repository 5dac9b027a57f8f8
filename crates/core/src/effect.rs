//! What goes out: things the shell does after the commit, in order.

use std::time::Duration;

use crate::id::{AttemptToken, TaskId, WaitId};
use crate::state::State;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the attempt's directory and owner file, lock it, hand it to a supervisor. `timeout` is
    /// the running time allowed, extensions while queued included: it wins over the spec's.
    Start { task: TaskId, attempt: u32, token: AttemptToken, timeout: Option<Duration> },
    /// Tell its supervisor to end it.
    Stop { task: TaskId, token: AttemptToken, why: StopWhy },
    /// Tell its supervisor the running time it now has.
    SetTimeout { task: TaskId, token: AttemptToken, timeout: Option<Duration> },
    /// Its end is on disk: the supervisor may forget it and take other work.
    Recorded { task: TaskId, token: AttemptToken },
    /// It runs and wants a readiness check.
    CheckReady { task: TaskId, token: AttemptToken },
    /// A blocked client gets its answer.
    Answer { wait: WaitId, answer: Answer },
    /// The task is over for good as far as the core is concerned (no further attempt follows by
    /// itself): drop what was cached for it.
    Dropped { task: TaskId },
    /// Delete the files of a forgotten task.
    DeleteFiles { task: TaskId },
}

/// Why a supervisor is told to end its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopWhy {
    /// Somebody cancelled it.
    Cancelled,
    /// Somebody reported its end.
    Reported,
}

/// The answer to a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The terminal state of each target that has ended, in the order asked; none for the others.
    pub states: Vec<(TaskId, Option<State>)>,
    /// What was waited for has come (with `any`: a first success).
    pub met: bool,
    /// The wait's time was up first.
    pub timed_out: bool,
}
