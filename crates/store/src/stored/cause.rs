//! Causes and wishes to stop, in their written form: `{"kind": "exit", "code": 1}`.

use std::time::Duration;

use meanwhile_core::cause::{Actor, Cause, SpawnStage};
use meanwhile_core::event::Stop;
use serde::{Deserialize, Serialize};

use super::ns;

/// A cause; the kind is `Cause::kind`'s word.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum CauseRecord {
    Exit { code: i32 },
    Signal { number: i32 },
    Timeout { after_ns: u64 },
    IdleTimeout { after_ns: u64 },
    Stalled { after_ns: u64 },
    SpawnError { stage: String, errno: i32, what: String },
    Oom { limit: Option<u64> },
    PidsLimit { limit: u64 },
    LogFull,
    Lost,
    Reboot,
    Dependency { task: String },
    EmptyResult,
    AgentError { message: String, retryable: bool },
    PermissionDenied { what: String },
    Loop { tool: String, count: u32 },
    Budget { limit: String, used: String },
    Poison { crashes: u32 },
    Unkillable,
    CancelledBy { who: String },
    Reported { by: String, message: String },
}

/// A wish that an attempt end.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum StopRecord {
    Cancel { by: String },
    Report { by: String, failed: bool, message: String },
}

/// Writes a cause.
pub(crate) fn cause_to_json(cause: &Cause) -> String {
    super::to_json(&CauseRecord::from(cause))
}

/// Reads a cause.
pub(crate) fn cause_from_json(json: &str) -> Result<Cause, String> {
    super::from_json::<CauseRecord>(json)?.into_core()
}

/// Writes a stop.
pub(crate) fn stop_to_json(stop: &Stop) -> String {
    super::to_json(&match stop {
        Stop::Cancel { by } => StopRecord::Cancel { by: by.to_text() },
        Stop::Report { by, failed, message } => {
            StopRecord::Report { by: by.to_text(), failed: *failed, message: message.clone() }
        }
    })
}

/// Reads a stop.
pub(crate) fn stop_from_json(json: &str) -> Result<Stop, String> {
    Ok(match super::from_json::<StopRecord>(json)? {
        StopRecord::Cancel { by } => Stop::Cancel { by: Actor::from_text(&by) },
        StopRecord::Report { by, failed, message } => {
            Stop::Report { by: Actor::from_text(&by), failed, message }
        }
    })
}

impl From<&Cause> for CauseRecord {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::Exit { code } => Self::Exit { code: *code },
            Cause::Signal { number } => Self::Signal { number: *number },
            Cause::Timeout { after } => Self::Timeout { after_ns: ns(*after) },
            Cause::IdleTimeout { after } => Self::IdleTimeout { after_ns: ns(*after) },
            Cause::Stalled { after } => Self::Stalled { after_ns: ns(*after) },
            Cause::SpawnError { stage, errno, what } => {
                Self::SpawnError { stage: stage.name().into(), errno: *errno, what: what.clone() }
            }
            Cause::OutOfMemory { limit } => Self::Oom { limit: *limit },
            Cause::PidsLimit { limit } => Self::PidsLimit { limit: *limit },
            Cause::LogFull => Self::LogFull,
            Cause::Lost => Self::Lost,
            Cause::Reboot => Self::Reboot,
            Cause::Dependency { task } => Self::Dependency { task: task.to_string() },
            Cause::EmptyResult => Self::EmptyResult,
            Cause::AgentError { message, retryable } => {
                Self::AgentError { message: message.clone(), retryable: *retryable }
            }
            Cause::PermissionDenied { what } => Self::PermissionDenied { what: what.clone() },
            Cause::Loop { tool, count } => Self::Loop { tool: tool.clone(), count: *count },
            Cause::Budget { limit, used } => {
                Self::Budget { limit: limit.clone(), used: used.clone() }
            }
            Cause::Poison { crashes } => Self::Poison { crashes: *crashes },
            Cause::Unkillable => Self::Unkillable,
            Cause::CancelledBy { who } => Self::CancelledBy { who: who.to_text() },
            Cause::Reported { by, message } => {
                Self::Reported { by: by.to_text(), message: message.clone() }
            }
        }
    }
}

impl CauseRecord {
    fn into_core(self) -> Result<Cause, String> {
        Ok(match self {
            Self::Exit { code } => Cause::Exit { code },
            Self::Signal { number } => Cause::Signal { number },
            Self::Timeout { after_ns } => Cause::Timeout { after: Duration::from_nanos(after_ns) },
            Self::IdleTimeout { after_ns } => {
                Cause::IdleTimeout { after: Duration::from_nanos(after_ns) }
            }
            Self::Stalled { after_ns } => Cause::Stalled { after: Duration::from_nanos(after_ns) },
            Self::SpawnError { stage, errno, what } => {
                let stage = SpawnStage::ALL
                    .into_iter()
                    .find(|s| s.name() == stage)
                    .ok_or_else(|| format!("no stage of a start is called {stage:?}"))?;
                Cause::SpawnError { stage, errno, what }
            }
            Self::Oom { limit } => Cause::OutOfMemory { limit },
            Self::PidsLimit { limit } => Cause::PidsLimit { limit },
            Self::LogFull => Cause::LogFull,
            Self::Lost => Cause::Lost,
            Self::Reboot => Cause::Reboot,
            Self::Dependency { task } => Cause::Dependency {
                task: task.parse().map_err(|e| format!("a cause names the task {task:?}: {e}"))?,
            },
            Self::EmptyResult => Cause::EmptyResult,
            Self::AgentError { message, retryable } => Cause::AgentError { message, retryable },
            Self::PermissionDenied { what } => Cause::PermissionDenied { what },
            Self::Loop { tool, count } => Cause::Loop { tool, count },
            Self::Budget { limit, used } => Cause::Budget { limit, used },
            Self::Poison { crashes } => Cause::Poison { crashes },
            Self::Unkillable => Cause::Unkillable,
            Self::CancelledBy { who } => Cause::CancelledBy { who: Actor::from_text(&who) },
            Self::Reported { by, message } => {
                Cause::Reported { by: Actor::from_text(&by), message }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_kind_is_the_word_everybody_uses() {
        for (cause, json) in [
            (Cause::Exit { code: -1 }, r#"{"kind":"exit","code":-1}"#),
            (Cause::OutOfMemory { limit: None }, r#"{"kind":"oom","limit":null}"#),
            (Cause::LogFull, r#"{"kind":"log_full"}"#),
            (
                Cause::Timeout { after: Duration::from_millis(1500) },
                r#"{"kind":"timeout","after_ns":1500000000}"#,
            ),
            (
                Cause::CancelledBy { who: Actor::Person },
                r#"{"kind":"cancelled_by","who":"person"}"#,
            ),
        ] {
            assert_eq!(cause_to_json(&cause), json);
            assert!(json.contains(&format!("\"{}\"", cause.kind())));
            assert_eq!(cause_from_json(json), Ok(cause));
        }
    }

    #[test]
    fn what_is_not_a_cause_is_damage() {
        for json in [
            "",
            "{}",
            r#"{"kind":"exit"}"#,
            r#"{"kind":"exit","code":1,"x":2}"#,
            r#"{"kind":"dependency","task":"nope"}"#,
            r#"{"kind":"spawn_error","stage":"x","errno":1,"what":""}"#,
        ] {
            assert!(cause_from_json(json).is_err(), "{json}");
        }
    }
}
