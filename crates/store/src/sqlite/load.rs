//! What only the writer asks: what to begin with after a start, and what may go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meanwhile_core::input::ReopenedTask;
use meanwhile_core::{LoadedTask, RequestId, State, TaskId, TaskSpec, Wall};
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::fold::{id, int};
use super::read;
use super::rows;
use super::schema::{ATTEMPT, TASK};
use crate::command_key::CommandKey;
use crate::contract::Retention;
use crate::stored::launch;
use crate::stored::state::FIRST_TERMINAL;

/// Unfinished tasks and those that keep a seat, oldest first.
pub(super) fn unfinished(db: &Connection) -> Result<Vec<LoadedTask>, Fault> {
    let mut select = db.prepare(&unfinished_sql())?;
    let mut found = select.query([])?;
    let mut tasks = Vec::new();
    while let Some(row) = found.next()? {
        let (_, record) = rows::task(row)?;
        tasks.push(record.into_loaded());
    }
    add_ended_dependencies(db, &mut tasks)?;
    Ok(tasks)
}

pub(super) fn unfinished_sql() -> String {
    format!(
        "SELECT {ATTEMPT}, {TASK} FROM tasks t JOIN launches l ON l.num = t.num
         WHERE t.num IN (SELECT num FROM tasks WHERE state < {FIRST_TERMINAL}
                         UNION ALL SELECT num FROM tasks WHERE seat_kept = 1)
         ORDER BY t.num"
    )
}

fn add_ended_dependencies(db: &Connection, tasks: &mut [LoadedTask]) -> Result<(), Fault> {
    let wanted: BTreeSet<TaskId> =
        tasks.iter().flat_map(|t| t.spec.after.iter().map(|d| d.task)).collect();
    let mut ended: BTreeMap<TaskId, State> = BTreeMap::new();
    for task in wanted {
        if let Some(state) = read::state(db, task)?.filter(|s| s.is_terminal()) {
            ended.insert(task, state);
        }
    }
    for task in tasks {
        let states = task.spec.after.iter().filter_map(|d| Some((d.task, *ended.get(&d.task)?)));
        task.ended_dependencies = states.collect();
    }
    Ok(())
}

/// What the core needs of an ended task.
pub(super) fn reopened(db: &Connection, task: TaskId) -> Result<Option<ReopenedTask>, Fault> {
    Ok(read::task(db, task)?.filter(|t| t.state.is_terminal()).map(|record| ReopenedTask {
        attempt: record.current().number,
        placement: record.placement,
        spec: record.spec,
        state: record.state,
    }))
}

/// What the next queued tasks were asked to be.
pub(super) fn queued_after(
    db: &Connection,
    task: TaskId,
    n: usize,
) -> Result<Vec<(TaskId, Box<TaskSpec>)>, Fault> {
    let mut select = db.prepare_cached(
        "SELECT t.id, l.launch FROM tasks t JOIN launches l ON l.num = t.num
         WHERE t.state = 0 AND t.num > (SELECT num FROM tasks WHERE id = ?1)
         ORDER BY t.num LIMIT ?2",
    )?;
    let mut found = select.query(params![id(task), int(n as u64)])?;
    let mut specs = Vec::new();
    while let Some(row) = found.next()? {
        let task = rows::task_id(row.get(0)?);
        let launch: String = row.get(1)?;
        let (spec, _) = launch::from_json(&launch)
            .map_err(|e| Fault::Damaged(format!("the launch of task {task}: {e}")))?;
        specs.push((task, Box::new(spec)));
    }
    Ok(specs)
}

/// What a task was asked to be.
pub(super) fn spec(db: &Connection, task: TaskId) -> Result<Option<TaskSpec>, Fault> {
    let json: Option<String> = db
        .prepare_cached(
            "SELECT l.launch FROM tasks t JOIN launches l ON l.num = t.num WHERE t.id = ?1",
        )?
        .query_row(params![id(task)], |row| row.get(0))
        .optional()?;
    json.map(|json| Ok(launch::from_json(&json)?.0))
        .transpose()
        .map_err(|e: String| Fault::Damaged(format!("the launch of task {task}: {e}")))
}

/// The task of an idempotency key.
pub(super) fn by_idempotency_key(db: &Connection, key: &str) -> Result<Option<TaskId>, Fault> {
    let stored: Option<i64> = db
        .prepare_cached("SELECT id FROM tasks WHERE idempotency_key = ?1")?
        .query_row(params![key], |row| row.get(0))
        .optional()?;
    Ok(stored.map(rows::task_id))
}

/// The saved reply of a request.
pub(super) fn reply(db: &Connection, request: &RequestId) -> Result<Option<Vec<u8>>, Fault> {
    Ok(db
        .prepare_cached("SELECT reply FROM requests WHERE id = ?1")?
        .query_row(params![request.as_str()], |row| row.get(0))
        .optional()?)
}

/// Running times of the newest successes of a command.
pub(super) fn history(
    db: &Connection,
    command: CommandKey,
    n: usize,
) -> Result<Vec<Duration>, Fault> {
    let mut select = db.prepare_cached(
        "SELECT ran_ns FROM tasks
         WHERE command_key = ?1 AND state = 4 AND ran_ns IS NOT NULL ORDER BY num DESC LIMIT ?2",
    )?;
    let mut found = select.query(params![command.to_stored(), int(n as u64)])?;
    let mut times = Vec::new();
    while let Some(row) = found.next()? {
        times.push(Duration::from_nanos(row.get::<_, i64>(0)?.unsigned_abs()));
    }
    Ok(times)
}

/// Tasks that may be forgotten, the longest ended first.
pub(super) fn expired(db: &Connection, retention: &Retention) -> Result<Vec<TaskId>, Fault> {
    let Retention { now, age, bytes, at_most } = *retention;
    let total: i64 = db
        .prepare_cached(
            "SELECT coalesce(sum(kept_bytes), 0) FROM tasks WHERE ended_at IS NOT NULL",
        )?
        .query_row([], |row| row.get(0))?;
    let mut total = total.unsigned_abs();
    let mut select = db.prepare_cached(
        "SELECT id, ended_at, kept_bytes, seat_kept OR EXISTS (
             SELECT 1 FROM dependencies d JOIN tasks later ON later.num = d.num
             WHERE d.on_task = t.id AND later.ended_at IS NULL)
         FROM tasks t WHERE ended_at IS NOT NULL ORDER BY ended_at, num",
    )?;
    let mut found = select.query([])?;
    let mut expired = Vec::new();
    while expired.len() < at_most {
        let Some(row) = found.next()? else { break };
        let ended_at = Wall(row.get(1)?);
        let too_old = age.is_some_and(|age| now.since(ended_at) > age);
        let too_much = bytes.is_some_and(|bytes| total > bytes);
        if !too_old && !too_much {
            break;
        }
        let protected: bool = row.get(3)?;
        if !protected {
            total = total.saturating_sub(row.get::<_, i64>(2)?.unsigned_abs());
            expired.push(rows::task_id(row.get(0)?));
        }
    }
    Ok(expired)
}
