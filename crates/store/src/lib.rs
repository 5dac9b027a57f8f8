//! Durable truth: what was promised is on disk before anybody is told.
//!
//! ```text
//!   core's events ──► Store::commit ──► one transaction: event log + tables + replies
//!                                            │
//!   clients, offline CLI ◄── Reader ◄────────┘   (any number, in any process)
//! ```
//!
//! Owns: the two traits, the records they speak in, the SQLite store and the one in memory that
//! tests and the simulator use. Never decides anything: whether a fact may follow a state is the
//! core's transition table, here a fact is only folded into rows. Never replaces, wipes or shortens
//! a store it cannot read.

mod batch;
mod command_key;
mod contract;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
pub mod limits;
mod memory;
mod notice;
mod record;
mod sqlite;
mod stored;

pub use batch::{Batch, Committed, LaneCheck, SavedReply};
pub use command_key::CommandKey;
pub use contract::{Checkpoint, Reader, Retention, Store};
pub use error::StoreError;
pub use identity::{Identity, Meta};
pub use memory::{MemoryFault, MemoryStore};
pub use notice::{Delivery, Mark, NoticeMark, NoticeRecord};
pub use record::{
    AttemptRecord, EventFilter, EventRecord, Extension, Filter, Logged, ReadyRecord, StateCounts,
    TaskRecord,
};
pub use sqlite::{OpenOptions, SqliteReader, SqliteStore, has_checksums};
