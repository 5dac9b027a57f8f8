//! `status`: one task in full, or the overview.
//!
//! What it is for: what is known about a task, and why a queued one waits. What it owns: nothing but the choice. What it
//! never does: start a daemon.

use clap::{Args, ValueHint};
use meanwhile_api::TaskId;

use crate::cli::{Action, Answer};
use crate::command::{arguments as check, front};
use crate::context::Context;
use crate::show::card;

/// Ids travel in the query string, whose length is limited.
const IDS_PER_REQUEST: usize = 500;

/// Show tasks in full; without an id, the overview
///
/// A queued task says why it waits and which setting changes that. Does not start a daemon. With `--json`, one id
/// answers an object and several an array.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Ids, prefixes of 4 characters at least, or names
    #[arg(value_name = "ID", value_hint = ValueHint::Other, value_parser = check::task_id)]
    ids: Vec<TaskId>,
}

impl Action for Status {
    fn run(self, context: &Context) -> Answer {
        if self.ids.is_empty() {
            return front::show(context);
        }
        let client = context.reader()?;
        let tasks = context.block_on(async {
            let mut tasks = Vec::new();
            for ids in self.ids.chunks(IDS_PER_REQUEST) {
                tasks.extend(client.status(ids.to_vec()).await?);
            }
            Ok(tasks)
        })?;
        if context.globals.json {
            match tasks.as_slice() {
                [task] => context.print_json(task)?,
                tasks => context.print_json(&tasks)?,
            }
            return Ok(0);
        }
        let now = context.now();
        let cards: Vec<String> =
            tasks.iter().map(|task| card::render(task, now, &context.out)).collect();
        context.print(&cards.join("\n"))?;
        context.tell_unread(&client);
        Ok(0)
    }
}
