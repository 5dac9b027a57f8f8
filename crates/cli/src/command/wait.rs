//! `wait`: block until tasks are done.
//!
//! What it is for: the end of a task, without polling. What it owns: whom to wait for when nobody is named. What it never
//! does: end a task when it is interrupted.

use clap::{Args, ValueHint};
use meanwhile_api::client::Client;
use meanwhile_api::list::ListQuery;
use meanwhile_api::select::Select;
use meanwhile_api::task::{State, Task};
use meanwhile_api::wait::{Until, Verdict, WaitRequest};
use meanwhile_api::{ApiError, ErrorCode, Span, TaskId};

use crate::cli::{Action, Answer};
use crate::command::{arguments as check, watch};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::rows;

/// Block until tasks are done
///
/// Without ids: until all unfinished tasks of the caller are done. Exits 1 if any of them did not succeed, 124 when the
/// timeout is over first. Ctrl-C ends the waiting, not the tasks.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Ids, prefixes of 4 characters at least, or names
    #[arg(value_name = "ID", value_hint = ValueHint::Other, value_parser = check::task_id)]
    ids: Vec<TaskId>,

    /// All of this group
    #[arg(long, value_name = "GROUP", value_parser = check::name, conflicts_with = "ids")]
    group: Option<String>,

    /// Until the first success rather than for all
    #[arg(long)]
    any: bool,

    /// No longer than this
    #[arg(long, value_name = "D", value_parser = check::span)]
    timeout: Option<Span>,

    /// For what: the end, or a service to be ready
    #[arg(long, value_name = "WHAT", value_parser = ["done", "ready"], default_value = "done")]
    until: String,
}

impl Action for Wait {
    fn run(self, context: &Context) -> Answer {
        let client = context.client()?;
        context.block_on(async {
            let one = self.ids.len() == 1;
            let until = if self.until == "ready" { Until::Ready } else { Until::Done };
            let (any, timeout) = (self.any, self.timeout);
            let select = choose(context, self.ids, self.group);
            let shown = shown(context, &client, &select).await?;
            let drawn = shown.iter().any(|task| !task.state.is_terminal());
            let request = WaitRequest { select, any, until, timeout };
            let reply = match watch::wait(context, &client, &request, shown).await {
                Err(failure) if is_forbidden(&failure) && request.select == Select::Everything => {
                    let request = WaitRequest { select: Select::Own, ..request };
                    watch::wait(context, &client, &request, Vec::new()).await?
                }
                reply => reply?,
            };
            if context.globals.json {
                match reply.tasks.as_slice() {
                    [task] if one => context.print_json(task)?,
                    tasks => context.print_json(&tasks)?,
                }
            } else {
                // On a terminal the line of a single task is on the screen already.
                let told = drawn && reply.tasks.len() == 1 && context.out.terminal;
                if !told {
                    report(context, &reply.tasks)?;
                }
            }
            if until == Until::Ready && !context.globals.json {
                for task in reply.tasks.iter().filter(|task| never_ready(task)) {
                    context.note(&format!("{} ended before it was ready", task.id));
                }
            }
            if reply.verdict == Verdict::TimedOut {
                context.note("the time is over; the tasks run on");
            }
            Ok(reply.exit().code())
        })
    }
}

fn never_ready(task: &Task) -> bool {
    task.state.is_terminal() && task.ready.is_none()
}

/// Which tasks: those named, else those of the session named, else the caller's.
fn choose(context: &Context, ids: Vec<TaskId>, group: Option<String>) -> Select {
    match (ids.is_empty(), group, &context.globals.session) {
        (false, ..) => Select::Ids(ids),
        (true, Some(group), _) => Select::Group(group),
        (true, None, Some(session)) => Select::Session(session.clone()),
        (true, None, None) if context.seems_a_person() => Select::Everything,
        (true, None, None) => Select::Own,
    }
}

/// So many tasks are looked at while waiting; nobody reads more lines.
const SHOWN_MAX: usize = 200;

/// The tasks to draw while waiting; none where nobody would see them.
pub(crate) async fn shown(
    context: &Context,
    client: &Client,
    select: &Select,
) -> Result<Vec<Task>, ApiError> {
    if !context.err.moves || context.globals.json {
        return Ok(Vec::new());
    }
    let unfinished = State::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
    let query = ListQuery { state: unfinished, ..ListQuery::default() };
    let query = match select {
        Select::Ids(ids) => {
            let some = &ids[..ids.len().min(SHOWN_MAX)];
            return client.status(some.to_vec()).await;
        }
        Select::Group(group) => ListQuery { group: Some(group.clone()), ..query },
        Select::Session(session) => ListQuery { session: Some(session.clone()), ..query },
        Select::Own | Select::Everything => query,
    };
    Ok(client.list(&query).await?.tasks)
}

/// What became of them, for people.
fn report(context: &Context, tasks: &[Task]) -> Result<(), Failure> {
    if tasks.is_empty() {
        context.note("there was nothing to wait for");
        return Ok(());
    }
    context.print(&rows::tasks(tasks, context.now(), &context.out))
}

/// Whether somebody who seemed a person is none.
pub(crate) fn is_forbidden(failure: &Failure) -> bool {
    matches!(failure, Failure::Error { error, .. } if error.code == ErrorCode::Forbidden)
}
