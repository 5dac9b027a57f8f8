//! `audit`: the event log.
//!
//! What it is for: who did what, and when. What it owns: the filters. What it never does: change or end the log.

use std::time::Duration;

use clap::Args;
use meanwhile_api::TaskId;
use meanwhile_api::event::{Event, EventsQuery};
use serde_json::Value;

use crate::cli::{Action, Answer};
use crate::command::{arguments as check, watch};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::sanitise;

/// Stored events come one after the other; after so long a silence the caller has seen all that it may see.
const SILENCE: Duration = Duration::from_secs(1);

/// Print the event log: what happened, in order
///
/// With `--json`, one event per line.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only after the event of this number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    since: u64,

    /// Only about this task
    #[arg(long, value_name = "ID", value_parser = check::task_id)]
    task: Option<TaskId>,

    /// Only of this kind, such as `submitted`, `started`, `ended`, `refused` (repeatable)
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,

    /// Go on with new events as they happen
    #[arg(long, short = 'f')]
    follow: bool,
}

impl Action for Audit {
    fn run(self, context: &Context) -> Answer {
        let client = context.client()?;
        context.block_on(async {
            let last = client.daemon().await?.store.last_event;
            let task = match &self.task {
                Some(id) => Some(client.task(id).await?.id),
                None => None,
            };
            let query = EventsQuery {
                since: Some(self.since),
                any_session: true,
                ..EventsQuery::default()
            };
            let mut events = client.events(query);
            let mut seen = self.since;
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
}

fn print(context: &Context, event: &Event) -> Result<(), Failure> {
    if context.globals.json {
        return context.print_json_line(event);
    }
    let task = event.task.as_ref().map_or("-", TaskId::as_str);
    let data = match &event.data {
        Value::Null => String::new(),
        data => data.to_string(),
    };
    let line = format!("{} {} {task:<10} {} {data}", event.seq, event.at, event.kind);
    context.print(&(sanitise::line(line.trim_end()) + "\n"))
}
