//! Attempts whose supervisor is gone: what is left of them is ended before anything is said of them.
//!
//! Killing and verifying may take seconds, so a helper thread does it and posts a letter. Owns what is
//! to be reported then. The seat stays taken until the tree is verified empty.

use std::time::Duration;

use meanwhile_core::event::RunFigures;
use meanwhile_core::input::Report;
use meanwhile_core::{AttemptToken, Now, TaskId, Turn};
use meanwhile_host::evidence;
use meanwhile_supervisor::owner::OwnerView;
use tokio::sync::oneshot;

use super::Engine;
use super::fleet::Job;
use crate::letters::{Ask, Letter};

/// After this long the task is called unkillable, and the watch goes on.
const GIVE_UP: Duration = Duration::from_secs(60);

/// What is to be reported once the remains are gone.
#[derive(Debug)]
pub struct Remains {
    /// The end, as the owner file tells it.
    pub report: Report,
    /// It was called unkillable already; what remains to be said is that it is empty.
    pub over: bool,
}

impl Engine {
    /// Ends what is left of an attempt in a thread of its own.
    pub(super) fn look_after(&mut self, job: Job, view: &OwnerView, remains: Remains) {
        if self.remains.insert(job.token, remains).is_some() {
            return;
        }
        let target = evidence::Remains {
            task: job.task,
            attempt: job.attempt,
            cgroup: view.header.as_ref().and_then(|h| h.cgroup.clone()),
            main: view.main.map(|m| (m.pid, m.start_time)),
            supervisor: view.header.as_ref().map(|h| (h.pid, h.start_time)),
        };
        let postbox = self.postbox.clone();
        let Job { task, token, .. } = job;
        let tell = move |emptied| {
            let (reply, _nobody_listens) = oneshot::channel();
            let ask = Ask::RemainsGone { task, token, emptied };
            postbox.post(Letter { ask, request: None, reply });
        };
        let spawned = std::thread::Builder::new().name("remains".into()).spawn(move || {
            if evidence::kill_remains(&target, Some(GIVE_UP)) {
                tell(true);
            } else {
                tell(false);
                // Without a deadline it returns when nothing is left.
                evidence::kill_remains(&target, None);
                tell(true);
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to look after a lost attempt");
            self.remains.remove(&token);
            self.look_again(meanwhile_host::clock::now(), job);
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
        let Some(remains) = self.remains.get_mut(&token) else { return };
        let Some((attempt, _)) = self.attempt_of(task).filter(|(_, t)| *t == token) else {
            self.remains.remove(&token);
            return;
        };
        let report = if emptied {
            let remains = self.remains.remove(&token).expect("it was there above");
            if remains.over { Report::Emptied } else { remains.report }
        } else {
            remains.over = true;
            Report::Unkillable { exit: None, run: RunFigures::default() }
        };
        self.report(now, Job { task, attempt, token }, report, turn);
    }
}
