//! The two traits: the single writer's handle, and what anybody may read.
//!
//! They are written for SQLite (one host, one writer) and for PostgreSQL (several hosts, one queue)
//! alike; `meanwhile-testkit` has one conformance suite that every store passes.
//!
//! **Claims with several hosts.** A host that wants to give out a seat of a lane opens a transaction,
//! locks the lane's row, loads the lane's head and its seats, lets core decide, writes the
//! `starting` facts and commits. Where the lock cannot be held while core decides (the decision is
//! made in the loop, outside the store), the same is said optimistically: `lane_epoch` is read first,
//! and the batch carries it as a [`crate::LaneCheck`]; the commit locks the lane rows in name order,
//! compares, moves the epochs on and writes, or answers `Conflict` and keeps nothing. Either way no
//! two hosts decide upon the same seats. One daemon with SQLite needs no checks and passes none.

use std::time::Duration;

use meanwhile_core::input::ReopenedTask;
use meanwhile_core::{LaneName, LoadedTask, RequestId, SessionId, State, TaskId, TaskSpec, Wall};

use crate::batch::{Batch, Committed};
use crate::command_key::CommandKey;
use crate::error::StoreError;
use crate::identity::Meta;
use crate::notice::NoticeRecord;
use crate::record::{EventFilter, EventRecord, Filter, StateCounts, TaskRecord};

/// The writer's handle. There is one per queue and host; the daemon's loop owns it.
///
/// Nothing but `commit`, `trim_events` and `bound_notices` changes what is true. A crash before or after any other
/// method therefore means nothing.
pub trait Store: Reader {
    /// Appends the events to the log, folds each into the tables and saves the replies, in one
    /// transaction that is on disk when this returns.
    ///
    /// A crash before it returns leaves all of the batch or nothing of it; nobody was told of it
    /// yet, so either is right: the client resends its request under the same id, and finds either
    /// the saved reply or a store that never heard of it. A crash after it returns leaves all of it.
    /// Effects that follow from the batch are performed after it, and after a crash in between
    /// recovery performs them from what is loaded.
    ///
    /// # Errors
    /// `Full`, `Busy`, `Conflict`: nothing was kept and the handle is fine. `Io`: whether it was
    /// kept is unknown; [`Store::reopen`], then load everything anew. `Damaged`: as `Io`, and
    /// reopening will refuse. `Contradiction`: nothing was kept, and nothing will be: a bug.
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, StoreError>;

    /// Closes what is open and opens it again, after an `Io` error: a failed sync must not be tried
    /// again on the same descriptors. What was loaded before is stale.
    fn reopen(&mut self) -> Result<(), StoreError>;

    /// Every unfinished task and every ended one whose seat is kept, oldest first, with the terminal
    /// states of dependencies that are no longer unfinished (forgotten ones are left out).
    fn load_unfinished(&mut self) -> Result<Vec<LoadedTask>, StoreError>;

    /// What the core needs to reopen an ended task; none when it is unknown or has not ended.
    fn reopened(&mut self, id: TaskId) -> Result<Option<ReopenedTask>, StoreError>;

    /// What a task was asked to be.
    fn spec(&mut self, id: TaskId) -> Result<Option<TaskSpec>, StoreError>;

    /// What the next `n` queued tasks were asked to be, in the order of their submission, of those submitted after
    /// this one; nothing when it is unknown.
    fn queued_after(
        &mut self,
        id: TaskId,
        n: usize,
    ) -> Result<Vec<(TaskId, Box<TaskSpec>)>, StoreError>;

    /// The kept task of an idempotency key; none once it was forgotten.
    fn by_idempotency_key(&mut self, key: &str) -> Result<Option<TaskId>, StoreError>;

    /// The saved reply of a request, for 24 h after it was committed.
    fn reply(&mut self, request: &RequestId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Ended tasks that may be forgotten now, the longest ended first: those past the age, and as
    /// many more as it takes to come under the bytes. Never one whose seat is kept or that an
    /// unfinished task is to run after.
    fn expired(&mut self, retention: &Retention) -> Result<Vec<TaskId>, StoreError>;

    /// Deletes up to `limit` entries of the log from before `before` that are about forgotten tasks;
    /// returns how many. The newest entry always stays, so that no number is ever used twice.
    ///
    /// A crash before or after it means that some of them are still there, or no longer.
    fn trim_events(&mut self, before: Wall, limit: usize) -> Result<usize, StoreError>;

    /// Gives up the oldest open notices of each session that has more than `per_session` of them; returns how
    /// many. For sessions that nobody reads.
    ///
    /// A crash before or after it means that they are still open, or no longer.
    fn bound_notices(&mut self, per_session: usize) -> Result<usize, StoreError>;

    /// How often the seats of this lane have been decided upon with a check; 0 for a lane that
    /// never was. See the head of this file.
    fn lane_epoch(&mut self, lane: &LaneName) -> Result<u64, StoreError>;

    /// What the store remembers about itself, as of the last commit.
    fn meta(&self) -> Meta;

    /// Moves what was committed from the log of writes to its final place, as far as readers let it
    /// be, and says how long that log is. To be called when idle; commits do it by themselves often
    /// enough to keep the log short.
    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError>;

    /// Gives back memory that only makes later calls faster. To be called when idle.
    fn release_memory(&mut self) {}
}

/// Reads what is committed. Cheap to open, in any process, whether a writer lives or not. Every
/// method is one short transaction: no reader holds one open between calls.
pub trait Reader: Send {
    /// One task in full.
    fn task(&mut self, id: TaskId) -> Result<Option<TaskRecord>, StoreError>;

    /// Several, in the order asked, none for each that is not kept.
    fn tasks(&mut self, ids: &[TaskId]) -> Result<Vec<Option<TaskRecord>>, StoreError>;

    /// The states of tasks, in the order asked, none for each that is not kept.
    fn states(&mut self, ids: &[TaskId]) -> Result<Vec<Option<State>>, StoreError>;

    /// Up to `n` kept tasks whose id lies between the two (see `TaskId::prefix_range`), by id.
    fn find(&mut self, range: (TaskId, TaskId), n: usize) -> Result<Vec<TaskId>, StoreError>;

    /// Up to `n` kept tasks of this name, the newest first.
    fn by_name(&mut self, name: &str, n: usize) -> Result<Vec<TaskId>, StoreError>;

    /// The newest `limit` tasks that match, the newest first.
    fn list(&mut self, filter: &Filter, limit: usize) -> Result<Vec<TaskRecord>, StoreError>;

    /// The same as ids and states alone: members of a group or session, children of a task.
    fn ids(&mut self, filter: &Filter, limit: usize) -> Result<Vec<(TaskId, State)>, StoreError>;

    /// How many tasks that match are in each state.
    fn summary(&mut self, filter: &Filter) -> Result<StateCounts, StoreError>;

    /// How many tasks match. Of all tasks it is cheap however many there are; lists ask it every time.
    fn count(&mut self, filter: &Filter) -> Result<u64, StoreError>;

    /// Up to `limit` matching events after `seq`, oldest first. `seq` 0 is the beginning.
    ///
    /// Everything up to the largest number seen is final: no store lets a smaller number appear
    /// after a larger one has been read.
    fn events_since(
        &mut self,
        seq: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<EventRecord>, StoreError>;

    /// Up to `limit` notices that a session (without one: any) is still to be told, leased ones included, the
    /// oldest first.
    fn open_notices(
        &mut self,
        session: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<NoticeRecord>, StoreError>;

    /// How many those are, counted no further than `at_most`. Cheap: every answer may say it.
    fn count_open_notices(
        &mut self,
        session: Option<&SessionId>,
        at_most: usize,
    ) -> Result<usize, StoreError>;

    /// All notices of these tasks, whatever became of them, in the order of the tasks.
    fn notices_of(&mut self, tasks: &[TaskId]) -> Result<Vec<NoticeRecord>, StoreError>;

    /// What was last committed as known of sessions; none if nothing ever was.
    fn sessions(&mut self) -> Result<Option<String>, StoreError>;

    /// Running times of the latest `n` successes of the same command, newest first. Read by whoever
    /// checks a submission, before the loop sees it.
    fn history(&mut self, command: CommandKey, n: usize) -> Result<Vec<Duration>, StoreError>;

    /// Sequence number of the newest event; 0 for none.
    fn last_seq(&mut self) -> Result<u64, StoreError>;

    /// Looks through all of the store for contradictions (slow: `doctor`). Empty is sound.
    fn integrity(&mut self) -> Result<Vec<String>, StoreError>;
}

/// What may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The present by the wall clock.
    pub now: Wall,
    /// Ended longer ago than this; none keeps any age.
    pub age: Option<Duration>,
    /// Bytes of logs that ended tasks may take together; none keeps any amount.
    pub bytes: Option<u64>,
    /// Most tasks to answer with at once, so that no turn of the loop takes long.
    pub at_most: usize,
}

/// What a checkpoint found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Bytes of the log of writes that are on disk.
    pub wal_bytes: u64,
    /// A reader that holds a transaction open keeps it from being moved to its place and rewound.
    pub held_up: bool,
    /// So much is to be moved that it goes on beside the commits.
    pub aside: bool,
}

impl Checkpoint {
    /// Worth a warning: the log of writes has grown long because some reader holds on to it.
    #[must_use]
    pub const fn too_long(self) -> bool {
        self.wal_bytes > crate::limits::WAL_TOO_LONG
    }
}
