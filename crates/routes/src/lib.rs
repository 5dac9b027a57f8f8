//! Ways out of the house: one HTTP request, one started program, one line to a terminal.
//!
//! ```text
//!   the courier (a process of its own) ──► webhook   ──► https, or http on loopback
//!                                      ──► program   ──► a command of the user's, notify-send
//!                                      ──► terminal  ──► a bell, a desktop notice by escape sequence
//! ```
//!
//! What it is for: carrying text that somebody else has made, once, within a bounded time. What it owns: what an
//! address, a secret file and a terminal must be to be used, and how a failure is called. What it never does: decide
//! what is told to whom or when it is tried again, keep anything, or run in the daemon's process.

mod address;
mod program;
mod secret;
mod signature;
mod terminal;
mod url;
mod webhook;

pub use program::{Finished, Program, run};
pub use secret::{Secret, SecretError, read_secret};
pub use signature::sign;
pub use terminal::{Said, Terminal, bell_text, desktop_text, say};
pub use url::{UrlError, WebhookUrl};
pub use webhook::{Post, Trust, post};

use std::time::Duration;

/// Time for one HTTP request, names and all. A receiver that needs longer should answer first and work then.
pub const WEBHOOK_TIME: Duration = Duration::from_secs(10);
/// Time for a command of the user's.
pub const COMMAND_TIME: Duration = Duration::from_secs(30);
/// Time for the program that shows a desktop notice.
pub const DESKTOP_TIME: Duration = Duration::from_secs(5);

/// How a delivery failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may go better later.
    Passing(String),
    /// It will go no better by being tried again.
    Lasting(String),
}

impl Failure {
    /// The words of it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Passing(text) | Self::Lasting(text) => text,
        }
    }
}
