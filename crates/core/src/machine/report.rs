//! What supervisors and recovery say about attempts.
//!
//! Owns: the meaning of every report. A report counts only with the token of the current attempt;
//! others are written to the log as refused, and their sender is told that it may forget them. Ends
//! come again until they were recorded, so each of them may come twice.

use super::stop::{as_wished, why};
use super::{Core, Turn};
use crate::cause::{Actor, Cause};
use crate::effect::Effect;
use crate::event::{End, Exit, Fact, RunFigures, Stop};
use crate::id::{AttemptToken, TaskId};
use crate::input::{EndedBy, Found, Report};
use crate::limits;
use crate::state::State;
use crate::time::Now;

impl Core {
    pub(super) fn report(
        &mut self,
        now: Now,
        task: TaskId,
        token: AttemptToken,
        report: Report,
        turn: &mut Turn,
    ) {
        let Some(row) = self.rows.get(&task) else {
            // It has ended, was recorded and dropped: this is a repetition.
            free_sender(task, token, &report, turn);
            return;
        };
        if row.token() != Some(token) {
            let what = format!("{} of another attempt", name(&report));
            self.emit(now, turn, task, Fact::Refused { what });
            free_sender(task, token, &report, turn);
            return;
        }
        if row.state.is_terminal() {
            self.report_after_end(now, task, token, &report, turn);
            return;
        }
        match report {
            Report::Started { pid, supervisor_pid } => {
                self.started(now, task, pid, supervisor_pid, turn);
            }
            Report::NeverRan => self.never_ran(now, task, turn),
            Report::Emptied => {
                let what = "emptied before its end".into();
                self.emit(now, turn, task, Fact::Refused { what });
            }
            Report::Unkillable { exit, run } => {
                let (state, cause) = (State::Failed, Cause::Unkillable);
                let end = End { state, cause, exit, run: Some(run), seat_kept: true };
                self.end(now, task, end, turn);
            }
            Report::SpawnFailed { stage, errno, what } => {
                let cause = Cause::SpawnError { stage, errno, what };
                self.end_unless_stopped(now, task, (State::Failed, cause), (None, None), turn);
            }
            Report::Ended { exit, why, run } => {
                let judged = judge(exit, why);
                self.end_unless_stopped(now, task, judged, (exit, Some(run)), turn);
            }
            Report::Lost => {
                let judged = (State::Interrupted, Cause::Lost);
                self.end_unless_stopped(now, task, judged, (None, None), turn);
            }
        }
    }

    /// The end of an attempt whose seat is kept has come: only its emptiness is news.
    fn report_after_end(
        &mut self,
        now: Now,
        task: TaskId,
        token: AttemptToken,
        report: &Report,
        turn: &mut Turn,
    ) {
        match report {
            Report::Emptied | Report::Ended { .. } | Report::Lost => {
                self.abandon_waits(task, turn);
                self.emit(now, turn, task, Fact::Emptied);
                turn.effects.push(Effect::Recorded { task, token });
                turn.effects.push(Effect::Dropped { task });
            }
            // Said again after a restart: its end is yet to come.
            Report::Unkillable { .. } => {}
            Report::Started { .. } | Report::SpawnFailed { .. } | Report::NeverRan => {
                let what = format!("{} after its end", name(report));
                self.emit(now, turn, task, Fact::Refused { what });
            }
        }
    }

    pub(super) fn found(
        &mut self,
        now: Now,
        task: TaskId,
        token: AttemptToken,
        found: Found,
        turn: &mut Turn,
    ) {
        match found {
            Found::Reported(report) => self.report(now, task, token, report, turn),
            Found::Alive { pid, supervisor_pid } => {
                self.found_alive(now, task, token, pid, supervisor_pid, turn);
            }
            Found::Rebooted => match self.rows.get(&task) {
                Some(row) if row.token() == Some(token) && !row.state.is_terminal() => {
                    let judged = (State::Interrupted, Cause::Reboot);
                    self.end_unless_stopped(now, task, judged, (None, None), turn);
                }
                Some(_) | None => self.report(now, task, token, Report::Lost, turn),
            },
        }
    }

    /// Its supervisor was reached: say again what the previous daemon may not have come to say.
    fn found_alive(
        &mut self,
        now: Now,
        task: TaskId,
        token: AttemptToken,
        pid: Option<u32>,
        supervisor_pid: u32,
        turn: &mut Turn,
    ) {
        let Some(row) = self.rows.get(&task).filter(|row| row.token() == Some(token)) else {
            let what = "found alive, of another attempt".into();
            if self.rows.contains_key(&task) {
                self.emit(now, turn, task, Fact::Refused { what });
            }
            return;
        };
        match (row.state, pid) {
            (State::Starting, Some(pid)) => self.started(now, task, pid, supervisor_pid, turn),
            (State::Running | State::InputRequired, _) if row.wants_ready && !row.ready => {
                turn.effects.push(Effect::CheckReady { task, token });
            }
            (State::Starting, None)
            | (State::Running | State::InputRequired, _)
            | (State::Queued, _)
            | (State::Completed | State::Failed | State::Cancelled | State::Interrupted, _) => {}
        }
        let row = &self.rows[&task];
        if row.state.is_active() {
            if row.rare().extended.is_some() {
                let timeout = row.allowed();
                turn.effects.push(Effect::SetTimeout { task, token, timeout });
            }
            if let Some(stop) = row.stop() {
                turn.effects.push(Effect::Stop { task, token, why: why(stop) });
            }
        }
    }

    fn started(&mut self, now: Now, task: TaskId, pid: u32, supervisor_pid: u32, turn: &mut Turn) {
        let row = &self.rows[&task];
        let deadline = row.allowed().map(|timeout| now.wall.after(timeout));
        let check = row.wants_ready.then_some(row.token()).flatten();
        if self.emit(now, turn, task, Fact::Started { pid, supervisor_pid, deadline }) {
            self.arm_warning(now, task);
            if let Some(token) = check {
                turn.effects.push(Effect::CheckReady { task, token });
            }
        }
    }

    /// The same attempt again, at its old place, unless starting it keeps taking supervisors down.
    fn never_ran(&mut self, now: Now, task: TaskId, turn: &mut Turn) {
        let row = &self.rows[&task];
        let crashes = row.rare().crashes.saturating_add(1);
        if row.state == State::Starting
            && row.stop().is_none()
            && crashes < limits::MAX_START_CRASHES
        {
            self.abandon_waits(task, turn);
            self.emit(now, turn, task, Fact::Requeued { crashes });
        } else if row.state == State::Starting {
            let judged = (State::Failed, Cause::Poison { crashes });
            self.end_unless_stopped(now, task, judged, (None, None), turn);
        } else {
            let what = "never ran, of an attempt that had started".into();
            self.emit(now, turn, task, Fact::Refused { what });
        }
    }

    /// A wish that was accepted before the end was known decides; what really happened stays beside.
    fn end_unless_stopped(
        &mut self,
        now: Now,
        task: TaskId,
        judged: (State, Cause),
        facts: (Option<Exit>, Option<RunFigures>),
        turn: &mut Turn,
    ) {
        let (state, cause) = match self.rows.get(&task).and_then(|row| row.stop()) {
            Some(stop) => as_wished(stop),
            None => judged,
        };
        let (exit, run) = facts;
        self.end(now, task, End { state, cause, exit, run, seat_kept: false }, turn);
    }

    /// `ready`: a check succeeded.
    pub(super) fn became_ready(
        &mut self,
        now: Now,
        task: TaskId,
        token: AttemptToken,
        how: String,
        turn: &mut Turn,
    ) {
        let Some(row) = self.rows.get(&task) else { return };
        if row.token() != Some(token) {
            let what = "ready, of another attempt".into();
            self.emit(now, turn, task, Fact::Refused { what });
        } else if !row.ready && self.emit(now, turn, task, Fact::Ready { how }) {
            self.target_ready(task, turn);
        }
    }
}

/// State and cause of an end that nobody asked for.
fn judge(exit: Option<Exit>, why: EndedBy) -> (State, Cause) {
    match why {
        EndedBy::Itself => match exit {
            Some(Exit::Code(0)) => (State::Completed, Cause::Exit { code: 0 }),
            Some(Exit::Code(code)) => (State::Failed, Cause::Exit { code }),
            Some(Exit::Signal(number)) => (State::Failed, Cause::Signal { number }),
            // Without an exit status nothing is known, least of all success.
            None => (State::Interrupted, Cause::Lost),
        },
        // Asked for by a daemon that died before it had written down who wanted it.
        EndedBy::Stop => as_wished(&Stop::Cancel { by: Actor::Rule("supervisor") }),
        EndedBy::Timeout { after } => (State::Failed, Cause::Timeout { after }),
        EndedBy::IdleTimeout { after } => (State::Failed, Cause::IdleTimeout { after }),
        EndedBy::OutOfMemory { limit } => (State::Failed, Cause::OutOfMemory { limit }),
        EndedBy::PidsLimit { limit } => (State::Failed, Cause::PidsLimit { limit }),
        EndedBy::LogFull => (State::Failed, Cause::LogFull),
    }
}

/// The sender of an end that changes nothing waits for its receipt all the same.
fn free_sender(task: TaskId, token: AttemptToken, report: &Report, turn: &mut Turn) {
    match report {
        Report::SpawnFailed { .. } | Report::Ended { .. } | Report::Emptied | Report::Lost => {
            turn.effects.push(Effect::Recorded { task, token })
        }
        Report::Started { .. } | Report::NeverRan | Report::Unkillable { .. } => {}
    }
}

const fn name(report: &Report) -> &'static str {
    match report {
        Report::Started { .. } => "started",
        Report::SpawnFailed { .. } => "spawn failed",
        Report::Ended { .. } => "ended",
        Report::Unkillable { .. } => "unkillable",
        Report::Emptied => "emptied",
        Report::NeverRan => "never ran",
        Report::Lost => "lost",
    }
}
