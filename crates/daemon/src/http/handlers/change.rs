//! `cancel`, `retry`, `complete`, `extend`.

use meanwhile_api::change::{
    CancelReply, CancelRequest, CompleteRequest, ExtendRequest, RetryRequest,
};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::TaskId;
use meanwhile_core::input::Until;

use super::wait::{SHOWN_MAX, selected};
use super::{Answered, find_task, one};
use crate::http::context::Context;
use crate::http::exchange::{Asked, json, json_text};
use crate::letters::{Ask, Change, Reply, WaitFor};
use crate::prepare::captured;
use crate::view::wire_id;

/// The longest message of `complete`.
const MESSAGE_BYTES: usize = 4 << 10;

pub(super) async fn cancel(context: &Context, asked: &Asked, request: CancelRequest) -> Answered {
    let CancelRequest { select, wait, cascade } = request;
    let targets = selected(context, &asked.caller, &select).await?;
    if targets.is_empty() {
        return json(&CancelReply { tasks: Vec::new(), already_ended: Vec::new() });
    }
    asked.touches(&targets);
    let by = asked.caller.actor();
    let ask = Ask::Cancel { targets, by, cascade };
    let changes = changed(context.postbox.ask(ask, asked.request.clone()).await?)?;
    if wait {
        let acted: Vec<TaskId> = changes.iter().filter(|c| c.acted).map(|c| c.task).collect();
        until_done(context, acted).await?;
        context.seen(asked, &changes.iter().map(|change| change.task).collect::<Vec<_>>());
    }
    let ids: Vec<TaskId> = changes.iter().take(SHOWN_MAX).map(|change| change.task).collect();
    let already_ended = changes.iter().filter(|c| !c.acted).map(|c| wire_id(c.task)).collect();
    let reply = CancelReply { tasks: Vec::new(), already_ended };
    Ok(json_text(context.with_tasks(&reply, &ids).await?))
}

pub(super) async fn retry(context: &Context, asked: &Asked, request: RetryRequest) -> Answered {
    let task = find_task(context, &asked.caller, &asked.id)?.id;
    asked.touches(&[task]);
    // Nobody deletes the environment between its writing and the answer.
    let _gate = context.env_gate.read().await;
    let env = captured::keep(&context.envs, &captured::read(&request.caller)?)?;
    let ask = Ask::Retry { task, by: asked.caller.actor(), env: Some(env) };
    context.postbox.ask(ask, asked.request.clone()).await?;
    one(context, task).await
}

pub(super) async fn complete(
    context: &Context,
    asked: &Asked,
    request: CompleteRequest,
) -> Answered {
    let CompleteRequest { failed, message } = request;
    let message = message.unwrap_or_default();
    if message.len() > MESSAGE_BYTES {
        return Err(ApiError::new(ErrorCode::Usage, "message has more than 4096 bytes")
            .hint("say it shorter"));
    }
    let task = find_task(context, &asked.caller, &asked.id)?.id;
    asked.touches(&[task]);
    let ask = Ask::Complete { task, by: asked.caller.actor(), failed, message };
    context.postbox.ask(ask, asked.request.clone()).await?;
    until_done(context, vec![task]).await?;
    context.seen(asked, &[task]);
    one(context, task).await
}

pub(super) async fn extend(context: &Context, asked: &Asked, request: ExtendRequest) -> Answered {
    let ExtendRequest { by: more } = request;
    if more.is_zero() {
        return Err(ApiError::new(ErrorCode::Usage, "an extension of 0 is none")
            .hint("for example: meanwhile extend ID 10m"));
    }
    let task = find_task(context, &asked.caller, &asked.id)?.id;
    asked.touches(&[task]);
    let ask = Ask::Extend { task, by: asked.caller.actor(), more: more.into() };
    context.postbox.ask(ask, asked.request.clone()).await?;
    one(context, task).await
}

/// Until these are in their final state and nothing of them is alive. Not a wait of the calling task:
/// it may be among them.
async fn until_done(context: &Context, targets: Vec<TaskId>) -> Result<(), ApiError> {
    if targets.is_empty() {
        return Ok(());
    }
    let wait = WaitFor { inside: None, targets, any: false, until: Until::Done, timeout: None };
    context.postbox.wait(wait).await.map(|_over| ())
}

pub(super) fn changed(reply: Reply) -> Result<Vec<Change>, ApiError> {
    match reply {
        Reply::Changed(changes) => Ok(changes),
        other => Err(unexpected(&other)),
    }
}

/// A reply of another kind: the loop answers a known request id as it did before, and this client used
/// one for two different requests.
pub(super) fn unexpected(reply: &Reply) -> ApiError {
    tracing::warn!(?reply, "a reply of another kind than was asked for");
    ApiError::new(ErrorCode::BadRequest, "request id was used for another request before")
        .hint("draw a fresh random id for every request")
}
