//! Moving what the write-ahead log holds into the database, without holding up who writes.
//!
//! ```text
//!   pages in the log that are not in the file yet
//!     below WAL_PAGES      nothing
//!     below MERGED_ASIDE   the commit that came so far moves them itself
//!     above                a thread with a connection of its own does; commits go on beside it
//! ```
//!
//! A log grows beyond the first mark only while some reader holds a transaction open. When it lets go after
//! minutes, gigabytes may have to be moved, and a commit that did so would hold up everybody for as long.
//!
//! Owns: when pages are moved, and that thread. Never decides what is durable: a commit is on disk in the log.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, InterruptHandle, params};

use super::open;
use crate::error::StoreError;
use crate::limits;

/// Pages that the log grows by until the thread tries once more: while a reader holds on, there is nothing it could do.
const AGAIN_AFTER: u32 = 256;

/// How far a log has been moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last pass that ended did not get to the end of what there was when it began: a reader is in the way.
    pub(super) held_up: bool,
    /// The thread is at it.
    pub(super) aside: bool,
}

/// What the writer and the thread both know.
#[derive(Default)]
struct Shared {
    in_log: AtomicU32,
    moved: AtomicU32,
    held_up: AtomicBool,
    stop: AtomicBool,
    interrupt: Mutex<Option<InterruptHandle>>,
}

/// The writer's side.
pub(super) struct Merge {
    path: PathBuf,
    shared: Arc<Shared>,
    pass: Option<JoinHandle<()>>,
    /// Pages in the log from which on commits begin another pass.
    again_at: u32,
}

impl Merge {
    /// Watches the commits of a connection from now on, instead of SQLite's own automatic.
    pub(super) fn of(path: &Path, db: &mut Connection) -> Result<Self, rusqlite::Error> {
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            told.committed(u32::try_from(pages).unwrap_or(0));
            Ok(())
        }))?;
        Ok(Self { path: path.into(), shared, pass: None, again_at: 0 })
    }

    /// After a commit. What goes wrong here loses nothing, and is met again by the commit or the look after it.
    pub(super) fn committed(&mut self, db: &Connection) {
        let in_log = self.shared.in_log.load(Ordering::Relaxed);
        if in_log < limits::WAL_PAGES {
            self.again_at = 0;
        } else if self.shared.left() < limits::MERGED_ASIDE || in_log >= self.again_at {
            let _met_again = self.go_on(db);
        }
    }

    /// Moves what there is to move, here or aside.
    pub(super) fn go_on(&mut self, db: &Connection) -> Result<Progress, rusqlite::Error> {
        self.pass = self.pass.take().filter(|pass| !pass.is_finished());
        if self.pass.is_some() {
            return Ok(self.progress());
        }
        if self.shared.left() < limits::MERGED_ASIDE {
            self.shared.moved_to(pass(db)?);
        } else {
            self.again_at = self.shared.in_log.load(Ordering::Relaxed).saturating_add(AGAIN_AFTER);
            let (path, shared) = (self.path.clone(), Arc::clone(&self.shared));
            let thread = std::thread::Builder::new().name("merge".into());
            // Where no thread can be had, the next commit tries again.
            self.pass = thread.spawn(move || shared.pass_aside(&path)).ok();
        }
        Ok(self.progress())
    }

    fn progress(&self) -> Progress {
        Progress {
            held_up: self.shared.held_up.load(Ordering::Relaxed),
            aside: self.pass.is_some(),
        }
    }

    /// Ends the thread, wherever it is: what it has moved stays moved.
    pub(super) fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(handle) = &*self.shared.interrupt() {
            handle.interrupt();
        }
        if let Some(pass) = self.pass.take() {
            let _panicked = pass.join();
        }
    }
}

impl Drop for Merge {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn committed(&self, in_log: u32) {
        if in_log < self.in_log.swap(in_log, Ordering::Relaxed) {
            // The log has begun anew.
            self.moved_to((0, 0));
        }
    }

    fn left(&self) -> u32 {
        self.in_log.load(Ordering::Relaxed).saturating_sub(self.moved.load(Ordering::Relaxed))
    }

    fn moved_to(&self, (in_log, moved): (u32, u32)) {
        self.moved.store(moved, Ordering::Relaxed);
        self.held_up.store(moved < in_log, Ordering::Relaxed);
    }

    fn interrupt(&self) -> std::sync::MutexGuard<'_, Option<InterruptHandle>> {
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_aside(&self, path: &Path) {
        let work = || -> Result<(), StoreError> {
            let db = open::merger(path)?;
            *self.interrupt() = Some(db.get_interrupt_handle());
            if !self.stop.load(Ordering::SeqCst) {
                // Interrupted, or what stood in its way stands in the way of commits too, which tell of it.
                let _ = pass(&db).map(|moved| self.moved_to(moved));
            }
            Ok(())
        };
        let _met_by_commits = work();
        *self.interrupt() = None;
    }
}

/// One pass as far as readers allow: pages in the log, and how many of them are in the file now.
fn pass(db: &Connection) -> Result<(u32, u32), rusqlite::Error> {
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", params![], |row| {
        // -1 where somebody else is at it.
        let pages = |n: i64| u32::try_from(n).unwrap_or(0);
        Ok((pages(row.get(1)?), pages(row.get(2)?)))
    })
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge")
            .field("path", &self.path)
            .field("progress", &self.progress())
            .finish()
    }
}
