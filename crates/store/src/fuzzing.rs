//! Doors for the fuzzer and for tests of damage, and for nobody else: the written forms, read and written by
//! themselves, and a database file with other content than any release writes.
//!
//! Owns nothing: each function is one of `stored`, which is private because only the stores and
//! nobody else may depend on how something is written.

use std::path::Path;

use meanwhile_core::cause::Cause;
use meanwhile_core::event::{Fact, Stop};
use meanwhile_core::spec::{Placement, TaskSpec};
use rusqlite::Connection;

use crate::record::Logged;
use crate::sqlite;
use crate::stored::launch::Origin;
use crate::stored::{cause, launch, log};

/// A launch; the part of a placement that has columns is taken from `columns`.
///
/// # Errors
/// What about it is damaged.
pub fn launch_from_text(text: &str, columns: &Placement) -> Result<(TaskSpec, Placement), String> {
    let (spec, Origin { ancestors, over_limit, by_person }) = launch::from_json(text)?;
    Ok((spec, Placement { ancestors, over_limit, by_person, ..columns.clone() }))
}

/// A launch as it is written.
#[must_use]
pub fn launch_to_text(spec: &TaskSpec, placement: &Placement) -> String {
    launch::to_json(spec, placement)
}

/// A cause.
///
/// # Errors
/// What about it is damaged.
pub fn cause_from_text(text: &str) -> Result<Cause, String> {
    cause::cause_from_json(text)
}

/// A cause as it is written.
#[must_use]
pub fn cause_to_text(cause: &Cause) -> String {
    cause::cause_to_json(cause)
}

/// A wish that a task end.
///
/// # Errors
/// What about it is damaged.
pub fn stop_from_text(text: &str) -> Result<Stop, String> {
    cause::stop_from_json(text)
}

/// A wish as it is written.
#[must_use]
pub fn stop_to_text(stop: &Stop) -> String {
    cause::stop_to_json(stop)
}

/// An entry of the event log.
///
/// # Errors
/// What about it is damaged.
pub fn entry_from_text(kind: &str, text: Option<&str>) -> Result<Logged, String> {
    log::from_data(kind, text)
}

/// An entry as it is written.
#[must_use]
pub fn entry_to_text(fact: &Fact) -> Option<String> {
    log::to_data(fact)
}

/// A connection to a store's file by which a test can write into it what it likes.
///
/// # Errors
/// SQLite's, about opening it.
pub fn raw(path: &Path) -> Result<Connection, rusqlite::Error> {
    sqlite::raw(path)
}

/// Gives every page of a database file the checksum of what it holds now.
pub fn sum_pages(file: &mut [u8]) {
    sqlite::sum_pages(file);
}
