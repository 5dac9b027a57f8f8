//! Starts for which the machine has no room at this moment: no space, descriptors, processes or memory.
//!
//! That is no fault of the task, and the next one would meet the same: the attempt keeps its seat and is
//! tried again, less and less often, so that a shortage does not fail a whole queue one by one. Owns those
//! attempts. Never waits for ever but for space on the disk, which people are told of.

use std::time::Duration;

use meanwhile_core::input::Report;
use meanwhile_core::{AttemptToken, Boot, Now, Turn};
use meanwhile_host::clock;
use rustix::io::Errno;

use super::Engine;
use super::fleet::Job;

/// First and longest pause before another try.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a shortage of anything but space may last before the task is told that it cannot start.
const PATIENCE: Duration = Duration::from_secs(60);

/// What there was too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Space on the disk: starts are held until there is some.
    Space,
    /// Descriptors, processes or memory; or somebody looks at the owner file at this instant.
    Other,
}

/// An attempt whose start is to be tried again.
#[derive(Debug)]
pub(super) struct Postponed {
    job: Job,
    timeout: Option<Duration>,
    since: Boot,
    pub(super) again_at: Boot,
    pause: Duration,
    /// It is being tried: a further failure keeps its place and its pause.
    trying: bool,
}

impl Want {
    /// What a failure was for want of, if it was that.
    pub(super) fn of(errno: i32) -> Option<Self> {
        let is = |known: Errno| known.raw_os_error() == errno;
        if [Errno::NOSPC, Errno::DQUOT].into_iter().any(is) {
            return Some(Self::Space);
        }
        let other = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
        other.into_iter().any(is).then_some(Self::Other)
    }
}

impl Engine {
    /// Tries a start again later, or gives it up after long enough.
    pub(super) fn postpone(
        &mut self,
        job: Job,
        timeout: Option<Duration>,
        want: Want,
        (errno, what): (i32, String),
    ) {
        let now = clock::boot();
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
            self.cannot_prepare(job, errno, what);
        }
    }

    /// Tries those whose pause is over.
    pub(super) fn start_postponed(&mut self, now: Now, turn: &mut Turn) {
        for at in 0..self.postponed.len() {
            if self.postponed[at].again_at <= now.boot {
                self.postponed[at].trying = true;
            }
        }
        let due: Vec<_> =
            self.postponed.iter().filter(|p| p.trying).map(|p| (p.job, p.timeout)).collect();
        for (job, timeout) in due {
            let view = self.core.standing(job.task).filter(|v| v.token == Some(job.token));
            match view {
                // It was to be stopped meanwhile; nothing of it was ever executed.
                Some(view) if view.stopping => self.report(now, job, Report::NeverRan, turn),
                Some(_) => self.start(job, timeout),
                None => {}
            }
        }
        self.postponed.retain(|p| !p.trying);
    }

    /// It is to be stopped: no need to wait for the next try. False when it is not among these.
    pub(super) fn hasten_postponed(&mut self, token: AttemptToken) -> bool {
        let postponed = self.postponed.iter_mut().find(|p| p.job.token == token);
        postponed.map(|p| p.again_at = Boot(0)).is_some()
    }

    /// Whether its start is to be tried again.
    pub(super) fn is_postponed(&self, token: AttemptToken) -> bool {
        self.postponed.iter().any(|p| p.job.token == token)
    }

    /// It has another running time now.
    pub(super) fn set_postponed_timeout(&mut self, token: AttemptToken, timeout: Option<Duration>) {
        if let Some(postponed) = self.postponed.iter_mut().find(|p| p.job.token == token) {
            postponed.timeout = timeout;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_postpones_a_start() {
        let of = |errno: Errno| Want::of(errno.raw_os_error());
        assert_eq!(of(Errno::NOSPC), Some(Want::Space));
        assert_eq!(of(Errno::MFILE), Some(Want::Other));
        assert_eq!(of(Errno::ACCESS), None);
        assert_eq!(Want::of(0), None);
    }
}
