//! `output` and the pages of `follow`.

use meanwhile_api::output::{OutputQuery, OutputReply};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::TaskId;
use meanwhile_store::{AttemptRecord, Reader, TaskRecord};

use super::{Answered, find_task};
use crate::growth::Watch;
use crate::hidden;
use crate::http::context::Context;
use crate::http::exchange::{Asked, json};
use crate::output::{AttemptFacts, PageRequest, Pager};
use crate::view::wire_state;

pub(super) async fn output(context: &Context, asked: &Asked) -> Answered {
    let query: OutputQuery = asked.query()?;
    let request = PageRequest::new(&query)?;
    let record = find_task(context, &asked.caller, &asked.id)?;
    let attempt = attempt_of(&record, query.attempt)?;
    let number = attempt.number;
    let request = request.redacting(query.redact || !asked.caller.is_person());
    let from = query.since.unwrap_or(0);
    let reply = if query.follow && !attempt.state.is_terminal() {
        follow(context, record.id, number, &request, from).await?
    } else {
        page(context, record.id, attempt, &request).await?
    };
    if reply.ended && number == record.current().number {
        context.seen(asked, &[record.id]);
    }
    json(&reply)
}

/// The attempt asked for, or the current one.
pub(crate) fn attempt_of(
    record: &TaskRecord,
    number: Option<u32>,
) -> Result<&AttemptRecord, ApiError> {
    let current = record.current();
    let number = number.unwrap_or(current.number);
    record.attempts.iter().find(|attempt| attempt.number == number).ok_or_else(|| {
        let message = format!("task {} has no attempt {number}", record.id);
        ApiError::new(ErrorCode::Usage, message)
            .hint(format!("it has attempts 1 to {}", current.number))
    })
}

/// The page as it is now.
async fn page(
    context: &Context,
    id: TaskId,
    attempt: &AttemptRecord,
    request: &PageRequest,
) -> Result<OutputReply, ApiError> {
    let facts = facts(attempt);
    let Some(directory) = context.home.existing_attempt(id, attempt.number) else {
        return Ok(nothing_yet(facts, request));
    };
    let failed = |error| unreadable(id, error);
    let request = hidden::on_page(request.clone(), &context.home, &directory);
    let mut pager = Pager::open(&directory, request, facts.ended).map_err(failed)?;
    let mut buffer = Vec::new();
    while !pager.step(&mut buffer).map_err(failed)? {
        // Others have their turn between two steps.
        tokio::task::yield_now().await;
    }
    Ok(pager.reply(facts))
}

pub(crate) fn unreadable(id: TaskId, error: rustix::io::Errno) -> ApiError {
    ApiError::new(ErrorCode::Internal, format!("log of task {id} cannot be read: {error}"))
        .hint("meanwhile status shows its path")
}

/// Answers when there is something on the page, or when the attempt has ended.
async fn follow(
    context: &Context,
    id: TaskId,
    number: u32,
    request: &PageRequest,
    from: u64,
) -> Result<OutputReply, ApiError> {
    let mut committed = context.committed.clone();
    loop {
        // Both are made before the look, so that nothing is missed in between.
        committed.borrow_and_update();
        let attempt = current(context, id, number)?;
        let mut growth = watch(context, id, &attempt);
        let reply = page(context, id, &attempt, request).await?;
        let news = !reply.text.is_empty() || !reply.gaps.is_empty() || reply.next_cursor > from;
        if news || attempt.state.is_terminal() {
            return Ok(reply);
        }
        loop {
            tokio::select! {
                () = changed(&mut growth) => break,
                more = committed.changed() => more.map_err(|_| stopping())?,
            }
            let states = context.read(|reader| reader.states(&[id]))?;
            if states[0] != Some(attempt.state) {
                break;
            }
        }
    }
}

/// Watches the log of an attempt that has been given out; a queued one has no directory.
fn watch(context: &Context, id: TaskId, attempt: &AttemptRecord) -> Option<Watch> {
    // Whoever comes first makes the directory: the log must not begin before it is watched.
    let made = attempt.state.is_active().then(|| context.home.attempt(id, attempt.number))?;
    made.ok().map(|directory| context.growth.watch(directory.path()))
}

async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

fn current(context: &Context, id: TaskId, number: u32) -> Result<AttemptRecord, ApiError> {
    let record = context.read(|reader| reader.task(id))?;
    let attempts = record.map(|record| record.attempts).unwrap_or_default();
    attempts.into_iter().find(|attempt| attempt.number == number).ok_or_else(|| {
        ApiError::new(ErrorCode::NoSuchTask, format!("no task {id}: it was deleted meanwhile"))
    })
}

pub(crate) fn facts(attempt: &AttemptRecord) -> AttemptFacts {
    AttemptFacts {
        attempt: attempt.number,
        state: wire_state(attempt.state),
        ended: attempt.state.is_terminal(),
        figures: attempt.run.as_ref().map(|run| (run.log_bytes, run.dropped_bytes)),
    }
}

/// There is no log (yet).
pub(crate) fn nothing_yet(facts: AttemptFacts, request: &PageRequest) -> OutputReply {
    OutputReply {
        text: meanwhile_api::OsText::default(),
        next_cursor: request.since().unwrap_or(0),
        bytes: 0,
        dropped_bytes: 0,
        gaps: Vec::new(),
        truncated: false,
        attempt: facts.attempt,
        state: facts.state,
        ended: facts.ended,
    }
}

fn stopping() -> ApiError {
    ApiError::new(ErrorCode::Stopping, "daemon is stopping")
        .hint("try again: a new one is started when needed")
}
