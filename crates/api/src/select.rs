//! Which tasks a request is about.
//!
//! What it is for: `cancel` and `wait` take ids, a group, a session, the caller's own tree, or everything. What it
//! owns: that choice. What it never does: resolve it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::TaskId;

/// A choice of tasks: `{"ids": [..]}`, `{"group": "g"}`, `{"session": "s"}`, `"own"` or `"everything"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// These; each must exist.
    Ids(Vec<TaskId>),
    /// All of a group.
    Group(String),
    /// All of a session.
    Session(String),
    /// The unfinished tasks of the caller's own tree.
    Own,
    /// All unfinished tasks of all sessions; people only.
    Everything,
}
