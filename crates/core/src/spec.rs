//! What a task was asked to be: everything fixed at its launch.
//!
//! Byte strings (`Vec<u8>`) wherever the operating system takes any bytes: arguments, paths and
//! environments need not be UTF-8. Specs are kept by the store; the core holds a small row instead.

use std::time::Duration;

use crate::id::{GroupName, LaneName, SessionId, TaskId};

/// One environment variable, as bytes: name and value.
pub type EnvVar = (Vec<u8>, Vec<u8>);

/// The launch parameters of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// A name for people; unique among kept tasks it may stand for the id.
    pub name: Option<String>,
    /// What to run.
    pub command: Command,
    /// Absolute working directory.
    pub cwd: Vec<u8>,
    /// Free `key=value` marks.
    pub labels: Vec<(String, String)>,
    /// The environment to build at the start.
    pub env: EnvSpec,
    /// What the launching client's process had.
    pub process: ProcessContext,
    /// Where standard input comes from.
    pub stdin: Stdin,
    /// A terminal of this size (columns, rows), if it asked for one.
    pub pty: Option<(u16, u16)>,
    /// Bounds of its resources.
    pub limits: ResourceLimits,
    /// Its deadlines.
    pub timing: Timing,
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// What must have ended before it starts.
    pub after: Vec<Dependency>,
    /// How long to wait before it may start.
    pub delay: Option<Duration>,
    /// How it says that it is ready; a service has one or none.
    pub ready: Option<Readiness>,
    /// It never ends by itself: no timeout, the `services` lane, no part of "all done".
    pub service: bool,
    /// Files it declares or leaves behind, as globs below `cwd`.
    pub artifacts: Vec<String>,
    /// Keep its private TMPDIR.
    pub keep_tmp: bool,
    /// Leave processes that outlive the main process alone.
    pub keep_leaked: bool,
    /// Running it again after its supervisor was lost does no harm.
    pub idempotent: bool,
    /// Answers with the old id for as long as the task is kept.
    pub idempotency_key: Option<String>,
    /// Options of later parts (notices, watching, waiting), kept verbatim as `name=value`.
    pub extra: Vec<(String, String)>,
}

/// What a command task runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Program and arguments, passed as they are. Never empty.
    Argv(Vec<Vec<u8>>),
    /// One line for `/bin/sh -c`.
    Shell(Vec<u8>),
}

/// How the environment of a task is made: captured, minus what identifies the parent, plus the
/// profile where unset, plus `set`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvSpec {
    /// Names the owner-only file with the captured environment; none once it was deleted.
    pub captured: Option<String>,
    /// `--env`: wins over everything.
    pub set: Vec<EnvVar>,
    /// `--keep-env`: captured names that the profile and the removal list leave alone.
    pub keep: Vec<Vec<u8>>,
    /// Which variables are set where the user has none.
    pub profile: EnvProfile,
    /// Whose environment it is, for people: `client` or `session`.
    pub from: String,
}

/// The set of variables that makes tools non-interactive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EnvProfile {
    /// No pagers, editors or prompts (default).
    #[default]
    Agent,
    /// The same and `CI=true`.
    Ci,
    /// Nothing added.
    Inherit,
}

/// What the launching process had and the task gets too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessContext {
    /// File mode creation mask.
    pub umask: u32,
    /// (resource number, soft, hard) of every limit that differs from unlimited.
    pub rlimits: Vec<(u32, u64, u64)>,
}

/// Where standard input comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// A path the child opens at its start (a FIFO works).
    File(Vec<u8>),
    /// Kept by us below the home under the task's id.
    Spooled,
}

/// Bounds of a task's resources; none means unbounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Bytes of log kept; none for the configured default.
    pub max_log: Option<u64>,
    /// Bytes of memory of the whole tree.
    pub memory: Option<u64>,
    /// Processors.
    pub cpus: Option<u32>,
    /// Processes.
    pub pids: Option<u64>,
    /// Added to the nice value.
    pub nice: Option<i32>,
}

/// The deadlines of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Running time allowed; none is for ever. Defaults were applied at submission.
    pub timeout: Option<Duration>,
    /// Silence allowed.
    pub idle_timeout: Option<Duration>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// When a failed attempt is followed by another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// Wait before the second attempt; doubles from there.
    pub backoff: Duration,
    /// Only for these exit codes; empty is for every failure.
    pub on_codes: Vec<i32>,
}

/// A task that must have ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dependency {
    /// Which task.
    pub task: TaskId,
    /// How it must have ended.
    pub condition: Condition,
}

/// How a dependency must have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Condition {
    /// `completed`.
    #[default]
    Ok,
    /// Any terminal state.
    Any,
    /// Any terminal state but `completed`.
    Fail,
}

/// How a task says that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Its output matches.
    Pattern(String),
    /// A TCP port of this machine accepts a connection.
    Port(u16),
}

/// Where a task belongs: fixed at launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The session told of its end.
    pub session: SessionId,
    /// The group it is judged with.
    pub group: Option<GroupName>,
    /// The lane it queues in.
    pub lane: LaneName,
    /// Higher starts first within the lane.
    pub priority: i32,
    /// The tasks it was launched from, nearest first; its depth is one more than their number.
    pub ancestors: Vec<TaskId>,
    /// Start it even beyond the lane's limit; people only.
    pub over_limit: bool,
    /// Launched by a person at a shell, not by an agent or a task.
    pub by_person: bool,
}

impl Condition {
    /// The word after the colon of `--after ID:COND`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Any => "any",
            Self::Fail => "fail",
        }
    }
}

impl EnvProfile {
    /// The word of `--env-profile`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Ci => "ci",
            Self::Inherit => "inherit",
        }
    }
}
