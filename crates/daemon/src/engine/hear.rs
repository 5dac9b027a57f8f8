//! What supervisors say, as inputs for the core; and what is done when one is gone.
//!
//! Owns the translation from the supervisor's words to the core's. Never judges success: that is the
//! core's word.

use std::time::Duration;

use meanwhile_core::cause::SpawnStage;
use meanwhile_core::event::{Exit, RunFigures};
use meanwhile_core::input::{EndedBy, Found, Report};
use meanwhile_core::{Input, Now, State, Turn, Wall};
use meanwhile_supervisor::exit::{self, EndWhy, ExitRecord, TreeState};
use meanwhile_supervisor::wire::{FromSupervisor, Phase, RefusedWhy, Running};

use super::Engine;
use super::fleet::{Heard, Job, MemberKey};
use super::remains::Remains;
use super::verdict::{Verdict, verdict};

impl Engine {
    /// Takes what a readable supervisor has said, and writes what waited for a writable one.
    pub(super) fn hear(&mut self, now: Now, key: MemberKey, turn: &mut Turn) {
        self.fleet.flush_one(key);
        for heard in self.fleet.hear(key) {
            match heard {
                Heard::Said(message) => self.said(now, key, message, turn),
                Heard::Gone { job, child, error } => {
                    if let Some(pidfd) = child {
                        self.fleet.watch_child(&pidfd);
                        self.zombies.push(pidfd);
                    }
                    if let Some(job) = job {
                        self.alive.remove(&job.token);
                        match &error {
                            None => self.look_into(now, job, turn),
                            // It may live, and break the next connection likewise: not at once again.
                            Some(_) => self.look_again(now, job),
                        }
                    }
                    if let Some(error) = error {
                        tracing::warn!(%error, ?job, "a supervisor's connection broke");
                    }
                }
            }
        }
    }

    fn said(&mut self, now: Now, key: MemberKey, message: FromSupervisor, turn: &mut Turn) {
        let supervisor_pid = self.fleet.who(key).map_or(0, |who| who.pid);
        match message {
            FromSupervisor::Hello { protocol, current, .. } => {
                self.fleet.set_protocol(key, protocol);
                self.greeted(now, key, current, turn);
            }
            FromSupervisor::Started { token, pid, .. } => {
                let Some(job) = self.fleet.job(key).filter(|j| j.token.0 == token.0) else {
                    return;
                };
                self.start_settled(job.token);
                self.alive.insert(job.token);
                meanwhile_faultpoint::fault_point!("hear.started");
                self.report(now, job, Report::Started { pid, supervisor_pid }, turn);
            }
            FromSupervisor::Ended(record) => {
                let Some(job) = self.fleet.job(key).filter(|j| j.token.0 == record.token.0) else {
                    tracing::warn!(?key, "the end of an attempt that nobody asked for");
                    return;
                };
                self.ended(now, job, &record, turn);
            }
            FromSupervisor::Refused { token, why } => {
                let Some(job) = self.fleet.job(key).filter(|j| j.token.0 == token.0) else {
                    return;
                };
                tracing::info!(?why, task = %job.task, "a supervisor refused a start");
                self.fleet.forget_job(key);
                match why {
                    RefusedWhy::Shortage(errno) => self.starved(now, key, job, errno, turn),
                    _ => self.never_ran(now, job, turn),
                }
            }
            FromSupervisor::Unkillable { token, pids } => {
                let Some(job) = self.fleet.job(key).filter(|j| j.token.0 == token.0) else {
                    return;
                };
                tracing::error!(task = %job.task, ?pids, "processes that nothing can kill");
                let report = Report::Unkillable { exit: None, run: RunFigures::default() };
                self.report(now, job, report, turn);
            }
            FromSupervisor::Note { text } => tracing::warn!(supervisor_pid, text, "supervisor"),
            // An end with the same facts follows a failed start; a supervisor is called free when its
            // end is recorded; figures of a running log are read from its files.
            FromSupervisor::SpawnFailed { .. }
            | FromSupervisor::Idle
            | FromSupervisor::Progress { .. }
            | FromSupervisor::DaemonStarted { .. } => {}
        }
    }

    /// A supervisor's greeting: after a restart of the daemon it says what it has.
    fn greeted(&mut self, now: Now, key: MemberKey, current: Option<Running>, turn: &mut Turn) {
        let Some(job) = self.fleet.job(key) else { return };
        match current {
            Some(running) if running.token.0 == job.token.0 => match running.phase {
                Phase::Running | Phase::Stopping | Phase::Unkillable => {
                    self.alive.insert(job.token);
                    let supervisor_pid = self.fleet.who(key).map_or(0, |who| who.pid);
                    let pid = running.main.map(|(pid, _)| pid);
                    self.found(now, job, Found::Alive { pid, supervisor_pid }, turn);
                    if running.phase == Phase::Unkillable {
                        // It says so once, and that may have been to a daemon that died of it.
                        let report = Report::Unkillable { exit: None, run: RunFigures::default() };
                        self.report(now, job, report, turn);
                    }
                }
                // Its end follows on the same connection.
                Phase::Ended | Phase::Kept => {
                    self.alive.insert(job.token);
                }
            },
            // A fresh supervisor that has not read its start yet, or one found by its lock whose start
            // was in flight when the last daemon went away: the start is read, or the lock is freed.
            None if self.starter.is_fresh(job.token) => {}
            None | Some(_) => self.look_again(now, job),
        }
    }

    /// The end of an attempt, from a message or from its owner file.
    pub(super) fn ended(&mut self, now: Now, job: Job, record: &ExitRecord, turn: &mut Turn) {
        self.start_settled(job.token);
        self.alive.remove(&job.token);
        if record.tree == TreeState::Kept {
            self.starter.stays(job.token);
        }
        let over = self.core.standing(job.task).is_some_and(|view| view.state.is_terminal());
        let report = if over { Report::Emptied } else { self.report_of(job, record) };
        meanwhile_faultpoint::fault_point!("hear.ended");
        self.report(now, job, report, turn);
    }

    /// The core's words for an exit record.
    pub(super) fn report_of(&mut self, job: Job, record: &ExitRecord) -> Report {
        if let Some(error) = &record.spawn_error {
            let (errno, what) = (error.errno, error.what.clone());
            return Report::SpawnFailed { stage: stage(error.stage), errno, what };
        }
        let exit = record.wait_status.map(exit_of);
        let limits = match &record.why {
            EndWhy::MemoryLimit { .. } | EndWhy::OutOfMemory(_) | EndWhy::PidsLimit { .. } => {
                self.spec(job.task).map(|spec| spec.limits.clone())
            }
            EndWhy::Exited
            | EndWhy::TimedOut { .. }
            | EndWhy::IdleTimedOut { .. }
            | EndWhy::Stopped(_)
            | EndWhy::LogFull
            | EndWhy::Other(_) => None,
        };
        let why = match &record.why {
            EndWhy::Exited | EndWhy::Other(_) => EndedBy::Itself,
            EndWhy::TimedOut { after_ms } => EndedBy::Timeout { after: millis(*after_ms) },
            EndWhy::IdleTimedOut { after_ms } => EndedBy::IdleTimeout { after: millis(*after_ms) },
            EndWhy::Stopped(_) => EndedBy::Stop,
            EndWhy::OutOfMemory(_) | EndWhy::MemoryLimit { .. } => {
                EndedBy::OutOfMemory { limit: limits.and_then(|l| l.memory) }
            }
            EndWhy::PidsLimit { count } => {
                EndedBy::PidsLimit { limit: limits.and_then(|l| l.pids).unwrap_or(*count) }
            }
            EndWhy::LogFull => EndedBy::LogFull,
        };
        Report::Ended { exit, why, run: figures(record) }
    }

    /// Hands the core a report about an attempt.
    pub(super) fn report(&mut self, now: Now, job: Job, report: Report, turn: &mut Turn) {
        self.apply(now, Input::Report { task: job.task, token: job.token, report }, turn);
    }

    pub(super) fn found(&mut self, now: Now, job: Job, found: Found, turn: &mut Turn) {
        self.apply(now, Input::Found { task: job.task, token: job.token, found }, turn);
    }

    /// The supervisor of an active attempt is gone or was never met: reads what became of it.
    pub(super) fn look_into(&mut self, now: Now, job: Job, turn: &mut Turn) {
        meanwhile_faultpoint::fault_point!("recover.look");
        match verdict(&self.home, self.starter.boot_id(), job) {
            Err(error) => {
                tracing::error!(%error, "nothing is known of an attempt yet");
                self.look_again(now, job);
            }
            Ok(Verdict::Held(header)) => self.reach(now, job, header.as_ref()),
            Ok(Verdict::NeverRan) if self.may_have_started(job) => self.unowned(now, job, turn),
            Ok(Verdict::Damaged) => self.unowned(now, job, turn),
            Ok(Verdict::NeverRan) => self.never_ran(now, job, turn),
            Ok(Verdict::Ended { record, leftovers: false, .. }) => {
                self.ended(now, job, &record, turn);
            }
            Ok(Verdict::Ended { record, leftovers: true, view }) => {
                let report = self.report_of(job, &record);
                self.look_after(job, &view, Remains { report, over: false });
            }
            Ok(Verdict::Lost(view)) => {
                tracing::warn!(task = %job.task, "a supervisor was lost; ending what is left");
                self.look_after(job, &view, Remains { report: Report::Lost, over: false });
            }
            Ok(Verdict::Rebooted) => self.found(now, job, Found::Rebooted, turn),
        }
    }

    /// Whether the attempt may have run although its file says nothing: the store knows that it did, or the
    /// machine went down under it. Files are not synced, so a power cut can take the mark of a start with it,
    /// and what may have run is not run again as the same attempt.
    fn may_have_started(&self, job: Job) -> bool {
        if self.earlier_boot.contains(&job.token) {
            return true;
        }
        let view = self.core.standing(job.task).filter(|view| view.token == Some(job.token));
        view.is_some_and(|view| view.state != State::Starting)
    }

    /// The attempt ran, and its owner file is gone or damaged: nobody can be asked how it ended.
    fn unowned(&mut self, now: Now, job: Job, turn: &mut Turn) {
        if self.earlier_boot.contains(&job.token) {
            return self.found(now, job, Found::Rebooted, turn);
        }
        tracing::warn!(task = %job.task, "its owner file is gone or damaged; ending what is left");
        self.look_after_unowned(job, Remains { report: Report::Lost, over: false });
    }

    /// Reaps children that have ended.
    pub(super) fn reap(&mut self) {
        use meanwhile_host::spawn_supervisor::reap;
        self.zombies.retain(|pidfd| matches!(reap(pidfd), Ok(None)));
    }

    /// Nothing of the attempt was executed. A supervisor that was about to leave is no fault of the
    /// task: a fresh one is tried before the core hears of it, unless the task is to be stopped: the
    /// supervisor that did not take it was the one that was told.
    fn never_ran(&mut self, now: Now, job: Job, turn: &mut Turn) {
        let stopping = self.core.standing(job.task).is_some_and(|view| view.stopping);
        if self.starter.was_reused(job.token) && !stopping {
            self.start_fresh(job);
        } else {
            self.start_settled(job.token);
            self.report(now, job, Report::NeverRan, turn);
        }
    }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A raw wait status (wait(2)) as how the process ended.
fn exit_of(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit::Code(status >> 8 & 0xff),
        signal => Exit::Signal(signal),
    }
}

fn stage(stage: exit::SpawnStage) -> SpawnStage {
    match stage {
        exit::SpawnStage::Cwd => SpawnStage::Cwd,
        exit::SpawnStage::Stdin => SpawnStage::Stdin,
        exit::SpawnStage::Exec => SpawnStage::Exec,
        exit::SpawnStage::Limit => SpawnStage::Limits,
        _ => SpawnStage::Prepare,
    }
}

fn wall(ms: u64) -> Wall {
    Wall(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn figures(record: &ExitRecord) -> RunFigures {
    RunFigures {
        started_at: wall(record.started_wall_ms),
        ended_at: wall(record.ended_wall_ms),
        ran_for: millis(record.run_ms),
        cpu: Duration::from_micros(record.usage.user_us.saturating_add(record.usage.system_us)),
        max_rss: record.usage.max_rss_kib.saturating_mul(1024),
        log_bytes: record.log_bytes,
        dropped_bytes: record.dropped_bytes,
        leaked: record.leaked.count,
        leaked_names: record
            .leaked
            .named
            .iter()
            .map(|p| format!("{} ({})", p.comm, p.pid))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_read_as_wait_2_writes_them() {
        assert_eq!(exit_of(0), Exit::Code(0));
        assert_eq!(exit_of(7 << 8), Exit::Code(7));
        assert_eq!(exit_of(255 << 8), Exit::Code(255));
        assert_eq!(exit_of(9), Exit::Signal(9));
        assert_eq!(exit_of(11 | 0x80), Exit::Signal(11), "with a core dump");
    }
}
