//! `doctor`: what is well and what is not.
//!
//! What it is for: finding out why something does not work, also when no daemon can start. What it owns: how findings are
//! shown, and the checks of what was installed into agents (the daemon knows no agent). What it never does: repair.

use clap::Args;
use meanwhile_api::upkeep::{Check, Health};
use meanwhile_integrations::{Agent, Scope};

use crate::cli::{Action, Answer};
use crate::command::install;
use crate::context::Context;
use crate::show::paint::Tone;
use crate::show::{sanitise, when};

/// Check the installation, the store and the machine
///
/// Exits 1 when something does not work. Does not start a daemon.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

impl Action for Doctor {
    fn run(self, context: &Context) -> Answer {
        let client = context.reader()?;
        let mut reply = context.block_on(async { Ok(client.doctor().await?) })?;
        reply.checks.extend(agents(context));
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

/// One finding for each agent that is there or was given our tools.
fn agents(context: &Context) -> Vec<Check> {
    Agent::ALL.into_iter().filter_map(|agent| of_agent(context, agent)).collect()
}

fn of_agent(context: &Context, agent: Agent) -> Option<Check> {
    let name = agent.name();
    let check = |health, text: String, hint: &str| Check {
        name: format!("agents.{name}"),
        health,
        text,
        hint: if hint.is_empty() { vec![] } else { vec![hint.to_owned()] },
    };
    let installation = match install::installation_for(context, agent, Scope::User, false) {
        Ok(installation) => installation,
        Err(failure) => return Some(check(Health::Warning, failure.message().to_owned(), "")),
    };
    if !installation.is_remembered() {
        install::on_path(agent)?;
        let hint = format!("meanwhile setup {name}");
        return Some(check(Health::Ok, format!("has not the tools of Meanwhile: {hint}"), ""));
    }
    let again = format!("meanwhile install {name}");
    Some(match installation.check() {
        Err(trouble) => check(Health::Warning, trouble.message, &again),
        Ok(missing) if !missing.is_empty() => {
            let what: Vec<&str> = missing.iter().map(|one| one.what.as_str()).collect();
            let other = missing.iter().any(|one| one.other);
            let state = if other { "missing or of another release" } else { "missing" };
            check(Health::Warning, format!("{state}: {}", what.join(", ")), &again)
        }
        Ok(_) => match install::older_sessions(&installation) {
            0 => check(Health::Ok, "has the tools, hooks and permissions".to_owned(), ""),
            count => check(
                Health::Warning,
                format!("{} began before it was installed", when::plural(count, "running session")),
                install::RESTART,
            ),
        },
    })
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
