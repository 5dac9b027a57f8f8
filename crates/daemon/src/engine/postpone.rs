//! Starts for which the machine has no room at this moment: no space, descriptors, processes or memory.
//!
//! That is no fault of the task, and the next one would meet the same: the attempt keeps its seat and is
//! tried again, less and less often, so that a shortage does not fail a whole queue one by one. Owns those
//! attempts. Never waits for ever but for space on the disk, which people are told of.

use std::time::Duration;

use meanwhile_core::input::Report;
use meanwhile_core::machine::{TaskView, Why};
use meanwhile_core::{AttemptToken, Boot, Now, State, Turn};
use meanwhile_host::clock;
use rustix::io::Errno;

use super::Engine;
use super::fleet::{Job, MemberKey};

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
    again_at: Boot,
    pause: Duration,
    at: At,
    /// What there was too little of, in words.
    lack: String,
}

/// How far such a start is. A further failure keeps its place and its pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Not before `again_at`.
    Waits,
    /// It is being prepared in this turn.
    Trying,
    /// A supervisor has it, and may have no room either.
    HandedOver,
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

/// A shortage for people, who can do something about it.
fn lack(errno: i32) -> String {
    let is = |known: Errno| known.raw_os_error() == errno;
    let what = if [Errno::NOSPC, Errno::DQUOT].into_iter().any(is) {
        "no space on the disk"
    } else if [Errno::MFILE, Errno::NFILE].into_iter().any(is) {
        "too many open files"
    } else if is(Errno::NOMEM) {
        "too little memory"
    } else {
        "no room for another process"
    };
    what.to_owned()
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
        let lack = lack(errno);
        let Some(known) = self.postponed.iter_mut().find(|p| p.job == job) else {
            let (again_at, pause) = (now.after(FIRST_PAUSE), FIRST_PAUSE);
            let (since, at) = (now, At::Waits);
            let postponed = Postponed { job, timeout, since, again_at, pause, at, lack };
            return self.postponed.push(postponed);
        };
        known.at = At::Waits;
        known.lack = lack;
        known.pause = (known.pause * 2).min(LONGEST_PAUSE);
        known.again_at = now.after(known.pause);
        if want == Want::Other && known.since.after(PATIENCE) <= now {
            self.start_settled(job.token);
            self.cannot_prepare(job, errno, what);
        }
    }

    /// A supervisor had no room for it.
    pub(super) fn starved(
        &mut self,
        now: Now,
        key: MemberKey,
        job: Job,
        errno: i32,
        turn: &mut Turn,
    ) {
        // One that is out of descriptors itself gets no further task, and leaves.
        if errno != Errno::MFILE.raw_os_error() {
            self.fleet.give_back(key);
        }
        let timeout = self.starter.timeout(job.token);
        self.starter.settled(job.token);
        let stopping = self.core.standing(job.task).is_some_and(|view| view.stopping);
        let what = format!("start its process: {}", Errno::from_raw_os_error(errno));
        match Want::of(errno) {
            Some(want) if !stopping => self.postpone(job, timeout, want, (errno, what)),
            Some(_) | None => self.report(now, job, Report::NeverRan, turn),
        }
    }

    /// When the next one is to be tried.
    pub(super) fn postponed_due(&self) -> Option<Boot> {
        self.postponed.iter().filter(|p| p.at == At::Waits).map(|p| p.again_at).min()
    }

    /// Tries those whose pause is over.
    pub(super) fn start_postponed(&mut self, now: Now, turn: &mut Turn) {
        let mut due = Vec::new();
        for postponed in self.postponed.iter_mut().filter(|p| p.at == At::Waits) {
            if postponed.again_at <= now.boot {
                postponed.at = At::Trying;
                due.push((postponed.job, postponed.timeout));
            }
        }
        for (job, timeout) in due {
            let view = self.core.standing(job.task).filter(|v| v.token == Some(job.token));
            match view {
                // It was to be stopped meanwhile; nothing of it was ever executed.
                Some(view) if view.stopping => {
                    self.start_settled(job.token);
                    self.report(now, job, Report::NeverRan, turn);
                }
                Some(_) => self.start(job, timeout),
                None => self.start_settled(job.token),
            }
        }
        for postponed in &mut self.postponed {
            if postponed.at == At::Trying {
                postponed.at = At::HandedOver;
            }
        }
    }

    /// The attempt's start is no longer in question.
    pub(super) fn start_settled(&mut self, token: AttemptToken) {
        self.starter.settled(token);
        self.postponed.retain(|p| p.job.token != token);
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

    /// Says of those among these views what they are short of.
    pub(super) fn tell_shortages(&self, views: &mut [Option<TaskView>]) {
        if self.postponed.is_empty() {
            return;
        }
        for view in views.iter_mut().flatten().filter(|view| view.state == State::Starting) {
            let short = self.postponed.iter().find(|p| Some(p.job.token) == view.token);
            view.why = short.map(|p| Why::Shortage { of: p.lack.clone() });
        }
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
