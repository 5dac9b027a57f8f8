//! Exit codes: what the command line tells the shell.
//!
//! What it is for: one documented list, so that an error carries its exit code from where it arises. What it owns: the
//! enum. What it never does: exit. `run --wait` and `follow` otherwise pass on the task's own code.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a command of ours ends as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitCode {
    /// 0: it did what was asked.
    Ok,
    /// 1: the work (a task) did not succeed.
    WorkFailed,
    /// 2: usage: a bad option, duration, size, regex, label or malformed id.
    Usage,
    /// 3: no such task.
    NoSuchTask,
    /// 4: refused by a rule; the message names the rule and the setting that changes it.
    Refused,
    /// 5: the daemon is unreachable and could not be started, or does not answer.
    Unreachable,
    /// 6: the store is unusable.
    StoreUnusable,
    /// 124: timed out waiting.
    WaitTimeout,
    /// 125: in `run --wait` and `follow`, a failure of ours rather than the task's.
    OwnFailure,
    /// 126: the program exists and cannot be executed.
    NotExecutable,
    /// 127: there is no such program.
    NotFound,
}

impl ExitCode {
    /// The number for the shell.
    pub const fn code(self) -> u8 {
        match self {
            ExitCode::Ok => 0,
            ExitCode::WorkFailed => 1,
            ExitCode::Usage => 2,
            ExitCode::NoSuchTask => 3,
            ExitCode::Refused => 4,
            ExitCode::Unreachable => 5,
            ExitCode::StoreUnusable => 6,
            ExitCode::WaitTimeout => 124,
            ExitCode::OwnFailure => 125,
            ExitCode::NotExecutable => 126,
            ExitCode::NotFound => 127,
        }
    }

    /// From a number; one that a newer daemon invented reads as [`ExitCode::WorkFailed`].
    pub const fn from_code(code: u8) -> ExitCode {
        match code {
            0 => ExitCode::Ok,
            2 => ExitCode::Usage,
            3 => ExitCode::NoSuchTask,
            4 => ExitCode::Refused,
            5 => ExitCode::Unreachable,
            6 => ExitCode::StoreUnusable,
            124 => ExitCode::WaitTimeout,
            125 => ExitCode::OwnFailure,
            126 => ExitCode::NotExecutable,
            127 => ExitCode::NotFound,
            _ => ExitCode::WorkFailed,
        }
    }
}

impl Serialize for ExitCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

impl<'de> Deserialize<'de> for ExitCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ExitCode, D::Error> {
        u8::deserialize(deserializer).map(ExitCode::from_code)
    }
}

impl JsonSchema for ExitCode {
    fn schema_name() -> Cow<'static, str> {
        "ExitCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer",
            "enum": [0, 1, 2, 3, 4, 5, 6, 124, 125, 126, 127],
            "description": "The exit code of the command line: 0 ok, 1 the work did not succeed, 2 usage, 3 no such \
                            task, 4 refused by a rule, 5 daemon unreachable, 6 store unusable, 124 timed out waiting, \
                            125 a failure of ours in run --wait and follow, 126 not executable, 127 not found."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_survives_the_wire() {
        for code in [0, 1, 2, 3, 4, 5, 6, 124, 125, 126, 127] {
            assert_eq!(ExitCode::from_code(code).code(), code);
        }
        assert_eq!(ExitCode::from_code(77), ExitCode::WorkFailed);
    }
}
