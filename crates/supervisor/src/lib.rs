//! The process that owns one running task and outlives the daemon.
//!
//! ```text
//!   daemon --Start{spec, owner lock, directory}--> supervisor --fork--> the task
//!          <-- Started, Progress, Ended ----------     |   \--pipe or pty--> output.log
//!                                                      +-- owner: started mark, exit record
//! ```
//!
//! Owns: the supervisor's loop, its wire protocol ([`wire`]) and its files ([`owner`], [`log`]). The
//! files are the truth; messages are hints that save the daemon from reading them.
//! Never: decides what runs, talks to the store, uses an async runtime, prints.
//!
//! `unsafe` is allowed in these modules and nowhere else: `run::spawn` (fork and exec of a task), `run::revive`
//! (clone and exec of a daemon) and `run::os` (signals, reaping with usage, inherited descriptors).

mod codec;
pub mod exit;
#[doc(hidden)]
pub mod fuzzing;
pub mod leaf;
pub mod limits;
pub mod log;
pub mod owner;
pub mod process;
mod run;
pub mod wire;

pub use run::{supervise_args, supervise_main};
