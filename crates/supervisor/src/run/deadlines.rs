//! The deadlines of a running task: its time, its silence, its sampled limits.
//!
//! All of them are monotonic, so a suspended machine ends nothing, and kept here, so they hold while there is
//! no daemon. Owns their state. Never reads a clock and never ends anything.

use std::time::Duration;

use crate::exit::EndWhy;
use crate::limits::SUSPEND_JUMP;
use crate::wire::StartSpec;

use super::cgroup::Cgroup;
use super::clock::{Moment, millis};
use super::sample::Sampler;

/// The deadlines of one attempt.
#[derive(Debug)]
pub(super) struct Deadlines {
    pub(super) started: Moment,
    pub(super) timeout: Option<Duration>,
    silence: Option<Duration>,
    pub(super) sampler: Option<Sampler>,
    last_output: Moment,
    /// How long the machine had been suspended when last looked at.
    suspended: Duration,
}

impl Deadlines {
    pub(super) fn new(spec: &StartSpec, started: Moment, suspended: Duration) -> Self {
        Self {
            started,
            timeout: spec.timeout_ms.map(Duration::from_millis),
            silence: spec.idle_timeout_ms.map(Duration::from_millis),
            sampler: None,
            last_output: started,
            suspended,
        }
    }

    /// The task wrote something.
    pub(super) fn on_output(&mut self, now: Moment) {
        self.last_output = now;
    }

    /// The next moment at which [`Deadlines::look`] may find something.
    pub(super) fn next(&self) -> Option<Moment> {
        let timeout = self.timeout.map(|timeout| self.started.after(timeout));
        let silence = self.silence.map(|silence| self.last_output.after(silence));
        let sample = self.sampler.as_ref().map(Sampler::next);
        [timeout, silence, sample].into_iter().flatten().min()
    }

    /// Tells why the task must end now, if it must.
    pub(super) fn look(
        &mut self,
        cgroup: Option<&Cgroup>,
        now: Moment,
        suspended: Duration,
    ) -> Option<EndWhy> {
        if suspended.saturating_sub(self.suspended) > SUSPEND_JUMP {
            // After a suspend a program has its silence anew: its peers slept too.
            self.last_output = now;
        }
        self.suspended = suspended;
        let passed = |limit: Option<Duration>, since: Moment| {
            limit.filter(|limit| now >= since.after(*limit)).map(millis)
        };
        if let Some(after_ms) = passed(self.timeout, self.started) {
            return Some(EndWhy::TimedOut { after_ms });
        }
        if let Some(after_ms) = passed(self.silence, self.last_output) {
            return Some(EndWhy::IdleTimedOut { after_ms });
        }
        self.sampler.as_mut().and_then(|sampler| sampler.look(cgroup, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{TaskId, Token};

    const SECOND: Duration = Duration::from_secs(1);

    fn deadlines(start: Moment) -> Deadlines {
        let mut spec =
            StartSpec::new(Token([0; 16]), TaskId([b'0'; 10]), 1, Vec::new(), Vec::new());
        spec.idle_timeout_ms = Some(10_000);
        Deadlines::new(&spec, start, SECOND * 3)
    }

    #[test]
    fn a_suspend_gives_a_silent_task_its_silence_anew() {
        let start = Moment::now();
        let mut deadlines = deadlines(start);
        // Nine seconds of running time, then eight hours with the lid closed.
        let woken = start.after(SECOND * 9);
        assert_eq!(deadlines.look(None, woken, SECOND * (3 + 8 * 3600)), None);
        assert_eq!(deadlines.next(), Some(woken.after(SECOND * 10)));
        let later = woken.after(SECOND * 10);
        let why = deadlines.look(None, later, SECOND * (3 + 8 * 3600));
        assert_eq!(why, Some(EndWhy::IdleTimedOut { after_ms: 10_000 }));
    }

    #[test]
    fn without_a_suspend_silence_is_counted_from_the_last_output() {
        let start = Moment::now();
        let mut deadlines = deadlines(start);
        deadlines.on_output(start.after(SECOND * 5));
        assert_eq!(deadlines.look(None, start.after(SECOND * 14), SECOND * 3), None);
        assert!(deadlines.look(None, start.after(SECOND * 15), SECOND * 3).is_some());
    }
}
