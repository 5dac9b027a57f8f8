//! Errors on the wire: a stable code, a message, what to type next, and the exit code.
//!
//! What it is for: every reply that is not a success. What it owns: the list of codes, with the exit code and HTTP
//! status of each. What it never does: carry a secret, or a message that only makes sense in the source.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::ExitCode;

/// Kinds of failure. The strings are stable: programs may match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A value or option that makes no sense (bad duration, regex, label, malformed id).
    Usage,
    /// The body or query could not be read: not JSON, an unknown key, a wrong type.
    BadRequest,
    /// The request body is over the limit.
    TooLarge,
    /// No such path.
    NoSuchRoute,
    /// The path exists with another method.
    WrongMethod,
    /// A well-formed id (or a name) that no kept task has.
    NoSuchTask,
    /// A prefix or name that fits several tasks.
    Ambiguous,
    /// No such group, session, lane or configuration key.
    NotFound,
    /// The caller may not see or change this.
    Forbidden,
    /// A claim to be another session than the one the caller provably belongs to.
    SessionClaim,
    /// Dependencies form a circle.
    Cycle,
    /// Waiting for oneself or an ancestor.
    WaitsForItself,
    /// A limit (queued tasks, depth, descendants ...); `details.setting` names what changes it.
    Limit,
    /// The task's state does not allow it (retry of a running task, extend of an ended one).
    WrongState,
    /// The command certainly cannot start: no such program, a directory, not executable, no such directory.
    CannotStart,
    /// The machine cannot enforce what was asked (a limit, a sandbox).
    Unsupported,
    /// Another rule said no; the message names it.
    Refused,
    /// The client and the daemon have no protocol version in common.
    Protocol,
    /// The daemon is stopping or handing over; connect again.
    Stopping,
    /// No daemon could be reached or started.
    Unreachable,
    /// A daemon accepted the connection and does not answer.
    Unresponsive,
    /// The store cannot be read or written.
    Store,
    /// The disk is full.
    DiskFull,
    /// The time given to wait is over.
    WaitTimeout,
    /// A bug of ours.
    Internal,
    /// A code of a newer daemon that this client does not know.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The exit code that belongs to the kind.
    pub const fn exit(self) -> ExitCode {
        match self {
            ErrorCode::Usage | ErrorCode::BadRequest | ErrorCode::TooLarge => ExitCode::Usage,
            ErrorCode::NoSuchRoute | ErrorCode::WrongMethod => ExitCode::Usage,
            ErrorCode::NoSuchTask | ErrorCode::NotFound => ExitCode::NoSuchTask,
            ErrorCode::Ambiguous
            | ErrorCode::Forbidden
            | ErrorCode::SessionClaim
            | ErrorCode::Cycle
            | ErrorCode::WaitsForItself
            | ErrorCode::Limit
            | ErrorCode::WrongState
            | ErrorCode::CannotStart
            | ErrorCode::Unsupported
            | ErrorCode::Refused
            | ErrorCode::Protocol => ExitCode::Refused,
            ErrorCode::Stopping | ErrorCode::Unreachable | ErrorCode::Unresponsive => {
                ExitCode::Unreachable
            }
            ErrorCode::Store | ErrorCode::DiskFull => ExitCode::StoreUnusable,
            ErrorCode::WaitTimeout => ExitCode::WaitTimeout,
            ErrorCode::Internal | ErrorCode::Unknown => ExitCode::WorkFailed,
        }
    }

    /// The HTTP status a daemon answers with.
    pub const fn http_status(self) -> u16 {
        match self {
            ErrorCode::Usage | ErrorCode::BadRequest => 400,
            ErrorCode::Forbidden | ErrorCode::SessionClaim => 403,
            ErrorCode::NoSuchRoute | ErrorCode::NoSuchTask | ErrorCode::NotFound => 404,
            ErrorCode::WrongMethod => 405,
            ErrorCode::WaitTimeout => 408,
            ErrorCode::Ambiguous
            | ErrorCode::Cycle
            | ErrorCode::WaitsForItself
            | ErrorCode::WrongState
            | ErrorCode::CannotStart
            | ErrorCode::Unsupported
            | ErrorCode::Refused => 409,
            ErrorCode::TooLarge => 413,
            ErrorCode::Protocol => 426,
            ErrorCode::Limit => 429,
            ErrorCode::Internal | ErrorCode::Unknown => 500,
            ErrorCode::Stopping | ErrorCode::Unreachable | ErrorCode::Store => 503,
            ErrorCode::Unresponsive => 504,
            ErrorCode::DiskFull => 507,
        }
    }
}

/// A failure as clients see it. Shown as `error: failed to ...: MESSAGE` and one `hint:` line per hint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApiError {
    /// The stable kind.
    pub code: ErrorCode,
    /// A lower-case fragment that fits after "failed to", names the object and says what is wrong with it.
    pub message: String,
    /// What to type or change next, one sentence each.
    #[serde(default)]
    pub hint: Vec<String>,
    /// What the command line exits with.
    pub exit: ExitCode,
    /// Facts for programs (`task`, `setting`, `line`, `candidates` ...); null when there are none.
    #[serde(default)]
    pub details: Value,
}

/// The body of every reply with an error status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReply {
    /// What went wrong.
    pub error: ApiError,
}

impl ApiError {
    /// A failure of a kind; the exit code follows from it.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ApiError {
        let (message, exit) = (message.into(), code.exit());
        ApiError { code, message, hint: Vec::new(), exit, details: Value::Null }
    }

    /// Adds what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> ApiError {
        self.hint.push(hint.into());
        self
    }

    /// Replaces the exit code that follows from the kind.
    #[must_use]
    pub fn exit(mut self, exit: ExitCode) -> ApiError {
        self.exit = exit;
        self
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> ApiError {
        if !self.details.is_object() {
            self.details = Value::Object(serde_json::Map::new());
        }
        self.details[key] = value.into();
        self
    }

    /// The HTTP status of the reply.
    pub fn http_status(&self) -> u16 {
        self.code.http_status()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_hints_exit_code_and_details() {
        let error = ApiError::new(ErrorCode::Limit, "queue of 100000 tasks is full")
            .hint("wait for tasks to end, or raise `limits.queued`")
            .detail("setting", "limits.queued");
        let json = serde_json::to_string(&ErrorReply { error: error.clone() }).unwrap();
        assert!(json.contains(r#""code":"limit""#) && json.contains(r#""exit":4"#), "{json}");
        assert_eq!(serde_json::from_str::<ErrorReply>(&json).unwrap().error, error);
    }

    #[test]
    fn a_code_of_a_newer_daemon_is_readable() {
        let json = r#"{"code":"from_the_future","message":"m","exit":4}"#;
        let error: ApiError = serde_json::from_str(json).unwrap();
        assert_eq!((error.code, error.exit), (ErrorCode::Unknown, ExitCode::Refused));
    }
}
