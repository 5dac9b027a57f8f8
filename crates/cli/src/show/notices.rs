//! Notices as people read them.
//!
//! What it is for: `inbox`. What it owns: which facts stand on which line. What it never does: show more of what a task
//! has written than one line.

use std::fmt::Write as _;

use meanwhile_api::Timestamp;
use meanwhile_api::inbox::{Notice, NoticeKind};
use unicode_width::UnicodeWidthStr as _;

use crate::show::paint::Tone;
use crate::show::screen::Screen;
use crate::show::{sanitise, table, when, words};

/// What stands below the id, and how far in.
const INDENT: &str = "  ";
/// A name is shown up to here.
const NAME_MAX: usize = 60;

/// Notices, two or three lines each: what happened, the last thing it printed, what to type.
pub(crate) fn render(notices: &[Notice], now: Timestamp, screen: &Screen) -> String {
    let several =
        notices.first().is_some_and(|first| notices.iter().any(|n| n.session != first.session));
    let mut text = String::new();
    for notice in notices {
        let parts = [
            what(notice, now, screen),
            Some(facts(notice, now)).filter(|facts| !facts.is_empty()),
            several.then(|| format!("session {}", sanitise::line(&notice.session))),
        ];
        let line: Vec<String> = parts.into_iter().flatten().collect();
        writeln!(text, "{}", line.join("  ")).expect("writing to a string cannot fail");
        if let Some(head) = &notice.head {
            line_below(&mut text, &sanitise::line(head), screen, Tone::Plain);
        }
        line_below(&mut text, &sanitise::line(&notice.more), screen, Tone::Faint);
    }
    text
}

fn what(notice: &Notice, now: Timestamp, screen: &Screen) -> Option<String> {
    let id = screen.paint(Tone::Key, notice.task.as_str());
    let (tone, word) = match (notice.kind, notice.deadline) {
        (NoticeKind::Done, _) => (Tone::of(notice.state), words::state(notice.state).to_owned()),
        (NoticeKind::Deadline, Some(deadline)) => {
            (Tone::Attention, format!("its time is over {}", when::relative(deadline, now)))
        }
        (NoticeKind::Deadline, None) => (Tone::Attention, "its time is nearly over".to_owned()),
    };
    let name = notice.name.as_deref().map(|name| table::cut(&sanitise::line(name), NAME_MAX));
    let name = name.map(|name| format!("  {}", screen.paint(Tone::Strong, &name)));
    Some(format!("{id}  {}{}", screen.paint(tone, &word), name.unwrap_or_default()))
}

fn facts(notice: &Notice, now: Timestamp) -> String {
    let said = notice.cause.as_ref().map(words::cause);
    let cause = said.filter(|_| notice.state != meanwhile_api::task::State::Completed);
    let ran = notice.duration_ms.map(when::duration);
    let attempt = (notice.attempt > 1).then(|| format!("attempt {}", notice.attempt));
    let at = when::relative(notice.at, now);
    let parts: Vec<String> = cause.into_iter().chain(ran).chain(attempt).chain([at]).collect();
    parts.join(", ")
}

fn line_below(text: &mut String, line: &str, screen: &Screen, tone: Tone) {
    let room = screen.width.map(|width| width.saturating_sub(INDENT.width()));
    let line = room.map_or_else(|| line.to_owned(), |room| table::cut(line, room));
    writeln!(text, "{INDENT}{}", screen.paint(tone, &line))
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::sample;
    use meanwhile_api::cause::Cause;
    use meanwhile_api::task::State;

    fn notice() -> Notice {
        Notice {
            id: "7f3kq9x2mn.1.done".to_owned(),
            kind: NoticeKind::Done,
            task: "7f3kq9x2mn".into(),
            attempt: 1,
            name: Some("unit tests".to_owned()),
            session: "user".to_owned(),
            group: None,
            state: State::Failed,
            cause: Some(Cause::Exit { code: 101 }),
            duration_ms: Some(192_000),
            head: Some("test result: FAILED. 3 passed; 1 failed".to_owned()),
            more: "meanwhile output 7f3kq9x2mn".to_owned(),
            at: Timestamp::from_unix_ms(sample::NOW_MS - 60_000),
            deadline: None,
        }
    }

    #[test]
    fn a_notice_says_what_happened_what_it_printed_and_what_to_type() {
        let mut done = notice();
        (done.state, done.cause, done.name) =
            (State::Completed, Some(Cause::Exit { code: 0 }), None);
        (done.head, done.attempt) = (None, 2);
        let mut near = notice();
        near.kind = NoticeKind::Deadline;
        (near.state, near.cause, near.duration_ms) = (State::Running, None, None);
        near.deadline = Some(Timestamp::from_unix_ms(sample::NOW_MS + 180_000));
        near.more = "meanwhile extend 7f3kq9x2mn 10m".to_owned();
        let text = render(&[notice(), done, near], sample::now(), &Screen::PLAIN);
        let expected = "\
7f3kq9x2mn  failed  unit tests  exit 101, 3m 12s, 1m ago
  test result: FAILED. 3 passed; 1 failed
  meanwhile output 7f3kq9x2mn
7f3kq9x2mn  completed  3m 12s, attempt 2, 1m ago
  meanwhile output 7f3kq9x2mn
7f3kq9x2mn  its time is over in 3m  unit tests  1m ago
  test result: FAILED. 3 passed; 1 failed
  meanwhile extend 7f3kq9x2mn 10m
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_a_task_has_written_cannot_command_the_terminal() {
        let mut hostile = notice();
        hostile.head = Some("\u{1b}]0;owned\u{7}a\u{202e}b\nc\u{9b}2J".to_owned());
        hostile.name = Some("\u{1b}[2Jx".to_owned());
        let text = render(&[hostile], sample::now(), &Screen::PLAIN);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
