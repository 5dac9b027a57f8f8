//! The stream of events: what is stored after a number, then what happens.
//!
//! Woken by commits; a page at a time, as fast as the client reads.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Polled, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use hyper::{Response, StatusCode};
use meanwhile_api::event::{Event, EventsQuery, SSE_COMMENT};
use meanwhile_api::headers::LAST_EVENT_ID;
use meanwhile_api::limits::EVENT_HEARTBEAT;
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::{SessionId, TaskId};
use meanwhile_store::{EventFilter, EventRecord, Logged, Reader};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Answered, find_task};
use crate::http::caller::{forbidden, session_name};
use crate::http::context::Context;
use crate::http::exchange::{Asked, Body, respond};
use crate::view::{cause, signal_name, time, wire_id};

/// Events read from the store at once.
const PAGE: usize = 256;
/// Pages that wait for a slow client.
const AHEAD: usize = 2;

/// What one stream is about.
struct Wanted {
    filter: EventFilter,
    kinds: Vec<String>,
}

pub(super) fn events(context: &Arc<Context>, asked: &Asked) -> Answered {
    let query: EventsQuery = asked.query()?;
    let last = match asked.headers.get(LAST_EVENT_ID) {
        None => query.since,
        Some(value) => {
            Some(value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                ApiError::new(ErrorCode::BadRequest, "header last-event-id is not a number")
            })?)
        }
    };
    let wanted = wanted(context, asked, query)?;
    let last = last.unwrap_or_else(|| *context.committed.borrow());
    let (pages, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(stream(Arc::clone(context), wanted, last, pages));
    let body: Body = Pages(receiver).boxed_unsync();
    let mut response: Response<Body> = respond(StatusCode::OK, "text/event-stream", body);
    let no_store = hyper::header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(hyper::header::CACHE_CONTROL, no_store);
    Ok(response)
}

fn wanted(context: &Context, asked: &Asked, query: EventsQuery) -> Result<Wanted, ApiError> {
    let EventsQuery { since: _, kind, task, session, any_session } = query;
    let only = asked.caller.only_session();
    if any_session && only.is_some() {
        return Err(forbidden("the events of all sessions are for people to see".into()));
    }
    let session: Option<SessionId> = session.as_deref().map(session_name).transpose()?;
    if let (Some(only), Some(session)) = (&only, &session)
        && only != session
    {
        return Err(forbidden(format!("the events of session {session} are not yours to see")));
    }
    let task = match task {
        None => None,
        Some(text) => Some(find_task(context, &asked.caller, text.as_str())?.id),
    };
    Ok(Wanted { filter: EventFilter { task, session: only.or(session) }, kinds: kind })
}

/// Sends pages until the client or the loop is gone.
async fn stream(context: Arc<Context>, wanted: Wanted, mut last: u64, pages: mpsc::Sender<Bytes>) {
    let mut committed = context.committed.clone();
    loop {
        // Read before the page: what is committed later wakes us again.
        let newest = *committed.borrow_and_update();
        let page = match context.read(|r| r.events_since(last, PAGE, &wanted.filter)) {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "a stream of events ends");
                return;
            }
        };
        let complete = page.len() < PAGE;
        last = page.last().map_or(last, |event| event.seq);
        if complete {
            last = last.max(newest);
        }
        let text = written(&context, &wanted, page);
        if !text.is_empty() && pages.send(Bytes::from(text)).await.is_err() {
            return;
        }
        if !complete {
            continue;
        }
        tokio::select! {
            changed = committed.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = pages.closed() => return,
            () = tokio::time::sleep(EVENT_HEARTBEAT) => {
                if pages.send(Bytes::from_static(SSE_COMMENT.as_bytes())).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn written(context: &Context, wanted: &Wanted, page: Vec<EventRecord>) -> String {
    let wanted_kind = |event: &EventRecord| {
        wanted.kinds.is_empty() || wanted.kinds.iter().any(|k| k == event.what.name())
    };
    let page: Vec<EventRecord> = page.into_iter().filter(wanted_kind).collect();
    let sessions = sessions(context, &page);
    page.iter().map(|event| wire(event, &sessions).to_sse()).collect()
}

fn sessions(context: &Context, page: &[EventRecord]) -> HashMap<TaskId, String> {
    let mut ids: Vec<TaskId> = page.iter().map(|event| event.task).collect();
    ids.sort_unstable();
    ids.dedup();
    let records = context.read(|reader| reader.tasks(&ids)).unwrap_or_default();
    records.into_iter().flatten().map(|r| (r.id, r.placement.session.to_string())).collect()
}

fn wire(event: &EventRecord, sessions: &HashMap<TaskId, String>) -> Event {
    let EventRecord { seq, at, task, attempt, what } = event;
    Event {
        seq: *seq,
        at: time(*at),
        kind: what.name().to_owned(),
        task: Some(wire_id(*task)),
        session: sessions.get(task).cloned(),
        attempt: Some(*attempt).filter(|number| *number > 0),
        data: data(what),
    }
}

fn data(what: &Logged) -> Value {
    use meanwhile_core::event::Exit;
    match what {
        Logged::Started { pid, supervisor_pid } => {
            json!({ "pid": pid, "supervisor_pid": supervisor_pid })
        }
        Logged::Ready { how } => json!({ "how": how }),
        Logged::Extended { timeout, deadline, by } => json!({
            "timeout_ms": timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            "deadline": deadline.map(time),
            "by": by.to_text(),
        }),
        Logged::StopRequested { stop } => match stop {
            meanwhile_core::event::Stop::Cancel { by } => {
                json!({ "stop": "cancel", "by": by.to_text() })
            }
            meanwhile_core::event::Stop::Report { by, failed, message } => {
                json!({ "stop": "complete", "by": by.to_text(), "failed": failed, "message": message })
            }
        },
        Logged::Ended { state, cause: why, exit, seat_kept } => json!({
            "state": state.name(),
            "cause": cause(why),
            "exit_code": match exit { Some(Exit::Code(code)) => Some(*code), _ => None },
            "signal": match exit { Some(Exit::Signal(n)) => Some(signal_name(*n)), _ => None },
            "seat_kept": seat_kept,
        }),
        Logged::DeadlineNear { deadline } => json!({ "deadline": time(*deadline) }),
        Logged::Rebound { session } => json!({ "session": session.as_str() }),
        Logged::Requeued { crashes } => json!({ "crashes": crashes }),
        Logged::Retried { by } => json!({ "by": by.as_ref().map(meanwhile_core::Actor::to_text) }),
        Logged::Refused { what } => json!({ "what": what }),
        Logged::Submitted | Logged::Starting | Logged::Emptied | Logged::Forgotten => Value::Null,
    }
}

/// A body of pages that are still to come.
struct Pages(mpsc::Receiver<Bytes>);

impl HttpBody for Pages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Polled<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|page| page.map(|bytes| Ok(Frame::data(bytes))))
    }
}
