//! The commands, one file each; the doc comment of each options struct is its help text.
//!
//! What it is for: finding the file of a command by its name. What it owns: the list. What it never does: dispatch (the
//! table in `cli` does).

pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod clean;
pub(crate) mod complete;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod doctor;
pub(crate) mod extend;
pub(crate) mod follow;
pub(crate) mod front;
pub(crate) mod generate;
pub(crate) mod hook;
pub(crate) mod inbox;
pub(crate) mod install;
pub(crate) mod lanes;
pub(crate) mod list;
pub(crate) mod mcp;
pub(crate) mod notify;
pub(crate) mod output;
pub(crate) mod prune;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod statusline;
pub(crate) mod wait;

pub(crate) mod arguments;
mod batch;
mod caller;
mod options;
mod pages;
mod presence;
mod rehearsal;
mod verdict;
mod waiter;
mod watch;
