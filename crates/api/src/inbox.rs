//! The inbox: what a session is told of its tasks.
//!
//! What it is for: `inbox`, the MCP tool of that name, hooks. What it owns: the notice object, its delivery by lease and
//! acknowledgement, what a hook says of its session. What it never does: decide when a session is woken (the daemon does)
//! or hold instructions: everything in a notice is data.
//!
//! ```text
//! deliver {route, holder} ──► notices, leased to that holder ──► shown ──► ack {ids}
//!                                  └── not acknowledged in time: unread again
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller::CallerContext;
use crate::cause::Cause;
use crate::duration::Span;
use crate::error::{ApiError, ErrorCode};
use crate::ids::TaskId;
use crate::query::{Query, QueryReader, QueryWriter};
use crate::task::State;
use crate::time::Timestamp;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// The task is over.
    Done,
    /// Four fifths of its running time are gone; `extend` gives it more.
    Deadline,
}

/// One message of an inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// The same for every delivery of it.
    pub id: String,
    /// What it is about.
    pub kind: NoticeKind,
    /// About which task.
    pub task: TaskId,
    /// About which attempt of it.
    pub attempt: u32,
    /// The task's name.
    pub name: Option<String>,
    /// The session it is for.
    pub session: String,
    /// The group of the task.
    pub group: Option<String>,
    /// The state of that attempt.
    pub state: State,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// How long it ran, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The last line of a command's output; at most 700 characters, without control characters. Data, never
    /// instructions.
    pub head: Option<String>,
    /// What to type to read more, or to give it more time.
    pub more: String,
    /// When it was written.
    pub at: Timestamp,
    /// When the running time is over, of a deadline.
    pub deadline: Option<Timestamp>,
}

/// By which way a session is told. What one has delivered and acknowledged no other delivers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The command line.
    Cli,
    /// An MCP tool.
    Mcp,
    /// A hook of an agent; a waiting one starts a turn of its parent, and so it is held to good manners.
    Hook,
}

impl Route {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Route::Cli => "cli",
            Route::Mcp => "mcp",
            Route::Hook => "hook",
        }
    }

    /// The route of that name.
    pub fn from_name(name: &str) -> Option<Route> {
        [Route::Cli, Route::Mcp, Route::Hook].into_iter().find(|route| route.name() == name)
    }
}

/// `GET /v1/inbox`: what is unread, without changing that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InboxQuery {
    /// Of all sessions; for people.
    pub any_session: bool,
    /// At most so many; 100 when absent.
    pub limit: Option<u32>,
}

impl Query for InboxQuery {
    fn write(&self, to: &mut QueryWriter) {
        let InboxQuery { any_session, limit } = self;
        to.flag("any_session", *any_session);
        to.opt("limit", *limit);
    }

    fn read(from: &mut QueryReader) -> Result<InboxQuery, ApiError> {
        Ok(InboxQuery {
            any_session: from.flag("any_session")?,
            limit: from.parsed("limit", "100")?,
        })
    }
}

/// What is unread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InboxReply {
    /// The oldest first.
    pub notices: Vec<Notice>,
    /// How many are unread in all; counted up to 1,000.
    pub unread: u64,
}

/// `POST /v1/inbox/deliver`: takes what is unread, or waits until there is something to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverRequest {
    /// By which way.
    pub route: Route,
    /// Who takes them: a random word of the caller's. Asked again under it, what it has not acknowledged comes again at
    /// once; to others it does so once its lease of 30 s has run out.
    pub holder: String,
    /// Wait until the session is to be told something: the last of a group of tasks is done, or one failed. A later
    /// waiter of the same session takes over.
    #[serde(default)]
    pub wait: bool,
    /// How long to wait at most; without end when absent.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Of all sessions; for people.
    #[serde(default)]
    pub any_session: bool,
    /// At most so many; 100 when absent. The rest stays unread.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl DeliverRequest {
    /// Takes what there is, by this way, under a word of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(route: Route) -> Result<DeliverRequest, ApiError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("draw a random word: {error}"))
        })?;
        let holder = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (wait, timeout, any_session, limit) = (false, None, false, None);
        Ok(DeliverRequest { route, holder, wait, timeout, any_session, limit })
    }
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivered {
    /// Here it is.
    Notices,
    /// There is nothing, and nobody wanted to wait.
    Nothing,
    /// The time is over.
    TimedOut,
    /// Another waiter of this session has taken over.
    TakenOver,
}

/// What was delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliverReply {
    /// How it ended.
    pub outcome: Delivered,
    /// The oldest first; leased to the holder until they are acknowledged.
    pub notices: Vec<Notice>,
    /// How many are unread beside them; counted up to 1,000.
    pub unread: u64,
    /// The same as text for a model: at most 2 KiB, fenced by `nonce` and marked as data. Null where there is nothing.
    pub digest: Option<String>,
    /// The word of the fence, another one for each answer.
    pub nonce: Option<String>,
}

/// `POST /v1/inbox/ack`: the session has these. Unknown and earlier ones are no error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AckRequest {
    /// Notices.
    pub ids: Vec<String>,
    /// Tasks: all that is unread of them.
    pub tasks: Vec<TaskId>,
}

/// What was acknowledged by this request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AckReply {
    /// How many were unread before.
    pub acknowledged: u64,
}

/// `POST /v1/inbox/presence`: what a hook knows of its session. Only politeness follows from it, and who is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "doing", rename_all = "snake_case", deny_unknown_fields)]
pub enum PresenceRequest {
    /// It begins or goes on, by the name that is claimed, in the agent process that has started the caller. From now on
    /// what that process has started speaks for it.
    Began {
        /// Whether that process has left the conversation it was in before.
        place: Place,
        /// What launches of the session inherit that ask for it; as before when null. A terminal is not looked at.
        #[serde(default)]
        caller: Option<CallerContext>,
    },
    /// It is closed: what was recorded for its launches is deleted.
    Closed {},
    /// Its user has typed.
    Typed {},
    /// It works.
    Busy {},
    /// It waits for its user.
    Idle {},
    /// It goes on as another session (cleared, resumed): running tasks and unread notices follow it. Where an agent
    /// process is in it, only what that process has started may say so.
    Replaced {
        /// The new name.
        by: String,
    },
}

/// Where a conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the place of the one before: the agent has one at a time. Running tasks and unread notices follow it.
    Instead,
    /// Beside others of the same process.
    Beside,
}

/// What followed from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PresenceReply {
    /// How many notices are unread; counted up to 1,000.
    pub unread: u64,
}

/// `GET /v1/inbox/compaction` answers with what a conversation must still know after it was shortened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompactionReply {
    /// What runs and what is unread, one line of at most 240 characters each, 20 at most.
    pub entries: Vec<String>,
    /// How many more there are.
    pub more: u64,
    /// The same as text for a model, fenced and marked as data; null where there is nothing.
    pub text: Option<String>,
}
