//! Effects, done after the commit that they follow from. Follows `engine/perform.rs`.
//!
//! Owns their order and what an effect that fails turns into.

use meanwhile_core::Effect;

use super::{Shell, key};
use crate::sim::env::{Env, Gone};
use crate::sim::machine::Happening;
use crate::sim::wire::{Down, Job};

impl Shell {
    pub(super) fn perform(&mut self, env: &mut Env, effect: Effect) -> Result<(), Gone> {
        match effect {
            Effect::Start { task, attempt, token, timeout } => {
                let job = Job { key: key(task, attempt), token };
                self.start_attempt(env, job, timeout);
            }
            Effect::Stop { task, token, why: _ } => {
                let attempt = self.attempt_of(task).map_or(0, |(attempt, _)| attempt);
                self.tell_stop(env, Job { key: key(task, attempt), token });
            }
            Effect::SetTimeout { task: _, token, timeout } => {
                let timeout_ms = timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
                self.fleet.tell(token, Down::Extend { token, timeout_ms });
                if let Some(of_start) = self.reused.get_mut(&token.0) {
                    *of_start = timeout;
                }
                self.set_postponed_timeout(token, timeout);
            }
            Effect::Recorded { task, token } => {
                self.fleet.tell(token, Down::Recorded { token });
                self.settled(Job { key: key(task, 0), token });
                let stays = self.staying.remove(&token.0);
                self.fleet.release(token, stays);
            }
            Effect::CheckReady { task, token } => {
                let Some((attempt, _)) = self.attempt_of(task) else { return Ok(()) };
                let at = env.mono() + env.machine.plans[&task].ready_ms;
                let (incarnation, job) = (self.incarnation, Job { key: key(task, attempt), token });
                env.machine.at(at, Happening::Ready { incarnation, job });
            }
            Effect::Answer { wait, answer } => {
                if self.waits.remove(&wait).is_some() {
                    crate::sim::world::wait_answered(env, wait, Ok(answer));
                }
            }
            Effect::Dropped { task: _ } => {}
            Effect::DeleteFiles { task } => {
                env.machine.files.retain(|key, _| key.task != task);
            }
        }
        Ok(())
    }
}
