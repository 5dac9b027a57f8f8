//! What every request may use.
//!
//! Owns the reader's connection (one, reopened after an error) and what is known of the home and the
//! machine. Nothing here is about a single request.

use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use meanwhile_api::task::{Held, Task};
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::sessions::Sessions;
use meanwhile_core::{Event, Fact, State, TaskId, Wall};
use meanwhile_host::cgroup::{Controllers, NoCgroup, Subtree};
use meanwhile_host::clock;
use meanwhile_host::dir::DirError;
use meanwhile_host::env_store::EnvStore;
use meanwhile_host::home::Home;
use meanwhile_store::{Reader, SqliteReader, StoreError, TaskRecord};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use super::receipts::Receipts;
use super::trail::Trail;
use crate::engine::refusals::store_error;
use crate::growth::Growth;
use crate::letters::{Ask, LiveTask, Postbox, Reply};
use crate::readiness::Checks;
use crate::sessions::Known;
use crate::settings::Settings;
use crate::view::{LimitsHeld, Viewer};

/// Large request bodies held in memory at once; the others wait for their turn.
const LARGE_BODIES: usize = 2;

/// Task objects made at once where there may be thousands.
const TASKS_AT_ONCE: usize = 200;
/// Where a reply's tasks go.
const EMPTY: &[u8] = b"\"tasks\":[]";

/// What the server is made from.
#[derive(Debug)]
pub struct ContextInputs {
    /// The way to the loop.
    pub postbox: Postbox,
    /// Where everything is.
    pub home: Arc<Home>,
    /// The settings in force; replaced by `config set`.
    pub settings: Arc<RwLock<Arc<Settings>>>,
    /// How far the event log is committed.
    pub committed: watch::Receiver<u64>,
    /// What is known of sessions, as far as it is committed.
    pub sessions: Known,
    /// Where tasks get a cgroup of their own, or why nowhere.
    pub cgroups: Result<Subtree, NoCgroup>,
    /// Held for reading while a captured environment is on its way into a submission.
    pub env_gate: Arc<tokio::sync::RwLock<()>>,
}

/// What every request may use.
#[derive(Debug)]
pub struct Context {
    pub(super) postbox: Postbox,
    pub(super) home: Arc<Home>,
    pub(super) home_hash: String,
    settings: Arc<RwLock<Arc<Settings>>>,
    pub(super) committed: watch::Receiver<u64>,
    sessions: Known,
    /// Environments of sessions; held while one is on its way into what is known.
    pub(super) session_envs: tokio::sync::Mutex<EnvStore>,
    pub(super) cgroups: Result<Subtree, NoCgroup>,
    pub(super) env_gate: Arc<tokio::sync::RwLock<()>>,
    pub(super) envs: EnvStore,
    pub(super) growth: Arc<Growth>,
    pub(super) waiters: AtomicU32,
    pub(super) large_bodies: Semaphore,
    pub(super) started_at: Wall,
    pub(super) started: Instant,
    pub(super) own_uid: u32,
    pub(super) receipts: Receipts,
    /// Who asked for what.
    pub(super) trail: Trail,
    /// Rung when the settings are others.
    settings_changed: Arc<tokio::sync::Notify>,
    reader: Mutex<Option<SqliteReader>>,
    last_shown: Mutex<Option<LastShown>>,
}

/// The newest event at that time, the task, and the text of its object.
type LastShown = (u64, TaskId, Arc<Vec<u8>>);

pub(super) fn unwritable(error: &serde_json::Error) -> ApiError {
    ApiError::new(ErrorCode::Internal, format!("answer cannot be written: {error}"))
}

impl Context {
    /// On the server's runtime.
    pub(super) fn new(inputs: ContextInputs) -> io::Result<Arc<Self>> {
        let ContextInputs { postbox, home, settings, committed, sessions, cgroups, env_gate } =
            inputs;
        let own_uid = rustix::process::geteuid().as_raw();
        crate::retention::delete_stale_uploads(&home, super::handlers::submit::UPLOAD_KEPT);
        let opened = |error: DirError| io::Error::other(error.to_string());
        let envs = home.env().map_err(opened)?;
        let logs = home.logs().map_err(opened)?;
        let session_envs = home.session_env().map_err(opened)?;
        Ok(Arc::new(Self {
            postbox,
            home_hash: home.paths.hash(own_uid),
            home,
            settings,
            committed,
            sessions,
            session_envs: tokio::sync::Mutex::new(EnvStore::new(session_envs)),
            cgroups,
            env_gate,
            envs: EnvStore::new(envs),
            growth: Growth::start(),
            waiters: AtomicU32::new(0),
            large_bodies: Semaphore::new(LARGE_BODIES),
            started_at: clock::now().wall,
            started: Instant::now(),
            own_uid,
            receipts: Receipts::default(),
            trail: Trail::new(logs),
            settings_changed: Arc::default(),
            reader: Mutex::new(None),
            last_shown: Mutex::new(None),
        }))
    }

    pub(super) fn checks(&self, runtime: &tokio::runtime::Handle) -> Checks {
        Checks {
            runtime: runtime.clone(),
            postbox: self.postbox.clone(),
            home: Arc::clone(&self.home),
            growth: Arc::clone(&self.growth),
        }
    }

    /// What is known of sessions.
    pub(super) fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.sessions.borrow())
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.settings_changed.notify_one();
    }

    /// What other routes look at.
    pub(super) fn routes(&self) -> crate::routes::keeper::Inputs {
        crate::routes::keeper::Inputs {
            home: Arc::clone(&self.home),
            settings: Arc::clone(&self.settings),
            committed: self.committed.clone(),
            changed: Arc::clone(&self.settings_changed),
        }
    }

    /// Reads the store. Short: everybody else waits meanwhile.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&mut SqliteReader) -> Result<T, StoreError>,
    ) -> Result<T, ApiError> {
        self.try_read(|reader| Ok(read(reader)))?.map_err(|error| store_error(&error))
    }

    /// Reads the store by a function that may refuse for reasons of its own.
    pub(super) fn try_read<T>(
        &self,
        read: impl FnOnce(&mut SqliteReader) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut slot = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reader = match slot.take() {
            Some(reader) => reader,
            None => SqliteReader::open(&self.home.paths.database())
                .map_err(|error| store_error(&error))?,
        };
        let result = read(&mut reader);
        // After an error of the store the connection is not to be trusted.
        let broken = result
            .as_ref()
            .err()
            .is_some_and(|error: &ApiError| matches!(error.code, ErrorCode::Store));
        if !broken {
            *slot = Some(reader);
        }
        result
    }

    /// How limits are held here.
    pub(super) fn limits_held(&self) -> LimitsHeld {
        let held = |enforced: bool| if enforced { Held::Enforced } else { Held::Sampled };
        let controllers =
            self.cgroups.as_ref().map_or_else(|_| Controllers::default(), |c| c.controllers);
        LimitsHeld { memory: held(controllers.memory), pids: held(controllers.pids) }
    }

    /// Before tasks are counted or chosen by state: has written down what waits for the next commit, so that the answer
    /// fits those about single tasks. It is a commit that would come within 200 ms anyway.
    pub(super) async fn settle_states(&self) -> Result<(), ApiError> {
        match self.postbox.ask(Ask::WriteDown, None).await {
            Err(_) if self.postbox.is_stalled() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Task objects of records, with the scheduler's view of the unfinished ones.
    pub(super) async fn show(&self, records: &[TaskRecord]) -> Result<Vec<Task>, ApiError> {
        // Only a task that does not run yet has something to say that its record does not hold.
        let waits = |record: &TaskRecord| matches!(record.state, State::Queued | State::Starting);
        let waiting: Vec<TaskId> = records.iter().filter(|r| waits(r)).map(|r| r.id).collect();
        let live: Vec<Option<LiveTask>> = if waiting.is_empty() {
            Vec::new()
        } else {
            match self.postbox.ask(Ask::Views(waiting), None).await {
                Ok(Reply::Views(live)) => live,
                Ok(other) => unreachable!("views are answered by views, not by {other:?}"),
                // What is on disk can be told all the same.
                Err(_) if self.postbox.is_stalled() => Vec::new(),
                Err(error) => return Err(error),
            }
        };
        let viewer = Viewer { home: &self.home, held: self.limits_held(), now: clock::now().wall };
        let mut live = live.into_iter();
        Ok(records
            .iter()
            .map(|record| {
                let live = waits(record).then(|| live.next().flatten()).flatten();
                match live.as_ref().and_then(|live| live.started.as_ref()) {
                    Some(started) if record.state == State::Starting => {
                        viewer.task(&running(record, started), None)
                    }
                    Some(_) | None => viewer.task(record, live.as_ref().map(|live| &live.view)),
                }
            })
            .collect())
    }

    /// The answer `reply`, whose field `tasks` is empty, with these tasks in it. Thousands of
    /// them are made and written a few at a time, so that memory holds their text alone.
    pub(super) async fn with_tasks(
        &self,
        reply: &impl Serialize,
        ids: &[TaskId],
    ) -> Result<Vec<u8>, ApiError> {
        let mut text = serde_json::to_vec(reply).map_err(|error| unwritable(&error))?;
        let at = text
            .windows(EMPTY.len())
            .rposition(|window| window == EMPTY)
            .expect("the reply was made with no tasks");
        let rest = text.split_off(at + EMPTY.len() - 1);
        if let [id] = ids {
            text.extend_from_slice(&self.one_text(*id).await?);
            text.extend_from_slice(&rest);
            return Ok(text);
        }
        let mut first = true;
        for page in ids.chunks(TASKS_AT_ONCE) {
            for task in self.show_ids(page).await? {
                if !std::mem::replace(&mut first, false) {
                    text.push(b',');
                }
                serde_json::to_writer(&mut text, &task).map_err(|error| unwritable(&error))?;
            }
            // Others have their turn in between.
            tokio::task::yield_now().await;
        }
        text.extend_from_slice(&rest);
        Ok(text)
    }

    /// The text of one task object. An ended one is kept until the next commit: a thousand clients may
    /// have waited for the same end.
    async fn one_text(&self, id: TaskId) -> Result<Arc<Vec<u8>>, ApiError> {
        let committed = *self.committed.borrow();
        let lock = || self.last_shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, of, text)) = &*lock()
            && (*at, *of) == (committed, id)
        {
            return Ok(Arc::clone(text));
        }
        let Some(task) = self.show_ids(&[id]).await?.pop() else { return Ok(Arc::default()) };
        let text = Arc::new(serde_json::to_vec(&task).map_err(|error| unwritable(&error))?);
        if task.state.is_terminal() {
            *lock() = Some((committed, id, Arc::clone(&text)));
        }
        Ok(text)
    }

    /// Task objects of tasks that were just resolved; ones forgotten meanwhile are left out.
    pub(super) async fn show_ids(&self, ids: &[TaskId]) -> Result<Vec<Task>, ApiError> {
        let records = self.read(|reader| reader.tasks(ids))?;
        let records: Vec<TaskRecord> = records.into_iter().flatten().collect();
        self.show(&records).await
    }
}

/// The record of a task as it will be once its start is written down.
fn running(record: &TaskRecord, started: &Event) -> TaskRecord {
    let mut record = record.clone();
    let current = record.attempts.last_mut().filter(|current| current.number == started.attempt);
    let (Some(current), Fact::Started { pid, supervisor_pid, deadline }) = (current, &started.fact)
    else {
        return record;
    };
    current.state = State::Running;
    current.pid = Some(*pid);
    current.supervisor_pid = Some(*supervisor_pid);
    current.started_at = Some(started.at);
    current.deadline = *deadline;
    record.state = State::Running;
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::record;
    use meanwhile_core::AttemptToken;
    use meanwhile_store::{Batch, Identity, MemoryStore, Store};

    #[test]
    fn a_start_that_is_not_on_disk_yet_is_shown_as_it_will_be_when_it_is() {
        let here = Identity { machine: "m".into(), pid_namespace: 1, boot: "b".into() };
        let mut store = MemoryStore::new(here);
        let task = record(1);
        let say = |store: &mut MemoryStore, fact: Fact| {
            let event = Event { at: Wall(7), task: task.id, attempt: 1, fact };
            let events = std::slice::from_ref(&event);
            store.commit(&Batch { now: clock::now(), events, ..Batch::default() }).unwrap();
            event
        };
        let submitted = Fact::Submitted {
            spec: Box::new(task.spec.clone()),
            placement: Box::new(task.placement.clone()),
            order: 1,
            not_before: None,
        };
        say(&mut store, submitted);
        say(&mut store, Fact::Starting { token: AttemptToken([1; 16]) });
        let before = store.task(task.id).unwrap().unwrap();
        let fact = Fact::Started { pid: 3, supervisor_pid: 4, deadline: Some(Wall(9)) };
        let started = say(&mut store, fact);
        assert_eq!(running(&before, &started), store.task(task.id).unwrap().unwrap());
        assert_eq!(
            running(&before, &Event { attempt: 2, ..started }),
            before,
            "of another attempt"
        );
    }
}
