//! `daemon status`, `daemon stop`, `lanes`.

use std::sync::atomic::Ordering;

use meanwhile_api::OsText;
use meanwhile_api::daemon::{DaemonStatus, StopReply, StopRequest, StoreStatus};
use meanwhile_api::lanes::LanesReply;
use meanwhile_api::{ApiError, version};
use meanwhile_core::State;
use meanwhile_host::home::{DAEMON_LOG, SOCKET};
use meanwhile_store::{Filter, Reader, SqliteReader};

use super::Answered;
use super::lists::summary_reply;
use crate::find::unfinished_states;
use crate::http::context::Context;
use crate::http::exchange::{Asked, json};
use crate::letters::{Ask, LoopStatus, Reply};
use crate::view::{lane_object, time};

pub(super) async fn lanes(context: &Context) -> Answered {
    json(&LanesReply { lanes: lane_objects(context).await?.0 })
}

/// All lanes, and the figures of the loop that say whether they are held.
async fn lane_objects(
    context: &Context,
) -> Result<(Vec<meanwhile_api::lanes::Lane>, LoopStatus), ApiError> {
    let status = loop_status(context).await?;
    let views = match context.postbox.ask(Ask::Lanes, None).await? {
        Reply::Lanes(views) => views,
        other => unreachable!("lanes are answered by lanes, not by {other:?}"),
    };
    let held = status.held.as_deref();
    Ok((views.iter().map(|view| lane_object(view, held)).collect(), status))
}

pub(super) async fn loop_status(context: &Context) -> Result<LoopStatus, ApiError> {
    match context.postbox.ask(Ask::Status, None).await? {
        Reply::Status(status) => Ok(status),
        other => unreachable!("a status is answered by a status, not by {other:?}"),
    }
}

pub(super) async fn status(context: &Context) -> Answered {
    let (lanes, status) = lane_objects(context).await?;
    let (counts, schema) = context.read(|reader: &mut SqliteReader| {
        Ok((reader.summary(&Filter::default())?, reader.meta()?.schema))
    })?;
    let paths = &context.home.paths;
    json(&DaemonStatus {
        pid: std::process::id(),
        version: version::PROGRAM.to_owned(),
        uptime_ms: u64::try_from(context.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        started_at: time(context.started_at),
        home: OsText::from(paths.state.as_path()),
        socket: OsText::from(context.home.socket.path().join(SOCKET)),
        log: OsText::from(paths.state.join("logs").join(DAEMON_LOG)),
        lanes,
        protocol: version::SUPPORTED,
        store: StoreStatus {
            path: OsText::from(paths.database()),
            bytes: store_bytes(&paths.database()),
            schema,
            last_event: *context.committed.borrow(),
        },
        tasks: summary_reply(&counts),
        supervisors: status.supervisors_busy + status.supervisors_idle,
        waiters: context.waiters.load(Ordering::Relaxed),
        refusing: status.held,
    })
}

/// The database with its log of writes.
pub(crate) fn store_bytes(database: &std::path::Path) -> u64 {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let bytes = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
    bytes(database) + bytes(std::path::Path::new(&log))
}

pub(super) async fn stop(context: &Context, asked: &Asked, request: StopRequest) -> Answered {
    let StopRequest { cancel_all, hand_over } = request;
    if cancel_all {
        asked.caller.must_be_person("cancelling everything")?;
    }
    let unfinished = Filter { states: unfinished_states(), ..Filter::default() };
    let before = context.read(|reader| reader.summary(&unfinished))?;
    let live: u64 = before.iter().filter(|(state, _)| state.is_active()).map(|(_, n)| n).sum();
    let ask = Ask::Stop { cancel_all, hand_over, by: asked.caller.actor() };
    context.postbox.ask(ask, asked.request.clone()).await?;
    let count = |tasks: u64| u32::try_from(tasks).unwrap_or(u32::MAX);
    json(&StopReply {
        pid: std::process::id(),
        still_running: if cancel_all { 0 } else { count(live) },
        cancelled: if cancel_all { count(live + before.of(State::Queued)) } else { 0 },
    })
}
