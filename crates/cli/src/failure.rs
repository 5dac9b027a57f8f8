//! What ends a command early, and how it is told.
//!
//! What it is for: every command returns one type. What it owns: the wording around an error (`error:` and `hint:`
//! lines, or one JSON document) and the exit code. What it never does: decide what went wrong (the api's errors do).

use std::io::{self, Write as _};

use meanwhile_api::error::ErrorReply;
use meanwhile_api::{ApiError, ErrorCode, ExitCode};

use crate::show::paint::Tone;
use crate::show::sanitise;
use crate::show::screen::Screen;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong; the fragment says what was to be done, as in "failed to launch the task".
    Error { doing: Option<&'static str>, error: ApiError },
    /// The task could not be started: its exit code stands even where the codes are the task's.
    OfTheTask { doing: Option<&'static str>, error: ApiError },
    /// A plain fact that ends the command: "no daemon runs".
    Fact(ApiError),
    /// Whoever read our standard output is gone, which is no failure of theirs.
    ReaderGone,
    /// A person interrupted a wait; what there is to say was said.
    Interrupted,
}

/// What a shell sees of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

impl Failure {
    /// A misuse of the command line, with an example.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        ApiError::new(ErrorCode::Usage, message).hint(hint).into()
    }

    /// Says what was to be done.
    #[must_use]
    pub(crate) fn doing(self, doing: &'static str) -> Failure {
        match self {
            Failure::Error { error, doing: None } => Failure::Error { doing: Some(doing), error },
            Failure::OfTheTask { error, doing: None } => {
                Failure::OfTheTask { doing: Some(doing), error }
            }
            other => other,
        }
    }

    /// For `run --wait` and `follow`: the exit codes are the task's, so that ours are all 125, but for misuse.
    #[must_use]
    pub(crate) fn of_ours(self) -> Failure {
        match self {
            Failure::Error { doing, error } if error.exit != ExitCode::Usage => {
                Failure::Error { doing, error: error.exit(ExitCode::OwnFailure) }
            }
            other => other,
        }
    }

    /// Marks a failure whose exit code is the task's.
    #[must_use]
    pub(crate) fn of_the_task(self) -> Failure {
        match self {
            Failure::Error { doing, error } => Failure::OfTheTask { doing, error },
            other => other,
        }
    }

    /// What went wrong, as a part of a longer answer.
    pub(crate) fn message(&self) -> &str {
        match self {
            Failure::Error { error, .. }
            | Failure::OfTheTask { error, .. }
            | Failure::Fact(error) => &error.message,
            Failure::ReaderGone => "nobody reads the answer",
            Failure::Interrupted => "interrupted",
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Error { error, .. }
            | Failure::OfTheTask { error, .. }
            | Failure::Fact(error) => error.exit.code(),
            Failure::ReaderGone => ExitCode::Ok.code(),
            Failure::Interrupted => INTERRUPTED,
        }
    }

    /// Says it on standard error.
    pub(crate) fn report(&self, json: bool, screen: &Screen) {
        let (doing, error) = match self {
            Failure::Error { doing, error } | Failure::OfTheTask { doing, error } => (doing, error),
            Failure::Fact(error) => (&None, error),
            Failure::ReaderGone | Failure::Interrupted => return,
        };
        let text = if json {
            let reply = ErrorReply { error: error.clone() };
            serde_json::to_string(&reply).expect("an error holds nothing that JSON cannot") + "\n"
        } else {
            for_people(*doing, error, screen)
        };
        // Nobody is left to be told when standard error is closed.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn for_people(doing: Option<&str>, error: &ApiError, screen: &Screen) -> String {
    // Misuse of the command line failed to do nothing: it is told as it is.
    let doing = doing.filter(|_| error.code != ErrorCode::Usage);
    let doing = doing.map(|doing| format!("failed to {doing}: ")).unwrap_or_default();
    let head = screen.paint(Tone::Bad, "error:");
    let mut text = format!("{head} {doing}{}\n", sanitise::line(&error.message));
    for hint in &error.hint {
        let head = screen.paint(Tone::Attention, "hint:");
        text.push_str(&format!("{head} {}\n", sanitise::line(hint)));
    }
    text
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure::Error { doing: None, error }
    }
}

/// Only writes to standard output and reads of files named on the command line come this way.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::ReaderGone;
        }
        ApiError::new(ErrorCode::Internal, format!("write the answer: {error}")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_lines_that_no_task_can_forge() {
        let error =
            ApiError::new(ErrorCode::NoSuchTask, "no task \u{1b}[2J`a\nb`").hint("list them");
        assert_eq!(
            for_people(Some("show the task"), &error, &Screen::PLAIN),
            "error: failed to show the task: no task `a b`\nhint: list them\n"
        );
    }

    #[test]
    fn failures_of_ours_are_told_apart_from_those_of_the_task() {
        let error = |code| Failure::from(ApiError::new(code, "x")).of_ours().code();
        assert_eq!(error(ErrorCode::Unreachable), 125);
        assert_eq!(error(ErrorCode::Usage), 2);
        assert_eq!(Failure::ReaderGone.of_ours().code(), 0);
    }
}
