//! The task object, as every reply shows it.
//!
//! What it is for: one shape for `list`, `status`, `run --json`, `wait` and events. What it owns: every field that is
//! promised, those of later versions included (they are null). What it never does: leave a field out because it is
//! absent: absent facts are null, times are RFC 3339 in UTC, durations are integer milliseconds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cause::Cause;
use crate::ids::TaskId;
use crate::text::OsText;
use crate::time::Timestamp;

/// What kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// A program.
    Command,
    /// An agent session.
    Agent,
}

/// Where a task is in its life. The state of a task is that of its latest attempt.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a seat in its lane, a delay or other tasks.
    Queued,
    /// Handed to a supervisor.
    Starting,
    /// Runs.
    Running,
    /// Waits for input.
    InputRequired,
    /// Did its work.
    Completed,
    /// Did not do its work; the cause says why.
    Failed,
    /// Was asked to end.
    Cancelled,
    /// The truth is not known to be success (reboot, supervisor lost).
    Interrupted,
}

impl State {
    /// All states, in the order of a life.
    pub const ALL: [State; 8] = [
        State::Queued,
        State::Starting,
        State::Running,
        State::InputRequired,
        State::Completed,
        State::Failed,
        State::Cancelled,
        State::Interrupted,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Starting => "starting",
            State::Running => "running",
            State::InputRequired => "input_required",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Interrupted => "interrupted",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// True when nothing more happens to this attempt.
    pub const fn is_terminal(self) -> bool {
        match self {
            State::Queued | State::Starting | State::Running | State::InputRequired => false,
            State::Completed | State::Failed | State::Cancelled | State::Interrupted => true,
        }
    }
}

/// The end, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did its work.
    Success,
    /// It ended well but something was denied, left open, or a step failed.
    Partial,
    /// It did not do its work.
    Failure,
}

/// What an agent may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Autonomy {
    /// Read.
    Low,
    /// Edit files of the workspace and run commands, writes confined.
    Medium,
    /// Anything.
    High,
}

/// One piece of background work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its id: short, lower case, random, never reused.
    pub id: TaskId,
    /// A command or an agent.
    pub kind: TaskKind,
    /// Its name.
    pub name: Option<String>,
    /// The session that launched it and is told of its end.
    pub session: String,
    /// The tasks it is judged together with.
    pub group: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The lane it queues in.
    pub lane: String,
    /// Higher ones start first.
    pub priority: i32,
    /// Where it is in its life.
    pub state: State,
    /// Why it ended; null before.
    pub cause: Option<Cause>,
    /// The exit code; null before the end and when a signal ended the process.
    pub exit_code: Option<i32>,
    /// The name of the signal that ended the process, such as `SIGTERM`.
    pub signal: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the current attempt started.
    pub started_at: Option<Timestamp>,
    /// When the current attempt ended.
    pub ended_at: Option<Timestamp>,
    /// How long the current attempt ran (until now while it runs), in milliseconds.
    pub duration_ms: Option<u64>,
    /// The number of the current attempt, from 1.
    pub attempt: u32,
    /// All attempts, the oldest first.
    pub attempts: Vec<Attempt>,
    /// The program and its arguments; for `--shell`, the shell, `-c` and the line.
    pub command: Vec<OsText>,
    /// The directory it runs in.
    pub cwd: OsText,
    /// Its place in its lane, from 1, in start order; null unless queued.
    pub queue_position: Option<u32>,
    /// Its log; null before the first attempt.
    pub log: Option<LogInfo>,
    /// How far it says it is.
    pub progress: Option<Progress>,
    /// An agent's final answer, bounded.
    pub result: Option<String>,
    /// The end, for people; null before.
    pub outcome: Option<Outcome>,
    /// Tokens and cost of an agent.
    pub usage: Option<Value>,
    /// What it asked.
    pub questions: Option<Vec<Question>>,
    /// Since when and how it is known to be ready.
    pub ready: Option<Ready>,
    /// The input it seems to wait for.
    pub waiting: Option<Waiting>,
    /// Evidence that it makes no progress.
    pub stuck: Option<Stuck>,
    /// When its timeout ends it.
    pub deadline: Option<Timestamp>,
    /// Why it is not running yet; null unless queued, or starting and short of something.
    pub waiting_for: Option<WaitingFor>,
    /// The role of an agent.
    pub role: Option<String>,
    /// The driver of an agent.
    pub driver: Option<String>,
    /// The model of an agent.
    pub model: Option<String>,
    /// The autonomy of an agent.
    pub autonomy: Option<Autonomy>,
    /// What holds it to its autonomy: `kernel`, `cli` or `advisory`.
    pub enforced_by: Option<String>,
    /// What a running agent is doing.
    pub activity: Option<Value>,
    /// The task that launched it.
    pub parent: Option<TaskId>,
    /// The tasks it launched.
    pub children: Vec<TaskId>,
    /// Where its environment came from: `caller`, `session`.
    pub env_from: Option<String>,
    /// The process id of its main process; null unless it runs.
    pub pid: Option<u32>,
    /// The process id of its supervisor; null when there is none.
    pub supervisor_pid: Option<u32>,
    /// Processes that outlived its main process; null when there were none.
    pub leaked: Option<Leaked>,
    /// Resource limits and how they are held; null when none were asked for.
    pub limits: Option<Limits>,
}

/// One execution of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Where it is, or how it ended.
    pub state: State,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// The driver of an agent.
    pub driver: Option<String>,
    /// The model of an agent.
    pub model: Option<String>,
    /// The agent CLI's own session.
    pub session: Option<String>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The exit code; null when a signal ended the process.
    pub exit_code: Option<i32>,
    /// The name of the signal that ended the process.
    pub signal: Option<String>,
    /// How long it ran, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Its log.
    pub log: Option<LogInfo>,
}

/// The log of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogInfo {
    /// The file with the head of the output; the whole of it while nothing is dropped.
    pub path: OsText,
    /// Everything that was written, the dropped middle included.
    pub bytes: u64,
    /// How much of it is gone.
    pub dropped_bytes: u64,
}

/// How far a task says it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// 0 to 100.
    pub percent: f64,
    /// In words.
    pub message: Option<String>,
    /// When it said so.
    pub at: Timestamp,
}

/// What a task asked its parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// Its id.
    pub id: String,
    /// The task that asked.
    pub task: TaskId,
    /// The question.
    pub text: String,
    /// When.
    pub asked_at: Timestamp,
    /// The answer, once there is one.
    pub answer: Option<String>,
}

/// When and how a service was seen to be ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// When.
    pub at: Timestamp,
    /// The line or the port that said so.
    pub how: String,
}

/// How sure the evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// A process of the task blocks in a read of its terminal, or it said so.
    Certain,
    /// Strong signs.
    Likely,
    /// Weak signs; the state stays `running`.
    Possible,
}

/// Input a task seems to wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// How sure that is.
    pub certainty: Certainty,
    /// The prompt as printed.
    pub prompt: Option<String>,
    /// Whether it asks for a secret; such answers are for people.
    pub secret: bool,
    /// Since when.
    pub since: Timestamp,
}

/// Evidence that a task makes no progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stuck {
    /// Since when.
    pub since: Timestamp,
    /// What was seen.
    pub evidence: String,
}

/// Why a queued task is not running yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingFor {
    /// For people, such as ``3 of 3 in `commands`: a1, b2, c3``.
    pub text: String,
    /// The setting that changes it, such as `lanes.commands.limit`.
    pub setting: Option<String>,
    /// The tasks it waits for: holders of the seats, or dependencies.
    pub tasks: Vec<TaskId>,
    /// When the delay or backoff is over, where that is what it waits for.
    pub until: Option<Timestamp>,
}

/// Processes that outlived the main process of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leaked {
    /// How many.
    pub count: u32,
    /// Which, as far as recorded.
    pub processes: Vec<LeakedProcess>,
    /// Whether they were left alive because of `--keep-leaked`.
    pub kept: bool,
}

/// A process that outlived the main process of its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeakedProcess {
    /// Its process id.
    pub pid: u32,
    /// Its command name.
    pub command: OsText,
}

/// How a resource limit is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// The kernel refuses more.
    Enforced,
    /// Use is measured now and then, and the task killed when it is over.
    Sampled,
}

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limit<T> {
    /// The limit itself.
    pub value: T,
    /// How it is held.
    pub held: Held,
}

/// The resource limits of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<Limit<u64>>,
    /// Processors.
    pub cpus: Option<Limit<f64>>,
    /// Processes.
    pub pids: Option<Limit<u32>>,
    /// The niceness it runs with.
    pub nice: Option<i32>,
}
