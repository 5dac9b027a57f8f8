//! Why an attempt ended. Data beside the state, never folded into it.

use std::time::Duration;

use crate::id::{SessionId, TaskId};

/// Who asked for something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person at a shell.
    Person,
    /// The agent of a session.
    Session(SessionId),
    /// A running task.
    Task(TaskId),
    /// Meanwhile itself, by the rule named.
    Rule(&'static str),
    /// An actor read back from a store as the text of [`Actor::to_text`] when the rule is unknown.
    Other(String),
}

/// Why an attempt ended as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The main process exited by itself with this code; the state says whether that was success.
    Exit { code: i32 },
    /// A signal that we did not send ended the main process.
    Signal { number: i32 },
    /// It ran for longer than allowed.
    Timeout { after: Duration },
    /// It wrote nothing for longer than allowed.
    IdleTimeout { after: Duration },
    /// An agent made no progress for this long (agents only).
    Stalled { after: Duration },
    /// The main process could not be started.
    SpawnError { stage: SpawnStage, errno: i32, what: String },
    /// The kernel or our own memory limit ended it; there is evidence.
    OutOfMemory { limit: Option<u64> },
    /// It went over its limit of processes (sampled limits only; an enforced one fails `fork`).
    PidsLimit { limit: u64 },
    /// Its log could not be kept and the task was set to end then.
    LogFull,
    /// Its supervisor died without leaving an exit record.
    Lost,
    /// The machine restarted under it.
    Reboot,
    /// A task it was to run after ended otherwise than asked.
    Dependency { task: TaskId },
    /// An agent ended without an answer (agents only).
    EmptyResult,
    /// An agent reported an error (agents only).
    AgentError { message: String, retryable: bool },
    /// Something was denied to it (agents only).
    PermissionDenied { what: String },
    /// The same tool call again and again (agents only).
    Loop { tool: String, count: u32 },
    /// A budget was used up (agents only).
    Budget { limit: String, used: String },
    /// Starting it took its supervisor down this many times.
    Poison { crashes: u32 },
    /// Processes of it are alive that nothing can kill.
    Unkillable,
    /// Somebody asked for its end.
    CancelledBy { who: Actor },
    /// Somebody said how it ended.
    Reported { by: Actor, message: String },
}

/// How far a start came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpawnStage {
    /// Making its directory, log, cgroup or pty.
    Prepare,
    /// Opening its standard input.
    Stdin,
    /// Entering its working directory.
    Cwd,
    /// Applying its limits.
    Limits,
    /// Executing its program.
    Exec,
}

impl Cause {
    /// The word on the wire and in the store.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Exit { .. } => "exit",
            Self::Signal { .. } => "signal",
            Self::Timeout { .. } => "timeout",
            Self::IdleTimeout { .. } => "idle_timeout",
            Self::Stalled { .. } => "stalled",
            Self::SpawnError { .. } => "spawn_error",
            Self::OutOfMemory { .. } => "oom",
            Self::PidsLimit { .. } => "pids_limit",
            Self::LogFull => "log_full",
            Self::Lost => "lost",
            Self::Reboot => "reboot",
            Self::Dependency { .. } => "dependency",
            Self::EmptyResult => "empty_result",
            Self::AgentError { .. } => "agent_error",
            Self::PermissionDenied { .. } => "permission_denied",
            Self::Loop { .. } => "loop",
            Self::Budget { .. } => "budget",
            Self::Poison { .. } => "poison",
            Self::Unkillable => "unkillable",
            Self::CancelledBy { .. } => "cancelled_by",
            Self::Reported { .. } => "reported",
        }
    }
}

impl SpawnStage {
    /// Every stage, in the order they are passed.
    pub const ALL: [Self; 5] = [Self::Prepare, Self::Stdin, Self::Cwd, Self::Limits, Self::Exec];

    /// The word on the wire and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Stdin => "stdin",
            Self::Cwd => "cwd",
            Self::Limits => "limits",
            Self::Exec => "exec",
        }
    }
}

impl Actor {
    /// One line of text: `person`, `session NAME`, `task ID`, `rule NAME`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Person => "person".into(),
            Self::Session(s) => format!("session {s}"),
            Self::Task(id) => format!("task {id}"),
            Self::Rule(r) => format!("rule {r}"),
            Self::Other(text) => text.clone(),
        }
    }

    /// Reads [`Actor::to_text`] back; what it does not know stays as text.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        match text.split_once(' ') {
            None if text == "person" => Self::Person,
            Some(("session", s)) => Self::Session(SessionId::new(s)),
            Some(("task", id)) => id.parse().map_or_else(|_| Self::Other(text.into()), Self::Task),
            None | Some(_) => Self::Other(text.into()),
        }
    }
}
