//! Facts of a task, short, for a model.
//!
//! What it is for: the same task reads the same in every answer. What it owns: the line of text and the object that
//! say the same thing, because some clients show only one of them. What it never does: pass on text of a task that was
//! not sanitised.

use meanwhile_api::task::{Outcome, State, Task};
use meanwhile_api::{Span, sanitise};
use serde_json::{Map, Value, json};

use crate::limits::TITLE_CHARS;

/// Whether it did its work; a partial success is none.
pub(crate) fn succeeded(task: &Task) -> bool {
    task.outcome.map_or(task.state == State::Completed, |outcome| outcome == Outcome::Success)
}

/// What it is called: its name, else its command.
pub(crate) fn title(task: &Task) -> String {
    let text = match (&task.name, task.command.as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [shell, flag, line])
            if flag.as_bytes() == b"-c" && shell.as_bytes().ends_with(b"sh") =>
        {
            line.to_string_lossy().into_owned()
        }
        (None, words) => {
            words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        }
    };
    short(&sanitise::line(&text), TITLE_CHARS)
}

/// At most so many characters, the cut marked.
pub(crate) fn short(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters - 1).chain(['…']).collect(),
    }
}

/// Why it ended, or why it does not run, or what it waits for.
pub(crate) fn why(task: &Task) -> Option<String> {
    let text = if let Some(cause) = &task.cause {
        if succeeded(task) && task.exit_code == Some(0) {
            return None;
        }
        cause.words()
    } else if let Some(waiting) = &task.waiting_for {
        match &waiting.setting {
            Some(setting) => format!("{} (setting: {setting})", waiting.text),
            None => waiting.text.clone(),
        }
    } else if let Some(waiting) = &task.waiting {
        format!("waits for input: {}", waiting.prompt.as_deref().unwrap_or("no prompt was seen"))
    } else if let Some(stuck) = &task.stuck {
        format!("may be stuck: {}", stuck.evidence)
    } else {
        return None;
    };
    Some(short(&sanitise::line(&text), 300))
}

/// One line: `abcdefghij running 12s: cargo test`.
pub(crate) fn line(task: &Task) -> String {
    let mut text = format!("{} {}", task.id, task.state.name());
    if let Some(ms) = task.duration_ms {
        text.push_str(&format!(" {}", rough(ms)));
    }
    if let Some(why) = why(task) {
        text.push_str(&format!(" ({why})"));
    }
    text.push_str(&format!(": {}", title(task)));
    text
}

/// A length of time in the two units that matter: `250ms`, `3s`, `2m10s`, `1h5m`.
pub(crate) fn rough(ms: u64) -> String {
    let rounded = match ms {
        0..1_000 => ms,
        1_000..3_600_000 => ms / 1_000 * 1_000,
        _ => ms / 60_000 * 60_000,
    };
    if rounded == 0 { "0s".to_owned() } else { Span::from_ms(rounded).to_string() }
}

/// The same facts as an object; what is absent is left out.
pub(crate) fn object(task: &Task) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            object.insert(key.to_owned(), value);
        }
    };
    put("id", json!(task.id));
    put("title", json!(title(task)));
    put("state", json!(task.state));
    put("why", json!(why(task)));
    put("exit_code", json!(task.exit_code));
    put("duration_ms", json!(task.duration_ms));
    put("queue_position", json!(task.queue_position));
    put("group", json!(task.group.as_deref().map(sanitise::line)));
    if !task.state.is_terminal() {
        put("deadline", json!(task.deadline));
    }
    if task.attempt > 1 {
        put("attempt", json!(task.attempt));
    }
    if let Some(outcome) = task.outcome.filter(|outcome| *outcome == Outcome::Partial) {
        put("outcome", json!(outcome));
    }
    if let Some(progress) = &task.progress {
        put("progress", json!(progress.percent));
    }
    if task.ready.is_some() {
        put("ready", json!(true));
    }
    object
}

/// How many are in which state: `2 of 5 done, 1 failed; 3 running`.
pub(crate) fn tally(tasks: &[Task]) -> String {
    let count = |wanted: fn(&Task) -> bool| tasks.iter().filter(|task| wanted(task)).count();
    let done = count(|task| task.state.is_terminal());
    let bad = count(|task| task.state.is_terminal() && !succeeded(task));
    let mut text = format!("{done} of {} done", tasks.len());
    if bad > 0 {
        text.push_str(&format!(", {bad} not successful"));
    }
    text
}
