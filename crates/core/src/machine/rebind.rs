//! A conversation that goes on under another name: its tasks follow it.
//!
//! Owns: which tasks those are, and the change of one. Whether somebody may say so is for the shell to judge.

use super::{Core, Turn};
use crate::event::Fact;
use crate::id::{SessionId, TaskId};
use crate::notice::Scope;
use crate::time::Now;

impl Core {
    /// Unfinished tasks of `from` belong to `to` from now on, and so do these ended ones.
    pub(super) fn rebind(
        &mut self,
        now: Now,
        from: &SessionId,
        to: &SessionId,
        ended: &[TaskId],
        turn: &mut Turn,
    ) {
        if from == to {
            return;
        }
        let of_session = |scope: u32| self.scopes.name(scope).session == *from;
        let mut tasks: Vec<TaskId> = self
            .rows
            .iter()
            .filter(|(_, row)| of_session(row.scope))
            .map(|(task, _)| *task)
            .collect();
        tasks.extend(ended.iter().filter(|task| !self.rows.contains_key(task)));
        for task in tasks {
            self.emit(now, turn, task, Fact::Rebound { session: to.clone() });
        }
    }

    /// Takes a task out of the counts of its session and puts it into those of another.
    pub(super) fn belongs_to(&mut self, task: TaskId, session: &SessionId) {
        if let Some(kept) = self.archive.tasks.get_mut(&task) {
            kept.placement.session = session.clone();
        }
        let Some(row) = self.rows.get(&task).cloned() else { return };
        let part = self.scopes.name(row.scope).part.clone();
        let unfinished = !row.state.is_terminal();
        if unfinished {
            self.count_unfinished(&row, false);
        }
        self.leave_scope(row.scope);
        let scope = self.join_scope(&Scope { session: session.clone(), part });
        self.row_mut(task).scope = scope;
        if unfinished {
            let row = self.row_mut(task).clone();
            self.count_unfinished(&row, true);
        }
    }
}
