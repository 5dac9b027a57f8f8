//! Rows into records. A column that holds what no release of ours writes is damage, never skipped.

use std::time::Duration;

use meanwhile_core::cause::Actor;
use meanwhile_core::event::RunFigures;
use meanwhile_core::spec::Placement;
use meanwhile_core::time::Due;
use meanwhile_core::{AttemptToken, Boot, GroupName, LaneName, SessionId, TaskId, Wall};
use rusqlite::Row;
use rusqlite::types::FromSql;

use super::fault::Fault;
use crate::record::{AttemptRecord, EventRecord, Extension, ReadyRecord, TaskRecord};
use crate::stored::cause::{cause_from_json, stop_from_json};
use crate::stored::log::{ExtendedData, exit_of, from_data};
use crate::stored::state::from_number;
use crate::stored::{from_json, launch};

/// Reads columns one after the other, in the order of the lists in `schema`.
pub(super) struct Columns<'a, 'stmt> {
    row: &'a Row<'stmt>,
    next: usize,
}

impl<'a, 'stmt> Columns<'a, 'stmt> {
    pub(super) const fn of(row: &'a Row<'stmt>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn get<T: FromSql>(&mut self) -> Result<T, Fault> {
        let column = self.next;
        self.next += 1;
        Ok(self.row.get(column)?)
    }

    /// A size or count that was written by `fold::int`.
    fn uint(&mut self) -> Result<u64, Fault> {
        let value: i64 = self.get()?;
        u64::try_from(value).map_err(|_| damaged(format!("a count is negative: {value}")))
    }

    fn id(&mut self) -> Result<TaskId, Fault> {
        self.get().map(task_id)
    }

    fn json<T>(&mut self, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Fault> {
        let json: Option<String> = self.get()?;
        json.map(|json| read(&json)).transpose().map_err(damaged)
    }
}

fn damaged(what: String) -> Fault {
    Fault::Damaged(what)
}

/// The id of a column.
pub(super) const fn task_id(stored: i64) -> TaskId {
    TaskId::from_random(stored.cast_unsigned())
}

/// An attempt from the columns of `schema::ATTEMPT`.
pub(super) fn attempt(columns: &mut Columns<'_, '_>) -> Result<AttemptRecord, Fault> {
    let number = columns.get()?;
    let state = from_number(columns.get()?).map_err(damaged)?;
    let queued_at = Wall(columns.get()?);
    let token: Option<[u8; 16]> = columns.get()?;
    let pid = columns.get()?;
    let supervisor_pid = columns.get()?;
    let started_at = columns.get::<Option<i64>>()?.map(Wall);
    let ended_at = columns.get::<Option<i64>>()?.map(Wall);
    let deadline = columns.get::<Option<i64>>()?.map(Wall);
    let extended = columns.json(|json| {
        let ExtendedData { timeout_ns, deadline_ms: _, by } = from_json(json)?;
        let timeout = timeout_ns.map(Duration::from_nanos);
        Ok(Extension { timeout, by: Actor::from_text(&by) })
    })?;
    let ready_at: Option<i64> = columns.get()?;
    let ready_how: Option<String> = columns.get()?;
    let crashes = columns.get()?;
    let cause = columns.json(cause_from_json)?;
    let (code, signal) = (columns.get()?, columns.get()?);
    let run = run_figures(columns, started_at, ended_at)?;
    Ok(AttemptRecord {
        number,
        state,
        queued_at,
        cause,
        exit: exit_of(code, signal).map_err(damaged)?,
        token: token.map(AttemptToken),
        pid,
        supervisor_pid,
        started_at,
        ended_at,
        deadline,
        extended,
        ready: ready_at.zip(ready_how).map(|(at, how)| ReadyRecord { at: Wall(at), how }),
        crashes,
        run,
    })
}

/// The last seven columns of an attempt.
fn run_figures(
    columns: &mut Columns<'_, '_>,
    started_at: Option<Wall>,
    ended_at: Option<Wall>,
) -> Result<Option<RunFigures>, Fault> {
    let ran_ns: Option<i64> = columns.get()?;
    let Some(ran_ns) = ran_ns else {
        columns.next += 6;
        return Ok(None);
    };
    let (Some(started_at), Some(ended_at)) = (started_at, ended_at) else {
        return Err(damaged("an attempt was measured and has no times".into()));
    };
    Ok(Some(RunFigures {
        started_at,
        ended_at,
        ran_for: Duration::from_nanos(ran_ns.unsigned_abs()),
        cpu: Duration::from_nanos(columns.uint()?),
        max_rss: columns.uint()?,
        log_bytes: columns.uint()?,
        dropped_bytes: columns.uint()?,
        leaked: columns.get()?,
        leaked_names: columns.json(from_json)?.unwrap_or_default(),
    }))
}

/// A task from the columns of `schema::ATTEMPT` and `schema::TASK`, with its current attempt alone
/// and without its children; and its row number.
pub(super) fn task(row: &Row<'_>) -> Result<(i64, TaskRecord), Fault> {
    let mut columns = Columns::of(row);
    let current = attempt(&mut columns)?;
    let num = columns.get()?;
    let id = columns.id()?;
    let created_at = Wall(columns.get()?);
    let session: String = columns.get()?;
    let group: Option<String> = columns.get()?;
    let lane: String = columns.get()?;
    let priority = columns.get()?;
    let order = columns.uint()?;
    let boot: Option<i64> = columns.get()?;
    let wall: Option<i64> = columns.get()?;
    let stop = columns.json(stop_from_json)?;
    let retries_used = columns.get()?;
    let lost_retries = columns.get()?;
    let seat_kept = columns.get()?;
    let json: String = columns.get()?;
    let (spec, launch::Origin { ancestors, over_limit, by_person }) =
        launch::from_json(&json).map_err(|e| damaged(format!("the launch of task {id}: {e}")))?;
    let record = TaskRecord {
        id,
        spec,
        placement: Placement {
            session: SessionId::new(session),
            group: group.map(GroupName::new),
            lane: LaneName::new(lane),
            priority,
            ancestors,
            over_limit,
            by_person,
        },
        created_at,
        state: current.state,
        order,
        not_before: due(boot, wall),
        stop,
        retries_used,
        lost_retries,
        seat_kept,
        children: Vec::new(),
        attempts: vec![current],
    };
    Ok((num, record))
}

/// A moment on both clocks, from its two columns.
pub(super) fn due(boot: Option<i64>, wall: Option<i64>) -> Option<Due> {
    boot.zip(wall)
        .map(|(boot, wall)| Due { boot: Boot(boot.max(0).unsigned_abs()), wall: Wall(wall) })
}

/// An entry from the columns seq, at, task, attempt, kind, data.
pub(super) fn event(row: &Row<'_>) -> Result<EventRecord, Fault> {
    let mut columns = Columns::of(row);
    let (seq, at, task, attempt) =
        (columns.uint()?, Wall(columns.get()?), columns.id()?, columns.get()?);
    let kind: String = columns.get()?;
    let data: Option<String> = columns.get()?;
    let what = from_data(&kind, data.as_deref())
        .map_err(|e| damaged(format!("entry {seq} of the event log: {e}")))?;
    Ok(EventRecord { seq, at, task, attempt, what })
}
