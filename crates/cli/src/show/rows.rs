//! Tasks as a table, and counts of them.
//!
//! What it is for: `list`, the overview, `wait` and `cancel` show several tasks alike. What it owns: which columns there
//! are. What it never does: sort or leave out tasks.

use meanwhile_api::Timestamp;
use meanwhile_api::lanes::Lane;
use meanwhile_api::list::SummaryReply;
use meanwhile_api::task::{State, Task};

use crate::show::paint::Tone;
use crate::show::screen::Screen;
use crate::show::table::{self, Cell, Column};
use crate::show::{sanitise, when, words};

/// What is shown of each task, in order. `TASK` stands for name and command where there is no room for both.
const COLUMNS: [Column; 10] = [
    Column::left("ID"),
    Column::left("STATE"),
    // `3 of 3 in `commands`` is whole, and which three it is for `status`.
    Column::elastic("DETAIL", 22),
    Column::elastic("NAME", 12),
    Column::right("AGE"),
    Column::right("TIME"),
    Column::elastic("SESSION", 10),
    Column::elastic("LANE", 10),
    Column::elastic("COMMAND", 16),
    Column::elastic("TASK", 16),
];

/// What is left out, on ever narrower screens.
const LEFT_OUT: [&[&str]; 4] = [
    &["TASK"],
    &["TASK", "SESSION", "LANE"],
    &["NAME", "COMMAND", "SESSION", "LANE"],
    &["NAME", "COMMAND", "SESSION", "LANE", "AGE"],
];

/// A command is shown up to here, in pipes too: one of a megabyte would bury all others. `status` shows it whole.
const COMMAND_MAX: usize = 200;

/// Tasks, one per line. Sessions and lanes are shown where they differ.
pub(crate) fn tasks(tasks: &[Task], now: Timestamp, screen: &Screen) -> String {
    let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    let enough = words::sufficient(&ids);
    let several = |fact: fn(&Task) -> &str| {
        tasks.first().is_some_and(|first| tasks.iter().any(|task| fact(task) != fact(first)))
    };
    let (sessions, lanes) = (several(|task| &task.session), several(|task| &task.lane));
    let row = |(task, enough): (&Task, &usize)| {
        let shown_if = |wanted: bool, text: &str| {
            Cell::new(if wanted { sanitise::line(text) } else { String::new() })
        };
        vec![
            Cell::id(task.id.as_str(), *enough),
            Cell::toned(Tone::of(task.state), words::state(task.state)),
            Cell::toned(Tone::of(task.state), words::detail(task, now)),
            shown_if(true, task.name.as_deref().unwrap_or_default()),
            Cell::toned(Tone::Faint, when::relative(task.created_at, now)),
            Cell::new(task.duration_ms.map(when::duration).unwrap_or_default()),
            shown_if(sessions, &task.session),
            shown_if(lanes, &task.lane),
            Cell::new(table::cut(&words::command(task), COMMAND_MAX)),
            Cell::new(table::cut(&words::title(task), COMMAND_MAX)),
        ]
    };
    let rows: Vec<Vec<Cell>> = tasks.iter().zip(&enough).map(row).collect();
    let kept = LEFT_OUT.map(|names| COLUMNS.map(|column| !names.contains(&column.heading)));
    let fits = |kept: &&[bool; COLUMNS.len()]| {
        screen.width.is_none_or(|width| table::least_width(&COLUMNS, &rows, *kept) <= width)
    };
    let [.., narrowest] = &kept;
    table::render_some(&COLUMNS, &rows, kept.iter().find(fits).unwrap_or(narrowest), screen)
}

/// Counts by state on one line, those that are not zero: `2 running, 1 queued`.
pub(crate) fn summary(summary: &SummaryReply, screen: &Screen) -> String {
    let count = |state: State| (state, summary.states.get(state.name()).copied().unwrap_or(0));
    let parts: Vec<String> = State::ALL
        .into_iter()
        .map(count)
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| {
            let text = format!("{} {}", when::count(count), words::state(state));
            screen.paint(Tone::of(state), &text).to_string()
        })
        .collect();
    if parts.is_empty() { "no tasks".to_owned() } else { parts.join(", ") }
}

/// Counts by state, one per line, zeros included.
pub(crate) fn counts(summary: &SummaryReply, screen: &Screen) -> String {
    let row = |state: State| {
        let count = summary.states.get(state.name()).copied().unwrap_or(0);
        let tone = if count == 0 { Tone::Faint } else { Tone::of(state) };
        vec![Cell::toned(tone, words::state(state)), Cell::toned(tone, when::count(count))]
    };
    let mut rows: Vec<Vec<Cell>> = State::ALL.into_iter().map(row).collect();
    rows.push(vec![Cell::new("total"), Cell::new(when::count(summary.total))]);
    table::render(&[Column::left("STATE"), Column::right("TASKS")], &rows, screen)
}

/// Lanes, one per line.
pub(crate) fn lanes(lanes: &[Lane], now: Timestamp, screen: &Screen) -> String {
    const COLUMNS: [Column; 6] = [
        Column::left("LANE"),
        Column::right("RUNNING"),
        Column::right("LIMIT"),
        Column::right("QUEUED"),
        Column::elastic("RUNS", 12),
        Column::elastic("PAUSED", 12),
    ];
    let row = |lane: &Lane| {
        let full = lane.limit.is_some_and(|limit| lane.running >= limit);
        let tone = if full && lane.queued > 0 { Tone::Attention } else { Tone::Plain };
        let holders: Vec<&str> = lane.holders.iter().map(|id| id.as_str()).collect();
        let paused = lane.paused.as_ref().map(|paused| match paused.until {
            Some(until) => format!("{}, {}", paused.reason, when::relative(until, now)),
            None => paused.reason.clone(),
        });
        vec![
            Cell::toned(Tone::Strong, sanitise::line(&lane.name)),
            Cell::toned(tone, lane.running.to_string()),
            Cell::new(lane.limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())),
            Cell::toned(tone, lane.queued.to_string()),
            Cell::toned(Tone::Faint, holders.join(" ")),
            Cell::toned(Tone::Attention, sanitise::line(&paused.unwrap_or_default())),
        ]
    };
    let rows: Vec<Vec<Cell>> = lanes.iter().map(row).collect();
    table::render(&COLUMNS, &rows, screen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::sample;
    use meanwhile_api::cause::Cause;
    use meanwhile_api::task::WaitingFor;

    fn several() -> Vec<Task> {
        let mut queued = sample::running();
        queued.id = "c9aaaaaaaa".into();
        queued.name = None;
        queued.state = State::Queued;
        queued.started_at = None;
        queued.duration_ms = None;
        queued.waiting_for = Some(WaitingFor {
            text: "3 of 3 in `commands`: b2c8, 7f3k".to_owned(),
            setting: None,
            tasks: Vec::new(),
            until: None,
        });
        let mut failed = sample::task();
        failed.id = "7f3kzzzzzz".into();
        failed.state = State::Failed;
        failed.cause = Some(Cause::Exit { code: 101 });
        vec![queued, sample::running(), failed, sample::task()]
    }

    #[test]
    fn tasks_are_shown_in_aligned_columns() {
        let text = tasks(&several(), sample::now(), &Screen::PLAIN);
        let expected = "\
ID          STATE      DETAIL                            NAME           AGE    TIME  COMMAND
c9aaaaaaaa  queued     3 of 3 in `commands`: b2c8, 7f3k              5m ago          cargo build
b2c8hh0vwa  running                                      dev server  5m ago  1m 02s  cargo build
7f3kzzzzzz  failed     exit 101                                      5m ago  3m 12s  cargo build
7f3kq9x2mn  completed                                                5m ago  3m 12s  cargo build
";
        assert_eq!(text, expected);
    }

    #[test]
    fn on_a_terminal_no_line_is_wider_than_the_screen() {
        use unicode_width::UnicodeWidthStr as _;
        let screen = Screen { terminal: true, moves: true, colour: false, width: Some(80) };
        for line in tasks(&several(), sample::now(), &screen).lines() {
            assert!(line.width() <= 80, "{line}");
        }
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        let mut task = sample::running();
        task.name = Some("\u{1b}]0;owned\u{7}a\u{202e}b\nc".to_owned());
        task.session = "\u{9b}2J".to_owned();
        let text = tasks(&[task, sample::task()], sample::now(), &Screen::PLAIN);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("ab c"), "{text}");
    }

    #[test]
    fn a_summary_names_what_there_is() {
        let states =
            [("running".to_owned(), 2), ("queued".to_owned(), 1), ("failed".to_owned(), 0)];
        let reply = SummaryReply { total: 3, states: states.into_iter().collect() };
        assert_eq!(summary(&reply, &Screen::PLAIN), "1 queued, 2 running");
        assert_eq!(summary(&SummaryReply::default(), &Screen::PLAIN), "no tasks");
    }
}
