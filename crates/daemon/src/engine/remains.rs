//! Attempts whose supervisor is gone: what is left of them is ended before anything is said of them.
//!
//! Killing and verifying may take seconds, so a helper thread does it and posts a letter. Owns what is
//! to be reported then. The seat stays taken until the tree is verified empty.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use meanwhile_core::event::RunFigures;
use meanwhile_core::input::Report;
use meanwhile_core::{AttemptToken, Now, TaskId, Turn};
use meanwhile_host::proc::Identity;
use meanwhile_host::{clock, evidence};
use meanwhile_supervisor::owner::OwnerView;
use tokio::sync::oneshot;

use super::Engine;
use super::fleet::Job;
use crate::letters::{Ask, Claim, Letter};

/// After this long the task is called unkillable, and the watch goes on.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Pause before remains that could not be looked at are looked at again.
const RETRY: Duration = Duration::from_millis(20);

/// Attempts looked after at once: each is a thread that reads all of /proc, and a machine's memory killer may take a
/// thousand supervisors in one go.
const AT_ONCE: usize = 8;

/// What is to be reported once the remains are gone.
#[derive(Debug)]
pub(super) struct Remains {
    /// The end, as the owner file tells it.
    pub(super) report: Report,
    /// It was called unkillable already; what remains to be said is that it is empty.
    pub(super) over: bool,
}

/// Kills and verifies for at most [`GIVE_UP`]; false when something is still there.
fn emptied(target: &evidence::Remains) -> bool {
    let deadline = clock::monotonic().0 + u64::try_from(GIVE_UP.as_millis()).unwrap_or(u64::MAX);
    loop {
        match evidence::kill_remains(target, GIVE_UP) {
            Ok(killed) => return is_gone(&killed),
            // Its lock was free, so the supervisor is past its last word and about to be gone.
            Err(error) if clock::monotonic().0 < deadline => {
                tracing::debug!(%error, task = %target.task, "remains cannot be ended yet");
                // sleep: the end of a process that is not our child has no event we could wait for
                // that its pid could not outlive.
                std::thread::sleep(RETRY);
            }
            Err(error) => {
                tracing::error!(%error, task = %target.task, "remains cannot be ended");
                return false;
            }
        }
    }
}

/// Whether nothing of a tree was left when time was over.
fn is_gone(killed: &evidence::Killed) -> bool {
    killed.left.is_empty()
}

impl Engine {
    /// Ends what is left of an attempt in a thread of its own.
    pub(super) fn look_after(&mut self, job: Job, view: &OwnerView, remains: Remains) {
        if self.remains.insert(job.token, remains).is_some() {
            return;
        }
        let Some(header) = view.header.as_ref() else {
            unreachable!("a file without a header is judged as never run")
        };
        let identity = |pid, start_time| Identity { pid, start_time };
        let target = evidence::Remains {
            task: job.task,
            attempt: job.attempt,
            cgroup: header.cgroup.clone().map(|c| PathBuf::from(OsString::from_vec(c))),
            main: view.main.map(|m| identity(m.pid, m.start_time)),
            supervisor: identity(header.pid, header.start_time),
        };
        self.end_remains(job, target);
    }

    /// Ends what is left of an attempt of which no file tells, by its cgroup and the marks it was
    /// started with.
    pub(super) fn look_after_unowned(&mut self, job: Job, remains: Remains) {
        if self.remains.insert(job.token, remains).is_some() {
            return;
        }
        // No process has this number: there is no supervisor to be asked.
        let supervisor = Identity { pid: 0, start_time: 0 };
        let (task, attempt, cgroup) = (job.task, job.attempt, self.starter.cgroup_of(job));
        self.end_remains(job, evidence::Remains { task, attempt, cgroup, main: None, supervisor });
    }

    fn end_remains(&mut self, job: Job, target: evidence::Remains) {
        if self.remains_at_once >= AT_ONCE {
            return self.remains_waiting.push_back((job, target));
        }
        let keeps_tmp = self.spec(job.task).is_none_or(|spec| spec.keep_tmp);
        let (postbox, home) = (self.postbox.clone(), std::sync::Arc::clone(&self.home));
        let Job { task, token, .. } = job;
        let tell = move |emptied| {
            let (reply, _nobody_listens) = oneshot::channel();
            let ask = Ask::RemainsGone { task, token, emptied };
            postbox.post(Letter { ask, request: None, reply, claim: Claim::default() });
        };
        let spawned = std::thread::Builder::new().name("remains".into()).spawn(move || {
            meanwhile_faultpoint::fault_point!("remains.before");
            if !emptied(&target) {
                tell(false);
                // The watch goes on: the seat is freed when it is gone.
                while !emptied(&target) {}
            }
            meanwhile_faultpoint::fault_point!("remains.emptied");
            if !keeps_tmp {
                crate::retention::delete_tmp(&home, task, target.attempt);
            }
            meanwhile_faultpoint::fault_point!("remains.cleaned");
            tell(true);
        });
        match spawned {
            Ok(_) => self.remains_at_once += 1,
            Err(error) => {
                tracing::error!(%error, "no thread to look after a lost attempt");
                self.remains.remove(&token);
                self.look_again(clock::now(), job);
            }
        }
    }

    /// A helper has had its first word; what it still watches after that costs next to nothing.
    fn next_remains(&mut self) {
        self.remains_at_once = self.remains_at_once.saturating_sub(1);
        if let Some((job, target)) = self.remains_waiting.pop_front() {
            self.end_remains(job, target);
        }
    }

    /// The helper thread has looked after an attempt.
    pub(super) fn remains_gone(
        &mut self,
        now: Now,
        task: TaskId,
        token: AttemptToken,
        emptied: bool,
        turn: &mut Turn,
    ) {
        if !self.remains.get(&token).is_some_and(|remains| remains.over) {
            self.next_remains();
        }
        let Some((attempt, _)) = self.attempt_of(task).filter(|(_, t)| *t == token) else {
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
        self.report(now, Job { task, attempt, token }, report, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_there_is_not_called_gone() {
        let one = Identity { pid: 1, start_time: 1 };
        let killed = evidence::Killed { killed: vec![one], left: vec![one] };
        assert!(!is_gone(&killed));
        assert!(is_gone(&evidence::Killed { left: Vec::new(), ..killed }));
    }
}
