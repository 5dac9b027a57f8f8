//! Facts of a task as words.
//!
//! What it is for: the same cause reads the same in `list`, `status`, `wait` and `follow`. What it owns: the wording,
//! the quoting of commands, and the part of an id that suffices. What it never does: colour or align.

use meanwhile_api::Timestamp;
use meanwhile_api::cause::Cause;
use meanwhile_api::task::{Outcome, State, Task, WaitingFor};

use crate::show::{sanitise, when};

/// The fewest characters of a prefix that is accepted as an id.
const PREFIX_MIN: usize = 4;

/// Why an attempt ended, in a few words: `exit 2`, `SIGKILL`, `timeout after 5m`.
pub(crate) fn cause(cause: &Cause) -> String {
    sanitise::line(&cause.words())
}

/// Whether it did its work; a partial success is none.
pub(crate) fn succeeded(task: &Task) -> bool {
    match task.outcome {
        Some(outcome) => outcome == Outcome::Success,
        None => task.state == State::Completed,
    }
}

/// What there is to say beside the state: why it ended, why it waits, how far it is.
pub(crate) fn detail(task: &Task, now: Timestamp) -> String {
    if task.state == State::Completed && task.outcome != Some(Outcome::Partial) {
        let reported = matches!(task.cause, Some(Cause::Reported { .. }));
        return if reported {
            task.cause.as_ref().map(cause).unwrap_or_default()
        } else {
            String::new()
        };
    }
    if let Some(why) = &task.cause {
        return cause(why);
    }
    if let Some(waiting) = &task.waiting_for {
        return sanitise::line(&reason(waiting, now));
    }
    if let Some(stuck) = &task.stuck {
        return sanitise::line(&format!("stuck? {}", stuck.evidence));
    }
    if let Some(prompt) = task.waiting.as_ref().and_then(|waiting| waiting.prompt.as_ref()) {
        return sanitise::line(&format!("asks: {prompt}"));
    }
    if let Some(progress) = &task.progress {
        let message = progress.message.as_deref().unwrap_or_default();
        return sanitise::line(&format!("{:.0} % {message}", progress.percent))
            .trim_end()
            .to_owned();
    }
    match (&task.ready, task.state) {
        (Some(_), State::Running) => "ready".to_owned(),
        _ => String::new(),
    }
}

/// Why it waits; a time is told from now.
fn reason(waiting: &WaitingFor, now: Timestamp) -> String {
    let due = waiting.until.and_then(|due| {
        let head = waiting.text.strip_suffix(&due.to_string())?;
        Some((head.trim_end(), when::relative(due, now)))
    });
    match due {
        Some(("delayed until", due)) => format!("starts {due}"),
        Some((head, due)) => format!("{} {due}", head.trim_end_matches(" at")),
        None => waiting.text.clone(),
    }
}

/// The state for people.
pub(crate) const fn state(state: State) -> &'static str {
    match state {
        State::InputRequired => "needs input",
        other => other.name(),
    }
}

/// The command as one might type it.
pub(crate) fn command(task: &Task) -> String {
    let line = match task.command.as_slice() {
        [shell, flag, line] if flag.as_bytes() == b"-c" && shell.as_bytes().ends_with(b"sh") => {
            line.to_string_lossy().into_owned()
        }
        words => {
            words.iter().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
        }
    };
    sanitise::line(&line)
}

/// What people call it: its name, else its command.
pub(crate) fn title(task: &Task) -> String {
    match &task.name {
        Some(name) => sanitise::line(name),
        None => command(task),
    }
}

/// A word as a shell would need it.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,~".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// How many characters of each id suffice to tell it from the others.
pub(crate) fn sufficient(ids: &[&str]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_unstable_by_key(|at| ids[*at]);
    let mut enough = vec![PREFIX_MIN; ids.len()];
    for pair in order.windows(2) {
        let (one, other) = (ids[pair[0]], ids[pair[1]]);
        let shared = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        for at in pair {
            enough[*at] = enough[*at].max(shared + 1);
        }
    }
    enough
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::sample;
    use meanwhile_api::OsText;

    #[test]
    fn every_cause_is_told_in_words() {
        let check = |why: Cause, text: &str| assert_eq!(cause(&why), text);
        check(Cause::Exit { code: 2 }, "exit 2");
        check(Cause::Signal { name: "SIGKILL".to_owned() }, "SIGKILL");
        check(Cause::Timeout { after: 300_000 }, "timeout after 5m");
        check(Cause::CancelledBy { who: "\u{1b}[2Juser".to_owned() }, "by user");
        let reported =
            Cause::Reported { by: "user".to_owned(), message: Some("ok\nso".to_owned()) };
        check(reported, "reported by user: ok so");
    }

    #[test]
    fn a_delay_is_told_from_now() {
        let check = |text: &str, expected: &str| {
            let due = Timestamp::from_unix_ms(sample::NOW_MS + 240_000);
            let text = format!("{text} {due}");
            let waiting = WaitingFor { text, setting: None, tasks: Vec::new(), until: Some(due) };
            assert_eq!(reason(&waiting, sample::now()), expected);
        };
        check("delayed until", "starts in 4m");
        check("tries again at", "tries again in 4m");
    }

    #[test]
    fn a_command_reads_as_it_was_typed() {
        let check = |words: &[&[u8]], line: &str| {
            let mut task = sample::task();
            task.command = words.iter().map(|word| OsText::from(*word)).collect();
            assert_eq!(command(&task), line);
        };
        check(&[b"cargo", b"test", b"--", b"a b"], "cargo test -- 'a b'");
        check(&[b"echo", b"", b"it's"], r"echo '' 'it'\''s'");
        check(&[b"/bin/sh", b"-c", b"a | b"], "a | b");
        check(&[b"echo", b"\xff\x1b[2J"], "echo '\u{fffd}'");
    }

    #[test]
    fn the_shortest_prefix_that_tells_ids_apart_has_four_characters_at_least() {
        assert_eq!(sufficient(&["abcdefghjk", "abcdezzzzz", "zzzzzzzzzz"]), [6, 6, 4]);
        assert_eq!(sufficient(&["abcdefghjk"]), [4]);
        assert_eq!(sufficient(&[]), [0; 0]);
    }
}
