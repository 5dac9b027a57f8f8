//! `setup`: Meanwhile in all agents of this user, in one go.
//!
//! What it is for: from an installed program to an agent that uses it, within a minute. What it owns: finding the agents,
//! one plan for all, the question, and the order: plan, ask, install, try out. What it never does: know a file of an agent
//! (`install` does), or change anything that was not shown.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use meanwhile_api::{ApiError, ErrorCode, ExitCode};
use meanwhile_integrations::{Agent, Changed, Installation, Scope};
use serde::Serialize;

use crate::cli::{Action, Answer};
use crate::command::install::{self, Change};
use crate::command::rehearsal::rehearse;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::paint::Tone;
use crate::show::{sanitise, when};

/// What a person says next.
const SAY: &str = "Run the tests in the background with meanwhile, and tell me when they are done.";

/// Give all agents of this machine the tools of Meanwhile
///
/// Finds the agent CLIs that are installed, shows what it would change, asks, installs, and tries each out with a task that
/// does nothing. Again is fine: what is there already is only tried out. Where nobody can be asked it only shows what it would
/// change, and exits 1.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Which agents; all that are installed if none is named
    #[arg(value_name = "AGENT", value_parser = install::agent)]
    agents: Vec<Agent>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Let the agents launch tasks without asking, too
    #[arg(long)]
    allow_launch: bool,
}

/// An agent and what is to be done for it.
struct Prepared {
    program: Option<PathBuf>,
    installation: Installation,
    plan: Result<Vec<Changed>, Failure>,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Reply {
    /// Whether the changes were made; else nobody said that they should be.
    installed: bool,
    agents: Vec<Outcome>,
    /// What a person may say to an agent next.
    say: &'static str,
}

#[derive(Serialize)]
struct Outcome {
    agent: &'static str,
    /// Where its program is; null if it is not on PATH.
    program: Option<String>,
    changes: Vec<Change>,
    /// Whether a task launched as this agent would has run and been told; null if it was not tried.
    works: Option<bool>,
    /// What did not work.
    trouble: Option<String>,
}

impl Action for Setup {
    fn run(self, context: &Context) -> Answer {
        if std::env::var_os("MEANWHILE_TASK").is_some() {
            let error = ApiError::new(
                ErrorCode::Refused,
                "it changes files of a person: not inside a task",
            );
            return Err(error.hint("type it in a shell of your own: meanwhile setup").into());
        }
        let prepared = self.prepare(context)?;
        let changing =
            prepared.iter().any(|one| one.plan.as_ref().is_ok_and(|plan| !plan.is_empty()));
        if changing && !self.yes {
            if !context.globals.json {
                context.print(&plan_of(context, &prepared))?;
            }
            if context.globals.json || !io::stdin().is_terminal() || !context.err.terminal {
                return only_planned(context, prepared, self.allow_launch);
            }
            if !confirmed()? {
                context.note("nothing was changed");
                return Ok(1);
            }
        }
        let outcomes: Vec<Outcome> =
            prepared.into_iter().map(|one| carry_out(context, one)).collect();
        let fine = outcomes.iter().all(|outcome| outcome.works == Some(true));
        if context.globals.json {
            context.print_json(&Reply { installed: true, agents: outcomes, say: SAY })?;
        } else if fine {
            context.note("sessions that run now see it after a restart");
            context.print(&format!("say to your agent: {SAY}\n"))?;
        } else {
            context.note("to look again: meanwhile install --check");
        }
        Ok(u8::from(!fine))
    }
}

impl Setup {
    fn prepare(&self, context: &Context) -> Result<Vec<Prepared>, Failure> {
        let named = |agent: &Agent| self.agents.is_empty() || self.agents.contains(agent);
        let mut prepared = Vec::new();
        for agent in Agent::ALL.into_iter().filter(named) {
            let program = install::on_path(agent);
            if program.is_none() && self.agents.is_empty() {
                continue;
            }
            let installation =
                install::installation_for(context, agent, Scope::User, self.allow_launch)?;
            let plan = installation.plan().map_err(install::failure);
            prepared.push(Prepared { program, installation, plan });
        }
        if prepared.is_empty() {
            let names = Agent::ALL.map(Agent::name).join(", ");
            let error = ApiError::new(ErrorCode::NotFound, format!("none of {names} is on PATH"));
            let error = error.exit(ExitCode::WorkFailed);
            return Err(Failure::Fact(error.hint("name one all the same: meanwhile setup claude")));
        }
        Ok(prepared)
    }
}

fn heading(context: &Context, one: &Prepared) -> String {
    let place = match &one.program {
        Some(path) => sanitise::line(&path.display().to_string()),
        None => "not on PATH".to_owned(),
    };
    format!("{} {}\n", one.installation.agent.name(), context.out.paint(Tone::Faint, &place))
}

fn plan_of(context: &Context, prepared: &[Prepared]) -> String {
    let mut text = String::new();
    for one in prepared {
        text.push_str(&heading(context, one));
        let plan = match &one.plan {
            Ok(plan) if plan.is_empty() => "everything is there already\n".to_owned(),
            Ok(plan) => install::described(context, plan, true),
            Err(failure) => format!("cannot: {}\n", said(failure)),
        };
        text.extend(plan.lines().map(|line| format!("  {line}\n")));
    }
    text
}

/// What a failure says, on one line.
fn said(failure: &Failure) -> String {
    sanitise::line(failure.message())
}

/// Nobody can be asked: the plan is all there is.
fn only_planned(context: &Context, prepared: Vec<Prepared>, allow_launch: bool) -> Answer {
    if context.globals.json {
        let outcome = |one: Prepared| {
            let (changes, trouble) = match &one.plan {
                Ok(plan) => (plan.iter().map(Change::of).collect(), None),
                Err(failure) => (vec![], Some(said(failure))),
            };
            Outcome { changes, trouble, ..untried(&one) }
        };
        let agents = prepared.into_iter().map(outcome).collect();
        context.print_json(&Reply { installed: false, agents, say: SAY })?;
    } else {
        let option = if allow_launch { " --allow-launch" } else { "" };
        context.note(&format!("nothing was changed; to do this: meanwhile setup --yes{option}"));
    }
    Ok(1)
}

fn confirmed() -> Result<bool, Failure> {
    io::stderr().write_all(b"install this? [y/N] ")?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn untried(one: &Prepared) -> Outcome {
    Outcome {
        agent: one.installation.agent.name(),
        program: one.program.as_ref().map(|path| path.display().to_string()),
        changes: vec![],
        works: None,
        trouble: None,
    }
}

/// Installs and tries out; says how it went as it goes.
fn carry_out(context: &Context, one: Prepared) -> Outcome {
    let mut outcome = untried(&one);
    let Installation { agent, wishes, .. } = &one.installation;
    let done = one.plan.and_then(|_| one.installation.install().map_err(install::failure));
    let tried = done.and_then(|changes| {
        outcome.changes = changes.iter().map(Change::of).collect();
        rehearse(context, *agent, &wishes.program)
    });
    outcome.works = Some(tried.is_ok());
    outcome.trouble = tried.err().map(|failure| said(&failure));
    if !context.globals.json {
        tell(context, &one.installation, &outcome);
    }
    outcome
}

fn tell(context: &Context, installation: &Installation, outcome: &Outcome) {
    let files = when::plural(u64::try_from(outcome.changes.len()).unwrap_or(u64::MAX), "file");
    let changed = match outcome.changes.len() {
        0 => "nothing to change".to_owned(),
        _ => format!("{files} changed"),
    };
    let (mark, tone, result) = match &outcome.trouble {
        None => ("ok", Tone::Good, "a task ran and was told of".to_owned()),
        Some(trouble) => ("failed", Tone::Bad, trouble.clone()),
    };
    let mark = format!("{mark:<7}");
    let mark = context.out.paint(tone, &mark);
    // Standard output is closed: the exit code still says how it went.
    let _ = context.print(&format!("{mark} {:<9} {changed}; {result}\n", outcome.agent));
    if let Some(what) = installation.cannot() {
        context.note(what);
    }
}
