//! Facts into rows: each fact is one entry of the log and one change of the task's row.
//!
//! Only the newest attempt can be changed; a fact about another one contradicts the store. Whether
//! a fact may follow the task's state was decided by the core and is not asked again.

use meanwhile_core::event::{End, RunFigures};
use meanwhile_core::spec::{Placement, TaskSpec};
use meanwhile_core::time::Due;
use meanwhile_core::{AttemptToken, Event, Fact, Notice, NoticeId, State, TaskId};
use rusqlite::{Connection, Params, params};

use super::fault::Fault;
use super::notices;
use super::schema::ATTEMPT;
use crate::command_key::CommandKey;
use crate::stored::cause::{cause_to_json, stop_to_json};
use crate::stored::log::{ExtendedData, exit_code, exit_signal};
use crate::stored::state::to_number;
use crate::stored::{launch, log, ns, to_json};

/// Ids as integers of the database: 50 bits always fit.
pub(super) const fn id(task: TaskId) -> i64 {
    task.to_bits().cast_signed()
}

/// Sizes and counts as integers of the database, which have 63 bits for them: saturating.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Appends the event to the log under this number and folds it into the tables.
pub(super) fn fold(db: &Connection, seq: u64, event: &Event) -> Result<(), Fault> {
    let Event { at, task, attempt, fact } = event;
    run(
        db,
        "INSERT INTO events (seq, at, task, attempt, kind, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![int(seq), at.0, id(*task), attempt, fact.name(), log::to_data(fact)],
    )?;
    let changed = match fact {
        Fact::Submitted { spec, placement, order, not_before } => {
            return submit(db, event, spec, placement, *order, *not_before);
        }
        Fact::Retried { order, not_before, by: _, retries_used, lost_retries } => retry(
            db,
            event,
            params![
                id(*task),
                attempt,
                at.0,
                int(*order),
                not_before.map(|d| int(d.boot.0)),
                not_before.map(|d| d.wall.0),
                retries_used,
                lost_retries
            ],
        )?,
        Fact::Forgotten => return forget(db, *task),
        Fact::DeadlineNear { deadline, notice } => {
            let about = NoticeId::of_deadline(*task, *attempt, *deadline);
            return notices::write(db, event, about, State::Running, notice);
        }
        Fact::Rebound { session } => {
            notices::rebind(db, *task, session)?;
            run(
                db,
                "UPDATE tasks SET session = ?2 WHERE id = ?1",
                params![id(*task), session.as_str()],
            )?
        }
        Fact::Refused { what: _ } => return Ok(()),
        Fact::Starting { token: AttemptToken(token) } => run(
            db,
            "UPDATE tasks SET state = 1, token = ?3 WHERE id = ?1 AND attempt = ?2",
            params![id(*task), attempt, token],
        )?,
        Fact::Started { pid, supervisor_pid, deadline } => run(
            db,
            "UPDATE tasks SET state = 2, pid = ?3, supervisor_pid = ?4, started_at = ?5,
                 deadline = ?6
             WHERE id = ?1 AND attempt = ?2",
            params![id(*task), attempt, pid, supervisor_pid, at.0, deadline.map(|d| d.0)],
        )?,
        Fact::Ready { how } => run(
            db,
            "UPDATE tasks SET ready_at = ?3, ready_how = ?4 WHERE id = ?1 AND attempt = ?2",
            params![id(*task), attempt, at.0, how],
        )?,
        Fact::Extended { timeout, deadline, by } => {
            notices::supersede_deadlines(db, *task)?;
            let extended =
                ExtendedData { timeout_ns: timeout.map(ns), deadline_ms: None, by: by.to_text() };
            run(
                db,
                "UPDATE tasks SET extended = ?3, deadline = ?4 WHERE id = ?1 AND attempt = ?2",
                params![id(*task), attempt, to_json(&extended), deadline.map(|d| d.0)],
            )?
        }
        Fact::StopRequested { stop } => run(
            db,
            "UPDATE tasks SET stop = ?3 WHERE id = ?1 AND attempt = ?2",
            params![id(*task), attempt, stop_to_json(stop)],
        )?,
        Fact::Ended { end, notice } => {
            tell_of_end(db, event, end, notice.as_deref())?;
            ended(db, event, end)?
        }
        Fact::Requeued { crashes } => run(
            db,
            "UPDATE tasks SET state = 0, crashes = ?3, token = NULL, pid = NULL,
                 supervisor_pid = NULL, started_at = NULL, deadline = NULL, ready_at = NULL,
                 ready_how = NULL, not_before_boot = NULL, not_before_wall = NULL
             WHERE id = ?1 AND attempt = ?2",
            params![id(*task), attempt, crashes],
        )?,
        Fact::Emptied => run(
            db,
            "UPDATE tasks SET seat_kept = 0 WHERE id = ?1 AND attempt = ?2",
            params![id(*task), attempt],
        )?,
    };
    one_row(changed, event)
}

fn run(db: &Connection, sql: &str, params: impl Params) -> Result<usize, Fault> {
    Ok(db.prepare_cached(sql)?.execute(params)?)
}

fn one_row(changed: usize, event: &Event) -> Result<(), Fault> {
    if changed == 1 {
        return Ok(());
    }
    let Event { at: _, task, attempt, fact } = event;
    let fact = fact.name();
    Err(Fault::Contradiction(format!(
        "{fact} is about attempt {attempt} of task {task}, which is not its current one here"
    )))
}

fn submit(
    db: &Connection,
    event: &Event,
    spec: &TaskSpec,
    placement: &Placement,
    order: u64,
    not_before: Option<Due>,
) -> Result<(), Fault> {
    let Placement { session, group, lane, priority, ancestors, over_limit: _, by_person: _ } =
        placement;
    run(
        db,
        "INSERT INTO tasks (id, created_at, session, grp, lane, priority, parent, name,
             command_key, idempotency_key, ord, not_before_boot, not_before_wall, attempt, state,
             queued_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0, ?2)",
        params![
            id(event.task),
            event.at.0,
            session.as_str(),
            group.as_ref().map(|g| g.as_str()),
            lane.as_str(),
            priority,
            ancestors.first().map(|parent| id(*parent)),
            spec.name,
            CommandKey::of(&spec.command).to_stored(),
            spec.idempotency_key,
            int(order),
            not_before.map(|d| int(d.boot.0)),
            not_before.map(|d| d.wall.0),
            event.attempt,
        ],
    )?;
    let num = db.last_insert_rowid();
    run(
        db,
        "INSERT INTO launches (num, launch) VALUES (?1, ?2)",
        params![num, launch::to_json(spec, placement)],
    )?;
    for (key, value) in &spec.labels {
        run(
            db,
            "INSERT OR IGNORE INTO labels (num, key, value) VALUES (?1, ?2, ?3)",
            params![num, key, value],
        )?;
    }
    for dependency in &spec.after {
        run(
            db,
            "INSERT OR IGNORE INTO dependencies (on_task, num) VALUES (?1, ?2)",
            params![id(dependency.task), num],
        )?;
    }
    Ok(())
}

fn tell_of_end(
    db: &Connection,
    event: &Event,
    end: &End,
    notice: Option<&Notice>,
) -> Result<(), Fault> {
    notices::supersede_deadlines(db, event.task)?;
    let about = NoticeId::of_end(event.task, event.attempt);
    notice.map_or(Ok(()), |notice| notices::write(db, event, about, end.state, notice))
}

fn ended(db: &Connection, event: &Event, end: &End) -> Result<usize, Fault> {
    let End { state, cause, exit, run: figures, seat_kept } = end;
    let (code, signal) = (exit.and_then(exit_code), exit.and_then(exit_signal));
    let Some(figures) = figures else {
        return run(
            db,
            "UPDATE tasks SET state = ?3, cause = ?4, exit_code = ?5, exit_signal = ?6,
                 seat_kept = ?7, ended_at = ?8, stop = NULL, not_before_boot = NULL,
                 not_before_wall = NULL
             WHERE id = ?1 AND attempt = ?2",
            params![
                id(event.task),
                event.attempt,
                to_number(*state),
                cause_to_json(cause),
                code,
                signal,
                seat_kept,
                event.at.0
            ],
        );
    };
    let RunFigures {
        started_at,
        ended_at,
        ran_for,
        cpu,
        max_rss,
        log_bytes,
        dropped_bytes,
        leaked,
        leaked_names,
    } = figures;
    let names = (!leaked_names.is_empty()).then(|| to_json(leaked_names));
    run(
        db,
        "UPDATE tasks SET state = ?3, cause = ?4, exit_code = ?5, exit_signal = ?6, seat_kept = ?7,
             started_at = ?8, ended_at = ?9, ran_ns = ?10, cpu_ns = ?11, max_rss = ?12,
             log_bytes = ?13, dropped_bytes = ?14, leaked = ?15, leaked_names = ?16,
             kept_bytes = kept_bytes + ?17, stop = NULL, not_before_boot = NULL,
             not_before_wall = NULL
         WHERE id = ?1 AND attempt = ?2",
        params![
            id(event.task),
            event.attempt,
            to_number(*state),
            cause_to_json(cause),
            code,
            signal,
            seat_kept,
            started_at.0,
            ended_at.0,
            int(ns(*ran_for)),
            int(ns(*cpu)),
            int(*max_rss),
            int(*log_bytes),
            int(*dropped_bytes),
            leaked,
            names,
            int(log_bytes.saturating_sub(*dropped_bytes)),
        ],
    )
}

/// Moves the attempt that ended aside and makes the row that of the next one. The parameters are
/// those of the second statement.
fn retry(db: &Connection, event: &Event, reset: impl Params) -> Result<usize, Fault> {
    let moved = run(
        db,
        &format!(
            "INSERT INTO attempts (num, {ATTEMPT})
             SELECT num, {ATTEMPT} FROM tasks WHERE id = ?1 AND attempt = ?2 - 1"
        ),
        params![id(event.task), event.attempt],
    )?;
    one_row(moved, event)?;
    notices::supersede_all(db, event.task)?;
    run(
        db,
        "UPDATE tasks SET state = 0, attempt = ?2, queued_at = ?3, ord = ?4, not_before_boot = ?5,
             not_before_wall = ?6, retries_used = ?7, lost_retries = ?8, seat_kept = 0, stop = NULL,
             token = NULL, pid = NULL, supervisor_pid = NULL, started_at = NULL, ended_at = NULL,
             deadline = NULL, extended = NULL, ready_at = NULL, ready_how = NULL, crashes = 0,
             cause = NULL, exit_code = NULL, exit_signal = NULL, ran_ns = NULL, cpu_ns = NULL,
             max_rss = NULL, log_bytes = NULL, dropped_bytes = NULL, leaked = NULL,
             leaked_names = NULL
         WHERE id = ?1 AND attempt = ?2 - 1",
        reset,
    )
}

/// Everything but the log entries, which `trim_events` takes when they are old.
fn forget(db: &Connection, task: TaskId) -> Result<(), Fault> {
    let num: Option<i64> = {
        let mut find = db.prepare_cached("SELECT num FROM tasks WHERE id = ?1")?;
        let mut rows = find.query(params![id(task)])?;
        rows.next()?.map(|row| row.get(0)).transpose()?
    };
    let Some(num) = num else {
        return Err(Fault::Contradiction(format!("task {task} is to be forgotten and unknown")));
    };
    for sql in [
        "DELETE FROM tasks WHERE num = ?1",
        "DELETE FROM launches WHERE num = ?1",
        "DELETE FROM attempts WHERE num = ?1",
        "DELETE FROM labels WHERE num = ?1",
        "DELETE FROM dependencies WHERE num = ?1",
        "DELETE FROM notices WHERE num = ?1",
    ] {
        run(db, sql, params![num])?;
    }
    Ok(())
}

const _: () = {
    // The numbers in the statements above and in the layout.
    assert!(to_number(State::Queued) == 0);
    assert!(to_number(State::Starting) == 1);
    assert!(to_number(State::Running) == 2);
    assert!(to_number(State::Completed) == 4);
};
