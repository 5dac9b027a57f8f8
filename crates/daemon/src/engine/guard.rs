//! The guard: a supervisor that stays while work waits and nothing runs.
//!
//! ```text
//!   unfinished work, a task runs     its supervisor brings a lost daemon back
//!   unfinished work, nothing runs    one idle supervisor does: it is told not to leave
//!   no work                          nobody stays
//! ```
//!
//! Without it a delayed task would wait for the next command if the daemon died meanwhile. Owns who it is. The guard
//! takes tasks like any other, and it has no deadline that would wake it up.

use std::time::Duration;

use meanwhile_core::Boot;
use meanwhile_host::clock;

use super::Engine;
use super::fleet::MemberKey;

/// Supervisors are not started for this alone more often than that: one that cannot be started, or that ends at
/// once, is no reason to keep a machine busy.
const START_EVERY: Duration = Duration::from_secs(5);

/// Who stays, and when one is looked for again.
#[derive(Debug, Default)]
pub(super) struct Guard {
    pub(super) member: Option<MemberKey>,
    /// When the last one was started for this.
    started_at: Option<Boot>,
    pub(super) again_at: Option<Boot>,
}

impl Engine {
    /// Sees to it that somebody misses this daemon if it is lost while there is work. A task that runs has its
    /// supervisor; so a guard is told or started only when a queue waits with nothing running, and a busy
    /// queue costs no message more.
    pub(super) fn keep_guard(&mut self) {
        let wanted = self.core.unfinished() > 0 && self.stopping.is_none();
        self.guard.member = self.guard.member.filter(|key| self.fleet.who(*key).is_some());
        if !wanted {
            self.guard.again_at = None;
            if let Some(key) = self.guard.member.take() {
                self.tell_leaving(key, true);
            }
            return;
        }
        self.guard.again_at = None;
        // One that holds an attempt and has not been reached yet misses us as well as any other: after a start with
        // tasks that run, nobody more is needed.
        if self.guard.member.is_some() || self.fleet.is_busy() || !self.unreached.is_empty() {
            return;
        }
        if let Some(key) = self.fleet.take_idle().or_else(|| self.start_guard()) {
            self.fleet.give_back(key);
            self.guard.member = Some(key);
            self.tell_leaving(key, false);
        }
    }

    fn start_guard(&mut self) -> Option<MemberKey> {
        let now = clock::boot();
        // Those that a daemon finds at its start are as good, once they are reached.
        let reaching = Some(self.started_at).filter(|_| !self.unreached.is_empty());
        let next = self.guard.started_at.max(reaching).map(|at| at.after(START_EVERY));
        if let Some(next) = next.filter(|next| *next > now) {
            self.guard.again_at = Some(next);
            return None;
        }
        self.guard.started_at = Some(now);
        match self.new_supervisor() {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::warn!(%error, "nobody is there to bring this daemon back");
                self.guard.again_at = Some(now.after(START_EVERY));
                None
            }
        }
    }

    fn tell_leaving(&mut self, key: MemberKey, leaves: bool) {
        let Some(who) = self.fleet.who(key) else { return };
        let name = String::from_utf8_lossy(&who.socket_name).into_owned();
        let init = if leaves { self.starter.init(&name) } else { self.starter.init_guard(&name) };
        self.fleet.tell_member(key, &init);
        self.fleet.flush();
    }
}
