//! The written form of what does not need a column of its own: JSON, private to the stores.
//!
//! Every record is separate from the core's type and converted by taking it apart field by field, so
//! that a new field breaks the build here. Old data stays readable: a field that was added later has
//! a default. A change that an older release could misread comes with a new layout number of the
//! whole store, which that release refuses (see `sqlite::schema`); unknown fields are therefore
//! damage, not something to skip.

pub(crate) mod bytes;
pub(crate) mod cause;
pub(crate) mod launch;
pub(crate) mod log;
pub(crate) mod state;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes a record.
pub(crate) fn to_json<T: Serialize>(record: &T) -> String {
    serde_json::to_string(record).expect("our records have text keys and cannot fail to be written")
}

/// Reads a record; the error says what about it is damaged.
pub(crate) fn from_json<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|e| e.to_string())
}

/// Nanoseconds, so that a time reads back as it was; 584 years at most.
pub(crate) fn ns(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// For `skip_serializing_if`: most fields of most tasks have their default, and rows stay small.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
