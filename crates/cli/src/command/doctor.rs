//! `doctor`: what is well and what is not.
//!
//! What it is for: finding out why something does not work, also when no daemon can start. What it owns: how findings are
//! shown. What it never does: repair.

use clap::Args;
use meanwhile_api::upkeep::{Check, Health};

use crate::cli::{Action, Answer};
use crate::context::Context;
use crate::show::paint::Tone;
use crate::show::sanitise;

/// Check the installation, the store and the machine
///
/// Exits 1 when something does not work. Does not start a daemon.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

impl Action for Doctor {
    fn run(self, context: &Context) -> Answer {
        let client = context.reader()?;
        let reply = context.block_on(async { Ok(client.doctor().await?) })?;
        let worst = reply.checks.iter().map(|check| check.health).max();
        if context.globals.json {
            context.print_json(&reply)?;
        } else {
            let text: String = reply.checks.iter().map(|check| finding(context, check)).collect();
            context.print(&text)?;
        }
        Ok(u8::from(worst == Some(Health::Failed)))
    }
}

fn finding(context: &Context, check: &Check) -> String {
    let (mark, tone) = match check.health {
        Health::Ok => ("ok", Tone::Good),
        Health::Warning => ("warning", Tone::Attention),
        Health::Failed => ("failed", Tone::Bad),
    };
    let mark = format!("{mark:<8}");
    let name = format!("{:<22}", sanitise::line(&check.name));
    let mut text =
        format!("{}{name} {}\n", context.out.paint(tone, &mark), sanitise::line(&check.text));
    if check.health != Health::Ok {
        for hint in &check.hint {
            let hint = format!("        hint: {}", sanitise::line(hint));
            text.push_str(&format!("{}\n", context.out.paint(Tone::Faint, &hint)));
        }
    }
    text
}
