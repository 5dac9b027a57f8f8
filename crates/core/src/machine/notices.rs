//! Who is told of what: scopes, notices of ends, and the moment before a deadline.
//!
//! Owns: how many tasks of a scope are still open, and the timers of deadlines, which are no facts: after a
//! restart they are set anew from the deadlines. Never delivers anything.

use super::row::Row;
use super::{Core, Members, Turn};
use crate::event::Fact;
use crate::id::TaskId;
use crate::limits;
use crate::notice::{Notice, Notify, Scope};
use crate::state::State;
use crate::time::Now;

/// Whether "all done" waits for it: a service never ends by itself, and of some nobody wants to hear.
pub(super) fn is_waited_for(row: &Row) -> bool {
    !row.rare().service && row.rare().notify != Notify::Never
}

impl Core {
    /// How many unfinished tasks of this scope "all done" waits for.
    #[must_use]
    pub fn open_in(&self, scope: &Scope) -> u32 {
        let number = self.scopes.find(scope);
        number.and_then(|number| self.scopes.get(number)).map_or(0, |members| members.open)
    }

    /// The notice of a task that has ended so, if its session is to hear of it.
    pub(super) fn notice_of_end(&self, row: &Row, state: State) -> Option<Box<Notice>> {
        let (notify, service) = (row.rare().notify, row.rare().service);
        notify.tells(state, service).then(|| self.notice(row))
    }

    fn notice(&self, row: &Row) -> Box<Notice> {
        let scope = self.scopes.name(row.scope).clone();
        Box::new(Notice { scope, notify: row.rare().notify })
    }

    /// One row more of a scope; its number.
    pub(super) fn join_scope(&mut self, scope: &Scope) -> u32 {
        let session = self.sessions.intern(&scope.session, Default::default);
        if let Some(session) = self.sessions.get_mut(session) {
            session.rows += 1;
        }
        let number = self.scopes.intern(scope, || Members { session, rows: 0, open: 0 });
        if let Some(members) = self.scopes.get_mut(number) {
            members.rows += 1;
        }
        number
    }

    /// One row less.
    pub(super) fn leave_scope(&mut self, number: u32) {
        let members = self.scopes.get_mut(number).expect("a row's scope exists");
        let of = members.session;
        members.rows -= 1;
        if members.rows == 0 {
            self.scopes.remove(number);
        }
        let session = self.sessions.get_mut(of).expect("a scope's session exists");
        session.rows -= 1;
        if session.rows == 0 {
            self.sessions.remove(of);
        }
    }

    /// An unfinished task has come (or gone).
    pub(super) fn count_unfinished(&mut self, row: &Row, come: bool) {
        let by = |count: &mut u32| if come { *count += 1 } else { *count -= 1 };
        let members = self.scopes.get_mut(row.scope).expect("a row's scope exists");
        let of = members.session;
        if is_waited_for(row) {
            by(&mut members.open);
        }
        if row.counted
            && let Some(session) = self.sessions.get_mut(of)
        {
            by(&mut session.live);
        }
    }

    /// Sets the timer of a running task that has a deadline, anew after an extension.
    pub(super) fn arm_warning(&mut self, now: Now, task: TaskId) {
        self.disarm_warning(task);
        let Some(row) = self.rows.get_mut(&task) else { return };
        let allowed = row.allowed().filter(|allowed| *allowed >= limits::SHORTEST_WARNED);
        let warns = row.rare().notify.warns() && !row.state.is_terminal();
        let (Some(allowed), true, Some(active)) = (allowed, warns, &mut row.active) else { return };
        let Some(deadline) = active.deadline else { return };
        let left = deadline.since(now.wall).saturating_sub(allowed / limits::WARNED_LAST_PART);
        let at = now.boot.after(left);
        active.warn_at = Some(at);
        self.warnings.insert((at, task));
    }

    pub(super) fn disarm_warning(&mut self, task: TaskId) {
        let active = self.rows.get_mut(&task).and_then(|row| row.active.as_mut());
        if let Some(at) = active.and_then(|active| active.warn_at.take()) {
            self.warnings.remove(&(at, task));
        }
    }

    /// Tells of the deadlines that are near now.
    pub(super) fn warn_of_deadlines(&mut self, now: Now, turn: &mut Turn) {
        while let Some((at, task)) = self.warnings.first().copied()
            && at <= now.boot
        {
            self.disarm_warning(task);
            let Some(row) = self.rows.get(&task) else { continue };
            // Whoever is being stopped will not be saved by more time.
            if row.stop().is_some() {
                continue;
            }
            if let Some(deadline) = row.active.as_ref().and_then(|active| active.deadline) {
                let notice = self.notice(row);
                self.emit(now, turn, task, Fact::DeadlineNear { deadline, notice });
            }
        }
    }
}
