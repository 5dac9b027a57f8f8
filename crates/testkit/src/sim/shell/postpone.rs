//! Starts for which the machine has no room at this moment. Follows `engine/postpone.rs`.
//!
//! Owns those attempts, which keep their seats.

use std::time::Duration;

use meanwhile_core::input::Report;
use meanwhile_core::{AttemptToken, Boot, Now, Turn};

use super::Shell;
use super::start::Want;
use crate::sim::env::Env;
use crate::sim::wire::Job;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Postponed {
    job: Job,
    timeout: Option<Duration>,
    since: Boot,
    pub(super) again_at: Boot,
    pause: Duration,
    trying: bool,
}

impl Shell {
    pub(super) fn postpone(
        &mut self,
        env: &mut Env,
        job: Job,
        timeout: Option<Duration>,
        want: Want,
    ) {
        let now = env.now().boot;
        if want == Want::Space {
            self.hold_for_space(now);
        }
        let Some(known) = self.postponed.iter_mut().find(|p| p.job == job) else {
            let (again_at, pause) = (now.after(FIRST_PAUSE), FIRST_PAUSE);
            let trying = false;
            return self.postponed.push(Postponed {
                job,
                timeout,
                since: now,
                again_at,
                pause,
                trying,
            });
        };
        known.trying = false;
        known.pause = (known.pause * 2).min(LONGEST_PAUSE);
        known.again_at = now.after(known.pause);
        if want == Want::Other && known.since.after(PATIENCE) <= now {
            self.postponed.retain(|p| p.job != job);
            self.cannot_prepare(job);
        }
    }

    pub(super) fn start_postponed(&mut self, env: &mut Env, now: Now, turn: &mut Turn) {
        for postponed in &mut self.postponed {
            if postponed.again_at <= now.boot {
                postponed.trying = true;
            }
        }
        let due: Vec<_> =
            self.postponed.iter().filter(|p| p.trying).map(|p| (p.job, p.timeout)).collect();
        for (job, timeout) in due {
            let standing = self.core.standing(job.key.task).filter(|s| s.token == Some(job.token));
            match standing {
                Some(s) if s.stopping => self.report(env, now, job, Report::NeverRan, turn),
                Some(_) => self.start_attempt(env, job, timeout),
                None => {}
            }
        }
        self.postponed.retain(|p| !p.trying);
    }

    pub(super) fn hasten_postponed(&mut self, token: AttemptToken) -> bool {
        let postponed = self.postponed.iter_mut().find(|p| p.job.token == token);
        postponed.map(|p| p.again_at = Boot(0)).is_some()
    }

    pub(super) fn is_postponed(&self, token: AttemptToken) -> bool {
        self.postponed.iter().any(|p| p.job.token == token)
    }

    pub(super) fn set_postponed_timeout(&mut self, token: AttemptToken, timeout: Option<Duration>) {
        if let Some(postponed) = self.postponed.iter_mut().find(|p| p.job.token == token) {
            postponed.timeout = timeout;
        }
    }
}
