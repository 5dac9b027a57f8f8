//! `output`: read what a task printed.
//!
//! What it is for: the log, or the part of it that matters. What it owns: going from page to page. What it never does:
//! open the log file, or hold more than a page.

use clap::{Args, ValueHint};
use meanwhile_api::client::Client;
use meanwhile_api::output::{OutputQuery, OutputReply};
use meanwhile_api::{OsText, TaskId};

use crate::cli::{Action, Answer};
use crate::command::pages::Printer;
use crate::command::{arguments as check, watch};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::when;

/// Print what a task printed
///
/// Text without control sequences, valid UTF-8; marks about what is missing go to standard error. With `--json`, one page
/// as `{text, next_cursor, bytes, dropped_bytes}`: pass `next_cursor` to `--since` for what comes after it.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Id, prefix of 4 characters at least, or name
    #[arg(value_name = "ID", value_hint = ValueHint::Other, value_parser = check::task_id)]
    id: TaskId,

    /// The first N lines
    #[arg(long, value_name = "N", conflicts_with = "tail")]
    head: Option<u64>,

    /// The last N lines
    #[arg(long, short = 'n', value_name = "N")]
    tail: Option<u64>,

    /// Only lines that match
    #[arg(long, value_name = "REGEX", value_parser = check::regex)]
    grep: Option<String>,

    /// From this byte on (0 is the start)
    #[arg(long, value_name = "CURSOR")]
    since: Option<u64>,

    /// No more than N bytes
    #[arg(long, value_name = "N")]
    max_bytes: Option<u64>,

    /// Only this stream, for tasks whose streams are kept apart
    #[arg(long, value_name = "STREAM", value_parser = ["stdout", "stderr"])]
    stream: Option<String>,

    /// Of this attempt, from 1 [default: the current one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    attempt: Option<u32>,

    /// The bytes as they were printed, control sequences included
    #[arg(long)]
    raw: bool,

    /// Go on until the attempt ends
    #[arg(long, short = 'f')]
    follow: bool,
}

impl Action for Output {
    fn run(self, context: &Context) -> Answer {
        let client = if self.follow { context.client()? } else { context.reader()? };
        let id = self.id;
        let query = OutputQuery {
            attempt: self.attempt,
            head: self.head,
            tail: self.tail,
            grep: self.grep,
            since: self.since,
            max_bytes: self.max_bytes,
            stream: self.stream,
            raw: self.raw,
            follow: false,
            // The daemon masks what is secret for everybody who is no person.
            redact: false,
        };
        context.block_on(async {
            match (self.follow, context.globals.json) {
                (true, _) => follow(context, &client, &id, query).await?,
                (false, true) => {
                    context.print_json(&client.output(&id, &query).await?)?;
                }
                (false, false) => pages(context, &client, &id, query).await?,
            }
            Ok(0)
        })
    }
}

/// Prints all that was asked for, page by page.
async fn pages(
    context: &Context,
    client: &Client,
    id: &TaskId,
    mut query: OutputQuery,
) -> Result<(), Failure> {
    let mut printer = Printer::new(context, query.raw);
    loop {
        let page = client.output(id, &query).await?;
        printer.page(&page)?;
        let more = page.truncated && !page.text.is_empty();
        if !more || !next_page(&mut query, &page) {
            printer.finish()?;
            if page.truncated {
                cut_mark(context, id, &page);
            }
            return Ok(());
        }
    }
}

/// Turns the query into one for what is left; false when all that was asked for is there.
fn next_page(query: &mut OutputQuery, page: &OutputReply) -> bool {
    let text = page.text.as_bytes();
    if let Some(most) = query.max_bytes {
        let left = most.saturating_sub(text.len() as u64);
        query.max_bytes = Some(left);
        // A character may be longer than what is left.
        if left < 4 {
            return false;
        }
    }
    if let Some(lines) = query.head {
        let left = lines.saturating_sub(lines_in(text));
        query.head = Some(left);
        if left == 0 {
            return false;
        }
    }
    query.tail = None;
    query.attempt = Some(page.attempt);
    query.since = Some(page.next_cursor);
    true
}

fn lines_in(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn cut_mark(context: &Context, id: &TaskId, page: &OutputReply) {
    let left = page.bytes.saturating_sub(page.next_cursor);
    if left > 0 {
        let size = when::bytes(left);
        let cursor = page.next_cursor;
        context.note(&format!("[{size} more: meanwhile output {id} --since {cursor}]"));
    }
}

/// Prints what is there and what comes, until the attempt ends.
async fn follow(
    context: &Context,
    client: &Client,
    id: &TaskId,
    query: OutputQuery,
) -> Result<(), Failure> {
    let mut printer = Printer::new(context, query.raw);
    let mut left = query.max_bytes;
    let mut follow = client.follow(id, query);
    loop {
        let page = tokio::select! {
            page = follow.next() => page?,
            () = watch::interrupted() => {
                watch::give_way(context, None, std::slice::from_ref(id));
                return Err(Failure::Interrupted);
            }
        };
        let Some(mut page) = page else { break };
        if let Some(left) = &mut left {
            bound(&mut page, left);
        }
        if context.globals.json {
            context.print_json_line(&page)?;
        } else {
            printer.page(&page)?;
        }
        if left == Some(0) {
            break;
        }
    }
    printer.finish()
}

/// Cuts a page to the bytes that may still be printed.
fn bound(page: &mut OutputReply, left: &mut u64) {
    let text = page.text.as_bytes();
    let most = usize::try_from(*left).unwrap_or(usize::MAX);
    if text.len() > most {
        let whole = (0..=most).rev().find(|at| text[*at] & 0xc0 != 0x80).unwrap_or(0);
        page.text = OsText::from(&text[..whole]);
        page.truncated = true;
        *left = 0;
    } else {
        *left -= text.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meanwhile_api::task::State;

    fn page(text: &str) -> OutputReply {
        OutputReply {
            text: OsText::from(text),
            next_cursor: 10,
            bytes: 20,
            dropped_bytes: 0,
            gaps: Vec::new(),
            truncated: true,
            attempt: 1,
            state: State::Completed,
            ended: false,
        }
    }

    #[test]
    fn the_next_page_asks_for_what_is_left() {
        let mut query = OutputQuery { head: Some(3), ..OutputQuery::default() };
        assert!(next_page(&mut query, &page("a\nb\n")));
        assert_eq!((query.head, query.since), (Some(1), Some(10)));
        assert!(!next_page(&mut query, &page("c\n")));
        let mut query = OutputQuery { max_bytes: Some(8), ..OutputQuery::default() };
        assert!(next_page(&mut query, &page("abc")));
        assert!(!next_page(&mut query, &page("abc")));
    }

    #[test]
    fn a_bounded_page_ends_at_a_whole_character() {
        let (mut reply, mut left) = (page("aöb"), 2);
        bound(&mut reply, &mut left);
        assert_eq!((reply.text.as_bytes(), left), (&b"a"[..], 0));
        let (mut reply, mut left) = (page("ab"), 5);
        bound(&mut reply, &mut left);
        assert_eq!((reply.text.len(), left), (2, 3));
    }
}
