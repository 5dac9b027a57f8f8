//! The store in one SQLite file beside the daemon: write-ahead log, every commit synced.
//!
//! Owns the file and the connections to it. Readers in any process see each commit whole, whether a
//! writer lives or not.
//!
//! ```text
//!   schema  tables and migrations        fold  facts -> rows        rows  rows -> records
//!   open    path -> trusted connection   load  the writer's reads   read  everybody's
//!   sums    bits that changed in pages   wal   bits that changed in a log that was left
//!   merge   the log's way into the file
//! ```

mod fault;
mod fold;
mod load;
mod merge;
mod notices;
mod open;
mod read;
mod rows;
mod schema;
mod sums;
mod wal;
mod write;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meanwhile_core::input::ReopenedTask;
use meanwhile_core::{LaneName, LoadedTask, RequestId, SessionId, State, TaskId, TaskSpec, Wall};
use rusqlite::{Connection, params};

use crate::batch::{Batch, Committed};
use crate::command_key::CommandKey;
use crate::contract::{Checkpoint, Reader, Retention, Store};
use crate::error::StoreError;
use crate::identity::{Identity, Meta};
use crate::notice::NoticeRecord;
use crate::record::{EventFilter, EventRecord, Filter, StateCounts, TaskRecord};
use fault::Fault;
use merge::Merge;

/// The writer's handle.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// Before the connection: its thread is gone when that is closed.
    merge: Merge,
    db: Connection,
    meta: Meta,
    /// Device and inode of the file that was opened: a commit to a file that was deleted or replaced
    /// would be told to clients and be gone.
    file: (u64, u64),
    /// Why the connection is not to be used any more.
    failed: Option<StoreError>,
    pruned_at: Option<Wall>,
    max_pages: Option<u32>,
}

/// How to open the writer's handle.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Open a store that belongs to another machine or pid namespace all the same (`doctor`). It
    /// stays that other's until a batch says where it is now.
    pub accept_foreign: bool,
    /// Most bytes the database may grow to, rounded down to pages; beyond it commits are `Full`.
    pub max_bytes: Option<u64>,
}

/// A reader's handle: one connection that can change nothing.
#[derive(Debug)]
pub struct SqliteReader {
    path: PathBuf,
    db: Connection,
}

impl SqliteStore {
    /// Opens the store at `path`, or makes one for `here` where there is none.
    ///
    /// The caller holds the home's lock: there is one writer at a time.
    ///
    /// # Errors
    /// `Foreign`, `Newer`, `Damaged`, `Unreadable`, `Migration`: the file is left as it is.
    pub fn open(path: &Path, here: &Identity) -> Result<Self, StoreError> {
        Self::open_with(path, here, OpenOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(
        path: &Path,
        here: &Identity,
        options: OpenOptions,
    ) -> Result<Self, StoreError> {
        let mut db = open::writer(path, Some(here), schema::MIGRATIONS)?;
        let meta = open::meta(&db).map_err(|f| f.at(path))?;
        if !here.may_use(&meta.identity) && !options.accept_foreign {
            return Err(StoreError::Foreign {
                path: path.into(),
                recorded: Box::new(meta.identity),
                here: Box::new(here.clone()),
            });
        }
        let max_pages = options.max_bytes.map(|b| u32::try_from(b / PAGE).unwrap_or(u32::MAX));
        let mut store = Self {
            path: path.into(),
            merge: Merge::of(path, &mut db).map_err(|e| Fault::from(e).at(path))?,
            db,
            meta,
            file: file_at(path)?,
            failed: None,
            pruned_at: None,
            max_pages,
        };
        store.limit_size()?;
        Ok(store)
    }

    /// Moves what the write-ahead log holds into the file and removes the log, so that a home that nobody uses has one
    /// whole file to look at, copy or restore. For whoever leaves last; a crash before, in or after it loses nothing.
    ///
    /// # Errors
    /// When the file cannot be written; the log then stays and is merged by the next that opens it.
    pub fn merge_log(path: &Path) -> Result<(), StoreError> {
        open::merge(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn limit_size(&mut self) -> Result<(), StoreError> {
        let Some(pages) = self.max_pages else { return Ok(()) };
        self.db
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .map_err(|e| Fault::from(e).at(&self.path))
    }

    /// The connection, unless it failed before or its file is no longer the one at the path.
    fn trusted(&self) -> Result<&Connection, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        Ok(&self.db)
    }

    fn still_there(&self) -> Result<(), StoreError> {
        if file_at(&self.path).ok() == Some(self.file) {
            return Ok(());
        }
        let what = "the file was deleted or replaced while it was open".into();
        Err(StoreError::Io { path: self.path.clone(), what })
    }

    /// Tells a fault, and stops trusting the connection after one that leaves its state unknown.
    fn fail(&mut self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::Io { .. } | StoreError::Damaged { .. }) {
            self.failed = Some(error.clone());
        }
        error
    }

    fn change<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.trusted()?;
        let done = self
            .still_there()
            .and_then(|()| write::transaction(&self.db, work).map_err(|f| f.at(&self.path)));
        if done.is_ok() {
            self.merge.committed(&self.db);
        }
        done.map_err(|error| self.fail(error))
    }
}

impl SqliteReader {
    /// Opens the store at `path` for reading alone, whether a writer has it open or not.
    ///
    /// # Errors
    /// `Missing` where there is none; `Newer`, `Older`, `Damaged`, `Unreadable`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { path: path.into(), db: open::reader(path)? })
    }

    /// What the store remembers about itself.
    ///
    /// # Errors
    /// As any read.
    pub fn meta(&mut self) -> Result<Meta, StoreError> {
        self.reading(open::meta)
    }
}

impl Store for SqliteStore {
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, StoreError> {
        let prune = write::prune_is_due(self.pruned_at, batch.now.wall);
        let recorded = self.meta.identity.clone();
        let committed = self.change(|db| write::batch(db, batch, &recorded, prune))?;
        if prune {
            self.pruned_at = Some(batch.now.wall);
        }
        if let Some(here) = batch.here {
            self.meta.identity = here.clone();
        }
        Ok(committed)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.merge.stop();
        let mut db = open::writer(&self.path, None, schema::MIGRATIONS)?;
        // After a failed sync the kernel may take lost pages of the write-ahead log for clean ones.
        // What they hold is therefore written once more, into the file itself, and synced there.
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", params![], |_| Ok(()))
            .map_err(|e| Fault::from(e).at(&self.path))?;
        self.meta = open::meta(&db).map_err(|f| f.at(&self.path))?;
        self.file = file_at(&self.path)?;
        self.merge = Merge::of(&self.path, &mut db).map_err(|e| Fault::from(e).at(&self.path))?;
        self.db = db;
        self.failed = None;
        self.limit_size()
    }

    fn load_unfinished(&mut self) -> Result<Vec<LoadedTask>, StoreError> {
        self.reading(load::unfinished)
    }

    fn reopened(&mut self, id: TaskId) -> Result<Option<ReopenedTask>, StoreError> {
        self.reading(|db| load::reopened(db, id))
    }

    fn spec(&mut self, id: TaskId) -> Result<Option<TaskSpec>, StoreError> {
        self.reading(|db| load::spec(db, id))
    }

    fn queued_after(
        &mut self,
        id: TaskId,
        n: usize,
    ) -> Result<Vec<(TaskId, Box<TaskSpec>)>, StoreError> {
        self.reading(|db| load::queued_after(db, id, n))
    }

    fn by_idempotency_key(&mut self, key: &str) -> Result<Option<TaskId>, StoreError> {
        self.reading(|db| load::by_idempotency_key(db, key))
    }

    fn reply(&mut self, request: &RequestId) -> Result<Option<Vec<u8>>, StoreError> {
        self.reading(|db| load::reply(db, request))
    }

    fn expired(&mut self, retention: &Retention) -> Result<Vec<TaskId>, StoreError> {
        self.reading(|db| load::expired(db, retention))
    }

    fn trim_events(&mut self, before: Wall, limit: usize) -> Result<usize, StoreError> {
        self.change(|db| write::trim_events(db, before, limit))
    }

    fn bound_notices(&mut self, per_session: usize) -> Result<usize, StoreError> {
        self.change(|db| notices::bound(db, per_session))
    }

    fn lane_epoch(&mut self, lane: &LaneName) -> Result<u64, StoreError> {
        self.reading(|db| write::lane_epoch(db, lane))
    }

    fn meta(&self) -> Meta {
        self.meta.clone()
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        self.trusted()?;
        let progress = self.merge.go_on(&self.db).map_err(|e| Fault::from(e).at(&self.path));
        let merge::Progress { held_up, aside } = progress.map_err(|error| self.fail(error))?;
        let wal_bytes = fs::metadata(wal_path(&self.path)).map_or(0, |m| m.len());
        Ok(Checkpoint { wal_bytes, held_up, aside })
    }

    fn release_memory(&mut self) {
        // What it cannot give back it keeps; nothing else can go wrong.
        let _kept = self.db.release_memory();
    }
}

/// Both handles read alike: the questions of [`Reader`] on whatever connection there is.
trait Connected: Send {
    fn reading<T>(
        &mut self,
        question: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError>;
}

impl Connected for SqliteStore {
    fn reading<T>(
        &mut self,
        question: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let db = self.trusted()?;
        let answer = write::snapshot(db, question).map_err(|fault| fault.at(&self.path));
        answer.map_err(|error| self.fail(error))
    }
}

impl Connected for SqliteReader {
    fn reading<T>(
        &mut self,
        question: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        write::snapshot(&self.db, question).map_err(|fault| fault.at(&self.path))
    }
}

impl<C: Connected> Reader for C {
    fn task(&mut self, id: TaskId) -> Result<Option<TaskRecord>, StoreError> {
        self.reading(|db| read::task(db, id))
    }

    fn tasks(&mut self, ids: &[TaskId]) -> Result<Vec<Option<TaskRecord>>, StoreError> {
        self.reading(|db| read::tasks(db, ids))
    }

    fn states(&mut self, ids: &[TaskId]) -> Result<Vec<Option<State>>, StoreError> {
        self.reading(|db| ids.iter().map(|id| read::state(db, *id)).collect())
    }

    fn find(&mut self, range: (TaskId, TaskId), n: usize) -> Result<Vec<TaskId>, StoreError> {
        self.reading(|db| read::find(db, range, n))
    }

    fn by_name(&mut self, name: &str, n: usize) -> Result<Vec<TaskId>, StoreError> {
        self.reading(|db| read::by_name(db, name, n))
    }

    fn list(&mut self, filter: &Filter, limit: usize) -> Result<Vec<TaskRecord>, StoreError> {
        self.reading(|db| read::list(db, filter, limit))
    }

    fn ids(&mut self, filter: &Filter, limit: usize) -> Result<Vec<(TaskId, State)>, StoreError> {
        self.reading(|db| read::ids(db, filter, limit))
    }

    fn summary(&mut self, filter: &Filter) -> Result<StateCounts, StoreError> {
        self.reading(|db| read::summary(db, filter))
    }

    fn count(&mut self, filter: &Filter) -> Result<u64, StoreError> {
        self.reading(|db| read::total(db, filter))
    }

    fn events_since(
        &mut self,
        seq: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<EventRecord>, StoreError> {
        self.reading(|db| read::events_since(db, seq, limit, filter))
    }

    fn open_notices(
        &mut self,
        session: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<NoticeRecord>, StoreError> {
        self.reading(|db| notices::open(db, session, limit))
    }

    fn count_open_notices(
        &mut self,
        session: Option<&SessionId>,
        at_most: usize,
    ) -> Result<usize, StoreError> {
        self.reading(|db| notices::count_open(db, session, at_most))
    }

    fn notices_of(&mut self, tasks: &[TaskId]) -> Result<Vec<NoticeRecord>, StoreError> {
        self.reading(|db| notices::of_tasks(db, tasks))
    }

    fn sessions(&mut self) -> Result<Option<String>, StoreError> {
        self.reading(read::sessions)
    }

    fn history(&mut self, command: CommandKey, n: usize) -> Result<Vec<Duration>, StoreError> {
        self.reading(|db| load::history(db, command, n))
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        self.reading(read::last_seq)
    }

    fn integrity(&mut self) -> Result<Vec<String>, StoreError> {
        self.reading(read::integrity)
    }
}

/// Whether the pages of the store at `path` have checksums, so that a bit that changes on disk is found. One that
/// `sqlite3` made from another has none. `None` if it cannot be read.
#[must_use]
pub fn has_checksums(path: &Path) -> Option<bool> {
    sums::are_in(path)
}

/// For tests: a connection by which anything can be written.
pub(crate) fn raw(path: &Path) -> Result<Connection, rusqlite::Error> {
    sums::register()?;
    let db = Connection::open_with_flags_and_vfs(path, rusqlite::OpenFlags::default(), sums::VFS)?;
    sums::reserve(&db)?;
    Ok(db)
}

/// For tests: checksums that agree with pages, whatever they hold.
pub(crate) fn sum_pages(file: &mut [u8]) {
    sums::put_into(file);
}

/// Bytes of a page: SQLite's default, which the layout keeps.
const PAGE: u64 = 4096;

/// The write-ahead log of a store.
fn wal_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    PathBuf::from(name)
}

fn file_at(path: &Path) -> Result<(u64, u64), StoreError> {
    fs::metadata(path)
        .map(|m| (m.dev(), m.ino()))
        .map_err(|e| StoreError::Io { path: path.into(), what: e.to_string() })
}

#[cfg(test)]
mod tests;
