//! Changing tasks: cancel, retry, complete, extend.
//!
//! What it is for: the requests behind those commands. What it owns: their shapes. What it never does: decide whether a
//! state allows it (core does).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller::CallerContext;
use crate::duration::Span;
use crate::ids::TaskId;
use crate::select::Select;
use crate::task::Task;

/// `POST /v1/cancel`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Which tasks.
    pub select: Select,
    /// Answer when they are in their final state and their trees are empty, rather than at acceptance.
    #[serde(default = "yes")]
    pub wait: bool,
    /// The tasks they launched, too.
    #[serde(default = "yes")]
    pub cascade: bool,
}

/// What an absent `wait` or `cascade` means.
fn yes() -> bool {
    true
}

/// The tasks that a cancel was about, descendants included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelReply {
    /// As they are now.
    pub tasks: Vec<Task>,
    /// Those of them that had ended before and were left as they were.
    pub already_ended: Vec<TaskId>,
}

/// `POST /v1/tasks/{id}/retry`: the next attempt, with the caller's environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// What the attempt inherits.
    pub caller: CallerContext,
}

/// `POST /v1/tasks/{id}/complete`: stops the process first; the cause is `reported`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompleteRequest {
    /// It is `failed` rather than `completed`.
    pub failed: bool,
    /// In words.
    pub message: Option<String>,
}

/// `POST /v1/tasks/{id}/extend`: moves the deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendRequest {
    /// By how much.
    pub by: Span,
}
