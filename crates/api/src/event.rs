//! Events: what happened, in order, as a stream.
//!
//! What it is for: `GET /v1/events`, Server-Sent Events with the sequence number as the event id, so that a client that
//! reconnects with `Last-Event-ID` (or `since`) misses nothing. What it owns: the event's shape and its text form, both
//! written and read. What it never does: keep events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ApiError;
use crate::ids::TaskId;
use crate::query::{Query, QueryReader, QueryWriter};
use crate::time::Timestamp;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its number: grows by time, gaps are possible.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What, such as `submitted`, `started`, `ended`, `reopened`, `refused`.
    pub kind: String,
    /// The task concerned.
    pub task: Option<TaskId>,
    /// The session concerned.
    pub session: Option<String>,
    /// The attempt concerned.
    pub attempt: Option<u32>,
    /// More facts, by kind.
    #[serde(default)]
    pub data: Value,
}

/// `GET /v1/events`: the stored events after `since`, then new ones as they happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventsQuery {
    /// After this number; only new ones when absent. The header `Last-Event-ID` wins over it.
    pub since: Option<u64>,
    /// Of these kinds (repeat the key); all when empty.
    pub kind: Vec<String>,
    /// Of this task.
    pub task: Option<TaskId>,
    /// Of this session.
    pub session: Option<String>,
    /// Of all sessions.
    pub any_session: bool,
}

impl Query for EventsQuery {
    fn write(&self, to: &mut QueryWriter) {
        let EventsQuery { since, kind, task, session, any_session } = self;
        to.opt("since", *since);
        to.all("kind", kind);
        to.opt("task", task.as_ref());
        to.opt("session", session.as_ref());
        to.flag("any_session", *any_session);
    }

    fn read(from: &mut QueryReader) -> Result<EventsQuery, ApiError> {
        Ok(EventsQuery {
            since: from.parsed("since", "0")?,
            kind: from.texts("kind"),
            task: from.text("task")?.map(TaskId),
            session: from.text("session")?,
            any_session: from.flag("any_session")?,
        })
    }
}

/// A comment line that keeps a quiet stream alive; readers skip it.
pub const SSE_COMMENT: &str = ":\n\n";

impl Event {
    /// The event as text: `id:`, `event:` and `data:` lines and an empty one.
    pub fn to_sse(&self) -> String {
        let json = serde_json::to_string(self).expect("an event holds nothing that JSON cannot");
        format!("id: {}\nevent: {}\ndata: {json}\n\n", self.seq, self.kind)
    }
}

/// What a stream opens with: the number it starts after, so that a client that reconnects before it has seen any
/// event misses none.
pub fn sse_start(after: u64) -> String {
    format!("id: {after}\n\n")
}

/// Takes events out of a stream of bytes that arrives in pieces.
#[derive(Debug, Default)]
pub struct SseReader {
    pending: Vec<u8>,
    /// Bytes at the front of `pending` that were taken.
    taken: usize,
    /// Where the end of the next event may be: there is none before.
    searched: usize,
    last_id: Option<u64>,
}

impl SseReader {
    /// Adds bytes; complete events come out by [`SseReader::next_event`].
    pub fn push(&mut self, bytes: &[u8]) {
        // What was taken is forgotten when it is the larger part, so that a push of very many events
        // does not move the rest for each of them.
        if self.taken >= self.pending.len() - self.taken {
            self.pending.drain(..self.taken);
            self.searched -= self.taken;
            self.taken = 0;
        }
        self.pending.extend_from_slice(bytes);
    }

    /// The newest `id:` seen: where to resume.
    pub fn last_id(&self) -> Option<u64> {
        self.last_id
    }

    /// The next complete event; `None` when more bytes are needed. Data that is not an event is an error.
    pub fn next_event(&mut self) -> Option<Result<Event, serde_json::Error>> {
        loop {
            let Some(end) =
                self.pending[self.searched..].windows(2).position(|pair| pair == b"\n\n")
            else {
                // The last byte may be the first of an end.
                self.searched = self.pending.len().saturating_sub(1).max(self.taken);
                return None;
            };
            let end = self.searched + end + 2;
            let block = &self.pending[self.taken..end];
            (self.taken, self.searched) = (end, end);
            let lines = || block.split(|byte| *byte == b'\n');
            for id in lines().filter_map(|line| line.strip_prefix(b"id:")) {
                let number = std::str::from_utf8(id).ok().and_then(|id| id.trim().parse().ok());
                self.last_id = number.or(self.last_id);
            }
            let data: Vec<&[u8]> = lines().filter_map(|line| line.strip_prefix(b"data:")).collect();
            if !data.is_empty() {
                return Some(serde_json::from_slice(&data.join(&b'\n')));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_of_a_stream_cut_anywhere() {
        let event = |seq| Event {
            seq,
            at: Timestamp::from_unix_ms(1),
            kind: "ended".to_owned(),
            task: Some(TaskId::from("0123456789")),
            session: None,
            attempt: Some(1),
            data: serde_json::json!({ "text": "two\n\nlines" }),
        };
        let (first, second) = (event(7).to_sse(), event(9).to_sse());
        let stream = format!("{}{first}{SSE_COMMENT}{second}", sse_start(3));
        let mut reader = SseReader::default();
        let mut seen = Vec::new();
        for byte in stream.as_bytes() {
            reader.push(&[*byte]);
            while let Some(event) = reader.next_event() {
                seen.push(event.unwrap());
            }
        }
        assert_eq!(seen, [event(7), event(9)]);
        assert_eq!(reader.last_id(), Some(9));
    }

    #[test]
    fn a_stream_says_where_it_starts_before_anything_happens() {
        let mut reader = SseReader::default();
        reader.push(sse_start(3).as_bytes());
        assert!(reader.next_event().is_none());
        assert_eq!(reader.last_id(), Some(3));
    }

    #[test]
    fn very_many_events_and_a_very_long_one_are_read_in_one_pass() {
        let begun = std::time::Instant::now();
        let mut reader = SseReader::default();
        reader.push("id: 1\n\n".repeat(1 << 20).as_bytes());
        assert!(reader.next_event().is_none());
        for piece in "x".repeat(8 << 20).as_bytes().chunks(64) {
            reader.push(piece);
            assert!(reader.next_event().is_none());
        }
        reader.push(b"\nid: 2\n\n");
        assert!(reader.next_event().is_none());
        assert_eq!(reader.last_id(), Some(2));
        // One that looks at everything again for each of them takes hours.
        assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    }
}
