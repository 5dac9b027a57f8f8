//! The data of log entries in its written form. An entry has a kind (`Fact::name`) and, where there
//! is more to say than the kind, a small JSON object.

use std::time::Duration;

use meanwhile_core::cause::Actor;
use meanwhile_core::event::{End, Exit, Fact};
use meanwhile_core::{SessionId, State, Wall};
use serde::{Deserialize, Serialize};

use super::cause::{cause_from_json, cause_to_json, stop_from_json, stop_to_json};
use super::{from_json, ns, to_json};
use crate::record::Logged;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StartedData {
    pid: u32,
    supervisor_pid: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadyData {
    how: String,
}

/// A change of the running time; also a column of the attempt (there without the deadline).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendedData {
    pub(crate) timeout_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) by: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndedData {
    state: String,
    /// The cause's own JSON as text: entries are read far less often than written.
    cause: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(default, skip_serializing_if = "super::is_default")]
    seat_kept: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadlineNearData {
    deadline_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReboundData {
    session: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequeuedData {
    crashes: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReopenedData {
    by: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedData {
    what: String,
}

/// What the log keeps of a fact.
pub(crate) fn logged(fact: &Fact) -> Logged {
    match fact {
        Fact::Submitted { spec: _, placement: _, order: _, not_before: _ } => Logged::Submitted,
        Fact::Starting { token: _ } => Logged::Starting,
        Fact::Started { pid, supervisor_pid, deadline: _ } => {
            Logged::Started { pid: *pid, supervisor_pid: *supervisor_pid }
        }
        Fact::Ready { how } => Logged::Ready { how: how.clone() },
        Fact::Extended { timeout, deadline, by } => {
            Logged::Extended { timeout: *timeout, deadline: *deadline, by: by.clone() }
        }
        Fact::StopRequested { stop } => Logged::StopRequested { stop: stop.clone() },
        // What is told of it has a table of its own.
        Fact::Ended { end, notice: _ } => {
            let End { state, cause, exit, run: _, seat_kept } = &**end;
            Logged::Ended {
                state: *state,
                cause: cause.clone(),
                exit: *exit,
                seat_kept: *seat_kept,
            }
        }
        Fact::DeadlineNear { deadline, notice: _ } => Logged::DeadlineNear { deadline: *deadline },
        Fact::Rebound { session } => Logged::Rebound { session: session.clone() },
        Fact::Requeued { crashes } => Logged::Requeued { crashes: *crashes },
        Fact::Retried { order: _, not_before: _, by, retries_used: _, lost_retries: _ } => {
            Logged::Retried { by: by.clone() }
        }
        Fact::Emptied => Logged::Emptied,
        Fact::Refused { what } => Logged::Refused { what: what.clone() },
        Fact::Forgotten => Logged::Forgotten,
    }
}

/// Writes the data of an entry; none where the kind says it all.
pub(crate) fn to_data(fact: &Fact) -> Option<String> {
    match logged(fact) {
        Logged::Submitted
        | Logged::Starting
        | Logged::Retried { by: None }
        | Logged::Emptied
        | Logged::Forgotten => None,
        Logged::Started { pid, supervisor_pid } => {
            Some(to_json(&StartedData { pid, supervisor_pid }))
        }
        Logged::Ready { how } => Some(to_json(&ReadyData { how })),
        Logged::Extended { timeout, deadline, by } => Some(to_json(&ExtendedData {
            timeout_ns: timeout.map(ns),
            deadline_ms: deadline.map(|d| d.0),
            by: by.to_text(),
        })),
        Logged::StopRequested { stop } => Some(stop_to_json(&stop)),
        Logged::Ended { state, cause, exit, seat_kept } => Some(to_json(&EndedData {
            state: state.name().into(),
            cause: cause_to_json(&cause),
            code: exit.and_then(exit_code),
            signal: exit.and_then(exit_signal),
            seat_kept,
        })),
        Logged::DeadlineNear { deadline } => {
            Some(to_json(&DeadlineNearData { deadline_ms: deadline.0 }))
        }
        Logged::Rebound { session } => {
            Some(to_json(&ReboundData { session: session.as_str().into() }))
        }
        Logged::Requeued { crashes } => Some(to_json(&RequeuedData { crashes })),
        Logged::Retried { by: Some(by) } => Some(to_json(&ReopenedData { by: by.to_text() })),
        Logged::Refused { what } => Some(to_json(&RefusedData { what })),
    }
}

/// Reads an entry.
pub(crate) fn from_data(kind: &str, data: Option<&str>) -> Result<Logged, String> {
    let json = data.unwrap_or("null");
    Ok(match kind {
        "submitted" => Logged::Submitted,
        "starting" => Logged::Starting,
        "started" => {
            let StartedData { pid, supervisor_pid } = from_json(json)?;
            Logged::Started { pid, supervisor_pid }
        }
        "ready" => {
            let ReadyData { how } = from_json(json)?;
            Logged::Ready { how }
        }
        "extended" => {
            let ExtendedData { timeout_ns, deadline_ms, by } = from_json(json)?;
            Logged::Extended {
                timeout: timeout_ns.map(Duration::from_nanos),
                deadline: deadline_ms.map(Wall),
                by: Actor::from_text(&by),
            }
        }
        "stop_requested" => Logged::StopRequested { stop: stop_from_json(json)? },
        "ended" => {
            let EndedData { state, cause, code, signal, seat_kept } = from_json(json)?;
            Logged::Ended {
                state: State::from_name(&state).ok_or_else(|| format!("no state {state:?}"))?,
                cause: cause_from_json(&cause)?,
                exit: exit_of(code, signal)?,
                seat_kept,
            }
        }
        "deadline_near" => {
            let DeadlineNearData { deadline_ms } = from_json(json)?;
            Logged::DeadlineNear { deadline: Wall(deadline_ms) }
        }
        "rebound" => {
            let ReboundData { session } = from_json(json)?;
            Logged::Rebound { session: SessionId::new(session) }
        }
        "requeued" => {
            let RequeuedData { crashes } = from_json(json)?;
            Logged::Requeued { crashes }
        }
        "retried" => Logged::Retried { by: None },
        "reopened" => {
            let ReopenedData { by } = from_json(json)?;
            Logged::Retried { by: Some(Actor::from_text(&by)) }
        }
        "emptied" => Logged::Emptied,
        "refused" => {
            let RefusedData { what } = from_json(json)?;
            Logged::Refused { what }
        }
        "forgotten" => Logged::Forgotten,
        other => return Err(format!("no kind of event is called {other:?}")),
    })
}

/// The code of an exit, for its column.
pub(crate) const fn exit_code(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) => None,
    }
}

/// The signal of an exit, for its column.
pub(crate) const fn exit_signal(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Code(_) => None,
        Exit::Signal(signal) => Some(signal),
    }
}

/// The exit of both columns.
pub(crate) fn exit_of(code: Option<i32>, signal: Option<i32>) -> Result<Option<Exit>, String> {
    match (code, signal) {
        (None, None) => Ok(None),
        (Some(code), None) => Ok(Some(Exit::Code(code))),
        (None, Some(signal)) => Ok(Some(Exit::Signal(signal))),
        (Some(_), Some(_)) => Err("a process exits with a code or by a signal, not both".into()),
    }
}
