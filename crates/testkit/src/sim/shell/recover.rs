//! After a start: what became of the attempts that were active. Follows `engine/recover.rs` and `verdict.rs`.
//!
//! Owns the attempts whose lock is held by somebody that was not reached yet.

use std::time::Duration;

use meanwhile_core::{AttemptToken, Boot, LoadedTask, Now, State, Turn};

use super::{Shell, key};
use crate::sim::env::Env;
use crate::sim::wire::{Header, Holder, Job, Record, TreeState};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) job: Job,
    pub(super) again_at: Boot,
    pause: Duration,
}

/// What the owner file of an attempt says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Held(Option<Header>),
    NeverRan,
    Ended { record: Record, leftovers: bool },
    Lost,
    Rebooted,
}

pub(super) fn active_attempts(tasks: &[LoadedTask]) -> Vec<Job> {
    tasks
        .iter()
        .filter(|t| t.state.is_active() || (t.seat_kept && t.state != State::Queued))
        .filter_map(|t| Some(Job { key: key(t.id, t.attempt), token: t.token? }))
        .collect()
}

/// Reads it.
pub(super) fn verdict(env: &Env, job: Job) -> Verdict {
    let Some(file) = env.machine.files.get(&job.key) else { return Verdict::NeverRan };
    let view = file.view();
    if file.holder != Holder::Nobody {
        return Verdict::Held(view.header);
    }
    let Some(header) = view.header.filter(|h| h.token == job.token) else {
        return Verdict::NeverRan;
    };
    let same_boot = header.boot == env.clock.boot;
    if let Some(record) = view.exit.filter(|r| r.token == job.token) {
        return Verdict::Ended {
            record,
            leftovers: same_boot && record.tree == TreeState::Pending,
        };
    }
    match (view.started, same_boot) {
        (false, _) => Verdict::NeverRan,
        (true, true) => Verdict::Lost,
        (true, false) => Verdict::Rebooted,
    }
}

impl Shell {
    /// After a restart of the machine what became of every active attempt is in its file, or lost.
    pub(super) fn judge_earlier_boot(
        &mut self,
        env: &mut Env,
        now: Now,
        active: Vec<Job>,
        turn: &mut Turn,
    ) -> Vec<Job> {
        self.earlier_boot = active.iter().map(|job| job.token.0).collect();
        for job in active {
            self.look_into(env, now, job, turn);
        }
        std::mem::take(&mut self.unreached).into_iter().map(|u| u.job).collect()
    }

    pub(super) fn recover(&mut self, env: &Env, active: Vec<Job>) {
        let now = env.now();
        for job in active {
            self.look_again_at(job, now.boot, FIRST_PAUSE);
        }
    }

    /// Connects to the supervisor that holds an attempt's lock.
    pub(super) fn reach(&mut self, env: &mut Env, now: Now, job: Job, header: Option<Header>) {
        let mono = env.mono();
        let reached = header.and_then(|h| Some((h.sup, env.machine.connect(h.sup, mono)?)));
        match reached {
            Some((sup, conn)) => {
                self.fleet.add(conn, sup);
                self.fleet.assign(conn, job);
            }
            None => self.look_again(now, job),
        }
    }

    pub(super) fn look_again(&mut self, now: Now, job: Job) {
        if self.unreached.iter().any(|u| u.job == job) {
            return;
        }
        self.look_again_at(job, now.boot.after(FIRST_PAUSE), FIRST_PAUSE);
    }

    fn look_again_at(&mut self, job: Job, again_at: Boot, pause: Duration) {
        self.unreached.push(Unreached { job, again_at, pause });
    }

    pub(super) fn reach_again(&mut self, env: &mut Env, now: Now, turn: &mut Turn) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unreached).into_iter().partition(|u| u.again_at <= now.boot);
        self.unreached = later;
        for Unreached { job, pause, .. } in due {
            let current = self.attempt_of(job.key.task) == Some((job.key.attempt, job.token));
            let met = self.is_alive(job.token);
            if !current || met || self.remains.contains_key(&job.token.0) {
                continue;
            }
            match self.fleet.holder(job.token) {
                None => self.look_into(env, now, job, turn),
                Some(conn) => match verdict(env, job) {
                    Verdict::Held(_) => self.look_again(now, job),
                    Verdict::NeverRan
                    | Verdict::Ended { .. }
                    | Verdict::Lost
                    | Verdict::Rebooted => {
                        self.fleet.forget_job(conn);
                        self.look_into(env, now, job, turn);
                    }
                },
            }
            if let Some(again) = self.unreached.iter_mut().find(|u| u.job == job) {
                again.pause = (pause * 2).min(LONGEST_PAUSE);
                again.again_at = now.boot.after(again.pause);
            }
        }
    }

    fn is_alive(&self, token: AttemptToken) -> bool {
        self.alive.contains(&token.0)
    }
}
