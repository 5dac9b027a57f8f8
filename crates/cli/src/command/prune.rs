//! `prune`: settle what is stale.
//!
//! What it is for: tasks that nobody will ever start, end or wait for. What it owns: nothing but the request. What it
//! never does: delete results (`clean` does).

use clap::Args;

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::show::sanitise;

/// Cancel what has been queued for over a day, settle what has lost its owner
///
/// Says what it did.
#[derive(Debug, Args)]
pub(crate) struct Prune {}

impl Action for Prune {
    fn run(self, context: &Context) -> Answer {
        let client = context.client()?;
        let reply = context.block_on(async { Ok(client.prune().await?) })?;
        if context.globals.json {
            context.print_json(&reply)?;
            return Ok(0);
        }
        if reply.done.is_empty() {
            context.note("there was nothing to do");
        }
        let line = |done: &meanwhile_api::upkeep::Pruned| {
            let task = done.task.as_ref().map(|id| format!("{id} ")).unwrap_or_default();
            format!("{task}{}\n", sanitise::line(&done.text))
        };
        context.print(&reply.done.iter().map(line).collect::<String>())?;
        Ok(0)
    }
}
