//! The audit: who asked for what.
//!
//! What it is for: `audit --asked`. Every request that changes something leaves an entry, also one that was refused. What it
//! owns: the entry's shape. What it never does: hold what was asked in full: no command, no argument, no variable, no
//! message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::ids::TaskId;
use crate::query::{Query, QueryReader, QueryWriter};
use crate::time::Timestamp;

/// Entries of one answer when none are named, and at most.
pub const LIMIT_DEFAULT: u32 = 200;
/// Entries of one answer at most.
pub const LIMIT_MAX: u32 = 1_000;

/// One request that was to change something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its number: grows by time, gaps are possible.
    pub number: u64,
    /// When it was answered.
    pub at: Timestamp,
    /// What was asked for, such as `submit`, `cancel`, `extend`, `config_set`.
    pub asked: String,
    /// Who asked: `user`, `session NAME` or `task ID`.
    pub by: String,
    /// The session it was asked for.
    pub session: String,
    /// How the caller knew its session: `explicit`, the agent that said so, or null where it did not say.
    pub claim: Option<String>,
    /// Through which door: `cli`, `mcp`, `hook` or `http`.
    pub door: String,
    /// The process that asked; null where it could not be seen.
    pub pid: Option<u32>,
    /// The names of that process and of those that led to it, the nearest first.
    pub tree: Vec<String>,
    /// The tasks it was about, the first 1,000 of them.
    pub tasks: Vec<TaskId>,
    /// What came of it: `done`, the code of the refusal, or `unanswered` where the client left before.
    pub outcome: String,
}

/// `GET /v1/audit`: for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuery {
    /// Only entries after this number, the oldest first; without it the newest.
    pub after: Option<u64>,
    /// Only about this task.
    pub task: Option<TaskId>,
    /// Only by this session.
    pub session: Option<String>,
    /// Only those that asked for this, such as `cancel`.
    pub asked: Option<String>,
    /// At most so many; 200 when absent, 1,000 at most.
    pub limit: Option<u32>,
}

/// The entries, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditReply {
    /// The entries, oldest first.
    pub entries: Vec<AuditEntry>,
    /// There are more: after the last of these where `after` was given, else before the first.
    pub more: bool,
}

impl Query for AuditQuery {
    fn write(&self, to: &mut QueryWriter) {
        let AuditQuery { after, task, session, asked, limit } = self;
        to.opt("after", *after);
        to.opt("task", task.as_ref());
        to.opt("session", session.as_ref());
        to.opt("asked", asked.as_ref());
        to.opt("limit", *limit);
    }

    fn read(from: &mut QueryReader) -> Result<AuditQuery, ApiError> {
        Ok(AuditQuery {
            after: from.parsed("after", "0")?,
            task: from.text("task")?.map(TaskId),
            session: from.text("session")?,
            asked: from.text("asked")?,
            limit: from.parsed("limit", "200")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_its_text() {
        let query = AuditQuery {
            after: Some(7),
            task: Some(TaskId::from("0123456789")),
            session: Some("größe & mehr".into()),
            asked: Some("cancel".into()),
            limit: Some(9),
        };
        assert_eq!(AuditQuery::from_query(&query.to_query()), Ok(query));
        assert_eq!(AuditQuery::from_query(""), Ok(AuditQuery::default()));
    }
}
