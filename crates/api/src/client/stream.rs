//! Answers that go on: output as it is written, events as they happen.
//!
//! What it is for: `follow` and event streams. What it owns: where each of them is (a cursor, a sequence number), so
//! that a lost connection is resumed and nothing is seen twice or missed. What it never does: poll.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::connect::Connection;
use super::exchange::{Answer, Reach, read_error};
use super::{Call, Client, decode};
use crate::error::{ApiError, ErrorCode};
use crate::event::{Event, EventsQuery, SseReader};
use crate::ids::TaskId;
use crate::output::{OutputQuery, OutputReply};
use crate::routes::RouteId;

/// Output as it is written.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    id: TaskId,
    query: OutputQuery,
    ended: bool,
}

impl Follow {
    pub(super) fn new(client: Client, id: TaskId, query: OutputQuery) -> Follow {
        Follow { client, id, query: OutputQuery { follow: true, ..query }, ended: false }
    }

    /// The next page, once there is something in it; `None` after the end of the attempt. The last page may be empty:
    /// it carries the final state.
    pub async fn next(&mut self) -> Result<Option<OutputReply>, ApiError> {
        if self.ended {
            return Ok(None);
        }
        let call = Call::new(RouteId::Output)?.id(&self.id).query(&self.query);
        let page: OutputReply = decode(&self.client.exchange(&call).await?)?;
        // From here on this attempt only, and each line once.
        self.query.attempt = Some(page.attempt);
        self.query.since = Some(page.next_cursor);
        self.query.head = None;
        self.query.tail = None;
        self.ended = page.ended;
        Ok(Some(page))
    }
}

/// Events as they happen.
pub struct Events {
    client: Client,
    query: EventsQuery,
    open: Option<Open>,
    reach: Reach,
}

/// A stream that is being read.
struct Open {
    body: Incoming,
    reader: SseReader,
    since: Instant,
    // Dropping it would close the stream.
    _connection: Connection,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("query", &self.query).finish_non_exhaustive()
    }
}

impl Events {
    pub(super) fn new(client: Client, query: EventsQuery) -> Events {
        let reach = client.reach();
        Events { client, query, open: None, reach }
    }

    /// The next event, however long that takes.
    pub async fn next(&mut self) -> Result<Event, ApiError> {
        loop {
            let Some(open) = &mut self.open else {
                self.open = self.connect().await?;
                continue;
            };
            if let Some(event) = open.reader.next_event() {
                let event = event.map_err(|error| {
                    ApiError::new(ErrorCode::Protocol, format!("understand an event: {error}"))
                })?;
                self.query.since = Some(event.seq);
                return Ok(event);
            }
            self.query.since = open.reader.last_id().or(self.query.since);
            match open.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        open.reader.push(bytes);
                    }
                }
                Some(Err(_)) | None => {
                    let since = open.since;
                    self.open = None;
                    self.client.stream_lost(&mut self.reach, since).await?;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<Option<Open>, ApiError> {
        let call = Call::new(RouteId::Events)?.query(&self.query);
        let (response, connection) = match self.client.ask(&call, &mut self.reach).await? {
            Answer::Reply(response, connection) => (response, connection),
            Answer::Lost | Answer::Offline(_) => return Ok(None),
        };
        let (status, since) = (response.status(), Instant::now());
        if status.is_success() {
            let (body, reader) = (response.into_body(), SseReader::default());
            return Ok(Some(Open { body, reader, since, _connection: connection }));
        }
        let body = response.into_body().collect().await.map(|body| body.to_bytes());
        let error = read_error(status.as_u16(), &body.unwrap_or_default());
        if error.code != ErrorCode::Stopping {
            return Err(error);
        }
        self.client.stream_lost(&mut self.reach, since).await?;
        Ok(None)
    }
}
