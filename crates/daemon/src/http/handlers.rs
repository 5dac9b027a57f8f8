//! What each route does: one file per kind of request.
//!
//! Owns the match of routes to handlers, which is exhaustive: a new route breaks the build here.

mod audit;
mod change;
pub(crate) mod config;
mod daemon;
mod events;
pub(crate) mod inbox;
mod inherit;
pub(crate) mod lists;
pub(crate) mod output;
pub(crate) mod submit;
pub(crate) mod upkeep;
mod wait;

use std::sync::Arc;

use hyper::Response;
use hyper::body::Incoming;
use meanwhile_api::ApiError;
use meanwhile_api::routes::RouteId;
use meanwhile_core::TaskId;
use meanwhile_store::{Reader, TaskRecord};

use super::caller::Caller;
use super::context::Context;
use super::exchange::{Asked, Body, json, json_body};
use crate::engine::refusals::store_error;
use crate::find;

type Answered = Result<Response<Body>, ApiError>;

/// Answers a request of a known route.
pub(super) async fn handle(
    context: &Arc<Context>,
    route: RouteId,
    asked: Asked,
    body: Incoming,
) -> Answered {
    match route {
        RouteId::Submit => submit::submit(context, &asked, json_body(context, body).await?).await,
        RouteId::Stdin => submit::upload(context, body).await,
        RouteId::List => lists::list(context, &asked).await,
        RouteId::Summary => lists::summary(context, &asked).await,
        RouteId::Status => lists::status(context, &asked).await,
        RouteId::Task => lists::task(context, &asked).await,
        RouteId::Output => output::output(context, &asked).await,
        RouteId::Wait => wait::wait(context, &asked, json_body(context, body).await?).await,
        RouteId::Inbox => inbox::inbox(context, &asked),
        RouteId::Deliver => inbox::deliver(context, &asked, json_body(context, body).await?).await,
        RouteId::Acknowledge => {
            inbox::acknowledge(context, &asked, json_body(context, body).await?).await
        }
        RouteId::Presence => {
            inbox::presence(context, &asked, json_body(context, body).await?).await
        }
        RouteId::Compaction => inbox::compaction(context, &asked),
        RouteId::Cancel => change::cancel(context, &asked, json_body(context, body).await?).await,
        RouteId::Retry => change::retry(context, &asked, json_body(context, body).await?).await,
        RouteId::Complete => {
            change::complete(context, &asked, json_body(context, body).await?).await
        }
        RouteId::Extend => change::extend(context, &asked, json_body(context, body).await?).await,
        RouteId::Lanes => daemon::lanes(context).await,
        RouteId::Prune => upkeep::prune(context, &asked).await,
        RouteId::Clean => upkeep::clean(context, &asked, json_body(context, body).await?).await,
        RouteId::Doctor => upkeep::doctor(context).await,
        RouteId::ConfigGet => config::get(context, &asked),
        RouteId::ConfigSet => config::set(context, &asked, json_body(context, body).await?).await,
        RouteId::Daemon => daemon::status(context).await,
        RouteId::DaemonStop => daemon::stop(context, &asked, json_body(context, body).await?).await,
        RouteId::Audit => audit::audit(context, &asked),
        RouteId::Events => events::events(context, &asked),
        RouteId::OpenApi => json(&meanwhile_api::openapi::document()),
    }
}

/// The task that a text means, which this caller may see.
fn find_task(context: &Context, caller: &Caller, text: &str) -> Result<TaskRecord, ApiError> {
    context.try_read(|reader| find_in(reader, caller, text))
}

pub(crate) fn find_in(
    reader: &mut dyn Reader,
    caller: &Caller,
    text: &str,
) -> Result<TaskRecord, ApiError> {
    let id = find::task(reader, text)?;
    let record = reader.task(id).map_err(|error| store_error(&error))?;
    // Forgotten between the two looks.
    let record = record.ok_or_else(|| {
        ApiError::new(meanwhile_api::ErrorCode::NoSuchTask, format!("no task {id}"))
    })?;
    caller.may_see(id, &record.placement)?;
    Ok(record)
}

/// One task as it is now.
async fn one(context: &Context, id: TaskId) -> Answered {
    match context.show_ids(&[id]).await?.pop() {
        Some(task) => json(&task),
        None => Err(ApiError::new(
            meanwhile_api::ErrorCode::NoSuchTask,
            format!("no task {id}: it was deleted meanwhile"),
        )),
    }
}
