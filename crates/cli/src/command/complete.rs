//! `complete`: say how a task ended.
//!
//! What it is for: work whose end only the caller can judge. What it owns: nothing but the request. What it never does:
//! change a task that has ended.

use clap::{Args, ValueHint};
use meanwhile_api::TaskId;
use meanwhile_api::change::CompleteRequest;

use crate::cli::{Action, Answer};
use crate::command::arguments as check;
use crate::context::Context;
use crate::show::words;

/// Stop a task and say how it ended
///
/// Its process is stopped first; its cause is `reported`.
#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// Id, prefix of 4 characters at least, or name
    #[arg(value_name = "ID", value_hint = ValueHint::Other, value_parser = check::task_id)]
    id: TaskId,

    /// It failed
    #[arg(long)]
    failed: bool,

    /// In words
    #[arg(value_name = "MESSAGE")]
    message: Option<String>,
}

impl Action for Complete {
    fn run(self, context: &Context) -> Answer {
        let client = context.client()?;
        let request = CompleteRequest { failed: self.failed, message: self.message };
        let task = context.block_on(async { Ok(client.complete(&self.id, &request).await?) })?;
        if context.globals.json {
            context.print_json(&task)?;
        } else {
            context.print(&format!("{} {}\n", task.id, words::state(task.state)))?;
        }
        Ok(0)
    }
}
