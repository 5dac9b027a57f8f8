//! `meanwhile` alone: what is going on, and what one may type.
//!
//! What it is for: the first thing a person types. What it owns: the choice of what fits on half a screen. What it never
//! does: start a daemon.

use clap::Args;
use meanwhile_api::list::{ListQuery, SummaryReply};
use meanwhile_api::task::{State, Task};
use serde::Serialize;

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::paint::Tone;
use crate::show::rows;

/// So many unfinished tasks are shown.
const ACTIVE_MAX: u32 = 20;

/// So many tasks are shown when none is unfinished.
const RECENT_MAX: u32 = 5;

/// What there is to type, and what for.
const ADVICE: [(&str, &str); 6] = [
    ("meanwhile run -- COMMAND", "launch a command, print its id"),
    ("meanwhile list", "all tasks, finished ones too"),
    ("meanwhile status ID", "one task in full"),
    ("meanwhile output ID --tail 20", "what it printed"),
    ("meanwhile wait ID", "block until it ends"),
    ("meanwhile --help", "everything else"),
];

/// Show what is going on and what to type
#[derive(Debug, Args)]
pub(crate) struct Front {}

/// The overview as JSON.
#[derive(Serialize)]
struct Overview {
    summary: SummaryReply,
    /// Unfinished tasks: those that have started, then queued ones, each the newest first.
    active: Vec<Task>,
}

impl Action for Front {
    fn run(self, context: &Context) -> Answer {
        show(context)
    }
}

/// The overview.
pub(crate) fn show(context: &Context) -> Answer {
    let client = context.reader()?;
    let query = ListQuery { session: context.globals.session.clone(), ..ListQuery::default() };
    let (summary, tasks) = context.block_on(async {
        let summary = client.summary(&query).await?;
        // However many wait, what runs is seen.
        let busy = vec![State::InputRequired, State::Running, State::Starting];
        let mut tasks = Vec::new();
        for state in [busy, vec![State::Queued]] {
            let room = ACTIVE_MAX.saturating_sub(u32::try_from(tasks.len()).unwrap_or(u32::MAX));
            if room > 0 {
                let some = ListQuery { state, limit: Some(room), ..query.clone() };
                tasks.extend(client.list(&some).await?.tasks);
            }
        }
        if tasks.is_empty() && !context.globals.json {
            tasks = client.list(&ListQuery { limit: Some(RECENT_MAX), ..query }).await?.tasks;
        }
        Ok::<_, Failure>((summary, tasks))
    })?;
    if context.globals.json {
        context.print_json(&Overview { summary, active: tasks })?;
        return Ok(0);
    }
    let screen = &context.out;
    let mut text = String::new();
    if !tasks.is_empty() {
        text.push_str(&rows::tasks(&tasks, context.now(), screen));
        text.push('\n');
    }
    text.push_str(&rows::summary(&summary, screen));
    text.push('\n');
    let waiting = tasks.iter().filter_map(|task| task.waiting_for.as_ref());
    let mut settings: Vec<&str> =
        waiting.filter_map(|waiting| waiting.setting.as_deref()).collect();
    settings.dedup();
    if let Some(setting) = settings.first() {
        let hint = format!("to run more at once: meanwhile config set {setting} N");
        text.push_str(&format!("{}\n", screen.paint(Tone::Faint, &hint)));
    }
    text.push('\n');
    for (line, what) in ADVICE {
        let padded = format!("{line:<32}");
        text.push_str(&format!("{}{}\n", padded, screen.paint(Tone::Faint, what)));
    }
    context.print(&text)?;
    context.tell_unread(&client);
    Ok(0)
}
