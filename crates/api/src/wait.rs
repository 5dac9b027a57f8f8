//! Waiting without polling.
//!
//! What it is for: `wait`, `run --wait`. What it owns: the request that blocks until its tasks are done, and its answer.
//! What it never does: measure time on the client (but to shorten the timeout when it has to ask again).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::exit::ExitCode;
use crate::select::Select;
use crate::task::Task;

/// `POST /v1/wait`: answers when the condition holds, cannot hold any more, or the time is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitRequest {
    /// For which tasks; each is waited for in the attempt that is current now.
    pub select: Select,
    /// For the first success rather than for all.
    #[serde(default)]
    pub any: bool,
    /// For what.
    #[serde(default)]
    pub until: Until,
    /// How long at most; without end when absent.
    #[serde(default)]
    pub timeout: Option<Span>,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// The end.
    #[default]
    Done,
    /// Readiness of a service.
    Ready,
}

/// How the waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All are done with outcome success (`any`: one is; `ready`: all are ready).
    Met,
    /// It ended otherwise: a task did not succeed, or ended before it was ready.
    NotMet,
    /// The time is over.
    TimedOut,
}

/// The tasks waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitReply {
    /// How the waiting ended.
    pub verdict: Verdict,
    /// The tasks as they are now, in the order asked for.
    pub tasks: Vec<Task>,
}

impl WaitReply {
    /// What `wait` exits with.
    pub fn exit(&self) -> ExitCode {
        match self.verdict {
            Verdict::Met => ExitCode::Ok,
            Verdict::NotMet => ExitCode::WorkFailed,
            Verdict::TimedOut => ExitCode::WaitTimeout,
        }
    }
}
