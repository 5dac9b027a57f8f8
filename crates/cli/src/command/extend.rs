//! `extend`: more time for a task.
//!
//! What it is for: a task that is slow but alive. What it owns: nothing but the request. What it never does: shorten.

use clap::{Args, ValueHint};
use meanwhile_api::change::ExtendRequest;
use meanwhile_api::{Span, TaskId};

use crate::cli::{Action, Answer};
use crate::command::arguments as check;
use crate::context::Context;
use crate::show::when;

/// Give a task more time before its timeout ends it
#[derive(Debug, Args)]
pub(crate) struct Extend {
    /// Id, prefix of 4 characters at least, or name
    #[arg(value_name = "ID", value_hint = ValueHint::Other, value_parser = check::task_id)]
    id: TaskId,

    /// How much more
    #[arg(value_name = "D", value_parser = check::positive_span, allow_hyphen_values = true)]
    by: Span,
}

impl Action for Extend {
    fn run(self, context: &Context) -> Answer {
        let client = context.client()?;
        let request = ExtendRequest { by: self.by };
        let task = context.block_on(async { Ok(client.extend(&self.id, &request).await?) })?;
        if context.globals.json {
            context.print_json(&task)?;
            return Ok(0);
        }
        let until = match task.deadline {
            Some(deadline) => {
                format!("until {deadline} ({})", when::relative(deadline, context.now()))
            }
            // It is not known before the task runs.
            None => format!("may run {} longer", self.by),
        };
        context.print(&format!("{} {until}\n", task.id))?;
        Ok(0)
    }
}
