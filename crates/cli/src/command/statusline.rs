//! `statusline`: what runs in the background, on one short line.
//!
//! What it is for: Claude Code shows it below its prompt, and runs it often. What it owns: the words. What it never does:
//! start a daemon, take long, or fail: without anything to say it says nothing.

use std::io::{self, Read as _};
use std::time::Duration;

use clap::Args;
use meanwhile_api::ApiError;
use meanwhile_api::client::Client;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::inbox::InboxQuery;
use meanwhile_api::list::ListQuery;
use meanwhile_api::task::State;
use meanwhile_integrations::{Agent, hook};

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::entry::{self, WithoutDaemon};

/// The line is drawn without us if we take longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// The lane of services, which always run.
const SERVICES: &str = "services";

/// Tasks and notices that are counted; more of them are so many and some.
const MOST: u32 = 200;

/// For Claude Code: one line that says what runs in the background
///
/// Reads what Claude Code says on standard input. Prints nothing where nothing runs or no daemon does.
#[derive(Debug, Args)]
pub(crate) struct Statusline {}

/// How many of each.
#[derive(Default)]
struct Counts {
    running: usize,
    queued: usize,
    asking: usize,
    /// Ended without success, and nobody was told.
    failed: usize,
}

impl Action for Statusline {
    fn run(self, context: &Context) -> Answer {
        let mut input = Vec::new();
        let limit = u64::try_from(hook::LARGEST_INPUT).expect("some megabytes");
        // What cannot be read names no session: there is nothing to say.
        let _ = io::stdin().lock().take(limit).read_to_end(&mut input);
        let Some(name) = hook::session(&input) else { return Ok(0) };
        let claim = SessionClaim { source: Agent::Claude.name().to_owned(), name };
        let Ok(client) = entry::client_of(&context.globals, Some(claim), WithoutDaemon::Fail, None)
        else {
            return Ok(0);
        };
        let counts = context.block_on(async {
            let counts = tokio::time::timeout(PATIENCE, count(&client)).await;
            Ok(counts.map_err(|_| ()).and_then(|counts| counts.map_err(|_| ())))
        })?;
        let line = counts.unwrap_or_default().line();
        if !line.is_empty() {
            context.print(&format!("{line}\n"))?;
        }
        Ok(0)
    }
}

async fn count(client: &Client) -> Result<Counts, ApiError> {
    let state = State::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
    let unfinished = ListQuery { state, limit: Some(MOST), ..ListQuery::default() };
    let unread = InboxQuery { any_session: false, limit: Some(MOST) };
    let (tasks, unread) = tokio::try_join!(client.list(&unfinished), client.inbox(&unread))?;
    let mut counts = Counts::default();
    for task in tasks.tasks.iter().filter(|task| task.lane != SERVICES) {
        match task.state {
            State::Queued => counts.queued += 1,
            State::InputRequired => counts.asking += 1,
            _ => counts.running += 1,
        }
    }
    let failed = |state: State| matches!(state, State::Failed | State::Interrupted);
    counts.failed = unread.notices.iter().filter(|notice| failed(notice.state)).count();
    Ok(counts)
}

impl Counts {
    fn line(&self) -> String {
        let Self { running, queued, asking, failed } = *self;
        let counts =
            [(running, "running"), (queued, "queued"), (asking, "asking"), (failed, "failed")];
        let words: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if words.is_empty() { String::new() } else { format!("meanwhile: {}", words.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_on_the_line() {
        assert_eq!(Counts::default().line(), "");
        let some = Counts { running: 2, failed: 1, ..Counts::default() };
        assert_eq!(some.line(), "meanwhile: 2 running, 1 failed");
    }
}
