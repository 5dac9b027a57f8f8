//! How answers look.
//!
//! What it is for: everything between a task object and a line on a screen. What it owns: words, columns, colours, the
//! filter for hostile text. What it never does: ask the daemon, read a clock or write to a stream (but `live`, which
//! draws on standard error).

pub(crate) mod card;
pub(crate) mod live;
pub(crate) mod notices;
pub(crate) mod paint;
pub(crate) mod rows;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod when;
pub(crate) mod words;

pub(crate) use meanwhile_api::sanitise;

#[cfg(test)]
pub(crate) mod sample;
