//! The MCP task that a `wait` can be (extension io.modelcontextprotocol/tasks of 2026-07-28).
//!
//! What it is for: a client that can, puts a wait in the background and wakes its model once, with the digest. What it
//! owns: the id, which says what is waited for: the task ids themselves, or the group. They are on disk before the id is
//! sent, and every later process of this server, and every other one, can answer for it. What it never does: keep a
//! wait (only that one was cancelled is remembered here: its client does not ask again), or end a task.
//!
//! ```text
//! wait:ID:ID      all of these        any:ID:ID       the first success among them
//! group:SESSION:GROUP                 all of a group, for which there are too many ids
//! set:NAME        anyset:NAME         the same of so many ids that they are put down under a name
//! ```

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use meanwhile_api::client::Client;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::inbox::AckRequest;
use meanwhile_api::list::ListQuery;
use meanwhile_api::query::{percent_decode, percent_encode};
use meanwhile_api::task::Task;
use meanwhile_api::{ApiError, TaskId, Timestamp, sanitise};
use rmcp::model::{
    DetailedTask, GetTaskResult, JsonObject, ProtocolVersion, Task as McpTask, TaskPayload,
    TaskStatus,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::digest::{self, Told};
use crate::server::Shared;
use crate::session::MADE_UP;
use crate::{limits, shelf, words};

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// All of these.
    All(Vec<TaskId>),
    /// The first success among these.
    Any(Vec<TaskId>),
    /// All of a group of a session.
    Group { session: String, group: String },
    /// All that are put down under a name, or the first success among them.
    Set { name: String, any: bool },
}

impl Wait {
    /// The id of the MCP task.
    pub(crate) fn id(&self) -> String {
        let joined = |ids: &[TaskId]| ids.iter().map(TaskId::as_str).collect::<Vec<_>>().join(":");
        match self {
            Wait::All(ids) => format!("wait:{}", joined(ids)),
            Wait::Any(ids) => format!("any:{}", joined(ids)),
            Wait::Group { session, group } => {
                format!("group:{}:{}", percent_encode(session), percent_encode(group))
            }
            Wait::Set { name, any } => format!("{}:{name}", if *any { "anyset" } else { "set" }),
        }
    }

    /// What an id of ours says; none when it is not one.
    pub(crate) fn from_id(id: &str) -> Option<Wait> {
        let (kind, rest) = id.split_once(':')?;
        let ids = || {
            let ids: Vec<TaskId> = rest.split(':').map(TaskId::from).collect();
            let fit = ids.len() <= limits::IDS_IN_A_WAIT && ids.iter().all(is_whole);
            fit.then_some(ids)
        };
        match kind {
            "wait" => ids().map(Wait::All),
            "any" => ids().map(Wait::Any),
            "group" => {
                let (session, group) = rest.split_once(':')?;
                let (session, group) = (percent_decode(session)?, percent_decode(group)?);
                (!session.is_empty() && !group.is_empty()).then_some(Wait::Group { session, group })
            }
            "set" | "anyset" if shelf::is_name(rest) => {
                Some(Wait::Set { name: rest.to_owned(), any: kind == "anyset" })
            }
            _ => None,
        }
    }
}

/// Ten characters of the alphabet of task ids; the daemon knows the rest.
fn is_whole(id: &TaskId) -> bool {
    let plain = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    id.as_str().len() == 10 && id.as_str().bytes().all(plain)
}

/// Whether this peer understands an MCP task. Asked before anything is promised: the library makes a task for an older
/// peer that lists the extension, and turns one into an error for a peer that does not.
pub(crate) fn may_be_a_task(context: &RequestContext<RoleServer>) -> bool {
    context.client_capabilities().is_some_and(|it| it.supports_tasks()) && is_modern(context)
}

/// Whether 2026-07-28 is spoken, or a newer one.
pub(crate) fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    let new = |it: ProtocolVersion| it.as_str() >= ProtocolVersion::V_2026_07_28.as_str();
    context.protocol_version().is_some_and(new)
}

/// The waits that were cancelled here.
#[derive(Debug, Default)]
pub(crate) struct Cancelled(Mutex<HashSet<String>>);

impl Cancelled {
    fn add(&self, id: &str) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= limits::CANCELLED_MAX {
            ids.clear();
        }
        ids.insert(id.to_owned());
    }

    fn has(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// The same set is waited for anew.
    pub(crate) fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// What the daemon knows of it now.
struct Seen {
    tasks: Vec<Task>,
    gone: Vec<TaskId>,
    any: bool,
}

/// `tasks/get`. An id of ours is always answered with a task, whatever became of what it names.
pub(crate) async fn get(shared: &Shared, id: &str) -> Result<GetTaskResult, ErrorData> {
    let (task, tasks) = see(shared, id).await?;
    if let TaskPayload::Completed { .. } = &task.payload {
        tell(shared, &tasks);
    }
    Ok(GetTaskResult::new(task))
}

/// How it stands, for whoever may not pass it on.
pub(crate) async fn look_at(shared: &Shared, id: &str) -> Result<DetailedTask, ErrorData> {
    see(shared, id).await.map(|(task, _)| task)
}

async fn see(shared: &Shared, id: &str) -> Result<(DetailedTask, Vec<Task>), ErrorData> {
    let wait = Wait::from_id(id).ok_or_else(|| unknown(id))?;
    let now = (shared.clock)();
    let looked = async {
        let client = shared.sessions.onlooker()?;
        let seen = look(shared, &client, &wait).await?;
        let payload = payload(shared, &client, id, &seen).await?;
        Ok::<_, ApiError>((seen, payload))
    };
    let (seen, payload) = match looked.await {
        Ok(looked) => looked,
        Err(error) => {
            // Not knowing is not an end: the next look may find the daemon again.
            let task = seed(id, &[], now).with_status_message(sanitise::line(&error.message));
            return Ok((DetailedTask::new(task, TaskPayload::Working), Vec::new()));
        }
    };
    let message = match &payload {
        TaskPayload::Cancelled => "the waiting was stopped; the tasks run on".to_owned(),
        _ => words::short(&status(&seen), 300),
    };
    let task = seed(id, &seen.tasks, now).with_status_message(message);
    Ok((DetailedTask::new(task, payload), seen.tasks))
}

/// The sessions of these have been told how they ended.
fn tell(shared: &Shared, tasks: &[Task]) {
    let sessions: BTreeSet<&str> = tasks.iter().map(|task| task.session.as_str()).collect();
    for session in sessions {
        let claim = SessionClaim { source: MADE_UP.to_owned(), name: session.to_owned() };
        let of_session = tasks.iter().filter(|task| task.session == session);
        let ended = of_session.filter(|task| task.state.is_terminal());
        let tasks = ended.map(|task| task.id.clone()).collect();
        // Without a client there is no receipt, and another way tells it again.
        if let Ok(client) = shared.sessions.client(&claim) {
            shared.receipts.keep(client, AckRequest { ids: Vec::new(), tasks });
        }
    }
}

/// `tasks/cancel`: ends the waiting, not the tasks, as an interrupt does on the command line.
pub(crate) async fn cancel(shared: &Shared, id: &str) -> Result<(), ErrorData> {
    let wait = Wait::from_id(id).ok_or_else(|| unknown(id))?;
    let over = async {
        let seen = look(shared, &shared.sessions.onlooker()?, &wait).await?;
        Ok::<_, ApiError>(is_over(&seen))
    };
    // What has ended stays as it ended; where that cannot be known, nobody waits for it any more.
    if !over.await.unwrap_or(false) {
        shared.cancelled.add(id);
    }
    Ok(())
}

/// `tasks/update`: we ask for nothing, so there is nothing to take.
pub(crate) fn update(id: &str) -> Result<(), ErrorData> {
    Wait::from_id(id).map(|_| ()).ok_or_else(|| unknown(id))
}

/// The task as it is answered first, and the frame of every later answer.
pub(crate) fn seed(id: &str, tasks: &[Task], now: Timestamp) -> McpTask {
    let created = tasks.iter().map(|task| task.created_at).max().unwrap_or(now);
    let moments = |task: &Task| [Some(task.created_at), task.started_at, task.ended_at];
    let updated = tasks.iter().flat_map(moments).flatten().max().unwrap_or(now);
    let many = usize::try_from(limits::SHOWN_MAX).is_ok_and(|most| tasks.len() > most);
    McpTask::new(id, TaskStatus::Working, created.to_string(), updated.to_string())
        .with_poll_interval_ms(if many { limits::POLL_MANY_MS } else { limits::POLL_MS })
}

fn unknown(id: &str) -> ErrorData {
    ErrorData::invalid_params(format!("no task `{}`", words::short(&sanitise::line(id), 80)), None)
}

async fn look(shared: &Shared, client: &Client, wait: &Wait) -> Result<Seen, ApiError> {
    let (ids, any) = match wait {
        Wait::All(ids) => (ids.clone(), false),
        Wait::Any(ids) => (ids.clone(), true),
        // A note that is gone is as if all its tasks were.
        Wait::Set { name, any } => (shared.shelf.ids(name)?.unwrap_or_default(), *any),
        Wait::Group { session, group } => {
            let (session, group) = (Some(session.clone()), Some(group.clone()));
            let query = ListQuery { session, group, ..all() };
            let tasks = client.list(&query).await?.tasks;
            return Ok(Seen { tasks, gone: Vec::new(), any: false });
        }
    };
    let mut tasks = Vec::new();
    for some in ids.chunks(limits::IDS_IN_A_REQUEST) {
        tasks.extend(client.list(&ListQuery { id: some.to_vec(), ..all() }).await?.tasks);
    }
    let known: HashSet<&TaskId> = tasks.iter().map(|task| &task.id).collect();
    let gone = ids.iter().filter(|id| !known.contains(id)).cloned().collect();
    // In the order of the ids; the daemon lists the newest first.
    let places: HashMap<&TaskId, usize> = ids.iter().zip(0..).collect();
    tasks.sort_by_key(|task| places.get(&task.id).copied());
    Ok(Seen { tasks, gone, any })
}

/// Every task there is, whosever it is: what is asked for was handed out by its id.
fn all() -> ListQuery {
    let limit = u32::try_from(limits::WAITED_MAX).ok();
    ListQuery { limit, any_session: true, ..ListQuery::default() }
}

fn is_over(seen: &Seen) -> bool {
    seen.tasks.iter().all(|task| task.state.is_terminal())
        || (seen.any && seen.tasks.iter().any(words::succeeded))
}

async fn payload(
    shared: &Shared,
    client: &Client,
    id: &str,
    seen: &Seen,
) -> Result<TaskPayload, ApiError> {
    if !is_over(seen) {
        let cancelled = shared.cancelled.has(id);
        return Ok(if cancelled { TaskPayload::Cancelled } else { TaskPayload::Working });
    }
    if seen.tasks.is_empty() {
        let message =
            "the records of these tasks have been deleted; how they ended is not known any more";
        let error = object(json!({"code": -32603, "message": message}));
        return Ok(TaskPayload::Failed { error });
    }
    let Seen { tasks, gone, any } = seen;
    let result = digest::ended(client, &Told { tasks, gone, any: *any }).await?;
    let result = serde_json::to_value(&result).expect("an answer holds nothing that JSON cannot");
    Ok(TaskPayload::Completed { result: object(result) })
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// What a person sees beside the waiting: how far it is, and what runs.
pub(crate) fn status_of(tasks: &[Task]) -> String {
    let running = tasks.iter().filter(|task| !task.state.is_terminal());
    let lines: Vec<String> = running.take(3).map(words::line).collect();
    let tally = words::tally(tasks);
    if lines.is_empty() { tally } else { format!("{tally}; {}", lines.join("; ")) }
}

fn status(seen: &Seen) -> String {
    if seen.tasks.is_empty() { "the records are gone".to_owned() } else { status_of(&seen.tasks) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_what_is_waited_for_and_can_be_a_header() {
        let ids = || vec![TaskId::from("0123456789"), TaskId::from("abcdefghjk")];
        for wait in [
            Wait::All(ids()),
            Wait::Any(ids()),
            Wait::Group { session: "a:b%\u{e9}".to_owned(), group: "g 1".to_owned() },
            Wait::Set { name: "0123456789abcdef".repeat(2), any: false },
            Wait::Set { name: "0123456789abcdef".repeat(2), any: true },
        ] {
            let id = wait.id();
            assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
            assert_eq!(Wait::from_id(&id), Some(wait));
        }
    }

    #[test]
    fn what_is_no_id_of_ours_is_told_apart() {
        let too_many = format!("wait:{}", ["0123456789"; 17].join(":"));
        for bad in [
            "",
            "nonexistent",
            "wait:",
            "wait:abc",
            "wait:0123456789:",
            "wait:012345678\u{e9}",
            "any:ABCDEFGHJK",
            "group:",
            "group:a",
            "group:a:%ff",
            "gate-test",
            "set:",
            "set:../../../../etc/passwd0123456789",
            &too_many,
        ] {
            assert_eq!(Wait::from_id(bad), None, "{bad}");
        }
    }
}
