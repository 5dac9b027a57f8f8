//! Faults on the real binary: what is broken on purpose, and what must be true afterwards.
//!
//! Owns the rows (one fault each), the workload whose tasks keep a journal of their own, the checker
//! that believes nothing because the product says it, and the counts and figures that are summed over
//! all rows. Tests only: no product crate depends on it. Never signals a process that does not belong
//! to a home it made itself.
//!
//! ```text
//! cargo xtask faults -> per mode and row: meanwhile-faults run NAME --report FILE
//!                         Row::run(&mut Stage) -> Seen
//!                           Stage::check(home, load): journal, event log, log bytes, processes
//! ```
//!
//! # A row
//!
//! A file under `rows/`, and its line in `rows::ALL`. `run` stages the fault, looks, and says what it
//! saw; an assertion that fails (of testkit, too) is a verdict like any other.

#![expect(clippy::print_stdout, reason = "a row's account is kept in a file by whoever starts it")]

pub mod check;
pub mod clocks;
mod load;
pub mod points;
pub mod record;
mod row;
pub mod rows;
mod run;
mod samples;
pub mod staging;
mod tally;
pub mod work;

pub use load::{Load, Promise};
pub use row::{Modes, Row, Seen, Stage, Verdict};
pub use run::{list, run};
pub use samples::Samples;
pub use tally::{Count, Tally};
