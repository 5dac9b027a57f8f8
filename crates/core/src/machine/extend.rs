//! More running time.
//!
//! Owns: what an extension adds to. The clock itself runs in the supervisor.

use std::time::Duration;

use super::{Core, Turn};
use crate::cause::Actor;
use crate::effect::Effect;
use crate::event::Fact;
use crate::id::TaskId;
use crate::input::Refusal;
use crate::time::Now;

impl Core {
    /// `more` than the deadline it has now: from the start of the attempt if it is still queued.
    pub(super) fn extend(
        &mut self,
        now: Now,
        task: TaskId,
        by: Actor,
        more: Duration,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let row = self.rows.get(&task).ok_or(Refusal::UnknownTask(task))?;
        if row.state.is_terminal() {
            return Err(Refusal::AlreadyEnded { task, state: row.state });
        }
        let timeout = row.allowed().ok_or(Refusal::NothingToExtend { task })?.saturating_add(more);
        let deadline = row.active.as_ref().and_then(|a| a.deadline).map(|d| d.after(more));
        let token = row.token();
        let timeout = Some(timeout);
        if self.emit(now, turn, task, Fact::Extended { timeout, deadline, by })
            && let Some(token) = token
        {
            self.arm_warning(now, task);
            turn.effects.push(Effect::SetTimeout { task, token, timeout });
        }
        Ok(())
    }
}
