//! `list`: what there is.
//!
//! What it is for: finding tasks. What it owns: the filters and their words. What it never does: start a daemon.

use clap::Args;
use meanwhile_api::list::ListQuery;
use meanwhile_api::task::{State, TaskKind};
use meanwhile_api::{Span, Timestamp, limits};

use crate::cli::{Action, Answer};
use crate::command::arguments as check;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::{rows, when};

/// List tasks, the newest first
///
/// Finished ones are included. Without filters the newest 200 are shown. Does not start a daemon.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only in these states: queued, starting, running, input_required, completed, failed, cancelled, interrupted
    ///
    /// Also `active` for all that have not ended, and `ended`.
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = states)]
    state: Vec<States>,

    /// Only of this kind
    #[arg(long, value_name = "KIND", value_parser = ["command", "agent"])]
    kind: Option<String>,

    /// Only in this lane
    #[arg(long, value_name = "LANE", value_parser = check::name)]
    lane: Option<String>,

    /// Only of this group
    #[arg(long, value_name = "GROUP", value_parser = check::name)]
    group: Option<String>,

    /// Only with this label, or with this key in any value (repeatable)
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = check::label_filter)]
    label: Vec<String>,

    /// Only with this name
    #[arg(long, value_name = "NAME", value_parser = check::name)]
    name: Option<String>,

    /// Only created since: so long ago (`2h`), or at a time (2026-11-21T10:00:00Z)
    #[arg(long, value_name = "D|TIME", value_parser = since)]
    since: Option<Since>,

    /// Show at most so many [default: 200]
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    limit: Option<u32>,

    /// Of all sessions
    #[arg(long)]
    any_session: bool,

    /// Count by state instead
    #[arg(long)]
    summary: bool,
}

/// A word for one or several states.
#[derive(Debug, Clone)]
struct States(Vec<State>);

fn states(word: &str) -> Result<States, String> {
    let by_end = |ended: bool| {
        States(State::ALL.into_iter().filter(|state| state.is_terminal() == ended).collect())
    };
    match word {
        "active" => Ok(by_end(false)),
        "ended" => Ok(by_end(true)),
        name => State::from_name(name).map(|state| States(vec![state])).ok_or_else(|| {
            let names = State::ALL.map(State::name).join(", ");
            format!("`{name}` is no state (one of: {names}, active, ended)")
        }),
    }
}

#[derive(Debug, Clone, Copy)]
enum Since {
    Ago(Span),
    At(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    let wrong = || format!("`{text}` is neither a duration (2h) nor a time (2026-11-21T10:00:00Z)");
    text.parse().map(Since::Ago).map_err(|_| wrong())
}

impl Action for List {
    fn run(self, context: &Context) -> Answer {
        let now = context.now();
        let summary = self.summary;
        let query = self.query(context, now);
        let client = context.reader()?;
        context.block_on(async {
            if summary {
                let reply = client.summary(&query).await?;
                if context.globals.json {
                    context.print_json(&reply)?;
                } else {
                    context.print(&rows::counts(&reply, &context.out))?;
                    context.tell_unread(&client);
                }
                return Ok(0);
            }
            let reply = client.list(&query).await?;
            if context.globals.json {
                context.print_json(&reply.tasks)?;
                return Ok(0);
            }
            if reply.tasks.is_empty() {
                context.note("no tasks; to launch one: meanwhile run -- COMMAND");
                context.tell_unread(&client);
                return Ok(0);
            }
            context.print(&rows::tasks(&reply.tasks, now, &context.out))?;
            let more = reply.total.saturating_sub(reply.tasks.len() as u64);
            if more > 0 {
                let (more, all) = (when::count(more), reply.total);
                context.note(&format!("{more} more; to see all: meanwhile list --limit {all}"));
            }
            context.tell_unread(&client);
            Ok::<u8, Failure>(0)
        })
    }
}

impl List {
    fn query(self, context: &Context, now: Timestamp) -> ListQuery {
        let mut state: Vec<State> = self.state.into_iter().flat_map(|states| states.0).collect();
        state.sort_unstable();
        state.dedup();
        ListQuery {
            state,
            kind: self.kind.map(|kind| match kind.as_str() {
                "agent" => TaskKind::Agent,
                _ => TaskKind::Command,
            }),
            lane: self.lane,
            group: self.group,
            session: context.globals.session.clone(),
            label: self.label,
            name: self.name,
            id: Vec::new(),
            since: self.since.map(|since| match since {
                Since::At(at) => at,
                Since::Ago(span) => {
                    let ms = i64::try_from(span.as_ms()).unwrap_or(i64::MAX);
                    Timestamp::from_unix_ms(now.unix_ms().saturating_sub(ms))
                }
            }),
            limit: self.limit.filter(|limit| *limit != limits::LIST_DEFAULT),
            any_session: self.any_session,
        }
    }
}
