//! `lanes`: limits, who runs and who waits.
//!
//! What it is for: why something waits. What it owns: nothing but the request. What it never does: change a limit.

use clap::Args;

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::show::rows;

/// Show lanes: their limits, what runs and how many wait
///
/// To change a limit: meanwhile config set lanes.NAME.limit N (0: unlimited).
#[derive(Debug, Args)]
pub(crate) struct Lanes {}

impl Action for Lanes {
    fn run(self, context: &Context) -> Answer {
        let client = context.reader()?;
        let reply = context.block_on(async { Ok(client.lanes().await?) })?;
        if context.globals.json {
            context.print_json(&reply.lanes)?;
        } else {
            context.print(&rows::lanes(&reply.lanes, context.now(), &context.out))?;
            if let Some(lane) = reply.lanes.iter().find(|lane| lane.queued > 0) {
                context
                    .note(&format!("to change a limit: meanwhile config set {} N", lane.setting));
            }
        }
        Ok(0)
    }
}
