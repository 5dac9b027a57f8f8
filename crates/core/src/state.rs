//! The states of a task and what people call its outcome.

/// Where an attempt stands. A task's state is that of its latest attempt.
///
/// ```text
/// queued -> starting -> running <-> input_required -> completed | failed | cancelled | interrupted
///    \______________________________________________________^
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Accepted; waits for a seat, a dependency or a moment.
    Queued,
    /// Has a seat; its supervisor has been or is being told.
    Starting,
    /// Its main process lives.
    Running,
    /// Runs, and is known to wait for somebody's input.
    InputRequired,
    /// It did its work.
    Completed,
    /// It did not; the cause says why.
    Failed,
    /// It was asked to stop, and did.
    Cancelled,
    /// The truth is not known to be success: reboot, supervisor lost.
    Interrupted,
}

/// What people call the end of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// All of the work was done.
    Success,
    /// It ended well, but something was denied, left open, or a step failed.
    Partial,
    /// It was not done.
    Failure,
}

impl State {
    /// Every state, in the order a task passes them.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::InputRequired,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// Whether nothing more can happen to the attempt.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::Starting | Self::Running | Self::InputRequired => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Interrupted => true,
        }
    }

    /// Whether the attempt has a supervisor, or is being given one.
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Starting | Self::Running | Self::InputRequired => true,
            Self::Queued | Self::Completed | Self::Failed | Self::Cancelled | Self::Interrupted => {
                false
            }
        }
    }

    /// The word on the wire and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// The state of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// The outcome of a terminal state; none while the task is unfinished. `Partial` needs evidence
    /// that only agents and plans give, so a state alone never yields it.
    #[must_use]
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Queued | Self::Starting | Self::Running | Self::InputRequired => None,
            Self::Completed => Some(Outcome::Success),
            Self::Failed | Self::Cancelled | Self::Interrupted => Some(Outcome::Failure),
        }
    }
}

impl Outcome {
    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failure => "failure",
        }
    }
}
