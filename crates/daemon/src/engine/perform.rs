//! Effects, done after the commit that they follow from.
//!
//! Owns their order and what an effect that fails turns into: an input of the next turn, never a
//! silent loss.

use std::time::Duration;

use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::StopWhy;
use meanwhile_core::input::Report;
use meanwhile_core::{Boot, Effect, Input, Now, TaskId, TaskSpec, Turn, Wall};
use meanwhile_store::{EventFilter, Logged, Retention, StoreError};
use meanwhile_supervisor::wire::{self, ToSupervisor, Token};

use super::fleet::Job;
use super::{Ending, Engine};
use crate::letters::Reply;

/// How often ended tasks are looked through for those past their time.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);
/// How often the log of writes is looked at while there are commits: one more sync of the file a minute.
const LOG_LOOK_EVERY: Duration = Duration::from_secs(60);
/// Tasks forgotten per turn, so that no turn takes long.
const FORGET_AT_ONCE: usize = 200;
/// Entries at the end of the event log among which are those of the last turn: a page of `clean` has 500 tasks.
const FORGOTTEN_LAST: u64 = 600;
/// Entries of the event log deleted per turn, for the same reason.
const TRIM_AT_ONCE: usize = 10_000;

impl Engine {
    /// Does one thing.
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start { task, attempt, token, timeout } => {
                self.start(Job { task, attempt, token }, timeout);
            }
            Effect::Stop { task, token, why } => {
                let grace =
                    self.spec(task).map_or(meanwhile_core::limits::GRACE, |s| s.timing.grace);
                let why = match why {
                    StopWhy::Cancelled => wire::StopWhy::Cancel,
                    StopWhy::Reported => wire::StopWhy::Reported,
                };
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                let stop = ToSupervisor::Stop { token: Token(token.0), why, grace_ms };
                meanwhile_faultpoint::fault_point!("stop.before-telling");
                if !self.fleet.tell(token, &stop) && !self.hasten_postponed(token) {
                    tracing::info!(%task, "its supervisor is told to stop once it is reached");
                }
            }
            Effect::SetTimeout { task: _, token, timeout } => {
                let timeout_ms = timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
                self.fleet.tell(token, &ToSupervisor::Extend { token: Token(token.0), timeout_ms });
                self.starter.set_timeout(token, timeout);
                self.set_postponed_timeout(token, timeout);
            }
            Effect::Recorded { task: _, token } => {
                meanwhile_faultpoint::fault_point!("recorded.before-telling");
                self.fleet.tell(token, &ToSupervisor::Recorded { token: Token(token.0) });
                self.start_settled(token);
                let stays = self.starter.take_stays(token);
                self.fleet.release(token, stays);
            }
            Effect::CheckReady { task, token } => self.check_ready(task, token),
            Effect::Answer { wait, answer } => {
                if let Some(client) = self.waits.remove(&wait) {
                    let _gone = client.to.send(Ok(Reply::Waited(answer)));
                }
            }
            Effect::Dropped { task } => self.starter.drop_spec(task),
            Effect::DeleteFiles { task } => crate::retention::delete_files(&self.home, task),
        }
    }

    fn check_ready(&mut self, task: TaskId, token: meanwhile_core::AttemptToken) {
        let Some(readiness) = self.spec(task).and_then(|s| s.ready.clone()) else { return };
        let Some((attempt, _)) = self.attempt_of(task) else { return };
        self.readiness.watch(task, attempt, token, readiness);
    }

    /// The launch parameters of a task, from memory or from the store.
    pub(super) fn spec(&mut self, task: TaskId) -> Option<std::sync::Arc<TaskSpec>> {
        if let Some(spec) = self.starter.spec(task) {
            return Some(spec);
        }
        match self.store.spec(task) {
            Ok(spec) => spec.map(std::sync::Arc::new),
            Err(error) => {
                tracing::error!(%error, %task, "its launch parameters cannot be read");
                None
            }
        }
    }

    /// Bytes for a held-open standard input. Whoever sends them is told when nobody is there to take them.
    pub(super) fn pass_input(
        &mut self,
        task: TaskId,
        bytes: Vec<u8>,
        close: bool,
    ) -> Result<Reply, ApiError> {
        let nobody =
            |what: &str| ApiError::new(ErrorCode::WrongState, format!("task {task} {what}"));
        let (_, token) = self.attempt_of(task).ok_or_else(|| {
            nobody("does not run: it takes no input").hint(format!("meanwhile status {task}"))
        })?;
        if self.fleet.holder(token).is_none() {
            return Err(nobody("has no supervisor that answers at this moment").hint("try again"));
        }
        let wire_token = Token(token.0);
        if !bytes.is_empty() {
            self.fleet.tell(token, &ToSupervisor::Input { token: wire_token, bytes });
        }
        if close {
            self.fleet.tell(token, &ToSupervisor::CloseInput { token: wire_token });
        }
        Ok(Reply::Done)
    }

    /// When ended tasks are looked through next; nothing is due while nothing could be past its time.
    pub(super) fn retention_due(&self) -> Option<Boot> {
        self.retention_enabled().then_some(self.retention_at)
    }

    fn retention_enabled(&self) -> bool {
        self.settings.retention_age().is_some() || self.settings.retention_bytes().is_some()
    }

    /// Forgets what is past its time.
    pub(super) fn retain(&mut self, now: Now, turn: &mut Turn) -> Result<(), Ending> {
        if !self.retention_enabled() || self.retention_at > now.boot {
            return Ok(());
        }
        let policy = Retention {
            now: now.wall,
            age: self.settings.retention_age(),
            bytes: self.settings.retention_bytes(),
            at_most: FORGET_AT_ONCE,
        };
        let expired = self.store.expired(&policy).map_err(Ending::Store)?;
        let more = expired.len() == FORGET_AT_ONCE;
        self.retention_at = now.boot.after(if more { Duration::ZERO } else { RETENTION_EVERY });
        if !expired.is_empty() {
            tracing::info!(tasks = expired.len(), "past their time: deleted");
            if let Err(error) = self.forget(now, expired, turn) {
                tracing::error!(%error, "retention");
            }
        }
        if let Some(age) = self.settings.retention_age() {
            // The log of forgotten tasks goes with them: what is left of it is an audit of the kept.
            let before =
                Wall(now.wall.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
            match self.store.trim_events(before, TRIM_AT_ONCE) {
                // Somebody else has its lock: there is time, the next look does it.
                Ok(_) | Err(StoreError::Busy { .. }) => {}
                Err(error) => return Err(Ending::Store(error)),
            }
        }
        Ok(())
    }

    /// After a commit: whether the log of writes can be rewound. It grows by commits alone, so an idle daemon need
    /// not look.
    pub(super) fn look_at_log(&mut self, now: Now) {
        if self.log_look_at > now.boot {
            return;
        }
        self.log_look_at = now.boot.after(LOG_LOOK_EVERY);
        if let Ok(checkpoint) = self.store.checkpoint() {
            self.status.wal_bytes = checkpoint.wal_bytes;
            if checkpoint.too_long() && checkpoint.held_up {
                tracing::warn!(
                    wal_bytes = checkpoint.wal_bytes,
                    "a reader holds a transaction open: the write-ahead log cannot be rewound"
                );
            }
        }
    }

    /// Deletes what the last daemon forgot and did not come to delete: those facts are the log's last.
    pub(super) fn finish_forgetting(&mut self) -> Result<(), Ending> {
        let last = self.store.last_seq().map_err(Ending::Store)?;
        let since = last.saturating_sub(FORGOTTEN_LAST);
        let limit = usize::try_from(FORGOTTEN_LAST).expect("it is a few hundred");
        let events = self.store.events_since(since, limit, &EventFilter::default());
        for event in events.map_err(Ending::Store)? {
            if event.what == Logged::Forgotten {
                crate::retention::delete_files(&self.home, event.task);
            }
        }
        Ok(())
    }

    /// A start that could not be prepared: the core hears of it as of any failed start.
    pub(super) fn cannot_prepare(&mut self, job: Job, errno: i32, what: String) {
        use meanwhile_core::cause::SpawnStage;
        let report = Report::SpawnFailed { stage: SpawnStage::Prepare, errno, what };
        self.follow_ups.push_back(Input::Report { task: job.task, token: job.token, report });
    }
}
