//! What is on disk about a home: the event log and the rows in SQLite, and the files of attempts.
//!
//! Read directly, never through the daemon, so that what is claimed can be compared with what is kept.

use std::path::PathBuf;

use meanwhile_core::TaskId;
use meanwhile_store::{EventFilter, EventRecord, Reader, SqliteReader, TaskRecord};
use meanwhile_supervisor::owner::{Owner, OwnerView};
use meanwhile_testkit::TestHome;

/// How many events are read at once.
const PAGE: usize = 10_000;

/// The store of a home, opened for reading alone.
///
/// # Panics
/// When there is none, or none that can be read.
#[track_caller]
#[must_use]
pub fn reader(home: &TestHome) -> SqliteReader {
    SqliteReader::open(&home.state().join("meanwhile.db")).expect("the store can be read")
}

/// The same, where it may be that nobody can read it just now.
#[must_use]
pub fn try_reader(home: &TestHome) -> Option<SqliteReader> {
    SqliteReader::open(&home.state().join("meanwhile.db")).ok()
}

/// The whole event log, oldest first.
///
/// # Panics
/// When the store cannot be read.
#[track_caller]
#[must_use]
pub fn events(home: &TestHome) -> Vec<EventRecord> {
    let mut reader = reader(home);
    let mut found: Vec<EventRecord> = Vec::new();
    loop {
        let after = found.last().map_or(0, |event| event.seq);
        let page = reader.events_since(after, PAGE, &EventFilter::default());
        let page = page.expect("the event log can be read");
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}

/// The row of a task.
///
/// # Panics
/// When the store cannot be read, or `id` is none.
#[track_caller]
#[must_use]
pub fn task(home: &TestHome, id: &str) -> Option<TaskRecord> {
    reader(home).task(parse(id)).expect("the store can be read")
}

/// An id as it is printed.
///
/// # Panics
/// When it is none.
#[track_caller]
#[must_use]
pub fn parse(id: &str) -> TaskId {
    id.parse().unwrap_or_else(|_| panic!("`{id}` is no id"))
}

/// The directory of an attempt.
#[must_use]
pub fn attempt_directory(home: &TestHome, id: &str, attempt: u32) -> PathBuf {
    home.state().join("tasks").join(id).join(attempt.to_string())
}

/// What the owner file of an attempt says; `None` where there is no such file.
#[must_use]
pub fn owner(home: &TestHome, id: &str, attempt: u32) -> Option<OwnerView> {
    let directory = std::fs::File::open(attempt_directory(home, id, attempt)).ok()?;
    Owner::open(&directory).ok()?.read().ok()
}

/// The log of an attempt as the file has it. Whole while nothing was dropped.
#[must_use]
pub fn log(home: &TestHome, id: &str, attempt: u32) -> Vec<u8> {
    std::fs::read(attempt_directory(home, id, attempt).join("output.log")).unwrap_or_default()
}
