//! One task in full.
//!
//! What it is for: `status ID`. What it owns: which facts are shown, in which order, under which heading. What it never
//! does: show a fact that is absent.

use std::fmt::Write as _;

use meanwhile_api::task::{Held, Limit, Limits, State, Task};
use meanwhile_api::{OsText, Timestamp};

use crate::show::paint::Tone;
use crate::show::screen::Screen;
use crate::show::table::{self, Cell, Column};
use crate::show::{sanitise, when, words};

/// The width of the headings.
const HEADINGS: usize = 11;

struct Card<'a> {
    text: String,
    now: Timestamp,
    screen: &'a Screen,
}

/// The task as a block of lines.
pub(crate) fn render(task: &Task, now: Timestamp, screen: &Screen) -> String {
    let mut card = Card { text: String::new(), now, screen };
    let id = screen.paint(Tone::Key, task.id.as_str());
    let title = words::title(task);
    let title = if task.name.is_some() { title } else { String::new() };
    card.text =
        format!("{id}  {}", screen.paint(Tone::Strong, &title)).trim_end().to_owned() + "\n";
    card.state(task);
    card.what(task);
    card.times(task);
    card.place(task);
    card.machine(task);
    card.attempts(task);
    card.next(task);
    card.text
}

impl Card<'_> {
    fn line(&mut self, heading: &str, text: &str) {
        let padded = format!("{heading:<HEADINGS$}");
        let heading = self.screen.paint(Tone::Faint, &padded);
        writeln!(self.text, "  {heading}{text}").expect("writing to a string cannot fail");
    }

    /// A line of text that somebody else chose.
    fn foreign(&mut self, heading: &str, text: &str) {
        self.line(heading, &sanitise::line(text));
    }

    fn state(&mut self, task: &Task) {
        let mut text =
            self.screen.paint(Tone::of(task.state), words::state(task.state)).to_string();
        let detail = words::detail(task, self.now);
        if !detail.is_empty() {
            write!(text, ": {detail}").expect("writing to a string cannot fail");
        }
        self.line("state", &text);
        if let Some(waiting) = &task.waiting_for {
            if let Some(until) = waiting.until {
                self.line("starts", &self.time(until));
            }
            if let Some(setting) = &waiting.setting {
                let hint = format!("meanwhile config set {setting} N");
                self.line("to change", &sanitise::line(&hint));
            }
        }
        if let Some(waiting) = &task.waiting {
            self.line("waiting", &format!("since {}", self.time(waiting.since)));
        }
        for question in task.questions.iter().flatten().filter(|question| question.answer.is_none())
        {
            self.foreign("asks", &format!("{} ({})", question.text, question.id));
        }
        if let Some(ready) = &task.ready {
            let text = format!("{} ({})", self.time(ready.at), ready.how);
            self.foreign("ready", &text);
        }
        if let Some(result) = &task.result {
            let shown = sanitise::block(result).trim_end().replace('\n', "\n             ");
            self.line("result", &shown);
        }
    }

    fn what(&mut self, task: &Task) {
        self.line("command", &words::command(task));
        self.foreign("directory", &task.cwd.to_string_lossy());
        if let Some(log) = &task.log {
            let dropped = match log.dropped_bytes {
                0 => String::new(),
                dropped => format!(", {} of it dropped", when::bytes(dropped)),
            };
            let text = format!("{} ({}{dropped})", path(&log.path), when::bytes(log.bytes));
            self.line("log", &text);
        }
    }

    fn times(&mut self, task: &Task) {
        self.line("created", &self.time(task.created_at));
        if let Some(started) = task.started_at {
            self.line("started", &self.time(started));
        }
        if let Some(ended) = task.ended_at {
            self.line("ended", &self.time(ended));
        }
        if let Some(ms) = task.duration_ms {
            let running = if task.state.is_terminal() { "" } else { " so far" };
            self.line("time", &format!("{}{running}", when::duration(ms)));
        }
        if let Some(deadline) = task.deadline {
            self.line("deadline", &self.time(deadline));
        }
    }

    fn place(&mut self, task: &Task) {
        let mut lane = task.lane.clone();
        if task.priority != 0 {
            write!(lane, ", priority {}", task.priority).expect("writing to a string cannot fail");
        }
        if let Some(position) = task.queue_position {
            write!(lane, ", position {position}").expect("writing to a string cannot fail");
        }
        self.foreign("lane", &lane);
        self.foreign("session", &task.session);
        if let Some(group) = &task.group {
            self.foreign("group", group);
        }
        if !task.labels.is_empty() {
            let labels: Vec<String> =
                task.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            self.foreign("labels", &labels.join(" "));
        }
        if let Some(parent) = &task.parent {
            self.line("parent", parent.as_str());
        }
        if !task.children.is_empty() {
            let ids: Vec<&str> = task.children.iter().map(|id| id.as_str()).collect();
            self.line("children", &ids.join(" "));
        }
    }

    fn machine(&mut self, task: &Task) {
        match (task.pid, task.supervisor_pid) {
            (Some(pid), Some(supervisor)) => {
                self.line("process", &format!("{pid} (supervisor {supervisor})"));
            }
            (Some(pid), None) => self.line("process", &pid.to_string()),
            (None, Some(supervisor)) => {
                self.line("process", &format!("none (supervisor {supervisor})"))
            }
            (None, None) => {}
        }
        if let Some(limits) = &task.limits {
            self.line("limits", &limits_text(limits));
        }
        if let Some(leaked) = &task.leaked {
            let names: Vec<String> = leaked
                .processes
                .iter()
                .map(|process| format!("{} {}", process.pid, process.command.to_string_lossy()))
                .collect();
            let fate = if leaked.kept { "left alive" } else { "killed" };
            let noun = if leaked.count == 1 { "process" } else { "processes" };
            let text = format!("{} {noun}, {fate}: {}", leaked.count, names.join(", "));
            self.foreign("leaked", &text);
        }
    }

    fn attempts(&mut self, task: &Task) {
        if task.attempts.len() < 2 {
            return;
        }
        let columns = [
            Column::right("  ATTEMPT"),
            Column::left("STATE"),
            Column::elastic("CAUSE", 12),
            Column::right("AGE"),
            Column::right("TIME"),
        ];
        let row = |attempt: &meanwhile_api::task::Attempt| {
            vec![
                Cell::new(attempt.number.to_string()),
                Cell::toned(Tone::of(attempt.state), words::state(attempt.state)),
                Cell::new(attempt.cause.as_ref().map(words::cause).unwrap_or_default()),
                Cell::new(
                    attempt.started_at.map(|at| when::relative(at, self.now)).unwrap_or_default(),
                ),
                Cell::new(attempt.duration_ms.map(when::duration).unwrap_or_default()),
            ]
        };
        let rows: Vec<Vec<Cell>> = task.attempts.iter().map(row).collect();
        self.text.push_str(&table::render(&columns, &rows, self.screen));
    }

    /// What one may type next. Programs that read a pipe need no advice.
    fn next(&mut self, task: &Task) {
        if !self.screen.terminal {
            return;
        }
        let id = task.id.as_str();
        let advice = match task.state {
            State::Queued | State::Starting | State::Running | State::InputRequired => {
                format!("meanwhile follow {id}    meanwhile wait {id}    meanwhile cancel {id}")
            }
            State::Completed => format!("meanwhile output {id}"),
            State::Failed | State::Cancelled | State::Interrupted => {
                format!("meanwhile output {id} --tail 20    meanwhile retry {id}")
            }
        };
        self.line("next", &self.screen.paint(Tone::Faint, &advice).to_string());
    }

    fn time(&self, at: Timestamp) -> String {
        format!("{at} ({})", when::relative(at, self.now))
    }
}

fn path(path: &OsText) -> String {
    sanitise::line(&path.to_string_lossy())
}

fn limits_text(limits: &Limits) -> String {
    fn part<T: Copy>(limit: Option<Limit<T>>, show: impl Fn(T) -> String) -> Option<String> {
        limit.map(|limit| match limit.held {
            Held::Enforced => show(limit.value),
            Held::Sampled => format!("{} (sampled)", show(limit.value)),
        })
    }
    let parts = [
        part(limits.memory, |bytes| format!("memory {}", when::bytes(bytes))),
        part(limits.cpus, |cpus| format!("cpus {cpus}")),
        part(limits.pids, |pids| format!("processes {pids}")),
        limits.nice.map(|nice| format!("nice {nice}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::sample;
    use meanwhile_api::task::WaitingFor;

    #[test]
    fn a_finished_task_shows_every_fact_there_is() {
        let expected = "\
7f3kq9x2mn
  state      completed
  command    cargo build
  directory  /src/app
  log        /home/u/.local/state/meanwhile/tasks/7f3kq9x2mn/1/output.log (1.2 MiB)
  created    2026-11-21T09:55:00.000Z (5m ago)
  started    2026-11-21T09:55:01.000Z (4m ago)
  ended      2026-11-21T09:58:13.000Z (1m ago)
  time       3m 12s
  lane       commands
  session    user
";
        assert_eq!(render(&sample::task(), sample::now(), &Screen::PLAIN), expected);
    }

    #[test]
    fn a_queued_task_says_why_it_waits_and_which_setting_changes_it() {
        let mut task = sample::task();
        task.state = State::Queued;
        task.cause = None;
        task.queue_position = Some(2);
        task.waiting_for = Some(WaitingFor {
            text: "3 of 3 in `commands`: a1, b2, c3".to_owned(),
            setting: Some("lanes.commands.limit".to_owned()),
            tasks: Vec::new(),
            until: None,
        });
        let text = render(&task, sample::now(), &Screen::PLAIN);
        assert!(text.contains("state      queued: 3 of 3 in `commands`: a1, b2, c3\n"), "{text}");
        assert!(text.contains("meanwhile config set lanes.commands.limit N\n"), "{text}");
        assert!(text.contains("lane       commands, position 2\n"), "{text}");
    }

    #[test]
    fn nothing_that_a_task_chose_reaches_the_terminal_unfiltered() {
        let mut task = sample::running();
        let evil = "\u{1b}]52;c;AAAA\u{7}x\u{202e}\u{9b}31my\r\nz";
        task.name = Some(evil.to_owned());
        task.session = evil.to_owned();
        task.group = Some(evil.to_owned());
        task.lane = evil.to_owned();
        task.labels = [(evil.to_owned(), evil.to_owned())].into_iter().collect();
        task.cwd = OsText::from(evil);
        task.command = vec![OsText::from(evil)];
        task.result = Some(evil.to_owned());
        if let Some(log) = &mut task.log {
            log.path = OsText::from(evil);
        }
        let text = render(&task, sample::now(), &Screen::PLAIN);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.contains('\u{202e}') && !text.contains("AAAA"), "{text}");
    }
}
