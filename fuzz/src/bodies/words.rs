//! Words on the wire and at the prompt: durations, sizes, times, ids, queries, headers, routes.
//!
//! What is understood is printed and understood again as the same. What is not is refused.

use meanwhile_api::config::ConfigQuery;
use meanwhile_api::event::{EventsQuery, SseReader};
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::list::{ListQuery, StatusQuery};
use meanwhile_api::output::OutputQuery;
use meanwhile_api::query::{Query, percent_decode, percent_encode};
use meanwhile_api::submit::After;
use meanwhile_api::{RequestId, Size, Span, Timestamp, routes, version};
use meanwhile_core::id::TaskId;
use meanwhile_core::{Actor, State};

use crate::feed::Feed;

/// The longest duration that is understood, in milliseconds: ten years.
const LONGEST_MS: u64 = 10 * 366 * 86_400_000;
/// The times that can be written with four digits of a year, in milliseconds since 1970.
const FOUR_DIGITS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

pub(crate) fn run(bytes: &[u8]) {
    numbers(&mut Feed::of(bytes));
    events(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    values(text);
    ids(text);
    queries(text);
    headers(text);
}

fn numbers(feed: &mut Feed<'_>) {
    let number = feed.number();
    let span = Span::from_ms(number % (LONGEST_MS + 1));
    assert_eq!(span.to_string().parse(), Ok(span));
    // What the kernel and SQLite count is all that a size may be.
    let size = Size::from_bytes(number % (1 << 63));
    assert_eq!(size.to_string().parse(), Ok(size));
    let time = Timestamp::from_unix_ms(number.cast_signed());
    let shown = time.to_string();
    if FOUR_DIGITS.contains(&time.unix_ms()) {
        assert_eq!(shown.parse(), Ok(time));
    }
    let id = TaskId::from_random(number);
    assert_eq!(id.to_string().parse(), Ok(id));
}

fn values(text: &str) {
    if let Ok(span) = text.parse::<Span>() {
        assert!(span.as_ms() <= LONGEST_MS, "{text}");
        assert_eq!(span.to_string().parse(), Ok(span));
        let json = serde_json::to_string(&span).expect("a duration is a text");
        assert_eq!(serde_json::from_str::<Span>(&json).ok(), Some(span));
    }
    if let Ok(size) = text.parse::<Size>() {
        assert_eq!(size.to_string().parse(), Ok(size));
        let json = serde_json::to_string(&size).expect("a size is a text or number");
        assert_eq!(serde_json::from_str::<Size>(&json).ok(), Some(size));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
}

fn ids(text: &str) {
    if let Ok(id) = text.parse::<TaskId>() {
        assert_eq!(id.to_string(), text, "an id has one writing");
    }
    if let Ok((low, high)) = TaskId::prefix_range(text) {
        assert!(low <= high);
        assert!(low.to_string().starts_with(text) && high.to_string().starts_with(text));
    }
    if let Some(id) = RequestId::parse(text) {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(After { id, .. }) = text.parse() {
        assert!(!id.as_str().is_empty());
    }
    let actor = Actor::from_text(text);
    assert_eq!(Actor::from_text(&actor.to_text()), actor);
    if let Some(state) = State::from_name(text) {
        assert_eq!(state.name(), text);
    }
}

fn queries(text: &str) {
    query::<ListQuery>(text);
    query::<StatusQuery>(text);
    query::<OutputQuery>(text);
    query::<EventsQuery>(text);
    query::<ConfigQuery>(text);
    assert_eq!(percent_decode(&percent_encode(text)).as_deref(), Some(text));
    for method in ["GET", "POST", "PUT", text] {
        if let Ok(found) = routes::find(method, text) {
            let path = found.route.path_for(found.id.as_deref().unwrap_or_default());
            let again = routes::find(method, &path).expect("a route is found by its own path");
            assert_eq!((again.route.id, again.id), (found.route.id, found.id));
        }
    }
}

fn query<Q: Query + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(query) = Q::from_query(text) {
        let written = query.to_query();
        let again = Q::from_query(&written).expect("what we write we read");
        assert_eq!(again, query, "{written}");
    }
}

fn headers(text: &str) {
    if let Some(claim) = SessionClaim::from_header(text) {
        assert_eq!(SessionClaim::from_header(&claim.to_header()), Some(claim));
    }
    let _refused_or_not = version::check_client(Some(text));
    let _either = version::is_older(text, version::PROGRAM);
}

/// The stream of events is the same however it is cut.
fn events(bytes: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let mut reader = SseReader::default();
        let mut found = Vec::new();
        for piece in pieces {
            reader.push(piece);
            while let Some(event) = reader.next_event() {
                found.push(event.map_err(|error| error.to_string()));
            }
        }
        (found, reader.last_id())
    };
    let whole = read(&[bytes]);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    assert_eq!(read(&[first, second]), whole);
    if bytes.len() <= 4096 {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), whole);
    }
}
