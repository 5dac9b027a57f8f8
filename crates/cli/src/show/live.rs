//! Tasks that a person watches while waiting: one line each, with a spinner or a bar.
//!
//! What it is for: `wait`, `follow` and `run --wait` on a terminal. What it owns: lines on standard error while they are
//! drawn. What it never does: draw where standard error is no terminal, or fetch anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use meanwhile_api::TaskId;
use meanwhile_api::task::{State, Task};
use rustix::process::getpgrp;
use rustix::stdio::stderr;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use unicode_width::UnicodeWidthStr as _;

use crate::context;
use crate::show::paint::Tone;
use crate::show::screen::Screen;
use crate::show::{table, when, words};

/// So many tasks have a line of their own; the others are counted.
const LINES_MAX: usize = 12;

/// So much of a line the name of its task may take; its state is to be seen as well.
const TITLE_COLUMNS_MAX: usize = 28;

/// How often a spinner moves: fast enough to be alive, slow enough to cost nothing.
const FRAME: Duration = Duration::from_millis(120);

/// Columns that spinner and time take beside the text.
const FRAME_COLUMNS: usize = 14;

/// The lines of some tasks.
pub(crate) struct Live {
    screen: Screen,
    group: MultiProgress,
    bars: BTreeMap<TaskId, ProgressBar>,
    /// Counts the tasks without a line.
    others: Option<ProgressBar>,
    /// Those of them that have not ended.
    unseen: BTreeSet<TaskId>,
    /// How wide the names are.
    title_columns: usize,
    /// How many lines show an end.
    finished: usize,
    _quiet: Option<QuietKeys>,
}

/// While it lives, the terminal does not draw `^C`. The last line is as wide as the screen, so that it would begin a new
/// line, and what is cleared would be one line off.
struct QuietKeys {
    before: Termios,
}

impl QuietKeys {
    /// From the foreground only: whoever changes a terminal from the background is stopped.
    fn new() -> Option<QuietKeys> {
        let before = tcgetattr(stderr()).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHOCTL);
        tcsetattr(stderr(), OptionalActions::Now, &quiet).ok()?;
        Some(QuietKeys { before })
    }
}

impl Drop for QuietKeys {
    fn drop(&mut self) {
        // Another program may have come to the foreground since.
        if tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp()) {
            let _ = tcsetattr(stderr(), OptionalActions::Now, &self.before);
        }
    }
}

impl Live {
    /// Lines for these tasks; `None` where nobody would see them move.
    pub(crate) fn start(tasks: &[Task], screen: Screen) -> Option<Live> {
        if !screen.moves {
            return None;
        }
        let group = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let mut unfinished: Vec<&Task> =
            tasks.iter().filter(|task| !task.state.is_terminal()).collect();
        // What runs is worth a line, then what is next.
        unfinished.sort_by_key(|task| {
            (task.state == State::Queued, task.queue_position, task.created_at)
        });
        let (seen, unseen) = unfinished.split_at(unfinished.len().min(LINES_MAX));
        let titles = seen.iter().map(|task| words::title(task).width());
        let mut live = Live {
            screen,
            group,
            bars: BTreeMap::new(),
            others: None,
            unseen: unseen.iter().map(|task| task.id.clone()).collect(),
            title_columns: titles.max().unwrap_or(0).min(TITLE_COLUMNS_MAX),
            finished: 0,
            _quiet: QuietKeys::new(),
        };
        for task in seen {
            let bar = live.group.add(ProgressBar::new(100));
            bar.set_style(style(false));
            live.bars.insert(task.id.clone(), bar);
            live.update(task);
        }
        if !live.unseen.is_empty() {
            let bar = live.group.add(ProgressBar::new_spinner());
            bar.set_style(plain());
            live.others = Some(bar);
            live.count_unseen();
        }
        for bar in live.bars.values() {
            bar.enable_steady_tick(FRAME);
        }
        Some(live)
    }

    /// Shows what became of a task.
    pub(crate) fn update(&mut self, task: &Task) {
        let Some(bar) = self.bars.get(&task.id) else {
            if task.state.is_terminal() && self.unseen.remove(&task.id) {
                self.count_unseen();
            }
            return;
        };
        // The time of a task, not of the looking on.
        let waiting = context::now().unix_ms().saturating_sub(task.created_at.unix_ms());
        let waiting = u64::try_from(waiting).unwrap_or(0);
        bar.set_elapsed(Duration::from_millis(task.duration_ms.unwrap_or(waiting)));
        let text = self.text(task);
        if task.state.is_terminal() {
            let mark =
                if words::succeeded(task) { ("✓", Tone::Good) } else { ("✗", Tone::Bad) };
            bar.set_style(plain());
            bar.finish_with_message(format!("{} {text}", self.screen.paint(mark.1, mark.0)));
            self.bars.remove(&task.id);
            self.finished += 1;
            return;
        }
        if let Some(progress) = &task.progress {
            bar.set_style(style(true));
            bar.set_position(progress.percent.clamp(0.0, 100.0) as u64);
        }
        bar.set_message(text);
    }

    fn count_unseen(&self) {
        let Some(bar) = &self.others else { return };
        let text = match self.unseen.len() {
            0 => String::new(),
            1 => "  … and 1 more task".to_owned(),
            more => format!("  … and {} more tasks", when::count(more as u64)),
        };
        bar.set_message(self.screen.paint(Tone::Faint, &text).to_string());
    }

    /// The tasks whose end has not been shown; none when they are too many to be named.
    pub(crate) fn unfinished(&self) -> Vec<TaskId> {
        let all_have_lines = self.unseen.is_empty();
        self.bars.keys().filter(|_| all_have_lines).cloned().collect()
    }

    /// Takes the lines of unfinished tasks away. That of a single finished one stays: it says all there is to say;
    /// several are better told by a table.
    pub(crate) fn stop(self) {
        for bar in self.bars.values().chain(&self.others) {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
        if self.finished != 1 {
            // What cannot be cleared stays on the screen, which does no harm.
            let _ = self.group.clear();
        }
    }

    fn text(&self, task: &Task) -> String {
        let columns = self.screen.width.unwrap_or(usize::MAX).saturating_sub(FRAME_COLUMNS);
        let detail = words::detail(task, context::now());
        // Which tasks it waits for changes without an event of its own.
        let several = task.waiting_for.as_ref().is_some_and(|waiting| !waiting.tasks.is_empty());
        let lasting = if several { detail.split(": ").next() } else { None };
        let detail = lasting.unwrap_or(&detail);
        let state = words::state(task.state);
        let known = if detail.is_empty() { state.to_owned() } else { format!("{state}: {detail}") };
        let time = match (task.state.is_terminal(), task.duration_ms) {
            (true, Some(ms)) => format!(" in {}", when::duration(ms)),
            _ => String::new(),
        };
        let title = table::cut(&words::title(task), self.title_columns);
        let gap = " ".repeat(self.title_columns.saturating_sub(title.width()));
        table::cut(&format!("{}  {title}{gap}  {known}{time}", task.id), columns)
    }
}

fn style(bar: bool) -> ProgressStyle {
    let template = if bar { "{spinner} {bar:16} {msg}" } else { "{spinner} {elapsed:>4} {msg}" };
    ProgressStyle::with_template(template).expect("the template is well formed")
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").expect("the template is well formed")
}
