//! What Meanwhile puts into the files of agent CLIs, and how it takes it out again.
//!
//! ```text
//!   plan    agent, scope ──► files and the edits wanted in each
//!   edit    text + edits ──► text, everything else kept: comments, order, spaces
//!   change  the edits of all files, in memory ──► written all or none; a record for the way back
//! ```
//!
//! Owns: which file of which agent holds what, the edits, the record. Never asks the daemon anything, never starts a
//! program, never reads the environment: paths are given to it.

mod agent;
mod change;
mod edit;
pub mod hook;
mod json;
mod plan;
mod record;
mod toml;
mod trouble;

pub use agent::{Agent, Places, Scope};
pub use change::{Changed, Installation, Kind, Missing};
pub use plan::Wishes;
pub use trouble::Trouble;
