//! Waiting with a person looking on.
//!
//! What it is for: `wait`, `run --wait` and `follow` show on a terminal what their tasks are doing, and give way to
//! Ctrl-C. What it owns: that a wait never polls: events say when to look again. What it never does: end a task.

use std::collections::BTreeSet;
use std::future::pending;

use meanwhile_api::client::Client;
use meanwhile_api::event::EventsQuery;
use meanwhile_api::task::Task;
use meanwhile_api::wait::{WaitReply, WaitRequest};
use meanwhile_api::{ApiError, TaskId};

use crate::context::Context;
use crate::failure::Failure;
use crate::show::live::Live;

/// So many ids are repeated to somebody who has interrupted a wait for them.
const IDS_MAX: usize = 5;

/// Waits; on a terminal the tasks are shown meanwhile.
pub(crate) async fn wait(
    context: &Context,
    client: &Client,
    request: &WaitRequest,
    shown: Vec<Task>,
) -> Result<WaitReply, Failure> {
    let ids: Vec<TaskId> = shown.iter().map(|task| task.id.clone()).collect();
    let mut live = if context.globals.json { None } else { Live::start(&shown, context.err) };
    let ended = tokio::select! {
        reply = client.wait(request) => Some(reply),
        () = keep_up(client, &mut live, &shown) => None,
        () = interrupted() => None,
    };
    let Some(reply) = ended else {
        give_way(context, live, &ids);
        return Err(Failure::Interrupted);
    };
    if let Some(mut live) = live {
        for task in reply.iter().flat_map(|reply| &reply.tasks) {
            live.update(task);
        }
        live.stop();
    }
    Ok(reply?)
}

/// Returns when a person presses Ctrl-C.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        pending::<()>().await;
    }
}

/// Stops drawing, and says what a person who pressed Ctrl-C should know.
pub(crate) fn give_way(context: &Context, live: Option<Live>, ids: &[TaskId]) {
    let Some(live) = live else {
        // The terminal has drawn `^C` by itself.
        context.end_line();
        context.note(&runs_on(ids));
        return;
    };
    let ids = live.unfinished();
    live.stop();
    context.note(&runs_on(&ids));
}

fn runs_on(ids: &[TaskId]) -> String {
    match ids {
        [id] => format!("{id} runs on. To stop it: meanwhile cancel {id}"),
        ids if ids.is_empty() || ids.len() > IDS_MAX => {
            "the tasks run on. To see them: meanwhile list --state active".to_owned()
        }
        ids => {
            let ids: Vec<&str> = ids.iter().map(TaskId::as_str).collect();
            format!("the tasks run on. To stop them: meanwhile cancel {}", ids.join(" "))
        }
    }
}

/// Keeps the lines up to date; never returns.
pub(crate) async fn keep_up(client: &Client, live: &mut Option<Live>, shown: &[Task]) {
    if let Some(live) = live {
        // What cannot be shown must not end the wait, which tells its own errors.
        let _ = update_by_events(client, live, shown).await;
    }
    pending::<()>().await;
}

async fn update_by_events(
    client: &Client,
    live: &mut Live,
    shown: &[Task],
) -> Result<(), ApiError> {
    let ids: BTreeSet<TaskId> = shown.iter().map(|task| task.id.clone()).collect();
    // What happens between the two answers below comes as an event again.
    let since = client.running_daemon().await?.map(|daemon| daemon.store.last_event);
    for task in client.status(ids.iter().cloned().collect()).await? {
        live.update(&task);
    }
    let mut events = client.events(EventsQuery { since, ..EventsQuery::default() });
    loop {
        let event = events.next().await?;
        if let Some(id) = event.task.filter(|id| ids.contains(id)) {
            live.update(&client.task(&id).await?);
        }
    }
}
