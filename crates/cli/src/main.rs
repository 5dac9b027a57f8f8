//! The program `meanwhile`: what people and agents type.
//!
//! What it is for: a thin face of the daemon: arguments in, one request, an answer for people or as JSON. What it
//! owns: words, colours, tables, exit codes. What it never does: decide anything about a task, read the store, or start
//! an async runtime before the hidden `supervise` entry had its turn.
//!
//! ```text
//! main --> entry (supervise, daemon run: other programs in the same binary)
//!      \-> cli::parse --> command/VERB --> meanwhile_api::client --> daemon
//!                              \-> show/* --> stdout
//! ```

mod cli;
mod command;
mod context;
mod entry;
mod failure;
mod show;
mod usage;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    entry::become_supervisor(&arguments);
    cli::main(arguments)
}
