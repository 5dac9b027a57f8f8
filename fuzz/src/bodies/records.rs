//! The store's written forms: launches, causes, stops and log entries.
//!
//! What is damaged is refused with a reason. What is read is written and read again as the same.

use meanwhile_core::event::{End, Fact};
use meanwhile_core::notice::{Notify, Part, Scope};
use meanwhile_core::spec::Placement;
use meanwhile_core::{GroupName, LaneName, Notice, SessionId};
use meanwhile_store::{Logged, fuzzing};

use crate::feed::Feed;

/// The kinds of log entries that have data.
const KINDS: [&str; 11] = [
    "started",
    "ready",
    "extended",
    "stop_requested",
    "ended",
    "deadline_near",
    "rebound",
    "requeued",
    "retried",
    "reopened",
    "refused",
];

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    let choice = feed.choose(16);
    let Ok(text) = std::str::from_utf8(feed.rest()) else { return };
    match choice {
        0 | 1 => cause(text),
        2 => stop(text),
        3..=5 => launch(text),
        other => entry(KINDS[other % KINDS.len()], text),
    }
    let _unknown = fuzzing::entry_from_text(text, None);
}

fn cause(text: &str) {
    if let Ok(cause) = fuzzing::cause_from_text(text) {
        let written = fuzzing::cause_to_text(&cause);
        assert_eq!(fuzzing::cause_from_text(&written), Ok(cause));
    }
}

fn stop(text: &str) {
    if let Ok(stop) = fuzzing::stop_from_text(text) {
        let written = fuzzing::stop_to_text(&stop);
        assert_eq!(fuzzing::stop_from_text(&written), Ok(stop));
    }
}

fn launch(text: &str) {
    let columns = Placement {
        session: SessionId::user(),
        group: Some(GroupName::new("g")),
        lane: LaneName::new("commands"),
        priority: 0,
        ancestors: Vec::new(),
        over_limit: false,
        by_person: false,
    };
    if let Ok((spec, placement)) = fuzzing::launch_from_text(text, &columns) {
        let written = fuzzing::launch_to_text(&spec, &placement);
        let again = fuzzing::launch_from_text(&written, &columns);
        assert_eq!(again, Ok((spec, placement)));
    }
}

fn entry(kind: &str, text: &str) {
    let Ok(logged) = fuzzing::entry_from_text(kind, Some(text)) else { return };
    assert_eq!(logged.name(), kind);
    let fact = fact_of(logged.clone());
    let written = fuzzing::entry_to_text(&fact);
    assert_eq!(fuzzing::entry_from_text(kind, written.as_deref()), Ok(logged));
}

/// A fact that the log would keep as this.
fn fact_of(logged: Logged) -> Fact {
    match logged {
        Logged::Started { pid, supervisor_pid } => {
            Fact::Started { pid, supervisor_pid, deadline: None }
        }
        Logged::Ready { how } => Fact::Ready { how },
        Logged::Extended { timeout, deadline, by } => Fact::Extended { timeout, deadline, by },
        Logged::StopRequested { stop } => Fact::StopRequested { stop },
        Logged::Ended { state, cause, exit, seat_kept } => {
            let end = Box::new(End { state, cause, exit, run: None, seat_kept });
            Fact::Ended { end, notice: None }
        }
        Logged::DeadlineNear { deadline } => {
            let scope = Scope { session: SessionId::user(), part: Part::Rest };
            let notice = Box::new(Notice { scope, notify: Notify::AllDone });
            Fact::DeadlineNear { deadline, notice }
        }
        Logged::Rebound { session } => Fact::Rebound { session },
        Logged::Requeued { crashes } => Fact::Requeued { crashes },
        Logged::Retried { by } => {
            Fact::Retried { order: 0, not_before: None, by, retries_used: 0, lost_retries: 0 }
        }
        Logged::Refused { what } => Fact::Refused { what },
        Logged::Submitted | Logged::Starting | Logged::Emptied | Logged::Forgotten => Fact::Emptied,
    }
}
