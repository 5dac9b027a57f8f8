//! After a start of the daemon: what became of the attempts that were active when the last one went.
//!
//! Owns the list of attempts whose lock is held but whose supervisor could not be reached yet (a start
//! in flight, a supervisor that is stopped or just dying); each is looked at again, less and less often.

use std::time::Duration;

use meanwhile_core::{Boot, LoadedTask, Now, State, Turn};
use meanwhile_host::clock;
use meanwhile_host::spawn_supervisor::remove_dead_sockets;
use meanwhile_supervisor::owner::OwnerHeader;

use super::Engine;
use super::fleet::{Job, Who};
use super::verdict::{Verdict, verdict};

/// First and longest pause before an unreached attempt is looked at again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a connect may take: the socket is local, so only a full backlog makes it wait.
const CONNECT_PATIENCE: Duration = Duration::from_millis(200);

/// An attempt whose lock is held by somebody that does not answer.
#[derive(Debug)]
pub(super) struct Unreached {
    /// Which.
    pub(super) job: Job,
    /// When to look again.
    pub(super) again_at: Boot,
    pause: Duration,
}

/// The attempts that had, or were being given, a supervisor.
pub(super) fn active_attempts(tasks: &[LoadedTask]) -> Vec<Job> {
    tasks
        .iter()
        .filter(|t| t.state.is_active() || (t.seat_kept && t.state != State::Queued))
        .filter_map(|t| Some(Job { task: t.id, attempt: t.attempt, token: t.token? }))
        .collect()
}

impl Engine {
    /// After a restart of the machine nobody is left to be met: what became of every active attempt is in its
    /// file, or lost. Answers with those that cannot be judged yet.
    pub(super) fn judge_earlier_boot(
        &mut self,
        now: Now,
        active: Vec<Job>,
        turn: &mut Turn,
    ) -> Vec<Job> {
        self.earlier_boot = active.iter().map(|job| job.token).collect();
        for job in active {
            self.look_into(now, job, turn);
        }
        std::mem::take(&mut self.unreached).into_iter().map(|u| u.job).collect()
    }

    /// Looks into every active attempt; what follows is applied in the first turn.
    pub(super) fn recover(&mut self, active: Vec<Job>) {
        meanwhile_faultpoint::fault_point!("recover.before");
        if let Err(error) = remove_dead_sockets(self.starter.run_dir()) {
            tracing::warn!(%error, "sockets of supervisors that are gone stay");
        }
        if active.is_empty() {
            return;
        }
        tracing::info!(attempts = active.len(), "looking after attempts of the last daemon");
        let now = clock::now();
        for job in active {
            self.look_again_at(job, now.boot, FIRST_PAUSE);
        }
    }

    /// Connects to the supervisor that holds an attempt's lock.
    pub(super) fn reach(&mut self, now: Now, job: Job, header: Option<&OwnerHeader>) {
        let reached =
            header.ok_or_else(|| "its owner file has no header".to_owned()).and_then(|h| {
                let name = String::from_utf8_lossy(&h.socket_name).into_owned();
                let socket = self
                    .starter
                    .run_dir()
                    .connect_socket(&name, CONNECT_PATIENCE)
                    .map_err(|error| error.to_string())?;
                let who = Who {
                    pid: h.pid,
                    start_time: h.start_time,
                    socket_name: h.socket_name.clone(),
                    protocol: h.protocol,
                };
                let init = self.starter.init(&name);
                let key =
                    self.fleet.add(socket.into(), who, None, &init).map_err(|e| e.to_string())?;
                meanwhile_faultpoint::fault_point!("recover.connected");
                self.fleet.assign(key, job);
                Ok(())
            });
        if let Err(error) = reached {
            tracing::debug!(task = %job.task, error, "a supervisor could not be reached yet");
            self.look_again(now, job);
        }
    }

    /// Looks into an attempt again a little later.
    pub(super) fn look_again(&mut self, now: Now, job: Job) {
        if self.unreached.iter().any(|u| u.job == job) {
            return;
        }
        self.look_again_at(job, now.boot.after(FIRST_PAUSE), FIRST_PAUSE);
    }

    fn look_again_at(&mut self, job: Job, again_at: Boot, pause: Duration) {
        self.unreached.push(Unreached { job, again_at, pause });
    }

    /// Looks into the attempts whose pause is over.
    pub(super) fn reach_again(&mut self, now: Now, turn: &mut Turn) {
        let (due, later) =
            std::mem::take(&mut self.unreached).into_iter().partition(|u| u.again_at <= now.boot);
        self.unreached = later;
        let due: Vec<Unreached> = due;
        for Unreached { job, pause, .. } in due {
            let current = self.attempt_of(job.task) == Some((job.attempt, job.token));
            let met = self.alive.contains(&job.token);
            if !current || met || self.remains.contains_key(&job.token) {
                continue;
            }
            match self.fleet.holder(job.token) {
                None => self.look_into(now, job, turn),
                // It was reached, but did not have the attempt: a start in flight to it is either
                // read, and then it reports, or dropped, and then the lock is free.
                Some(key) => match verdict(&self.home, self.starter.boot_id(), job) {
                    Ok(Verdict::Held(_)) => self.look_again(now, job),
                    Ok(_) | Err(_) => {
                        self.fleet.forget_job(key);
                        self.look_into(now, job, turn);
                    }
                },
            }
            if let Some(again) = self.unreached.iter_mut().find(|u| u.job == job) {
                again.pause = (pause * 2).min(LONGEST_PAUSE);
                again.again_at = now.boot.after(again.pause);
            }
        }
    }
}
