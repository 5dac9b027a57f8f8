//! Listing and showing tasks.
//!
//! What it is for: `list`, `list --summary` and `status`. What it owns: filters and replies. What it never does: sort or
//! filter itself. These requests are answered without a daemon, too, by reading the store.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::ids::TaskId;
use crate::limits;
use crate::query::{Query, QueryReader, QueryWriter};
use crate::task::{State, Task, TaskKind};
use crate::time::Timestamp;

/// `GET /v1/tasks` and `GET /v1/summary`: tasks that fit all the filters given, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListQuery {
    /// In one of these states (repeat the key); all when empty.
    pub state: Vec<State>,
    /// Of this kind.
    pub kind: Option<TaskKind>,
    /// In this lane.
    pub lane: Option<String>,
    /// In this group.
    pub group: Option<String>,
    /// Of this session.
    pub session: Option<String>,
    /// With all of these labels (`k=v`, or `k` for any value; repeat the key).
    pub label: Vec<String>,
    /// With this name.
    pub name: Option<String>,
    /// One of these ids (repeat the key); ones that are unknown are left out.
    pub id: Vec<TaskId>,
    /// Created at this time or later.
    pub since: Option<Timestamp>,
    /// At most so many; 200 when absent.
    pub limit: Option<u32>,
    /// Of all sessions; people see them all anyway.
    pub any_session: bool,
}

impl ListQuery {
    /// How many tasks to answer at most.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::LIST_DEFAULT)
    }
}

/// The name of a kind on the wire.
fn kind_name(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Command => "command",
        TaskKind::Agent => "agent",
    }
}

impl Query for ListQuery {
    fn write(&self, to: &mut QueryWriter) {
        let ListQuery {
            state,
            kind,
            lane,
            group,
            session,
            label,
            name,
            id,
            since,
            limit,
            any_session,
        } = self;
        to.all("state", state.iter().map(|state| state.name()));
        to.opt("kind", kind.map(kind_name));
        to.opt("lane", lane.as_ref());
        to.opt("group", group.as_ref());
        to.opt("session", session.as_ref());
        to.all("label", label);
        to.opt("name", name.as_ref());
        to.all("id", id);
        to.opt("since", *since);
        to.opt("limit", *limit);
        to.flag("any_session", *any_session);
    }

    fn read(from: &mut QueryReader) -> Result<ListQuery, ApiError> {
        let states =
            "queued, starting, running, input_required, completed, failed, cancelled, interrupted";
        Ok(ListQuery {
            state: from.all_with("state", states, State::from_name)?,
            kind: from.one_with("kind", "command, agent", |name| match name {
                "command" => Some(TaskKind::Command),
                "agent" => Some(TaskKind::Agent),
                _ => None,
            })?,
            lane: from.text("lane")?,
            group: from.text("group")?,
            session: from.text("session")?,
            label: from.texts("label"),
            name: from.text("name")?,
            id: from.texts("id").into_iter().map(TaskId).collect(),
            since: from.parsed("since", "2026-11-21T10:00:00.000Z")?,
            limit: from.parsed("limit", "50")?,
            any_session: from.flag("any_session")?,
        })
    }
}

/// The tasks that fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListReply {
    /// The newest first.
    pub tasks: Vec<Task>,
    /// How many fit, those beyond the limit included.
    pub total: u64,
}

/// Counts of the tasks that fit; every state is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryReply {
    /// How many in all.
    pub total: u64,
    /// How many in each state, by the state's name.
    pub states: BTreeMap<String, u64>,
}

/// `GET /v1/status`: these tasks in full, each by id, prefix or name (repeat the key `id`); one that is unknown makes
/// the whole request fail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusQuery {
    /// The tasks.
    pub id: Vec<TaskId>,
}

impl Query for StatusQuery {
    fn write(&self, to: &mut QueryWriter) {
        to.all("id", &self.id);
    }

    fn read(from: &mut QueryReader) -> Result<StatusQuery, ApiError> {
        Ok(StatusQuery { id: from.texts("id").into_iter().map(TaskId).collect() })
    }
}

/// The tasks asked for, in the order asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReply {
    /// The tasks.
    pub tasks: Vec<Task>,
}
