//! Where agents say they are, and what follows when a conversation goes on under another name.
//!
//! Owns what is known of sessions: it alone changes it, writes it with the facts that follow from it, and shows it to the
//! threads that answer once it is on disk. Never judges who may say something: that was done before.

use std::sync::Arc;

use meanwhile_api::ApiError;
use meanwhile_core::sessions::{AgentProcess, Begins, Sessions, Surroundings};
use meanwhile_core::{Now, SessionId, Turn};

use super::Engine;
use crate::letters::Reply;
use crate::sessions::{Publisher, is_there, to_text};

/// What is known of sessions, and whether the store knows it.
pub(super) struct Known {
    pub(super) sessions: Sessions,
    changed: bool,
    publisher: Publisher,
}

impl Known {
    /// What the store had when this daemon began is what is shown already.
    pub(super) fn new(publisher: Publisher) -> Self {
        let sessions = Sessions::clone(&publisher.borrow());
        Self { sessions, changed: false, publisher }
    }

    /// What is to be written, where there is something new.
    pub(super) fn unwritten(&self, boot: &str) -> Option<String> {
        self.changed.then(|| to_text(&self.sessions, boot))
    }

    /// It is on disk.
    pub(super) fn written(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.publisher.send_replace(Arc::new(self.sessions.clone()));
        }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Sessions) -> T) -> T {
        let before = self.sessions.clone();
        let done = change(&mut self.sessions);
        self.changed |= self.sessions != before;
        done
    }
}

impl Engine {
    /// An agent process is in a session. What it has left goes on there.
    pub(super) fn begin(
        &mut self,
        now: Now,
        (process, session): (AgentProcess, SessionId),
        how: Begins,
        surroundings: Option<Surroundings>,
        turn: &mut Turn,
    ) -> Result<Reply, ApiError> {
        self.tell_again(now, &session, process);
        let left = self.known.change(|sessions| {
            // Whoever is gone is in no session any more.
            sessions.keep_processes(is_there);
            sessions.begin(process, &session, how, surroundings)
        });
        for old in left {
            self.move_over(now, old, session.clone(), turn)?;
        }
        Ok(Reply::Done)
    }

    /// The conversation of an agent process is closed.
    pub(super) fn close(&mut self, process: AgentProcess, session: &SessionId) -> Reply {
        self.known.change(|sessions| sessions.close(process, session));
        Reply::Done
    }

    /// A session goes on under another name.
    pub(super) fn rebind(
        &mut self,
        now: Now,
        from: SessionId,
        to: SessionId,
        turn: &mut Turn,
    ) -> Result<Reply, ApiError> {
        self.known.change(|sessions| sessions.succeed(&from, &to));
        self.move_over(now, from, to, turn)?;
        Ok(Reply::Done)
    }
}
