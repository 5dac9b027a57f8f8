//! `wait`: until tasks end.
//!
//! What it is for: the one tool that may take long. What it owns: the choice between an MCP task (for peers that
//! declared them on 2026-07-28) and blocking for a while (for every other), and the signs of life. What it never does:
//! start work that a refusal would leave behind, or end a task.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meanwhile_api::client::Client;
use meanwhile_api::config::ConfigQuery;
use meanwhile_api::event::EventsQuery;
use meanwhile_api::select::Select;
use meanwhile_api::task::Task;
use meanwhile_api::wait::{Until, Verdict, WaitReply, WaitRequest};
use meanwhile_api::{ApiError, Span, TaskId};
use rmcp::RoleServer;
use rmcp::model::{CallToolResponse, CreateTaskResult, ProgressNotificationParam};
use rmcp::service::RequestContext;
use tokio::time::sleep;

use super::list::state_of;
use super::{Answer, Call};
use crate::arguments::{self, Arguments};
use crate::digest::{self, Told};
use crate::patience::print;
use crate::waits::{self, Wait, may_be_a_task};
use crate::{limits, words};

pub(super) async fn wait(call: &Call<'_>, arguments: Arguments) -> Answer {
    let asked: arguments::Wait = arguments::read("wait", arguments)?;
    let any = asked.any;
    // As short as can be: it says which tasks are meant, and refuses what could never end.
    let now = request(asked.select()?, any, Duration::from_millis(1));
    let now = call.client.wait(&now).await?;
    if now.verdict != Verdict::TimedOut {
        return ended(call, &now, any).await;
    }
    let ids: Vec<TaskId> = now.tasks.iter().map(|task| task.id.clone()).collect();
    if may_be_a_task(call.context)
        && let Some(wait) = as_a_task(call, &asked, &ids, &now.tasks)?
    {
        let id = wait.id();
        call.shared.cancelled.forget(&id);
        let message = words::short(&waits::status_of(&now.tasks), 300);
        let task = waits::seed(&id, &now.tasks, call.now()).with_status_message(message);
        return Ok(CallToolResponse::Task(CreateTaskResult::new(task)));
    }
    let question = print((&call.claim.name, "wait", &ids, any));
    let hold = call.shared.patience.hold(question, state_of(&now.tasks), call.now());
    let asked = asked.timeout.map_or(limits::WAIT_DEFAULT, Span::as_duration);
    let time = asked.min(longest(&call.client).await).max(hold.unwrap_or_default());
    let reply = block(call, request(Select::Ids(ids), any, time), time).await?;
    call.shared.patience.answered(question, state_of(&reply.tasks), call.now());
    if reply.verdict != Verdict::TimedOut {
        return ended(call, &reply, any).await;
    }
    Ok(digest::running(&Told { tasks: &reply.tasks, gone: &[], any }).into())
}

fn request(select: Select, any: bool, time: Duration) -> WaitRequest {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    WaitRequest { select, any, until: Until::Done, timeout: Some(Span::from_ms(ms)) }
}

/// How long a call may block, by the settings of this home.
async fn longest(client: &Client) -> Duration {
    let query = ConfigQuery { key: Some("mcp.max_wait".to_owned()) };
    // A daemon of an older program has no such setting; one that cannot be reached is told of by the wait itself.
    let entries = client.config(&query).await.map(|reply| reply.entries).unwrap_or_default();
    let set = entries.first().and_then(|entry| entry.value.as_str()?.parse::<Span>().ok());
    set.map_or(limits::WAIT_MAX, Span::as_duration)
}

async fn ended(call: &Call<'_>, reply: &WaitReply, any: bool) -> Answer {
    if reply.tasks.is_empty() {
        return Ok(crate::answer::words("There is nothing to wait for: no unfinished task.").into());
    }
    let tasks = &reply.tasks;
    call.tells_of(tasks);
    Ok(digest::ended(&call.client, &Told { tasks, gone: &[], any }).await?.into())
}

/// The wait as an id can say it, put down where the id alone cannot; none where there are too many tasks for that, too.
fn as_a_task(
    call: &Call<'_>,
    asked: &arguments::Wait,
    ids: &[TaskId],
    tasks: &[Task],
) -> Result<Option<Wait>, ApiError> {
    if ids.len() <= limits::IDS_IN_A_WAIT {
        let ids = ids.to_vec();
        return Ok(Some(if asked.any { Wait::Any(ids) } else { Wait::All(ids) }));
    }
    if ids.len() > limits::WAITED_MAX {
        return Ok(None);
    }
    if let (Some(group), Some(task), false) = (&asked.group, tasks.first(), asked.any) {
        let session = task.session.clone();
        return Ok(Some(Wait::Group { session, group: group.clone() }));
    }
    let name = call.shared.shelf.keep(ids)?;
    Ok(Some(Wait::Set { name, any: asked.any }))
}

/// Waits, and says now and then that it does.
async fn block(
    call: &Call<'_>,
    request: WaitRequest,
    time: Duration,
) -> Result<WaitReply, ApiError> {
    let Select::Ids(ids) = &request.select else { return call.client.wait(&request).await };
    let done = AtomicUsize::new(0);
    tokio::select! {
        reply = call.client.wait(&request) => reply,
        () = tell(call.context, &done, ids.len(), time) => unreachable!("it goes on for ever"),
        () = count(call, ids, &done) => unreachable!("it goes on for ever"),
        // Nobody reads the answer any more: any will do, soon.
        () = call.context.ct.cancelled() => {
            call.client.wait(&WaitRequest { timeout: Some(Span::from_ms(1)), ..request.clone() }).await
        }
    }
}

/// Notifies of progress, where that was asked for; never returns.
async fn tell(
    context: &RequestContext<RoleServer>,
    done: &AtomicUsize,
    all: usize,
    time: Duration,
) {
    let Some(token) = context.meta.get_progress_token() else {
        return std::future::pending().await;
    };
    let mut waited = Duration::ZERO;
    loop {
        sleep(limits::PROGRESS_EVERY).await;
        waited += limits::PROGRESS_EVERY;
        let message = format!("{} of {all} ended while waiting", done.load(Ordering::Relaxed));
        let progress = ProgressNotificationParam::new(token.clone(), waited.as_secs_f64())
            .with_total(time.as_secs_f64())
            .with_message(message);
        // A peer that is gone ends the call by itself.
        let _ = context.peer.notify_progress(progress).await;
    }
}

/// Counts those that end; never returns.
async fn count(call: &Call<'_>, ids: &[TaskId], done: &AtomicUsize) {
    if call.context.meta.get_progress_token().is_some() {
        let query = EventsQuery { kind: vec!["ended".to_owned()], ..EventsQuery::default() };
        let mut events = call.client.events(query);
        // Without events there is no count, and the wait itself tells the error.
        while let Ok(event) = events.next().await {
            if event.task.is_some_and(|id| ids.contains(&id)) {
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    std::future::pending().await
}
