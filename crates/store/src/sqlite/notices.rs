//! Notices: written with the facts they are about, marked on their way, read by whoever tells them.

use meanwhile_core::notice::{Notice, NoticeKind, Notify, Part, Scope};
use meanwhile_core::{Event, NoticeId, SessionId, TaskId, Wall};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::fault::Fault;
use super::fold::{id, int};
use super::rows::{Columns, task_id};
use crate::limits;
use crate::notice::{Delivery, Mark, NoticeMark, NoticeRecord};
use crate::stored::state::{from_number, to_number};

/// The columns of a notice in the order that `record` reads them. `n` is the notice and `t` its task.
const NOTICE: &str = "t.id, n.attempt, n.kind, n.episode, n.session, n.part, n.notify, n.state, n.at, n.delivery, \
     n.holder, n.until";

const UNREAD: u8 = 0;
const LEASED: u8 = 1;
const ACKNOWLEDGED: u8 = 2;
const SUPERSEDED: u8 = 3;

/// Writes the notice of a fact. Said again, it is there already and stays as it is.
pub(super) fn write(
    db: &Connection,
    event: &Event,
    about: NoticeId,
    state: meanwhile_core::State,
    notice: &Notice,
) -> Result<(), Fault> {
    let Notice { scope: Scope { session, part }, notify } = notice;
    let NoticeId { task, attempt, kind, episode } = about;
    db.prepare_cached(
        "INSERT OR IGNORE INTO notices (num, attempt, kind, episode, session, part, notify, state, at)
         SELECT num, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM tasks WHERE id = ?1",
    )?
    .execute(params![
        id(task),
        attempt,
        kind_number(kind),
        int(episode),
        session.as_str(),
        part.to_text(),
        notify_number(*notify),
        to_number(state),
        event.at.0
    ])?;
    Ok(())
}

/// What was said of its deadlines is old news.
pub(super) fn supersede_deadlines(db: &Connection, task: TaskId) -> Result<(), Fault> {
    run(
        db,
        "UPDATE notices SET delivery = 3, holder = NULL, until = NULL
         WHERE num = (SELECT num FROM tasks WHERE id = ?1) AND kind = 1 AND delivery < 2",
        params![id(task)],
    )
}

/// All that was said of it is old news.
pub(super) fn supersede_all(db: &Connection, task: TaskId) -> Result<(), Fault> {
    run(
        db,
        "UPDATE notices SET delivery = 3, holder = NULL, until = NULL
         WHERE num = (SELECT num FROM tasks WHERE id = ?1) AND delivery < 2",
        params![id(task)],
    )
}

/// What its session has not heard is for another one.
pub(super) fn rebind(db: &Connection, task: TaskId, session: &SessionId) -> Result<(), Fault> {
    run(
        db,
        "UPDATE notices SET session = ?2
         WHERE num = (SELECT num FROM tasks WHERE id = ?1) AND delivery < 2",
        params![id(task), session.as_str()],
    )
}

/// One step of a notice on its way.
pub(super) fn mark(db: &Connection, mark: &NoticeMark) -> Result<(), Fault> {
    let NoticeMark { id: NoticeId { task, attempt, kind, episode }, mark } = mark;
    let unread = "UPDATE notices SET delivery = 0
         WHERE num = (SELECT num FROM tasks WHERE id = ?1) AND attempt = ?2 AND kind = ?3 AND episode = ?4
           AND delivery = 2";
    let (delivery, holder, until) = match mark {
        Mark::Unread => {
            return run(db, unread, params![id(*task), attempt, kind_number(*kind), int(*episode)]);
        }
        Mark::Lease { holder, until } => (LEASED, Some(holder.as_str()), Some(until.0)),
        Mark::Acknowledge => (ACKNOWLEDGED, None, None),
    };
    run(
        db,
        "UPDATE notices SET delivery = ?5, holder = ?6, until = ?7
         WHERE num = (SELECT num FROM tasks WHERE id = ?1) AND attempt = ?2 AND kind = ?3 AND episode = ?4
           AND delivery < 2",
        params![id(*task), attempt, kind_number(*kind), int(*episode), delivery, holder, until],
    )
}

fn run(db: &Connection, sql: &str, params: impl Params) -> Result<(), Fault> {
    db.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

/// What a session (or everybody) has not been told, the oldest first.
pub(super) fn open(
    db: &Connection,
    session: Option<&SessionId>,
    limit: usize,
) -> Result<Vec<NoticeRecord>, Fault> {
    let mut select = db.prepare_cached(&open_sql(session.is_some()))?;
    let limit = int(limit.min(limits::LIST) as u64);
    let mut found = match session {
        Some(session) => select.query(params![limit, session.as_str()])?,
        None => select.query(params![limit])?,
    };
    records(&mut found)
}

pub(super) fn open_sql(of_session: bool) -> String {
    let session = if of_session { "AND n.session = ?2" } else { "" };
    format!(
        "SELECT {NOTICE} FROM notices n JOIN tasks t ON t.num = n.num
         WHERE n.delivery < 2 {session} ORDER BY n.at, n.num LIMIT ?1"
    )
}

/// All that was ever said of these tasks, by task.
pub(super) fn of_tasks(db: &Connection, tasks: &[TaskId]) -> Result<Vec<NoticeRecord>, Fault> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {NOTICE} FROM notices n JOIN tasks t ON t.num = n.num
         WHERE n.num = (SELECT num FROM tasks WHERE id = ?1) ORDER BY n.attempt, n.kind, n.episode"
    ))?;
    let mut all = Vec::new();
    for task in tasks {
        all.extend(records(&mut select.query(params![id(*task)])?)?);
    }
    Ok(all)
}

/// How much a session (or everybody) has not been told, as far as it is counted.
pub(super) fn count_open(
    db: &Connection,
    session: Option<&SessionId>,
    at_most: usize,
) -> Result<usize, Fault> {
    let at_most = int(at_most as u64);
    let counted: Option<i64> = match session {
        Some(session) => db
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM notices WHERE delivery < 2 AND session = ?2 LIMIT ?1)",
            )?
            .query_row(params![at_most, session.as_str()], |row| row.get(0))
            .optional()?,
        None => db
            .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM notices WHERE delivery < 2 LIMIT ?1)")?
            .query_row(params![at_most], |row| row.get(0))
            .optional()?,
    };
    Ok(usize::try_from(counted.unwrap_or(0)).unwrap_or(0))
}

/// Keeps no more than the newest `per_session` open notices of each session; how many were given up.
pub(super) fn bound(db: &Connection, per_session: usize) -> Result<usize, Fault> {
    Ok(db
        .prepare_cached(
            "UPDATE notices SET delivery = 3, holder = NULL, until = NULL
             WHERE (num, attempt, kind, episode) IN (
                 SELECT num, attempt, kind, episode FROM (
                     SELECT num, attempt, kind, episode,
                         row_number() OVER (PARTITION BY session ORDER BY at DESC, num DESC) AS place
                     FROM notices WHERE delivery < 2)
                 WHERE place > ?1)",
        )?
        .execute(params![int(per_session as u64)])?)
}

fn records(found: &mut rusqlite::Rows<'_>) -> Result<Vec<NoticeRecord>, Fault> {
    let mut records = Vec::new();
    while let Some(row) = found.next()? {
        records.push(record(row)?);
    }
    Ok(records)
}

fn record(row: &Row<'_>) -> Result<NoticeRecord, Fault> {
    let mut columns = Columns::of(row);
    let task = task_id(columns.get()?);
    let damaged = |what: &str| Fault::Damaged(format!("a notice of task {task}: {what}"));
    let attempt = columns.get()?;
    let kind: u8 = columns.get()?;
    let kind = NoticeKind::ALL.into_iter().find(|k| kind_number(*k) == kind);
    let kind = kind.ok_or_else(|| damaged("its kind"))?;
    let episode: i64 = columns.get()?;
    let session: String = columns.get()?;
    let part: String = columns.get()?;
    let part = Part::from_text(&part).ok_or_else(|| damaged("its part"))?;
    let notify: u8 = columns.get()?;
    let notify = Notify::ALL.into_iter().find(|n| notify_number(*n) == notify);
    let notify = notify.ok_or_else(|| damaged("its policy"))?;
    let state = from_number(columns.get()?).map_err(Fault::Damaged)?;
    let at = Wall(columns.get()?);
    let delivery: u8 = columns.get()?;
    let (holder, until): (Option<String>, Option<i64>) = (columns.get()?, columns.get()?);
    let delivery = match (delivery, holder, until) {
        (UNREAD, ..) => Delivery::Unread,
        (LEASED, Some(holder), Some(until)) => Delivery::Leased { holder, until: Wall(until) },
        (ACKNOWLEDGED, ..) => Delivery::Acknowledged,
        (SUPERSEDED, ..) => Delivery::Superseded,
        _ => return Err(damaged("its way")),
    };
    let id = NoticeId { task, attempt, kind, episode: episode.unsigned_abs() };
    Ok(NoticeRecord {
        id,
        scope: Scope { session: SessionId::new(session), part },
        notify,
        state,
        at,
        delivery,
    })
}

const fn kind_number(kind: NoticeKind) -> u8 {
    match kind {
        NoticeKind::Done => 0,
        NoticeKind::Deadline => 1,
    }
}

const fn notify_number(notify: Notify) -> u8 {
    match notify {
        Notify::AllDone => 0,
        Notify::Each => 1,
        Notify::Failures => 2,
        Notify::Never => 3,
    }
}

const _: () = {
    // The numbers in the statements above and in the layout.
    assert!(kind_number(NoticeKind::Deadline) == 1);
    assert!(UNREAD == 0 && LEASED < ACKNOWLEDGED && ACKNOWLEDGED == 2);
};
