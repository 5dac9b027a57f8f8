//! The exit code that stands for a task.
//!
//! What it is for: `run --wait`, `run --follow` and `follow` end like the task did. What it owns: that mapping. What it
//! never does: make a success of something that was none.

use meanwhile_api::ExitCode;
use meanwhile_api::cause::Cause;
use meanwhile_api::task::{State, Task};

use crate::show::words;

/// What a shell adds to the number of the signal that ended a program.
const SIGNAL_BASE: u8 = 128;

/// Numbers of the signals of Linux by name, in order from 1 (signal(7), asm-generic).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first real-time signal as the C library counts them.
const REALTIME_MIN: u8 = 34;

/// The exit code of a task that has ended.
pub(crate) fn code(task: &Task) -> u8 {
    match &task.cause {
        Some(Cause::SpawnError { exit_code, .. }) => return *exit_code,
        Some(Cause::Timeout { .. } | Cause::IdleTimeout { .. }) => {
            return ExitCode::WaitTimeout.code();
        }
        _ => {}
    }
    if task.state == State::Completed {
        return if words::succeeded(task) { 0 } else { ExitCode::WorkFailed.code() };
    }
    if task.state == State::Interrupted {
        // Nobody knows how it ended: that is our failure, not the task's.
        return ExitCode::OwnFailure.code();
    }
    if let Some(number) = task.signal.as_deref().and_then(signal_number) {
        return SIGNAL_BASE.saturating_add(number);
    }
    match task.exit_code.and_then(|code| u8::try_from(code).ok()) {
        // It was cancelled, or failed for another reason, and still said 0: that is no success.
        Some(0) | None => ExitCode::WorkFailed.code(),
        Some(code) => code,
    }
}

/// The number of a signal: `SIGTERM`, `TERM`, `SIGRTMIN+2`, or the number itself.
fn signal_number(name: &str) -> Option<u8> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if let Some(at) = SIGNALS.iter().position(|signal| *signal == name) {
        return u8::try_from(at + 1).ok();
    }
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = offset.strip_prefix('+').unwrap_or("0");
        return REALTIME_MIN.checked_add(offset.parse().ok()?);
    }
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::sample;
    use meanwhile_api::task::Outcome;

    fn check(state: State, cause: Cause, signal: Option<&str>, exit: Option<i32>, expected: u8) {
        let mut task = sample::task();
        task.state = state;
        task.outcome =
            Some(if state == State::Completed { Outcome::Success } else { Outcome::Failure });
        task.signal = signal.map(str::to_owned);
        task.exit_code = exit;
        let shown = format!("{state:?} {cause:?} {signal:?} {exit:?}");
        task.cause = Some(cause);
        assert_eq!(code(&task), expected, "{shown}");
    }

    #[test]
    fn the_exit_code_is_that_of_the_task() {
        let exit = |code| Cause::Exit { code };
        let signal = |name: &str| Cause::Signal { name: name.to_owned() };
        check(State::Completed, exit(0), None, Some(0), 0);
        check(State::Failed, exit(3), None, Some(3), 3);
        check(State::Failed, signal("SIGKILL"), Some("SIGKILL"), None, 137);
        check(State::Failed, signal("SIGRTMIN+2"), Some("SIGRTMIN+2"), None, 164);
        check(State::Failed, Cause::Oom, Some("SIGKILL"), None, 137);
        check(State::Failed, Cause::Timeout { after: 1 }, Some("SIGTERM"), None, 124);
        check(State::Failed, Cause::IdleTimeout { after: 1 }, None, Some(0), 124);
        let spawn = |exit_code| Cause::SpawnError { message: String::new(), exit_code };
        check(State::Failed, spawn(127), None, None, 127);
        check(State::Failed, spawn(126), None, None, 126);
    }

    #[test]
    fn what_was_no_success_never_exits_0() {
        let by = || Cause::CancelledBy { who: "user".to_owned() };
        check(State::Cancelled, by(), None, Some(0), 1);
        check(State::Cancelled, by(), None, None, 1);
        check(State::Cancelled, by(), Some("SIGTERM"), None, 143);
        check(State::Failed, Cause::LogFull, None, Some(0), 1);
        check(State::Interrupted, Cause::Lost, None, None, 125);
        check(State::Failed, Cause::Dependency { task: "x".into() }, None, None, 1);
        let reported = || Cause::Reported { by: "user".to_owned(), message: None };
        check(State::Completed, reported(), Some("SIGTERM"), None, 0);
        check(State::Failed, reported(), None, None, 1);
    }
}
