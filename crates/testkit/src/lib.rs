//! What tests stand on: hermetic homes, the real binary, and events to wait for.
//!
//! Owns the environment of end-to-end tests. Used by tests only: no product crate depends on it.
//! It never sleeps to wait for something that can announce itself, never uses the caller's HOME,
//! daemon or configuration, and kills only processes that belong to its own temporary homes.
//!
//! # A test in three lines
//!
//! ```no_run
//! use meanwhile_testkit::TestHome;
//!
//! let home = TestHome::new();
//! let id = home.launch(["sh", "-c", "echo hello; exit 3"]);
//! assert_eq!(home.cli(["wait", &id]).code(), 1);
//! assert_eq!(home.status(&id)["exit_code"], 3);
//! ```
//!
//! # What there is
//!
//! - [`TestHome`]: a temporary home with its own daemon. `cli` runs the binary to its end, `invoke`
//!   builds a call with stdin, environment, directory, uid, deadline; `start` leaves it running.
//!   Everything that belongs to the home is killed when it is dropped; `finish` demands that a
//!   polite stop leaves nothing to kill.
//! - [`Gate`] and [`Bell`]: FIFOs by which a test holds a task, and a task tells the test that it has
//!   come to a point. They replace sleeping.
//! - [`Process`]: a pid with its start time and pidfd; signals that cannot hit a stranger; waiting
//!   for its end.
//! - [`wait_for_file`]: waits (inotify) until a file's content satisfies a condition.
//! - [`mode`]: in which mode this run tests (root or not, cgroups or not), and [`mode::not_here`],
//!   the only honest way for a test to say that a mode cannot show its promise.
//! - [`model::Model`]: a scripted model server, so that real agent CLIs run without network, login or key.
//! - [`Dice`]: random moments that can be repeated from the printed seed.
//!
//! Every wait has a deadline and panics with what was waited for, the daemon's log and the tasks.

#![expect(clippy::print_stdout, reason = "libtest captures it and shows it with the failed test")]

pub mod conformance;
mod controllers;
mod dice;
mod fifo;
mod home;
mod invoke;
pub mod mode;
pub mod model;
mod process;
pub mod sim;
mod watch;

pub use dice::Dice;
pub use fifo::{Bell, Gate};
pub use home::{HomeBuilder, TestHome};
pub use invoke::{Invocation, Ran, Running};
pub use process::{Process, descendants, free_uid, marked};
pub use watch::{until, wait_for_file};

/// Gives every page of a database file the checksum of what it holds: as another release that wrote it would have.
pub fn sum_pages(file: &mut [u8]) {
    meanwhile_store::fuzzing::sum_pages(file);
}

use std::time::Duration;

/// How long a wait lasts at most when the test names no deadline. Generous, because it is reached
/// only by a failing test: two slow cores shared by many tests must not make a false failure.
pub const DEADLINE: Duration = Duration::from_secs(30);
