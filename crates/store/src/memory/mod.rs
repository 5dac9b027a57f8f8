//! The store in memory: the same promises, kept as long as some handle lives.
//!
//! For the simulator and for tests that need a store to fail when they say so. Clones share what is
//! kept, like processes that open the same file: dropping a handle is a crash, another clone is the
//! next start.

mod disk;
mod notices;
mod query;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meanwhile_core::input::ReopenedTask;
use meanwhile_core::{
    Fact, LaneName, LoadedTask, RequestId, SessionId, State, TaskId, TaskSpec, Wall,
};

use crate::batch::{Batch, Committed};
use crate::command_key::CommandKey;
use crate::contract::{Checkpoint, Reader, Retention, Store};
use crate::error::StoreError;
use crate::identity::{Identity, Meta};
use crate::notice::NoticeRecord;
use crate::record::{EventFilter, EventRecord, Filter, StateCounts, TaskRecord};
use disk::{Disk, Refused};

/// One handle; clones share what is kept.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
}

/// What a commit is made to do instead of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFault {
    /// `Full`, and nothing is kept.
    Full,
    /// `Io`, and nothing is kept; the handles are to be reopened.
    IoLost,
    /// `Io` although the batch is kept: the truth that a caller cannot know before it reopens.
    IoKept,
}

#[derive(Debug)]
struct Shared {
    disk: Disk,
    /// For the next commit.
    fault: Option<MemoryFault>,
    /// Commits that still work; none for any number.
    left: Option<u64>,
    /// Bytes that still fit; none for any number.
    room: Option<u64>,
    /// After an `Io` error, until `reopen`.
    failed: bool,
}

impl MemoryStore {
    /// An empty store of this place.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let shared = Shared {
            disk: Disk::new(identity),
            fault: None,
            left: None,
            room: None,
            failed: false,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Makes the next commit fail.
    pub fn fail_next_commit(&self, fault: MemoryFault) {
        self.lock().fault = Some(fault);
    }

    /// The crash point: `n` more commits work, and then none is kept until `reopen`.
    pub fn crash_after(&self, n: u64) {
        self.lock().left = Some(n);
    }

    /// Leaves room for about so many more bytes; beyond it commits are `Full`.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.lock().room = bytes;
    }

    /// A store of its own with what is kept now, as after a copy of the disk.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new(self.lock().disk.identity.clone());
        copy.lock().disk = self.lock().disk.clone();
        copy
    }

    /// Opens what is kept as if on another start: refuses a place where it may not be used.
    ///
    /// # Errors
    /// `Foreign`.
    pub fn opened_at(&self, here: &Identity) -> Result<Self, StoreError> {
        let recorded = self.lock().disk.identity.clone();
        if here.may_use(&recorded) {
            return Ok(self.clone());
        }
        Err(StoreError::Foreign {
            path: path(),
            recorded: Box::new(recorded),
            here: Box::new(here.clone()),
        })
    }

    /// A panic of another handle's owner leaves a whole batch or none: what is kept stays right.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk<T>(&self, question: impl FnOnce(&Disk) -> T) -> T {
        question(&self.lock().disk)
    }
}

impl Shared {
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, StoreError> {
        if self.failed {
            return Err(io("an earlier failure"));
        }
        if self.left == Some(0) {
            self.failed = true;
            return Err(io("the crash point is reached"));
        }
        let fault = self.fault.take();
        match fault {
            Some(MemoryFault::Full) => return Err(StoreError::Full { path: path() }),
            Some(MemoryFault::IoLost) => {
                self.failed = true;
                return Err(io("it was made to fail"));
            }
            Some(MemoryFault::IoKept) | None => {}
        }
        let size = size_of(batch);
        if self.room.is_some_and(|room| room < size) {
            return Err(StoreError::Full { path: path() });
        }
        let last_seq = self.disk.keep(batch).map_err(|refused| match refused {
            Refused::Contradiction(what) => StoreError::Contradiction { path: path(), what },
            Refused::Conflict(lane) => StoreError::Conflict { lane },
        })?;
        self.room = self.room.map(|room| room - size);
        self.left = self.left.map(|left| left - 1);
        if fault == Some(MemoryFault::IoKept) {
            self.failed = true;
            return Err(io("it was made to fail after it had been kept"));
        }
        Ok(Committed { last_seq })
    }
}

fn path() -> PathBuf {
    PathBuf::from("(in memory)")
}

fn io(what: &str) -> StoreError {
    StoreError::Io { path: path(), what: what.into() }
}

/// About what a batch takes on a disk: what the caller made long, and something for each row.
fn size_of(batch: &Batch<'_>) -> u64 {
    const ROW: usize = 200;
    let events = batch.events.iter().map(|event| match &event.fact {
        Fact::Submitted { spec, .. } => ROW + query::command_len(&spec.command),
        Fact::Starting { .. }
        | Fact::Started { .. }
        | Fact::Ready { .. }
        | Fact::Extended { .. }
        | Fact::StopRequested { .. }
        | Fact::Ended { .. }
        | Fact::DeadlineNear { .. }
        | Fact::Rebound { .. }
        | Fact::Requeued { .. }
        | Fact::Retried { .. }
        | Fact::Emptied
        | Fact::Refused { .. }
        | Fact::Forgotten => ROW,
    });
    let replies = batch.replies.iter().map(|reply| ROW + reply.reply.len());
    let sessions = batch.sessions.map_or(0, str::len);
    sessions as u64 + events.chain(replies).sum::<usize>() as u64
}

impl Store for MemoryStore {
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, StoreError> {
        self.lock().commit(batch)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let mut shared = self.lock();
        shared.failed = false;
        shared.left = None;
        Ok(())
    }

    fn load_unfinished(&mut self) -> Result<Vec<LoadedTask>, StoreError> {
        Ok(self.disk(query::unfinished))
    }

    fn reopened(&mut self, id: TaskId) -> Result<Option<ReopenedTask>, StoreError> {
        Ok(self.disk(|disk| query::reopened(disk, id)))
    }

    fn spec(&mut self, id: TaskId) -> Result<Option<TaskSpec>, StoreError> {
        Ok(self.disk(|disk| disk.task(id).map(|t| t.spec.clone())))
    }

    fn queued_after(
        &mut self,
        id: TaskId,
        n: usize,
    ) -> Result<Vec<(TaskId, Box<TaskSpec>)>, StoreError> {
        Ok(self.disk(|disk| query::queued_after(disk, id, n)))
    }

    fn by_idempotency_key(&mut self, key: &str) -> Result<Option<TaskId>, StoreError> {
        let of_key = |t: &&TaskRecord| t.spec.idempotency_key.as_deref() == Some(key);
        Ok(self.disk(|disk| disk.tasks.values().find(of_key).map(|t| t.id)))
    }

    fn reply(&mut self, request: &RequestId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.disk(|disk| disk.replies.get(request).map(|(_, reply)| reply.clone())))
    }

    fn expired(&mut self, retention: &Retention) -> Result<Vec<TaskId>, StoreError> {
        Ok(self.disk(|disk| query::expired(disk, retention)))
    }

    fn trim_events(&mut self, before: Wall, limit: usize) -> Result<usize, StoreError> {
        let disk = &mut self.lock().disk;
        let newest = disk.last_seq();
        let old: Vec<u64> = disk
            .events
            .values()
            .filter(|e| e.at < before && e.seq < newest && disk.task(e.task).is_none())
            .map(|e| e.seq)
            .take(limit)
            .collect();
        old.iter().for_each(|seq| drop(disk.events.remove(seq)));
        Ok(old.len())
    }

    fn bound_notices(&mut self, per_session: usize) -> Result<usize, StoreError> {
        Ok(self.lock().disk.bound_notices(per_session))
    }

    fn lane_epoch(&mut self, lane: &LaneName) -> Result<u64, StoreError> {
        Ok(self.disk(|disk| disk.lane_epoch(lane)))
    }

    fn meta(&self) -> Meta {
        Meta { identity: self.disk(|disk| disk.identity.clone()), schema: 2 }
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        Ok(Checkpoint { wal_bytes: 0, held_up: false, aside: false })
    }
}

impl Reader for MemoryStore {
    fn task(&mut self, id: TaskId) -> Result<Option<TaskRecord>, StoreError> {
        Ok(self.disk(|disk| disk.task(id).cloned()))
    }

    fn tasks(&mut self, ids: &[TaskId]) -> Result<Vec<Option<TaskRecord>>, StoreError> {
        Ok(self.disk(|disk| ids.iter().map(|id| disk.task(*id).cloned()).collect()))
    }

    fn states(&mut self, ids: &[TaskId]) -> Result<Vec<Option<State>>, StoreError> {
        Ok(self.disk(|disk| ids.iter().map(|id| disk.task(*id).map(|t| t.state)).collect()))
    }

    fn find(&mut self, (low, high): (TaskId, TaskId), n: usize) -> Result<Vec<TaskId>, StoreError> {
        Ok(self.disk(|disk| disk.numbers.range(low..=high).map(|(id, _)| *id).take(n).collect()))
    }

    fn by_name(&mut self, name: &str, n: usize) -> Result<Vec<TaskId>, StoreError> {
        let filter = Filter { name: Some(name.into()), ..Filter::default() };
        Ok(self.disk(|disk| query::newest(disk, &filter, n).map(|t| t.id).collect()))
    }

    fn list(&mut self, filter: &Filter, limit: usize) -> Result<Vec<TaskRecord>, StoreError> {
        Ok(self.disk(|disk| query::newest(disk, filter, limit).cloned().collect()))
    }

    fn ids(&mut self, filter: &Filter, limit: usize) -> Result<Vec<(TaskId, State)>, StoreError> {
        let pair = |t: &TaskRecord| (t.id, t.state);
        Ok(self.disk(|disk| query::newest(disk, filter, limit).map(pair).collect()))
    }

    fn summary(&mut self, filter: &Filter) -> Result<StateCounts, StoreError> {
        let mut counts = StateCounts::default();
        self.disk(|disk| {
            query::matching(disk, filter).for_each(|t| counts.add(t.state, 1));
        });
        Ok(counts)
    }

    fn count(&mut self, filter: &Filter) -> Result<u64, StoreError> {
        Ok(self.disk(|disk| query::matching(disk, filter).count() as u64))
    }

    fn events_since(
        &mut self,
        seq: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<EventRecord>, StoreError> {
        Ok(self.disk(|disk| query::events_since(disk, seq, limit, filter)))
    }

    fn open_notices(
        &mut self,
        session: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<NoticeRecord>, StoreError> {
        Ok(self.disk(|disk| disk.open_notices(session, limit)))
    }

    fn count_open_notices(
        &mut self,
        session: Option<&SessionId>,
        at_most: usize,
    ) -> Result<usize, StoreError> {
        Ok(self.disk(|disk| disk.open_notices(session, at_most).len()))
    }

    fn notices_of(&mut self, tasks: &[TaskId]) -> Result<Vec<NoticeRecord>, StoreError> {
        Ok(self.disk(|disk| tasks.iter().flat_map(|task| disk.notices_of(*task)).collect()))
    }

    fn sessions(&mut self) -> Result<Option<String>, StoreError> {
        Ok(self.disk(|disk| disk.sessions.clone()))
    }

    fn history(&mut self, command: CommandKey, n: usize) -> Result<Vec<Duration>, StoreError> {
        Ok(self.disk(|disk| query::history(disk, command, n)))
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        Ok(self.disk(Disk::last_seq))
    }

    fn integrity(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}
