//! Upkeep: prune, clean and doctor.
//!
//! What it is for: the requests behind those commands. What it owns: their shapes. What it never does: delete.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::ids::TaskId;

/// `POST /v1/prune` did this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PruneReply {
    /// One entry per thing done; empty when there was nothing to do.
    pub done: Vec<Pruned>,
}

/// One thing that prune did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pruned {
    /// The task concerned, if one was.
    pub task: Option<TaskId>,
    /// What was done and why.
    pub text: String,
}

/// `POST /v1/clean`: deletes finished tasks and their files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CleanRequest {
    /// Only those that ended longer ago; all finished ones when absent.
    pub older_than: Option<Span>,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CleanReply {
    /// How many tasks.
    pub tasks: u64,
    /// How many bytes of files.
    pub bytes: u64,
}

/// `GET /v1/doctor`: what the daemon knows about its own health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorReply {
    /// The findings.
    pub checks: Vec<Check>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// A stable name, such as `store.integrity`.
    pub name: String,
    /// Whether it is good.
    pub health: Health,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub hint: Vec<String>,
}

/// How good a finding is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Good.
    Ok,
    /// Something works less well than it could.
    Warning,
    /// Something does not work.
    Failed,
}
