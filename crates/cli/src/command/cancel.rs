//! `cancel`: end tasks and everything they started.
//!
//! What it is for: stopping work for good. What it owns: the question before everything is cancelled. What it never does:
//! signal a process (the supervisors do).

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::{Args, ValueHint};
use meanwhile_api::TaskId;
use meanwhile_api::change::{CancelReply, CancelRequest};
use meanwhile_api::client::Client;
use meanwhile_api::list::ListQuery;
use meanwhile_api::select::Select;
use meanwhile_api::task::State;

use crate::cli::{Action, Answer};
use crate::command::arguments as check;
use crate::command::wait::is_forbidden;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::{rows, when};

/// How long a cancel may take before a person wonders.
const SILENCE: Duration = Duration::from_millis(800);

/// Cancel tasks and everything they launched
///
/// Returns when they have ended and no process of theirs is alive. A task that has ended is left as it is, which is no
/// error.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Ids, prefixes of 4 characters at least, or names
    #[arg(value_name = "ID", value_hint = ValueHint::Other, value_parser = check::task_id)]
    ids: Vec<TaskId>,

    /// All of this group
    #[arg(long, value_name = "GROUP", value_parser = check::name, conflicts_with = "ids")]
    group: Option<String>,

    /// All unfinished tasks of the caller; for a person, of everybody, after a question
    #[arg(long, conflicts_with_all = ["ids", "group"])]
    all: bool,

    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,

    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,

    /// Leave what they launched alone
    #[arg(long)]
    no_cascade: bool,
}

impl Action for Cancel {
    fn run(self, context: &Context) -> Answer {
        let (wait, cascade) = (!self.no_wait, !self.no_cascade);
        let everything = self.all && context.seems_a_person();
        let yes = self.yes;
        let select = self.select(context, everything)?;
        let client = context.client()?;
        context.block_on(async {
            if everything && !yes && !confirmed(context, &client).await? {
                context.note("nothing was cancelled");
                return Ok(0);
            }
            let request = CancelRequest { select, wait, cascade };
            let cancelled = async {
                match client.cancel(&request).await.map_err(Failure::from) {
                    Err(failure) if is_forbidden(&failure) && everything => {
                        let request = CancelRequest { select: Select::Own, ..request.clone() };
                        Ok(client.cancel(&request).await?)
                    }
                    reply => reply,
                }
            };
            let reply = tokio::select! {
                reply = cancelled => reply?,
                never = explain_the_wait(context) => match never {},
            };
            report(context, &reply, wait)?;
            Ok(0)
        })
    }
}

impl Cancel {
    fn select(self, context: &Context, everything: bool) -> Result<Select, Failure> {
        match (self.ids.is_empty(), self.group, &context.globals.session) {
            (false, ..) => Ok(Select::Ids(self.ids)),
            (true, Some(group), _) => Ok(Select::Group(group)),
            (true, None, _) if everything => Ok(Select::Everything),
            (true, None, _) if self.all => Ok(Select::Own),
            (true, None, Some(session)) => Ok(Select::Session(session.clone())),
            (true, None, None) => Err(Failure::usage(
                "nothing to cancel is named",
                "meanwhile cancel ID, or --group G, --session S, --all",
            )),
        }
    }
}

/// Tells a person who has waited for a while what for; never returns.
async fn explain_the_wait(context: &Context) -> Infallible {
    tokio::time::sleep(SILENCE).await;
    if context.err.moves {
        context.note("asked to end; whatever does not is killed after its grace period");
    }
    pending().await
}

/// Asks a person; somebody who cannot be asked has to say `--yes`.
async fn confirmed(context: &Context, client: &Client) -> Result<bool, Failure> {
    let unfinished = State::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
    let query = ListQuery { state: unfinished, any_session: true, ..ListQuery::default() };
    let count = client.summary(&query).await?.total;
    if count == 0 {
        return Ok(true);
    }
    if !io::stdin().is_terminal() || !context.err.terminal {
        return Err(Failure::usage(
            format!("this would cancel {} of all sessions", when::plural(count, "task")),
            "if that is meant: meanwhile cancel --all --yes",
        ));
    }
    let question = format!("cancel {} of all sessions? [y/N] ", when::plural(count, "task"));
    io::stderr().write_all(question.as_bytes())?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn report(context: &Context, reply: &CancelReply, waited: bool) -> Result<(), Failure> {
    if context.globals.json {
        return context.print_json(reply);
    }
    if reply.tasks.is_empty() {
        context.note("there was nothing to cancel");
        return Ok(());
    }
    for id in &reply.already_ended {
        let task = reply.tasks.iter().find(|task| task.id == *id);
        let state = task.map_or("ended", |task| task.state.name());
        context.note(&format!("{id} had ended already: {state}"));
    }
    if !waited {
        context.note("the cancelling was accepted; it goes on");
    }
    context.print(&rows::tasks(&reply.tasks, context.now(), &context.out))
}
