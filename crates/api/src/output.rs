//! Reading a task's output, page by page.
//!
//! What it is for: `output` and `follow`. What it owns: the page's parameters and shape; a cursor is a logical byte
//! offset into everything the attempt has written. What it never does: read a log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::query::{Query, QueryReader, QueryWriter};
use crate::task::State;
use crate::text::OsText;

/// `GET /v1/tasks/{id}/output`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputQuery {
    /// The attempt, from 1; the current one when absent.
    pub attempt: Option<u32>,
    /// Only the first so many lines.
    pub head: Option<u64>,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only lines that this regular expression matches.
    pub grep: Option<String>,
    /// Start at this cursor; 0 is the start.
    pub since: Option<u64>,
    /// At most so many bytes of text.
    pub max_bytes: Option<u64>,
    /// Which stream, where they are kept apart: `stdout` or `stderr`.
    pub stream: Option<String>,
    /// The bytes as written, rather than text without control characters.
    pub raw: bool,
    /// Answer only when there is something after `since`, or the attempt has ended.
    pub follow: bool,
    /// Secret values of the task's environment are masked, each byte of them by `*`. Always done for callers that are no
    /// person.
    pub redact: bool,
}

impl Query for OutputQuery {
    fn write(&self, to: &mut QueryWriter) {
        let OutputQuery {
            attempt,
            head,
            tail,
            grep,
            since,
            max_bytes,
            stream,
            raw,
            follow,
            redact,
        } = self;
        to.opt("attempt", *attempt);
        to.opt("head", *head);
        to.opt("tail", *tail);
        to.opt("grep", grep.as_ref());
        to.opt("since", *since);
        to.opt("max_bytes", *max_bytes);
        to.opt("stream", stream.as_ref());
        to.flag("raw", *raw);
        to.flag("follow", *follow);
        to.flag("redact", *redact);
    }

    fn read(from: &mut QueryReader) -> Result<OutputQuery, ApiError> {
        Ok(OutputQuery {
            attempt: from.parsed("attempt", "1")?,
            head: from.parsed("head", "20")?,
            tail: from.parsed("tail", "20")?,
            grep: from.text("grep")?,
            since: from.parsed("since", "0")?,
            max_bytes: from.parsed("max_bytes", "65536")?,
            stream: from.text("stream")?,
            raw: from.flag("raw")?,
            follow: from.flag("follow")?,
            redact: from.flag("redact")?,
        })
    }
}

/// One page of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputReply {
    /// The text; with `raw` the bytes. Empty at the end.
    pub text: OsText,
    /// Where the next page starts.
    pub next_cursor: u64,
    /// Everything the attempt has written so far, the dropped middle included.
    pub bytes: u64,
    /// How much of that is gone.
    pub dropped_bytes: u64,
    /// Dropped ranges that lie within this page, in order.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// `max_bytes` cut this page short: more is there already.
    #[serde(default)]
    pub truncated: bool,
    /// The attempt that was read.
    pub attempt: u32,
    /// The state of that attempt.
    pub state: State,
    /// Nothing will follow `next_cursor`: the attempt has ended and everything was read.
    #[serde(default)]
    pub ended: bool,
}

/// A range of output that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// Where the gap is in `text`, in bytes.
    pub at: u64,
    /// The cursor of its first missing byte.
    pub from: u64,
    /// The cursor of the first byte after it.
    pub to: u64,
}
