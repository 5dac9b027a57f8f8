//! Why an attempt ended: data beside the state, never folded into it.
//!
//! What it is for: the `cause` object of a task and of each attempt. What it owns: every name of a cause with its
//! facts. What it never does: say whether that was a success (`state` and `outcome` do).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::ids::TaskId;

/// Why an attempt ended as it did; `kind` is the name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// The process exited.
    Exit {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the process.
    Signal {
        /// Its name, such as `SIGKILL`.
        name: String,
    },
    /// It ran longer than its timeout.
    Timeout {
        /// The timeout, in milliseconds.
        after: u64,
    },
    /// It printed nothing for longer than its idle timeout.
    IdleTimeout {
        /// The idle timeout, in milliseconds.
        after: u64,
    },
    /// It made no progress.
    Stalled {
        /// For how long, in milliseconds.
        after: u64,
    },
    /// It could not be started.
    SpawnError {
        /// What went wrong, in words.
        message: String,
        /// What `run --wait` exits with: 127 not found, 126 not executable, 1 anything else.
        exit_code: u8,
    },
    /// It used more memory than it may.
    Oom,
    /// It had more processes than it may (where that is sampled; an enforced limit fails `fork`).
    PidsLimit {
        /// How many it may have.
        limit: u64,
    },
    /// Its log could not be kept within its limit.
    LogFull,
    /// Its supervisor was lost, and with it the truth.
    Lost,
    /// The machine restarted.
    Reboot,
    /// A task it depends on did not end as required.
    Dependency {
        /// That task.
        task: TaskId,
    },
    /// The agent ended well but said and did nothing.
    EmptyResult,
    /// The agent reported an error.
    AgentError {
        /// Its words.
        message: String,
        /// Whether trying again may help.
        retryable: bool,
    },
    /// Something it needed was denied.
    PermissionDenied {
        /// What was denied.
        what: String,
    },
    /// The agent called one tool again and again.
    Loop {
        /// The tool.
        tool: String,
        /// How often.
        count: u32,
    },
    /// A budget is used up.
    Budget {
        /// What was allowed, with its unit.
        limit: String,
        /// What was used, with its unit.
        used: String,
    },
    /// Starting it ended the daemon or its supervisor again and again.
    Poison {
        /// How often.
        crashes: u32,
    },
    /// Processes of it could not be killed.
    Unkillable,
    /// Somebody cancelled it.
    CancelledBy {
        /// A session, a task, or `prune`.
        who: String,
    },
    /// Somebody said how it ended (`complete`).
    Reported {
        /// Who said so.
        by: String,
        /// In which words.
        message: Option<String>,
    },
    /// A cause of a newer daemon that this client does not know.
    #[serde(other)]
    Unknown,
}

impl Cause {
    /// In a few words: `exit 2`, `SIGKILL`, `timeout after 5m`. Words of tasks are in it as they are: sanitise it.
    pub fn words(&self) -> String {
        match self {
            Cause::Exit { code } => format!("exit {code}"),
            Cause::Signal { name } => name.clone(),
            Cause::Timeout { after } => format!("timeout after {}", Span::from_ms(*after)),
            Cause::IdleTimeout { after } => format!("silent for {}", Span::from_ms(*after)),
            Cause::Stalled { after } => format!("no progress for {}", Span::from_ms(*after)),
            Cause::SpawnError { message, .. } => format!("cannot start: {message}"),
            Cause::Oom => "out of memory".to_owned(),
            Cause::PidsLimit { limit } => format!("more than {limit} processes"),
            Cause::LogFull => "log full".to_owned(),
            Cause::Lost => "supervisor lost".to_owned(),
            Cause::Reboot => "machine restarted".to_owned(),
            Cause::Dependency { task } => format!("unmet dependency {task}"),
            Cause::EmptyResult => "empty result".to_owned(),
            Cause::AgentError { message, .. } => format!("agent error: {message}"),
            Cause::PermissionDenied { what } => format!("permission denied: {what}"),
            Cause::Loop { tool, count } => format!("called {tool} {count} times over"),
            Cause::Budget { limit, used } => format!("budget used up: {used} of {limit}"),
            Cause::Poison { crashes } => format!("poison: {crashes} crashes at start"),
            Cause::Unkillable => "processes that cannot be killed".to_owned(),
            Cause::CancelledBy { who } => format!("by {who}"),
            Cause::Reported { by, message: Some(message) } => {
                format!("reported by {by}: {message}")
            }
            Cause::Reported { by, message: None } => format!("reported by {by}"),
            Cause::Unknown => "a cause this program does not know".to_owned(),
        }
    }
}
