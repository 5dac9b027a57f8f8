//! The machine as a store, or a log of facts, remembers it.
//!
//! Owns: turning remembered tasks into rows. Never asks what became of them meanwhile: that is the
//! business of `Input::Found`, and until it comes their seats are taken.

use super::row::{Active, millis};
use super::{Core, LoadedTask};
use crate::config::Config;
use crate::event::Event;
use crate::id::TaskId;
use crate::state::State;
use crate::time::Now;

impl Core {
    /// The machine as the store remembers it. Active attempts stay as they are until an
    /// [`Input::Found`](crate::Input::Found) says what became of each. `same_boot`: whether
    /// boot-time moments still hold.
    #[must_use]
    pub fn load(config: Config, mut tasks: Vec<LoadedTask>, same_boot: bool, now: Now) -> Self {
        let mut core = Self::new(config);
        tasks.sort_by_key(|task| (task.order, task.id));
        let ids: Vec<TaskId> = tasks.iter().map(|t| t.id).collect();
        for task in tasks {
            core.load_one(task, same_boot, now);
        }
        // Only now is it known which dependencies are under way. Those that have ended were judged in
        // the transaction of their end.
        for id in ids {
            if core.rows[&id].state == State::Queued {
                core.enqueue(id);
            }
        }
        core
    }

    fn load_one(&mut self, task: LoadedTask, same_boot: bool, now: Now) {
        let mut row = self.make_row(&task.spec, &task.placement);
        row.state = task.state;
        row.attempt = task.attempt;
        row.order = task.order;
        row.queued_at = task.queued_at;
        let timeout = row.timeout;
        row.change_rare(|rare| {
            rare.crashes = task.crashes;
            rare.retries_used = task.retries_used;
            rare.lost_retries = task.lost_retries;
            rare.extended = millis(task.timeout).filter(|t| Some(*t) != timeout);
        });
        row.ready = task.ready;
        row.seat_kept = task.seat_kept;
        self.next_order = self.next_order.max(task.order.saturating_add(1));
        let queued = task.state == State::Queued;
        if queued {
            let due = task.not_before.map(|d| if same_boot { d } else { d.after_reboot(now) });
            row.change_rare(|rare| rare.not_before = due);
        } else {
            let token = task.token.expect("the store writes the token with `starting`");
            let (deadline, stop, seat) = (task.deadline, task.stop, self.next_seat);
            self.next_seat += 1;
            let active = Active { token, seat, deadline, warn_at: None, stop };
            row.active = Some(Box::new(active));
        }
        if task.state.is_terminal() {
            // Nobody counts on it any more; only its processes hold a seat.
            self.rows.insert(task.id, row);
        } else {
            self.insert(task.id, row);
        }
        if !queued {
            self.take_seat(task.id);
            // If it was told before, it is told again under the same id.
            self.arm_warning(now, task.id);
        }
    }

    /// The machine as a whole log of facts leaves it, without the waits, which are not facts. Holds
    /// the specs of all tasks: for tests and for checking a log, not for a daemon.
    ///
    /// # Errors
    /// Names the first fact that does not fit those before it.
    pub fn replay<'a>(
        config: Config,
        events: impl IntoIterator<Item = &'a Event>,
        now: Now,
    ) -> Result<Self, String> {
        let mut core = Self::new(config);
        core.archive.keep = true;
        for event in events {
            if let Err(misfit) = core.evolve(event) {
                let (task, fact) = (event.task, event.fact.name());
                return Err(format!("replay `{fact}` of {task}: {misfit}"));
            }
        }
        core.doomed.clear();
        core.moments_passed(now);
        Ok(core)
    }
}
