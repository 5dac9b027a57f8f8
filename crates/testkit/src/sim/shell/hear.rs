//! What supervisors say, and what is done when one is gone. Follows `engine/hear.rs`.
//!
//! Owns the translation from the supervisor's words to the core's.

use std::time::Duration;

use meanwhile_core::cause::SpawnStage;
use meanwhile_core::event::RunFigures;
use meanwhile_core::input::{EndedBy, Found, Report};
use meanwhile_core::{Input, Now, State, Turn, Wall};

use super::Shell;
use super::recover::{Verdict, verdict};
use crate::sim::Sabotage;
use crate::sim::env::Env;
use crate::sim::wire::{ConnId, Job, Phase, Record, Running, TreeState, Up, Why};

impl Shell {
    /// Takes everything that a readable supervisor has said.
    pub(super) fn hear(&mut self, env: &mut Env, now: Now, conn: ConnId, turn: &mut Turn) {
        self.fleet.flush_one(env, conn);
        let Some(message) = env.machine.conns.get_mut(&conn).and_then(|c| c.up.pop_front()) else {
            return;
        };
        if self.fleet.sup(conn).is_none() {
            return;
        }
        let Up::End { broken } = message else {
            return self.said(env, now, conn, message, turn);
        };
        let Some(job) = self.fleet.remove(env, conn) else { return };
        self.alive.remove(&job.token.0);
        if broken {
            self.look_again(now, job);
        } else {
            self.look_into(env, now, job, turn);
        }
    }

    fn said(&mut self, env: &mut Env, now: Now, conn: ConnId, message: Up, turn: &mut Turn) {
        let job = self.fleet.job(conn);
        match message {
            Up::Hello { current } => self.greeted(env, now, conn, current, turn),
            Up::Started { token } => {
                let Some(job) = job.filter(|j| j.token == token) else { return };
                self.settled(job);
                self.alive.insert(job.token.0);
                let supervisor_pid = self.fleet.sup(conn).unwrap_or(0);
                self.report(env, now, job, Report::Started { pid: 1, supervisor_pid }, turn);
            }
            Up::Ended(record) => {
                let Some(job) = job.filter(|j| j.token == record.token) else { return };
                self.ended(env, now, job, record, turn);
            }
            Up::Refused { token } => {
                let Some(job) = job.filter(|j| j.token == token) else { return };
                self.fleet.forget_job(conn);
                self.never_ran(env, now, job, turn);
            }
            Up::Unkillable { token } => {
                let Some(job) = job.filter(|j| j.token == token) else { return };
                let report = Report::Unkillable { exit: None, run: RunFigures::default() };
                self.report(env, now, job, report, turn);
            }
            Up::End { .. } => {}
        }
    }

    fn greeted(
        &mut self,
        env: &mut Env,
        now: Now,
        conn: ConnId,
        current: Option<Running>,
        turn: &mut Turn,
    ) {
        let Some(job) = self.fleet.job(conn) else { return };
        match current {
            Some(running) if running.token == job.token => {
                self.alive.insert(job.token.0);
                if running.phase == Phase::Over {
                    return;
                }
                let supervisor_pid = self.fleet.sup(conn).unwrap_or(0);
                let found = Found::Alive { pid: running.main.then_some(1), supervisor_pid };
                self.found(env, now, job, found, turn);
                if running.phase == Phase::Unkillable {
                    let report = Report::Unkillable { exit: None, run: RunFigures::default() };
                    self.report(env, now, job, report, turn);
                }
            }
            None if self.fresh.contains(&job.token.0) => {}
            None | Some(_) => self.look_again(now, job),
        }
    }

    fn ended(&mut self, env: &mut Env, now: Now, job: Job, record: Record, turn: &mut Turn) {
        self.settled(job);
        self.alive.remove(&job.token.0);
        if record.tree == TreeState::Kept {
            self.staying.insert(job.token.0);
        }
        let over = self.core.standing(job.key.task).is_some_and(|s| s.state.is_terminal());
        let report = if over { Report::Emptied } else { report_of(now, record) };
        self.report(env, now, job, report, turn);
    }

    pub(super) fn report(
        &mut self,
        env: &mut Env,
        now: Now,
        job: Job,
        report: Report,
        turn: &mut Turn,
    ) {
        let input = Input::Report { task: job.key.task, token: job.token, report };
        self.apply(env, now, input, turn);
    }

    fn found(&mut self, env: &mut Env, now: Now, job: Job, found: Found, turn: &mut Turn) {
        let input = Input::Found { task: job.key.task, token: job.token, found };
        self.apply(env, now, input, turn);
    }

    /// The supervisor of an active attempt is gone or was never met.
    pub(super) fn look_into(&mut self, env: &mut Env, now: Now, job: Job, turn: &mut Turn) {
        let verdict = verdict(env, job);
        env.tell(|e| format!("looks into {}: {}", e.job_label(job), short(verdict)));
        match verdict {
            Verdict::Held(header) => self.reach(env, now, job, header),
            Verdict::NeverRan if self.may_have_started(job) => self.unowned(env, now, job, turn),
            Verdict::NeverRan => self.never_ran(env, now, job, turn),
            Verdict::Ended { record, leftovers: false } => {
                self.ended(env, now, job, record, turn);
            }
            Verdict::Ended { record, leftovers: true } => {
                self.look_after(env, job, report_of(now, record));
            }
            Verdict::Lost if env.sabotage == Some(Sabotage::RunsLostAgain) => {
                self.never_ran(env, now, job, turn);
            }
            Verdict::Lost => self.look_after(env, job, Report::Lost),
            Verdict::Rebooted => self.found(env, now, job, Found::Rebooted, turn),
        }
    }

    fn may_have_started(&self, job: Job) -> bool {
        if self.earlier_boot.contains(&job.token.0) {
            return true;
        }
        let standing = self.core.standing(job.key.task).filter(|s| s.token == Some(job.token));
        standing.is_some_and(|s| s.state != State::Starting)
    }

    fn unowned(&mut self, env: &mut Env, now: Now, job: Job, turn: &mut Turn) {
        if self.earlier_boot.contains(&job.token.0) {
            return self.found(env, now, job, Found::Rebooted, turn);
        }
        self.look_after(env, job, Report::Lost);
    }

    fn never_ran(&mut self, env: &mut Env, now: Now, job: Job, turn: &mut Turn) {
        let stopping = self.core.standing(job.key.task).is_some_and(|s| s.stopping);
        if self.reused.contains_key(&job.token.0) && !stopping {
            self.start_fresh(env, job);
        } else {
            self.settled(job);
            self.report(env, now, job, Report::NeverRan, turn);
        }
    }

    /// The attempt's start is no longer in question.
    pub(super) fn settled(&mut self, job: Job) {
        self.reused.remove(&job.token.0);
        self.fresh.remove(&job.token.0);
    }
}

fn short(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held(_) => "held",
        Verdict::NeverRan => "never ran",
        Verdict::Ended { leftovers: false, .. } => "ended",
        Verdict::Ended { leftovers: true, .. } => "ended, leftovers",
        Verdict::Lost => "lost",
        Verdict::Rebooted => "rebooted",
    }
}

/// The core's words for an exit record.
fn report_of(now: Now, record: Record) -> Report {
    if record.spawn_error {
        let (stage, what) = (SpawnStage::Exec, "no such program".into());
        return Report::SpawnFailed { stage, errno: 2, what };
    }
    let why = match record.why {
        Why::Exited => EndedBy::Itself,
        Why::TimedOut { after_ms } => EndedBy::Timeout { after: Duration::from_millis(after_ms) },
        Why::Stopped => EndedBy::Stop,
    };
    let ran_for = Duration::from_millis(record.run_ms);
    let started_at = Wall(now.wall.0.saturating_sub_unsigned(record.run_ms));
    let run = RunFigures { started_at, ended_at: now.wall, ran_for, ..RunFigures::default() };
    Report::Ended { exit: record.exit, why, run }
}
