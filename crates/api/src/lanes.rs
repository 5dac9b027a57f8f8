//! Lanes: limits, who runs and who waits.
//!
//! What it is for: `lanes`. What it owns: the reply. What it never does: change a limit (`config set` does).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::TaskId;
use crate::time::Timestamp;

/// `GET /v1/lanes`: lanes that have a limit of their own or an unfinished task, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LanesReply {
    /// The lanes.
    pub lanes: Vec<Lane>,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// How many may run at once; null is unlimited.
    pub limit: Option<u32>,
    /// The setting that gives it that limit.
    pub setting: String,
    /// How many seats are taken (starting, running, or an end that is not yet verified).
    pub running: u32,
    /// How many tasks wait.
    pub queued: u32,
    /// The tasks on the seats.
    pub holders: Vec<TaskId>,
    /// The tasks that wait, in start order, the first 50.
    pub waiting: Vec<TaskId>,
    /// Why and until when nothing starts; null when it is not paused.
    pub paused: Option<Paused>,
}

/// A lane that starts nothing for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    /// Until when; null when somebody has to resume it.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
}
