//! `audit`: the event log, and who asked for what.
//!
//! What it is for: who did what, and when. What it owns: the filters and the two ways to look. What it never does: change or
//! end the log.

use std::time::Duration;

use clap::Args;
use meanwhile_api::TaskId;
use meanwhile_api::audit::{AuditEntry, AuditQuery};
use meanwhile_api::event::{Event, EventsQuery};
use serde_json::Value;

use crate::cli::{Action, Answer};
use crate::command::{arguments as check, watch};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::sanitise;

/// Stored events come one after the other; after so long a silence the caller has seen all that it may see.
const SILENCE: Duration = Duration::from_secs(1);
/// Tasks that a line names.
const NAMED: usize = 5;

/// Print the event log: what happened, in order; or who asked for it
///
/// With `--asked`: every request that was to launch or change something, who made it (session, process, the processes that
/// led to it, and through which door), and what came of it. With `--json`, one entry per line. For people.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Who asked for what, instead of what happened
    #[arg(long)]
    asked: bool,

    /// Only after the event (or entry) of this number
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,

    /// Only about this task
    #[arg(long, value_name = "ID", value_parser = check::task_id)]
    task: Option<TaskId>,

    /// Only of this session
    #[arg(long, value_name = "S")]
    of_session: Option<String>,

    /// Only of this kind: events such as `submitted`, `started`, `ended`, `refused`; with `--asked` `submit`, `cancel`,
    /// `retry`, `complete`, `extend`, `prune`, `clean`, `config_set`, `daemon_stop` (repeatable)
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,

    /// At most so many entries; with `--since` the first of them, else the last
    #[arg(long, value_name = "N", requires = "asked", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,

    /// Go on with new events as they happen
    #[arg(long, short = 'f', conflicts_with = "asked")]
    follow: bool,
}

impl Action for Audit {
    fn run(self, context: &Context) -> Answer {
        if self.asked { self.requests(context) } else { self.events(context) }
    }
}

impl Audit {
    fn events(self, context: &Context) -> Answer {
        let client = context.client()?;
        context.block_on(async {
            let last = client.daemon().await?.store.last_event;
            let task = match &self.task {
                Some(id) => Some(client.task(id).await?.id),
                None => None,
            };
            let since = self.since.unwrap_or(0);
            let query = EventsQuery {
                since: Some(since),
                any_session: self.of_session.is_none(),
                session: self.of_session.clone(),
                ..EventsQuery::default()
            };
            let mut events = client.events(query);
            let mut seen = since;
            while self.follow || seen < last {
                let next = tokio::select! {
                    event = events.next() => Some(event?),
                    () = tokio::time::sleep(SILENCE), if !self.follow => None,
                    () = watch::interrupted() => None,
                };
                let Some(event) = next else { break };
                seen = event.seq;
                let wanted = task.is_none() || event.task == task;
                if wanted && (self.kind.is_empty() || self.kind.contains(&event.kind)) {
                    print(context, &event)?;
                }
            }
            Ok::<u8, Failure>(0)
        })
    }

    fn requests(self, context: &Context) -> Answer {
        let client = context.client()?;
        let query = AuditQuery {
            after: self.since,
            task: self.task,
            session: self.of_session,
            // One is asked for there, several are looked for here.
            asked: if let [one] = self.kind.as_slice() { Some(one.clone()) } else { None },
            limit: self.limit,
        };
        let reply = context.block_on(async { Ok(client.audit(&query).await?) })?;
        let wanted = |entry: &&AuditEntry| self.kind.is_empty() || self.kind.contains(&entry.asked);
        for entry in reply.entries.iter().filter(wanted) {
            if context.globals.json {
                context.print_json_line(entry)?;
            } else {
                context.print(&line(entry))?;
            }
        }
        if reply.more {
            let next = match (query.after, reply.entries.last()) {
                (Some(_), Some(last)) => format!("there are more: --since {}", last.number),
                _ => "there are older ones: --limit N, or --since 0 from the beginning".into(),
            };
            context.note(&next);
        }
        Ok(0)
    }
}

fn line(entry: &AuditEntry) -> String {
    let AuditEntry { number, at, asked, by, session: _, claim, door, pid, tree, tasks, outcome } =
        entry;
    let claim = claim.as_ref().map(|claim| format!(" ({claim})")).unwrap_or_default();
    let process = match pid {
        Some(pid) => format!("pid {pid} {}", tree.join(" < ")),
        None => "process not seen".into(),
    };
    let mut about: Vec<&str> = tasks.iter().take(NAMED).map(TaskId::as_str).collect();
    let more = format!("and {} more", tasks.len().saturating_sub(NAMED));
    if tasks.len() > NAMED {
        about.push(&more);
    }
    let about = about.join(" ");
    let line =
        format!("{number} {at} {asked} {outcome}: {by}{claim} by {door}, {process}; {about}");
    sanitise::line(line.trim_end_matches([' ', ';'])) + "\n"
}

fn print(context: &Context, event: &Event) -> Result<(), Failure> {
    if context.globals.json {
        return context.print_json_line(event);
    }
    let task = event.task.as_ref().map_or("-", TaskId::as_str);
    let session = event.session.as_deref().unwrap_or("-");
    let data = match &event.data {
        Value::Null => String::new(),
        data => data.to_string(),
    };
    let line = format!("{} {} {task:<10} {session} {} {data}", event.seq, event.at, event.kind);
    context.print(&(sanitise::line(line.trim_end()) + "\n"))
}
