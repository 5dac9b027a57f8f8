//! A scripted model behind real agent CLIs: what they ask is recorded, what they are told stands in their prompt.
//!
//! ```text
//!   agent CLI ──► POST */messages | */chat/completions | */responses | *:generateContent
//!                   request  any dialect ──► what was asked       scenario  marker ──► what to do
//!                   answer   what to do ──► the dialect's events or its one document
//! ```
//!
//! Owns one loopback server per test, on a thread of its own, and the record of all requests. Never leaves 127.0.0.1.
//!
//! A scenario is named in the last text of the user, so that parallel conversations need no state here:
//!
//! | marker | answer |
//! |---|---|
//! | none, `[[scn:text]]` | "Hello from the scripted model." |
//! | `[[scn:tool:CMD]]` | one call of the shell-like tool that was offered; "Done: the tool ran." after its result |
//! | `[[call:NAME {JSON}]]`, many | calls of these tools, all in one answer; then as above |
//! | `[[scn:err429]]`, 400, 401, 500, 529 | that HTTP error |
//! | `[[scn:empty]]` | a whole answer without content |
//! | `[[scn:slow:SECONDS]]` | the text, spread over that time |
//! | `[[scn:hang]]` | nothing, until the client leaves |
//! | `[[scn:cut]]` | the stream ends after its first piece |
//! | `[[scn:flakyN:REST]]` | N times 500, then REST |

mod answer;
mod request;
mod scenario;
mod server;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value;

use crate::DEADLINE;

pub use request::Dialect;

/// One request of a client, as it was understood.
#[derive(Clone, Debug)]
pub struct Asked {
    pub dialect: Dialect,
    pub path: String,
    pub model: String,
    /// The last text of the user.
    pub last_user: String,
    /// The last thing in the conversation is what tools answered.
    pub after_tools: bool,
    /// Names of the tools that were offered.
    pub tools: Vec<String>,
    /// All of it.
    pub body: Value,
}

impl Asked {
    /// Whether a text stands anywhere in it.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        mentions(&self.body, text)
    }
}

fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(held) => held.contains(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, text)),
        Value::Object(members) => members.values().any(|member| mentions(member, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[derive(Debug, Default)]
struct Record {
    asked: Mutex<Vec<Asked>>,
    more: Condvar,
}

impl Record {
    fn add(&self, asked: Asked) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        self.more.notify_all();
    }
}

/// A server that lives as long as the test holds it.
#[derive(Debug)]
pub struct Model {
    port: u16,
    record: Arc<Record>,
    /// Dropped, it tells the server to stop.
    _running: tokio::sync::oneshot::Sender<()>,
}

impl Model {
    /// Starts one on a free port of loopback.
    ///
    /// # Panics
    /// When there is no loopback.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a server is started, not made up")]
    pub fn new() -> Self {
        let listener =
            std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port of loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let record = Arc::new(Record::default());
        let (running, stopped) = tokio::sync::oneshot::channel();
        let of_server = Arc::clone(&record);
        std::thread::spawn(move || server::serve(listener, &of_server, stopped));
        Self { port, record, _running: running }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.record.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the requests have what is looked for.
    ///
    /// # Panics
    /// After the deadline, with the last requests.
    #[track_caller]
    pub fn until<T>(&self, what: &str, look: impl Fn(&[Asked]) -> Option<T>) -> T {
        let start = Instant::now();
        let mut asked = self.record.asked.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = look(&asked) {
                return found;
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            if left.is_zero() {
                let last: Vec<_> =
                    asked.iter().rev().take(5).map(|one| (&one.path, &one.last_user)).collect();
                panic!("waited for {what}; {} requests, the last ones: {last:#?}", asked.len());
            }
            asked = self
                .record
                .more
                .wait_timeout(asked, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests;
