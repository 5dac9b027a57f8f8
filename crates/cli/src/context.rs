//! What a running command has at hand: global options, the two screens, the client, and the way to print.
//!
//! What it is for: commands say what to show, not how to write it. What it owns: the async runtime (made when the first
//! request is sent) and every write to standard output. What it never does: format an answer.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use meanwhile_api::client::Client;
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::{Timestamp, limits};
use serde::Serialize;

use crate::cli::Globals;
use crate::entry;
use crate::failure::Failure;
use crate::show::paint::Tone;
use crate::show::screen::Screen;
use crate::show::when;

/// What a running command has at hand.
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) out: Screen,
    pub(crate) err: Screen,
    /// What was last printed did not end its line.
    line_open: Cell<bool>,
}

impl Context {
    pub(crate) fn new(globals: Globals, (out, err): (Screen, Screen)) -> Context {
        Context { globals, out, err, line_open: Cell::new(false) }
    }

    /// Runs the asynchronous part of a command.
    pub(crate) fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work)
    }

    /// A client that starts a daemon where there is none.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(entry::client(&self.globals, self.claim(), entry::WithoutDaemon::Start)?)
    }

    /// A client that reads the store where there is no daemon.
    pub(crate) fn reader(&self) -> Result<Client, Failure> {
        Ok(entry::client(&self.globals, self.claim(), entry::WithoutDaemon::ReadStore)?)
    }

    /// A client that gives up where there is no daemon.
    pub(crate) fn present_daemon(&self) -> Result<Client, Failure> {
        Ok(entry::client(&self.globals, self.claim(), entry::WithoutDaemon::Fail)?)
    }

    /// The session we say we belong to: named, or told by the agent that started us.
    pub(crate) fn claim(&self) -> Option<SessionClaim> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(name) = self.globals.session.clone().or_else(|| variable("MEANWHILE_SESSION")) {
            return Some(SessionClaim::explicit(name));
        }
        let agents = [
            ("claude", "CLAUDE_CODE_SESSION_ID"),
            ("codex", "CODEX_THREAD_ID"),
            ("copilot", "COPILOT_AGENT_SESSION_ID"),
        ];
        let said = |(source, name): (&str, &str)| {
            Some(SessionClaim { source: source.to_owned(), name: variable(name)? })
        };
        let mut said: Vec<SessionClaim> = agents.into_iter().filter_map(said).collect();
        let nearest = match said.len() {
            0 => return None,
            1 => 0,
            // One of them runs in the other's shell, and each has left its word.
            _ => {
                let sources: Vec<&str> = said.iter().map(|claim| claim.source.as_str()).collect();
                entry::nearest_agent(&sources).unwrap_or(0)
            }
        };
        Some(said.swap_remove(nearest))
    }

    /// Whether, as far as we can know, a person calls: somebody whose "all" means all sessions. The daemon knows
    /// better and has the last word.
    pub(crate) fn seems_a_person(&self) -> bool {
        let inside_a_task = std::env::var_os("MEANWHILE_TASK").is_some();
        match self.claim() {
            _ if inside_a_task => false,
            Some(claim) => matches!(claim.name.as_str(), "user" | "main"),
            None => true,
        }
    }

    /// Writes to standard output.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_bytes(text.as_bytes())
    }

    /// Writes to standard output, at once.
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        if let Some(last) = bytes.last() {
            self.line_open.set(self.out.terminal && *last != b'\n');
        }
        Ok(())
    }

    /// Writes one JSON document: easy to read for a person, one line for a program.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = if self.out.terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.print(&(text.expect("an answer holds nothing that JSON cannot") + "\n"))
    }

    /// Writes one JSON document of a stream, on one line.
    pub(crate) fn print_json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).expect("an answer holds nothing that JSON cannot");
        self.print(&(text + "\n"))
    }

    /// Says something beside the result, on standard error.
    pub(crate) fn note(&self, text: &str) {
        // Where both are seen together, a note does not end somebody else's line.
        let start = if self.err.terminal && self.line_open.replace(false) { "\n" } else { "" };
        let line = format!("{start}{}\n", self.err.paint(Tone::Faint, text));
        // Nobody is left to be told when standard error is closed.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    /// Ends an answer with what else there is to read, if there is something.
    pub(crate) fn tell_unread(&self, client: &Client) {
        let unread = client.unread();
        if unread > 0 && !self.globals.json {
            let count = when::count(unread);
            let more = if unread >= limits::UNREAD_MAX as u64 { "+" } else { "" };
            self.note(&format!("{count}{more} unread: meanwhile inbox"));
        }
    }

    /// Ends a line that the terminal itself has begun.
    pub(crate) fn end_line(&self) {
        self.line_open.set(self.err.terminal);
    }

    /// Now, for relative times.
    pub(crate) fn now(&self) -> Timestamp {
        now()
    }
}

/// Now, for what has no context at hand.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
