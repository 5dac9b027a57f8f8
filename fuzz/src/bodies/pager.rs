//! Pages of output: any cursor, any limit, any pattern, over any log.
//!
//! A page never exceeds its limit, its cursor never goes back, and where there is more to be had the
//! next page begins behind this one. Page by page comes the same text as at once.

use std::os::fd::OwnedFd;
use std::path::Path;

use meanwhile_api::output::{OutputQuery, OutputReply};
use meanwhile_api::task::State;
use meanwhile_daemon::output::{AttemptFacts, PageRequest, Pager, text};
use meanwhile_supervisor::fuzzing::Writer;

use crate::feed::Feed;

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    let directory = &super::scratch_directory();
    super::empty(directory);
    let query = query(&mut feed);
    let (ended, whole) = (feed.byte() & 1 == 1, feed.byte() & 3 == 0);
    let dropped = write(&mut feed, directory);
    let Ok(request) = PageRequest::new(&query) else { return };
    let Some(reply) = page(directory, &request, ended) else { return };
    check(&query, &reply, ended);
    let plain = query.grep.is_none() && query.head.is_none() && query.tail.is_none();
    let roomy = query.max_bytes.is_none_or(|most| most >= 4);
    if whole && plain && roomy && dropped == 0 {
        all_pages(directory, &query);
    }
}

fn query(feed: &mut Feed<'_>) -> OutputQuery {
    let grep = match feed.choose(4) {
        0 => Some(String::from_utf8_lossy(feed.take(12)).into_owned()),
        1 => Some("a".to_owned()),
        _ => None,
    };
    let lines = feed.maybe();
    let (head, tail) = if feed.byte() & 1 == 0 { (lines, None) } else { (None, lines) };
    OutputQuery {
        head,
        tail,
        grep,
        since: feed.maybe(),
        max_bytes: feed.maybe(),
        raw: feed.byte() & 1 == 1,
        ..OutputQuery::default()
    }
}

/// Makes a log of what is left of the input; how much of it the log dropped.
fn write(feed: &mut Feed<'_>, directory: &Path) -> u64 {
    let small = feed.byte() & 7 == 0;
    let cap = if small { 16 << 10 } else { 64 << 20 };
    let mut writer = Writer::create(open(directory), cap).expect("a log can be made");
    // A log that overflows is made of the same text again and again.
    let times = if small { (40 << 10) / feed.rest().len().max(64) } else { 1 };
    for _ in 0..times.max(1) {
        writer.append(feed.rest());
    }
    writer.dropped()
}

fn open(path: &Path) -> OwnedFd {
    std::fs::File::open(path).expect("the scratch directory is there").into()
}

fn page(directory: &Path, request: &PageRequest, ended: bool) -> Option<OutputReply> {
    let mut pager = Pager::open(open(directory), request.clone(), ended).ok()?;
    pager.run().expect("the files are there");
    let state = if ended { State::Completed } else { State::Running };
    Some(pager.reply(AttemptFacts { attempt: 1, state, ended, figures: None }))
}

fn check(query: &OutputQuery, reply: &OutputReply, ended: bool) {
    let most = query.max_bytes.unwrap_or(u64::MAX);
    let len = reply.text.len() as u64;
    // A line of matches is never empty-handed: it is cut, not left out.
    assert!(len <= most, "{len} bytes on a page of {most}");
    let since = query.since.unwrap_or(0).min(reply.bytes);
    assert!(reply.next_cursor >= since, "the cursor went back to {}", reply.next_cursor);
    assert!(reply.next_cursor <= reply.bytes);
    // Less may have no room for a single character.
    if reply.truncated && most >= 4 {
        assert!(reply.next_cursor > since, "there is more, and the next page is the same again");
    }
    for gap in &reply.gaps {
        assert!(gap.from < gap.to && gap.at <= len && gap.to <= reply.bytes);
    }
    if !query.raw {
        let shown = reply.text.as_str().expect("a page is text");
        assert_eq!(text::clean(shown.as_bytes()), shown, "a page is clean");
    }
    if let (Some(lines), None) = (query.head, &query.grep) {
        let found = reply.text.as_bytes().iter().filter(|byte| **byte == b'\n').count() as u64;
        // A lone return is a line end in the text and none in the log.
        let in_log = reply.text.as_bytes().len() as u64;
        assert!(!query.raw || found <= lines, "{found} lines of {in_log} bytes, {lines} asked");
    }
    if ended && !reply.truncated && query.head.is_none() {
        assert_eq!(reply.next_cursor, reply.bytes, "the end is the end");
    }
}

/// Page by page until the end: the same text, and an end.
fn all_pages(directory: &Path, query: &OutputQuery) {
    let at_once = OutputQuery { max_bytes: None, ..query.clone() };
    let request = PageRequest::new(&at_once).expect("checked before");
    let Some(whole) = page(directory, &request, true) else { return };
    if whole.truncated || whole.text.len() > 4096 {
        return;
    }
    let (mut text, mut cursor) = (Vec::new(), query.since.unwrap_or(0));
    for _ in 0..=whole.bytes {
        let next = OutputQuery { since: Some(cursor), ..query.clone() };
        let request = PageRequest::new(&next).expect("checked before");
        let Some(reply) = page(directory, &request, true) else { return };
        text.extend_from_slice(reply.text.as_bytes());
        if !reply.truncated {
            assert_eq!(text, whole.text.as_bytes());
            return;
        }
        cursor = reply.next_cursor;
    }
    panic!("the pages of {} bytes have no end", whole.bytes);
}
