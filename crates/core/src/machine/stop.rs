//! Ends that are asked for: cancel, complete, prune.
//!
//! Owns: what a wish to stop means in each state. Never believes that anything has stopped before
//! its supervisor says so.

use std::collections::BTreeSet;

use super::{Core, Turn};
use crate::cause::{Actor, Cause};
use crate::effect::{Effect, StopWhy};
use crate::event::{End, Fact, Stop};
use crate::id::TaskId;
use crate::input::Refusal;
use crate::state::State;
use crate::time::Now;

/// The state and cause that a wish gives to the end.
pub(super) fn as_wished(stop: &Stop) -> (State, Cause) {
    match stop {
        Stop::Cancel { by } => (State::Cancelled, Cause::CancelledBy { who: by.clone() }),
        Stop::Report { by, failed, message } => (
            if *failed { State::Failed } else { State::Completed },
            Cause::Reported { by: by.clone(), message: message.clone() },
        ),
    }
}

impl Core {
    /// Ends the targets and, with `cascade`, all that was launched below them. What has ended stays
    /// as it is.
    pub(super) fn cancel(
        &mut self,
        now: Now,
        targets: &[TaskId],
        by: &Actor,
        cascade: bool,
        turn: &mut Turn,
    ) {
        let mut all: BTreeSet<TaskId> = targets.iter().copied().collect();
        if cascade {
            for target in targets {
                all.extend(self.unfinished_below(*target));
            }
        }
        // All of them before any dependent is looked at: of two that were cancelled together, the
        // dependent one is cancelled too, not failed by its dependency.
        for task in all {
            self.stop(now, task, Stop::Cancel { by: by.clone() }, turn);
        }
    }

    /// Unfinished tasks that were launched below this one, however deep: what its cancel takes along.
    pub fn unfinished_below(&self, task: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        self.descendants.get(&task).into_iter().flatten().copied()
    }

    /// `complete`: stop it and count it as the caller says.
    pub(super) fn complete(
        &mut self,
        now: Now,
        task: TaskId,
        stop: Stop,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let state = self.rows.get(&task).ok_or(Refusal::UnknownTask(task))?.state;
        if state.is_terminal() {
            return Err(Refusal::AlreadyEnded { task, state });
        }
        self.stop(now, task, stop, turn);
        Ok(())
    }

    fn stop(&mut self, now: Now, task: TaskId, stop: Stop, turn: &mut Turn) {
        let Some(row) = self.rows.get(&task) else { return };
        match row.state {
            State::Queued => {
                let (state, cause) = as_wished(&stop);
                let end = End { state, cause, exit: None, run: None, seat_kept: false };
                self.end(now, task, end, turn);
            }
            State::Starting | State::Running | State::InputRequired => {
                let (Some(token), None) = (row.token(), row.stop()) else {
                    // Somebody was first: the first wish is the one that is seen through.
                    return;
                };
                let why = why(&stop);
                if self.emit(now, turn, task, Fact::StopRequested { stop }) {
                    turn.effects.push(Effect::Stop { task, token, why });
                }
            }
            State::Completed | State::Failed | State::Cancelled | State::Interrupted => {}
        }
    }

    /// Cancels what has been queued for longer than the settings allow. A moment that somebody chose
    /// does not count as waiting.
    pub(super) fn prune(&mut self, now: Now, turn: &mut Turn) {
        let stale = self.config.stale_queued;
        let expired: Vec<TaskId> = self
            .rows
            .iter()
            .filter(|(_, row)| row.state == State::Queued)
            .filter(|(_, row)| {
                let chosen = row.rare().not_before.map_or(row.queued_at, |due| due.wall);
                now.wall.since(row.queued_at.max(chosen)) > stale
            })
            .map(|(id, _)| *id)
            .collect();
        for task in expired {
            self.stop(now, task, Stop::Cancel { by: Actor::Rule("prune") }, turn);
        }
    }
}

/// What the supervisor is told.
pub(super) const fn why(stop: &Stop) -> StopWhy {
    match stop {
        Stop::Cancel { .. } => StopWhy::Cancelled,
        Stop::Report { .. } => StopWhy::Reported,
    }
}
