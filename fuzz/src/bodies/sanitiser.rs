//! Output of tasks as text: the daemon's filter for JSON and the command line's for terminals.
//!
//! Neither lets a control character through; both read the same however a text is cut; what is clean
//! stays as it is, also through the other one; a page's worth at a time gives the whole text.

use meanwhile_api::sanitise as terminal;
use meanwhile_daemon::output::text::{self, Cleaner};

use crate::feed::Feed;

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    let cut = usize::from(feed.short());
    let room = 4 + usize::from(feed.byte());
    let bytes = feed.rest();
    let clean = text::clean(bytes);
    check_harmless(&clean);
    assert_eq!(text::clean(clean.as_bytes()), clean, "what is clean stays");
    assert_eq!(terminal::block(&clean), clean, "both filters agree on what is clean");
    check_cut(bytes, cut.min(bytes.len()), &clean);
    check_pages(bytes, room, &clean);
    check_terminal(bytes, cut.min(bytes.len()));
}

fn check_harmless(text: &str) {
    let bad = |c: &char| c.is_control() && !['\t', '\n'].contains(c);
    assert_eq!(text.chars().find(bad), None);
    let hidden = |c: &char| {
        matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}' | '\u{2028}' | '\u{2029}')
    };
    assert_eq!(text.chars().find(hidden), None);
}

fn check_cut(bytes: &[u8], cut: usize, whole: &str) {
    let (mut cleaner, mut out) = (Cleaner::default(), Vec::new());
    let first = cleaner.clean(&bytes[..cut], false, usize::MAX, &mut out);
    assert!(!first.full && first.used <= cut && cut - first.used < 4);
    cleaner.clean(&bytes[first.used..], true, usize::MAX, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), whole, "cut at {cut}");
    // Another filter, from before what was unfinished.
    let (mut cleaner, mut out) = (Cleaner::default(), Vec::new());
    let first = cleaner.clean(&bytes[..cut], false, usize::MAX, &mut out);
    let next = first.used - cleaner.unfinished();
    let rest = text::clean(&bytes[next..]);
    assert_eq!(String::from_utf8_lossy(&out) + rest.as_str(), whole, "continued at {cut}");
}

/// Pages of `room` bytes, each by a filter of its own: they make up the text, and each moves on.
fn check_pages(bytes: &[u8], room: usize, whole: &str) {
    // The work is quadratic in the length of what stays unfinished, by design of this check.
    if bytes.len() > 8 << 10 {
        return;
    }
    let (mut at, mut text) = (0, String::new());
    while at < bytes.len() {
        let (mut cleaner, mut out) = (Cleaner::default(), Vec::new());
        let step = cleaner.clean(&bytes[at..], true, room, &mut out);
        assert!(out.len() <= room);
        let used = step.used - if step.full { cleaner.unfinished() } else { 0 };
        assert!(used > 0, "a page of {room} bytes moves on");
        at += used;
        text += std::str::from_utf8(&out).expect("pages are text");
    }
    assert_eq!(text, whole, "pages of {room}");
}

fn check_terminal(bytes: &[u8], cut: usize) {
    let mut filter = terminal::Sanitiser::default();
    let whole = filter.push(bytes) + &filter.finish();
    check_harmless(&whole);
    let mut filter = terminal::Sanitiser::default();
    let mut pieces = filter.push(&bytes[..cut]);
    pieces += &filter.push(&bytes[cut..]);
    pieces += &filter.finish();
    assert_eq!(pieces, whole, "cut at {cut}");
    let line = terminal::line(&whole);
    assert!(!line.contains(['\n', '\t', '\r']));
}
