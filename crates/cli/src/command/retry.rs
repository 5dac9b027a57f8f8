//! `retry`: the next attempt of a task that has ended.
//!
//! What it is for: trying again with the environment of now. What it owns: nothing but the request. What it never does:
//! decide whether a task may be tried again.

use clap::{Args, ValueHint};
use meanwhile_api::TaskId;
use meanwhile_api::change::RetryRequest;

use crate::cli::{Action, Answer};
use crate::command::{arguments as check, caller};
use crate::context::Context;

/// Try a finished task again, with the environment of now
///
/// The task keeps its id; its earlier attempts stay readable.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// Id, prefix of 4 characters at least, or name
    #[arg(value_name = "ID", value_hint = ValueHint::Other, value_parser = check::task_id)]
    id: TaskId,
}

impl Action for Retry {
    fn run(self, context: &Context) -> Answer {
        // It runs where it ran before.
        let caller = caller::capture(caller::Place::Elsewhere)?;
        let client = context.client()?;
        let request = RetryRequest { caller };
        let task = context.block_on(async { Ok(client.retry(&self.id, &request).await?) })?;
        if context.globals.json {
            context.print_json(&task)?;
        } else {
            context.print(&format!("{}\n", task.id))?;
            context.note(&format!("attempt {}", task.attempt));
        }
        Ok(0)
    }
}
