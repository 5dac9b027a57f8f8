//! A task's log: head, rotating segments, and cursors that survive both.
//!
//! `output.log` grows, whole, up to the cap C. At overflow its last C/4 moves into a segment
//! `output.<logical start offset>`, `output.log` is cut to its first C/2, and writing goes on in segments of at
//! most C/4, of which two are kept. Names carry logical offsets, so every gap is derivable from the names and
//! lengths alone. A cursor is a logical offset: bytes written, dropped ones included.
//! Owns the layout, its writer (the supervisor) and its reader (everybody else). Never interprets the bytes.

mod layout;
mod lines;
mod view;
mod writer;

pub use layout::Stream;
pub use lines::Page;
pub use view::{Extent, LogView};
pub(crate) use writer::{Drained, LogWriter, RETRY_AFTER};
