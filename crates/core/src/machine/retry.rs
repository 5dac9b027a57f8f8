//! Further attempts: automatic ones by policy, and those somebody asks for.
//!
//! Owns: the rule whether an end is final. It looks at nothing but the row and the end, so that a
//! replay comes to the same answer without being told.

use super::row::Row;
use super::{Core, Turn};
use crate::cause::{Actor, Cause};
use crate::event::{End, Fact};
use crate::id::TaskId;
use crate::input::{Refusal, ReopenedTask};
use crate::limits;
use crate::policy;
use crate::state::State;
use crate::time::Now;

/// Out of which budget the next attempt comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The retries that were asked for.
    Policy,
    /// Those of an idempotent task whose supervisor or machine was lost.
    Lost,
}

impl Again {
    /// Whether an attempt that ended so is followed by another, by itself.
    pub(super) fn after(row: &Row, end: &End) -> Option<Self> {
        let rare = row.rare();
        let retry = rare.retry.as_ref()?;
        let left = rare.retries_used < retry.retries;
        match end.state {
            State::Failed => {
                (left && may_help(&end.cause, &retry.on_codes)).then_some(Self::Policy)
            }
            // What it did before it was lost is unknown: only a task that says that this does no
            // harm runs again.
            State::Interrupted if !row.idempotent => None,
            State::Interrupted if rare.lost_retries < limits::LOST_RETRIES => Some(Self::Lost),
            State::Interrupted => left.then_some(Self::Policy),
            State::Completed | State::Cancelled => None,
            State::Queued | State::Starting | State::Running | State::InputRequired => None,
        }
    }
}

/// Whether another attempt may end otherwise.
fn may_help(cause: &Cause, on_codes: &[i32]) -> bool {
    match cause {
        Cause::Exit { code } => on_codes.is_empty() || on_codes.contains(code),
        Cause::Signal { .. }
        | Cause::Timeout { .. }
        | Cause::IdleTimeout { .. }
        | Cause::Stalled { .. }
        | Cause::OutOfMemory { .. }
        | Cause::PidsLimit { .. }
        | Cause::LogFull
        | Cause::EmptyResult => on_codes.is_empty(),
        Cause::AgentError { retryable, .. } => *retryable && on_codes.is_empty(),
        Cause::SpawnError { .. }
        | Cause::Lost
        | Cause::Reboot
        | Cause::Dependency { .. }
        | Cause::PermissionDenied { .. }
        | Cause::Loop { .. }
        | Cause::Budget { .. }
        | Cause::Poison { .. }
        | Cause::Unkillable
        | Cause::CancelledBy { .. }
        | Cause::Reported { .. } => false,
    }
}

impl Core {
    /// Queues the next attempt after an end that is not final.
    pub(super) fn retry_by_itself(
        &mut self,
        now: Now,
        task: TaskId,
        again: Again,
        turn: &mut Turn,
    ) {
        let rare = self.rows[&task].rare();
        let (mut used, mut lost) = (rare.retries_used, rare.lost_retries);
        let base = rare.retry.as_ref().map(|r| r.backoff).unwrap_or_default();
        let base = match again {
            Again::Policy => {
                used += 1;
                base
            }
            Again::Lost => {
                lost += 1;
                // Nobody chose a wait for this retry.
                base.max(limits::DEFAULT_BACKOFF)
            }
        };
        // Counted from the last retry that somebody asked for: its first automatic one waits `base`.
        let wait = policy::backoff(base, self.config.max_backoff, task, used + lost + 1);
        let fact = Fact::Retried {
            order: self.next_order,
            not_before: (!wait.is_zero()).then(|| now.after(wait)),
            by: None,
            retries_used: used,
            lost_retries: lost,
        };
        self.emit(now, turn, task, fact);
    }

    /// `retry`: the next attempt of an ended task.
    pub(super) fn retry(
        &mut self,
        now: Now,
        task: TaskId,
        by: Actor,
        ended: Option<Box<ReopenedTask>>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        if let Some(row) = self.rows.get(&task) {
            // An ended task that is still here has processes that nothing could kill: a second
            // attempt beside them would be two at once.
            return Err(Refusal::NotEnded { task, state: row.state });
        }
        let ended = *ended.ok_or(Refusal::UnknownTask(task))?;
        if !ended.state.is_terminal() {
            return Err(Refusal::NotEnded { task, state: ended.state });
        }
        self.room_for(&[&ended.placement])?;
        self.archive.tasks.insert(task, ended);
        let fact = Fact::Retried {
            order: self.next_order,
            not_before: None,
            by: Some(by),
            retries_used: 0,
            lost_retries: 0,
        };
        self.emit(now, turn, task, fact);
        self.archive.tasks.remove(&task);
        Ok(())
    }
}
