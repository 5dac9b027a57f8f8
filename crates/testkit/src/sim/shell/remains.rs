//! Attempts whose supervisor is gone: what is left of them is ended first. Follows `engine/remains.rs`.
//!
//! Owns what is to be reported then. The helper threads are happenings of the agenda.

use meanwhile_core::event::RunFigures;
use meanwhile_core::input::Report;
use meanwhile_core::{Now, Turn};

use super::Shell;
use crate::sim::env::Env;
use crate::sim::machine::Happening;
use crate::sim::wire::Job;

const AT_ONCE: usize = 8;

#[derive(Debug)]
pub(super) struct Remains {
    pub(super) report: Report,
    pub(super) over: bool,
}

impl Shell {
    pub(super) fn look_after(&mut self, env: &mut Env, job: Job, report: Report) {
        if self.remains.insert(job.token.0, Remains { report, over: false }).is_none() {
            self.end_remains(env, job);
        }
    }

    /// Kills what is left and says when it is gone, and after a minute that it is not.
    fn end_remains(&mut self, env: &mut Env, job: Job) {
        if self.remains_at_once >= AT_ONCE {
            return self.remains_waiting.push_back(job);
        }
        self.remains_at_once += 1;
        let (now, incarnation) = (env.mono(), self.incarnation);
        if let Some(tree) = env.machine.living(job.key) {
            env.machine.kill(tree, now);
        }
        let look = Happening::Remains { incarnation, job, since: now, told: false };
        env.machine.at(now + 2, look);
    }

    fn next_remains(&mut self, env: &mut Env) {
        self.remains_at_once = self.remains_at_once.saturating_sub(1);
        if let Some(job) = self.remains_waiting.pop_front() {
            self.end_remains(env, job);
        }
    }

    pub(super) fn remains_gone(
        &mut self,
        env: &mut Env,
        now: Now,
        job: Job,
        emptied: bool,
        turn: &mut Turn,
    ) {
        let token = job.token.0;
        if !self.remains.get(&token).is_some_and(|remains| remains.over) {
            self.next_remains(env);
        }
        let Some((attempt, _)) = self.attempt_of(job.key.task).filter(|(_, t)| *t == job.token)
        else {
            self.remains.remove(&token);
            return;
        };
        let report = if emptied {
            let Some(remains) = self.remains.remove(&token) else { return };
            if remains.over { Report::Emptied } else { remains.report }
        } else {
            let Some(remains) = self.remains.get_mut(&token) else { return };
            remains.over = true;
            Report::Unkillable { exit: None, run: RunFigures::default() }
        };
        let job = Job { key: super::key(job.key.task, attempt), ..job };
        self.report(env, now, job, report, turn);
    }
}
