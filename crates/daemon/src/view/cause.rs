//! Causes and signals in the words of the wire.

use std::time::Duration;

use meanwhile_api::cause::Cause as Wire;
use meanwhile_core::cause::{Actor, Cause, SpawnStage};

use super::wire_id;

/// The `cause` object.
#[must_use]
pub fn cause(cause: &Cause) -> Wire {
    match cause {
        Cause::Exit { code } => Wire::Exit { code: *code },
        Cause::Signal { number } => Wire::Signal { name: signal_name(*number) },
        Cause::Timeout { after } => Wire::Timeout { after: ms(*after) },
        Cause::IdleTimeout { after } => Wire::IdleTimeout { after: ms(*after) },
        Cause::Stalled { after } => Wire::Stalled { after: ms(*after) },
        Cause::SpawnError { stage, errno, what } => Wire::SpawnError {
            message: spawn_message(*stage, *errno, what),
            exit_code: spawn_exit(*stage, *errno),
        },
        Cause::OutOfMemory { limit: _ } => Wire::Oom,
        Cause::PidsLimit { limit } => Wire::PidsLimit { limit: *limit },
        Cause::LogFull => Wire::LogFull,
        Cause::Lost => Wire::Lost,
        Cause::Reboot => Wire::Reboot,
        Cause::Dependency { task } => Wire::Dependency { task: wire_id(*task) },
        Cause::EmptyResult => Wire::EmptyResult,
        Cause::AgentError { message, retryable } => {
            Wire::AgentError { message: message.clone(), retryable: *retryable }
        }
        Cause::PermissionDenied { what } => Wire::PermissionDenied { what: what.clone() },
        Cause::Loop { tool, count } => Wire::Loop { tool: tool.clone(), count: *count },
        Cause::Budget { limit, used } => Wire::Budget { limit: limit.clone(), used: used.clone() },
        Cause::Poison { crashes } => Wire::Poison { crashes: *crashes },
        Cause::Unkillable => Wire::Unkillable,
        Cause::CancelledBy { who } => Wire::CancelledBy { who: actor(who) },
        Cause::Reported { by, message } => Wire::Reported {
            by: actor(by),
            message: Some(message.clone()).filter(|message| !message.is_empty()),
        },
    }
}

/// Who did something, in a word or two.
#[must_use]
pub(crate) fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Person => "user".into(),
        Actor::Session(session) => session.to_string(),
        Actor::Task(task) => format!("task {task}"),
        Actor::Rule(rule) => (*rule).into(),
        Actor::Other(text) => text.strip_prefix("rule ").unwrap_or(text).to_owned(),
    }
}

/// What a shell would exit with for a program that cannot be started: see bash(1), EXIT STATUS.
fn spawn_exit(stage: SpawnStage, errno: i32) -> u8 {
    use rustix::io::Errno;
    match stage {
        SpawnStage::Exec if errno == Errno::NOENT.raw_os_error() => 127,
        SpawnStage::Exec => 126,
        SpawnStage::Prepare | SpawnStage::Stdin | SpawnStage::Cwd | SpawnStage::Limits => 1,
    }
}

fn spawn_message(stage: SpawnStage, errno: i32, what: &str) -> String {
    let error = std::io::Error::from_raw_os_error(errno);
    // The number is for programs; `os error 2` behind the words is noise for people.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    match (what, errno) {
        ("", _) => format!("{}: {text}", stage.name()),
        (what, 0) => what.to_owned(),
        (what, _) => format!("{what}: {text}"),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `SIGTERM` and its like; real-time signals by their distance from the first.
#[must_use]
pub fn signal_name(number: i32) -> String {
    let known = usize::try_from(number).ok().and_then(|n| NAMES.get(n.checked_sub(1)?));
    match known {
        Some(name) => format!("SIG{name}"),
        // 32 and 33 are the C library's own; programs see 34 as the first (signal(7)).
        None if (34..=64).contains(&number) => format!("SIGRTMIN+{}", number - 34),
        None => format!("signal {number}"),
    }
}

/// Signals 1 to 31 as Linux numbers them on x86, ARM and most others (signal(7)).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
