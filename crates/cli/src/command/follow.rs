//! `follow`: the live output of a task, to its end.
//!
//! What it is for: looking at background work as if it ran in front. What it owns: going on with the next attempt when
//! one failed and is tried again. What it never does: end the task when it is interrupted.

use clap::{Args, ValueHint};
use meanwhile_api::TaskId;
use meanwhile_api::client::{Client, Follow as Pages};
use meanwhile_api::event::EventsQuery;
use meanwhile_api::output::{OutputQuery, OutputReply};
use meanwhile_api::task::Task;

use crate::cli::{Action, Answer};
use crate::command::pages::Printer;
use crate::command::{arguments as check, run, verdict, watch};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::live::Live;

/// Print a task's output live until it ends, and exit with its code
///
/// 128+N when signal N ended it, 124 when its timeout did, 125 for a failure of meanwhile itself. Ctrl-C ends the
/// following, not the task.
#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// Id, prefix of 4 characters at least, or name
    #[arg(value_name = "ID", value_hint = ValueHint::Other, value_parser = check::task_id)]
    id: TaskId,
}

impl Action for Follow {
    fn run(self, context: &Context) -> Answer {
        let client = context.client().map_err(Failure::of_ours)?;
        let work = to_the_end(context, &client, &self.id, Beginning::Current);
        context.block_on(work).map_err(Failure::of_ours)
    }
}

/// With which attempt to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// The first: whoever launched the task wants all of it, however fast its attempts come and go.
    First,
    /// The one that is current.
    Current,
}

/// Prints the output of a task, attempt after attempt; its exit code.
pub(crate) async fn to_the_end(
    context: &Context,
    client: &Client,
    id: &TaskId,
    beginning: Beginning,
) -> Answer {
    let mut task = client.task(id).await?;
    let id = task.id.clone();
    let mut events = client.events(EventsQuery {
        since: client.running_daemon().await?.map(|daemon| daemon.store.last_event),
        task: Some(id.clone()),
        ..EventsQuery::default()
    });
    let first = match beginning {
        Beginning::First => 1,
        Beginning::Current => task.attempt,
    };
    for number in first.. {
        // Every attempt there is was shown whole: something has to happen first.
        while task.attempt < number && !task.state.is_terminal() {
            events.next().await?;
            task = client.task(&id).await?;
        }
        if task.attempt < number {
            break;
        }
        if number > first {
            context.note(&format!("attempt {number}"));
        }
        attempt(context, client, &task, number).await?;
        task = client.task(&id).await?;
    }
    if context.globals.json {
        context.print_json_line(&task)?;
    }
    run::tell_failure(context, &task);
    Ok(verdict::code(&task))
}

/// Prints the output of an attempt.
async fn attempt(
    context: &Context,
    client: &Client,
    task: &Task,
    number: u32,
) -> Result<(), Failure> {
    let mut printer = Printer::new(context, false);
    let query = OutputQuery { attempt: Some(number), ..OutputQuery::default() };
    let mut pages = client.follow(&task.id, query);
    // Until something is printed, a person sees why not.
    let mut live = if context.globals.json {
        None
    } else {
        Live::start(std::slice::from_ref(task), context.err)
    };
    while let Some(page) = next(context, client, &mut pages, &mut live, task).await? {
        if (!page.text.is_empty() || page.ended)
            && let Some(live) = live.take()
        {
            live.stop();
        }
        if context.globals.json {
            context.print_json_line(&page)?;
        } else {
            printer.page(&page)?;
        }
    }
    printer.finish()
}

async fn next(
    context: &Context,
    client: &Client,
    pages: &mut Pages,
    live: &mut Option<Live>,
    task: &Task,
) -> Result<Option<OutputReply>, Failure> {
    let page = tokio::select! {
        page = pages.next() => Some(page?),
        () = watch::keep_up(client, live, std::slice::from_ref(task)) => None,
        () = watch::interrupted() => None,
    };
    if page.is_none() {
        watch::give_way(context, live.take(), std::slice::from_ref(&task.id));
    }
    page.ok_or(Failure::Interrupted)
}
