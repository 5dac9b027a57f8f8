//! A delivery in words: the JSON of webhooks and commands, and one line for people.
//!
//! Owns their form, which receivers rely on: keys are added, never changed. Everything a task has named or printed is data
//! without control characters; the last line a task has printed is in it only where it was asked for.

use meanwhile_api::cause::Cause;
use meanwhile_api::inbox::{Notice, NoticeKind};
use meanwhile_api::sanitise;
use meanwhile_api::task::State;
use serde_json::{Value, json};

/// The version of the form.
const VERSION: u32 = 1;
/// Tasks that a line names.
const NAMED: usize = 5;
/// Characters of a name in a line.
const NAME_CHARS: usize = 60;

/// What kind of delivery it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Notices.
    Notices,
    /// Somebody tries whether it arrives.
    Test,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Notices => "notices",
            Self::Test => "test",
        }
    }
}

/// The document.
pub(super) fn document(kind: Kind, id: &str, attempt: u32, notices: &[Notice]) -> Value {
    json!({
        "version": VERSION,
        "type": kind.name(),
        "id": id,
        "attempt": attempt,
        "text": line(kind, notices),
        "notices": notices,
    })
}

/// What it says in one line.
pub(super) fn line(kind: Kind, notices: &[Notice]) -> String {
    if kind == Kind::Test {
        return "A test: notices of background tasks arrive here.".into();
    }
    let bad: Vec<&Notice> = notices.iter().filter(|notice| is_bad(notice)).collect();
    let rest = notices.iter().filter(|notice| !is_bad(notice));
    let named: Vec<String> = bad.iter().copied().chain(rest).take(NAMED).map(entry).collect();
    let mut text = named.join("; ");
    if notices.len() > NAMED {
        text.push_str(&format!("; and {} more", notices.len() - NAMED));
    }
    if notices.len() == 1 {
        return sanitise::line(&text);
    }
    let failed = match bad.len() {
        0 => String::new(),
        bad => format!(", {bad} need a look"),
    };
    sanitise::line(&format!("{} background tasks{failed}: {text}", notices.len()))
}

/// Whether somebody should look at it.
pub(super) fn is_bad(notice: &Notice) -> bool {
    match notice.kind {
        NoticeKind::Deadline => true,
        NoticeKind::Done => matches!(notice.state, State::Failed | State::Interrupted),
    }
}

fn entry(notice: &Notice) -> String {
    let name = match &notice.name {
        Some(name) if name.chars().count() > NAME_CHARS => {
            name.chars().take(NAME_CHARS - 1).chain(['…']).collect()
        }
        Some(name) => name.clone(),
        None => notice.task.as_str().to_owned(),
    };
    if notice.kind == NoticeKind::Deadline {
        return format!("{name} is near its deadline");
    }
    let cause = notice.cause.as_ref().filter(|_| is_bad(notice)).map(Cause::words);
    let ran = notice.duration_ms.map(|ms| meanwhile_api::Span::from_ms(ms).to_string());
    let facts: Vec<String> = cause.into_iter().chain(ran).collect();
    match facts.is_empty() {
        true => format!("{name} {}", notice.state.name()),
        false => format!("{name} {} ({})", notice.state.name(), facts.join(", ")),
    }
}
