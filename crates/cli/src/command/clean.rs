//! `clean`: delete finished tasks and their files.
//!
//! What it is for: disk space. What it owns: nothing but the request. What it never does: touch an unfinished task.

use clap::Args;
use meanwhile_api::Span;
use meanwhile_api::upkeep::CleanRequest;

use crate::cli::{Action, Answer};
use crate::command::arguments as check;
use crate::context::Context;
use crate::show::when;

/// Delete finished tasks and their files
#[derive(Debug, Args)]
pub(crate) struct Clean {
    /// Only those that ended longer ago than this
    #[arg(long, value_name = "D", value_parser = check::span)]
    older_than: Option<Span>,
}

impl Action for Clean {
    fn run(self, context: &Context) -> Answer {
        let client = context.client()?;
        let request = CleanRequest { older_than: self.older_than };
        let reply = context.block_on(async { Ok(client.clean(&request).await?) })?;
        if context.globals.json {
            context.print_json(&reply)?;
        } else {
            let (tasks, bytes) = (when::plural(reply.tasks, "task"), when::bytes(reply.bytes));
            context.print(&format!("deleted {tasks}, {bytes}\n"))?;
        }
        Ok(0)
    }
}
