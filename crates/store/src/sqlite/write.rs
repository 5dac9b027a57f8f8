//! Transactions, and what a batch holds beside facts.

use meanwhile_core::{LaneName, Now, Wall};
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::fold::{fold, int};
use super::{notices, open, read, rows};
use crate::batch::{Batch, Committed, LaneCheck, SavedReply};
use crate::identity::Identity;
use crate::limits;

/// Runs `work` in a transaction that is on disk when this returns, or has changed nothing.
pub(super) fn transaction<T>(
    db: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let done = within(db, "BEGIN IMMEDIATE", |db| {
        let done = work(db)?;
        meanwhile_faultpoint::fault_point!("store.before-commit");
        Ok(done)
    })?;
    meanwhile_faultpoint::fault_point!("store.committed");
    Ok(done)
}

/// Runs `question` on one state of the store.
pub(super) fn snapshot<T>(
    db: &Connection,
    question: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    within(db, "BEGIN", question)
}

/// The library's own transactions compile their two statements anew each time.
fn within<T>(
    db: &Connection,
    begin: &str,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    db.prepare_cached(begin)?.execute([])?;
    let open = Open(db);
    let done = work(db)?;
    db.prepare_cached("COMMIT")?.execute([])?;
    drop(open);
    Ok(done)
}

/// Rolls back what was begun and not committed, also when the work panics.
struct Open<'a>(&'a Connection);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // After a commit, and after some faults, nothing is open any more.
        if !self.0.is_autocommit() {
            let _the_first_fault_is_told = self.0.execute_batch("ROLLBACK");
        }
    }
}

/// Writes all of a batch.
pub(super) fn batch(
    db: &Connection,
    batch: &Batch<'_>,
    recorded: &Identity,
    prune: bool,
) -> Result<Committed, Fault> {
    let Batch { now, events, notices: marks, replies, sessions, here, lanes } = batch;
    lanes.iter().try_for_each(|check| move_on(db, check))?;
    let mut last_seq = read::last_seq(db)?;
    for event in *events {
        last_seq += 1;
        fold(db, last_seq, event)?;
    }
    marks.iter().try_for_each(|mark| notices::mark(db, mark))?;
    for SavedReply { request, reply } in *replies {
        db.prepare_cached("INSERT INTO requests (id, at, reply) VALUES (?1, ?2, ?3)")?
            .execute(params![request.as_str(), now.wall.0, reply])?;
    }
    if let Some(sessions) = sessions {
        db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('sessions', ?1)")?
            .execute(params![sessions])?;
    }
    if let Some(here) = here {
        if here.boot != recorded.boot {
            redate(db, *now)?;
        }
        open::remember(db, here)?;
    }
    if prune {
        prune_replies(db, now.wall)?;
    }
    Ok(Committed { last_seq })
}

/// Whether old replies are to be looked for now. A clock that was set back only delays it.
pub(super) fn prune_is_due(last: Option<Wall>, now: Wall) -> bool {
    last.is_none_or(|last| now.since(last) >= limits::REQUESTS_PRUNED_EVERY)
}

fn prune_replies(db: &Connection, now: Wall) -> Result<(), Fault> {
    let kept_ms = i64::try_from(limits::REQUESTS_KEPT.as_millis()).expect("a day is short");
    db.prepare_cached(
        "DELETE FROM requests WHERE num IN (SELECT num FROM requests WHERE at < ?1 LIMIT ?2)",
    )?
    .execute(params![now.0.saturating_sub(kept_ms), limits::REQUESTS_PRUNED_AT_ONCE])?;
    Ok(())
}

/// The epoch of a lane; 0 for one that has no row.
pub(super) fn lane_epoch(db: &Connection, lane: &LaneName) -> Result<u64, Fault> {
    let epoch: Option<i64> = db
        .prepare_cached("SELECT epoch FROM lanes WHERE name = ?1")?
        .query_row(params![lane.as_str()], |row| row.get(0))
        .optional()?;
    Ok(epoch.unwrap_or(0).unsigned_abs())
}

fn move_on(db: &Connection, check: &LaneCheck) -> Result<(), Fault> {
    let LaneCheck { lane, epoch } = check;
    if lane_epoch(db, lane)? != *epoch {
        return Err(Fault::Conflict(lane.clone()));
    }
    db.prepare_cached("INSERT OR REPLACE INTO lanes (name, epoch) VALUES (?1, ?2)")?
        .execute(params![lane.as_str(), int(epoch + 1)])?;
    Ok(())
}

/// After a restart of the machine: moves every delay to the clock that counts from this start.
fn redate(db: &Connection, now: Now) -> Result<(), Fault> {
    let mut delayed = db.prepare(
        "SELECT num, not_before_boot, not_before_wall FROM tasks
         WHERE state = 0 AND not_before_wall IS NOT NULL",
    )?;
    let mut found = delayed.query([])?;
    let mut moved = Vec::new();
    while let Some(row) = found.next()? {
        if let Some(due) = rows::due(row.get(1)?, row.get(2)?) {
            moved.push((row.get::<_, i64>(0)?, due.after_reboot(now)));
        }
    }
    let mut update = db.prepare("UPDATE tasks SET not_before_boot = ?2 WHERE num = ?1")?;
    for (num, due) in moved {
        update.execute(params![num, int(due.boot.0)])?;
    }
    Ok(())
}

/// Deletes old entries about forgotten tasks, but never the newest entry: the next number follows
/// from it.
pub(super) fn trim_events(db: &Connection, before: Wall, limit: usize) -> Result<usize, Fault> {
    Ok(db
        .prepare_cached(
            "DELETE FROM events WHERE seq IN (
                 SELECT seq FROM events e
                 WHERE at < ?1 AND seq < (SELECT max(seq) FROM events)
                   AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = e.task)
                 ORDER BY seq LIMIT ?2)",
        )?
        .execute(params![before.0, int(limit as u64)])?)
}
