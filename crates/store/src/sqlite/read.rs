//! The questions anybody may ask, each within one short transaction that the caller holds.

use meanwhile_core::{State, TaskId};
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params, params_from_iter};

use super::fault::Fault;
use super::fold::{id, int};
use super::rows::{self, Columns};
use super::schema::{ATTEMPT, TASK};
use crate::limits;
use crate::record::{EventFilter, EventRecord, Filter, StateCounts, TaskRecord};
use crate::stored::state::{from_number, to_number};

/// One task in full.
pub(super) fn task(db: &Connection, task: TaskId) -> Result<Option<TaskRecord>, Fault> {
    Records::of(db)?.by_id(task)
}

/// Several, in the order asked.
pub(super) fn tasks(db: &Connection, tasks: &[TaskId]) -> Result<Vec<Option<TaskRecord>>, Fault> {
    let mut records = Records::of(db)?;
    tasks.iter().map(|task| records.by_id(*task)).collect()
}

/// The statements that make up a record, looked up once per question.
struct Records<'db> {
    number: CachedStatement<'db>,
    task: CachedStatement<'db>,
    children: CachedStatement<'db>,
    earlier: CachedStatement<'db>,
}

impl<'db> Records<'db> {
    fn of(db: &'db Connection) -> Result<Self, Fault> {
        Ok(Self {
            number: db.prepare_cached("SELECT num FROM tasks WHERE id = ?1")?,
            task: db.prepare_cached(&format!(
                "SELECT {ATTEMPT}, {TASK} FROM tasks t JOIN launches l ON l.num = t.num
                 WHERE t.num = ?1"
            ))?,
            children: db.prepare_cached("SELECT id FROM tasks WHERE parent = ?1 ORDER BY num")?,
            earlier: db.prepare_cached(&format!(
                "SELECT {ATTEMPT} FROM attempts WHERE num = ?1 ORDER BY attempt"
            ))?,
        })
    }

    fn by_id(&mut self, task: TaskId) -> Result<Option<TaskRecord>, Fault> {
        let num = self.number.query_row(params![id(task)], |row| row.get(0)).optional()?;
        num.map(|num| self.by_number(num)).transpose()
    }

    /// The task of a row, which is there.
    fn by_number(&mut self, num: i64) -> Result<TaskRecord, Fault> {
        let mut found = self.task.query(params![num])?;
        let Some(row) = found.next()? else {
            return Err(Fault::Damaged(format!("row {num} has no launch")));
        };
        let (num, mut task) = rows::task(row)?;
        drop(found);
        let mut found = self.children.query(params![id(task.id)])?;
        task.children = ids_of(&mut found)?;
        if task.current().number > 1 {
            let mut earlier = Vec::new();
            let mut found = self.earlier.query(params![num])?;
            while let Some(row) = found.next()? {
                earlier.push(rows::attempt(&mut Columns::of(row))?);
            }
            task.attempts.splice(0..0, earlier);
        }
        Ok(task)
    }
}

/// The state of one task.
pub(super) fn state(db: &Connection, task: TaskId) -> Result<Option<State>, Fault> {
    let number: Option<i64> = db
        .prepare_cached("SELECT state FROM tasks WHERE id = ?1")?
        .query_row(params![id(task)], |row| row.get(0))
        .optional()?;
    number.map(from_number).transpose().map_err(Fault::Damaged)
}

/// Ids within a range, by id.
pub(super) fn find(
    db: &Connection,
    (low, high): (TaskId, TaskId),
    n: usize,
) -> Result<Vec<TaskId>, Fault> {
    let mut select =
        db.prepare_cached("SELECT id FROM tasks WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3")?;
    let mut found = select.query(params![id(low), id(high), count(n)])?;
    ids_of(&mut found)
}

/// Ids of a name, the newest first.
pub(super) fn by_name(db: &Connection, name: &str, n: usize) -> Result<Vec<TaskId>, Fault> {
    let mut select =
        db.prepare_cached("SELECT id FROM tasks WHERE name = ?1 ORDER BY num DESC LIMIT ?2")?;
    let mut found = select.query(params![name, count(n)])?;
    ids_of(&mut found)
}

fn ids_of(found: &mut rusqlite::Rows<'_>) -> Result<Vec<TaskId>, Fault> {
    let mut ids = Vec::new();
    while let Some(row) = found.next()? {
        ids.push(rows::task_id(row.get(0)?));
    }
    Ok(ids)
}

/// The newest tasks that match, in full.
pub(super) fn list(
    db: &Connection,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<TaskRecord>, Fault> {
    let (sql, values) = newest_sql(filter, limit);
    let mut select = db.prepare(&sql)?;
    let mut found = select.query(params_from_iter(values))?;
    let mut records = Records::of(db)?;
    let mut tasks = Vec::new();
    while let Some(row) = found.next()? {
        tasks.push(records.by_number(row.get(0)?)?);
    }
    Ok(tasks)
}

/// Selects the rows of the newest tasks that match.
pub(super) fn newest_sql(filter: &Filter, limit: usize) -> (String, Vec<Value>) {
    Query::of(filter).newest("t.num", limit)
}

/// The newest tasks that match, ids and states alone.
pub(super) fn ids(
    db: &Connection,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<(TaskId, State)>, Fault> {
    let (sql, values) = Query::of(filter).newest("t.num, t.id, t.state", limit);
    let mut select = db.prepare(&sql)?;
    let mut found = select.query(params_from_iter(values))?;
    let mut ids = Vec::new();
    while let Some(row) = found.next()? {
        let state = from_number(row.get(2)?).map_err(Fault::Damaged)?;
        ids.push((rows::task_id(row.get(1)?), state));
    }
    Ok(ids)
}

/// How many tasks match. Without conditions SQLite counts pages, not rows: 0.1 ms where counting by state
/// reads 100,000 entries of an index.
pub(super) fn total(db: &Connection, filter: &Filter) -> Result<u64, Fault> {
    let (condition, values) = Query::of(filter).condition();
    let mut select = db.prepare(&format!("SELECT count(*) FROM tasks t {condition}"))?;
    let tasks: i64 = select.query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(tasks.unsigned_abs())
}

/// How many tasks that match are in each state.
pub(super) fn summary(db: &Connection, filter: &Filter) -> Result<StateCounts, Fault> {
    let (condition, values) = Query::of(filter).condition();
    let mut select =
        db.prepare(&format!("SELECT t.state, count(*) FROM tasks t {condition} GROUP BY t.state"))?;
    let mut found = select.query(params_from_iter(values))?;
    let mut counts = StateCounts::default();
    while let Some(row) = found.next()? {
        let tasks: i64 = row.get(1)?;
        counts.add(from_number(row.get(0)?).map_err(Fault::Damaged)?, tasks.unsigned_abs());
    }
    Ok(counts)
}

/// Events after a number.
pub(super) fn events_since(
    db: &Connection,
    seq: u64,
    limit: usize,
    filter: &EventFilter,
) -> Result<Vec<EventRecord>, Fault> {
    let EventFilter { task, session } = filter;
    let mut select = db.prepare_cached(
        "SELECT seq, at, task, attempt, kind, data FROM events e
         WHERE seq > ?1 AND (?3 IS NULL OR task = ?3)
           AND (?4 IS NULL OR EXISTS (SELECT 1 FROM tasks t WHERE t.id = e.task AND t.session = ?4))
         ORDER BY seq LIMIT ?2",
    )?;
    let mut found = select.query(params![
        int(seq),
        count(limit),
        task.map(id),
        session.as_ref().map(|s| s.as_str())
    ])?;
    let mut events = Vec::new();
    while let Some(row) = found.next()? {
        events.push(rows::event(row)?);
    }
    Ok(events)
}

/// The newest number of the log.
/// What was last committed as known of sessions.
pub(super) fn sessions(db: &Connection) -> Result<Option<String>, Fault> {
    Ok(db
        .prepare_cached("SELECT value FROM meta WHERE key = 'sessions'")?
        .query_row([], |row| row.get(0))
        .optional()?)
}

pub(super) fn last_seq(db: &Connection) -> Result<u64, Fault> {
    let seq: Option<i64> =
        db.prepare_cached("SELECT max(seq) FROM events")?.query_row([], |row| row.get(0))?;
    Ok(seq.unwrap_or(0).unsigned_abs())
}

/// Contradictions of the file, and of rows among each other.
pub(super) fn integrity(db: &Connection) -> Result<Vec<String>, Fault> {
    let mut found: Vec<String> = db
        .prepare("PRAGMA integrity_check(100)")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    found.retain(|line| line != "ok");
    for (what, sql) in [
        (
            "tasks have no launch",
            "SELECT count(*) FROM tasks WHERE num NOT IN (SELECT num FROM launches)",
        ),
        (
            "launches have no task",
            "SELECT count(*) FROM launches WHERE num NOT IN (SELECT num FROM tasks)",
        ),
        (
            "attempts have no task",
            "SELECT count(*) FROM attempts WHERE num NOT IN (SELECT num FROM tasks)",
        ),
        (
            "notices have no task",
            "SELECT count(*) FROM notices WHERE num NOT IN (SELECT num FROM tasks)",
        ),
        (
            "tasks lack an earlier attempt",
            "SELECT count(*) FROM tasks t WHERE attempt - 1 <>
                 (SELECT count(*) FROM attempts a WHERE a.num = t.num)",
        ),
    ] {
        let rows: i64 = db.query_row(sql, [], |row| row.get(0))?;
        if rows > 0 {
            found.push(format!("{rows} {what}"));
        }
    }
    Ok(found)
}

fn count(n: usize) -> i64 {
    int(n.min(limits::LIST) as u64)
}

/// A filter as SQL. At most one condition may use an index, the most selective one that has one;
/// the others are hidden from the planner by a `+`, because it knows nothing of how many tasks share
/// a value and would sort where the table already is in the right order.
struct Query {
    conditions: Vec<String>,
    values: Vec<Value>,
    /// Not among the conditions yet.
    states: Vec<State>,
    /// A condition uses an index already.
    indexed: bool,
    /// The states are to use theirs, unless a condition did before.
    by_states: bool,
}

impl Query {
    fn of(filter: &Filter) -> Self {
        let Filter { states, lane, group, session, name, parent, labels, since } = filter;
        let mut query = Self {
            conditions: Vec::new(),
            values: Vec::new(),
            states: states.clone(),
            indexed: false,
            by_states: false,
        };
        query.states.sort_unstable();
        query.states.dedup();
        query.equal("parent", parent.map(|p| Value::Integer(id(p))));
        query.equal("name", name.clone().map(Value::Text));
        query.equal("grp", group.as_ref().map(|g| Value::Text(g.to_string())));
        // Unfinished tasks are fewer than those of a session that has a long past.
        query.by_states = !states.is_empty() && states.iter().all(|s| !s.is_terminal());
        query.equal("session", session.as_ref().map(|s| Value::Text(s.to_string())));
        if let Some(lane) = lane {
            query.add("+t.lane = ?", [Value::Text(lane.to_string())]);
        }
        if let Some(since) = since {
            query.add("t.created_at >= ?", [Value::Integer(since.0)]);
        }
        for (key, value) in labels {
            query.add(
                "EXISTS (SELECT 1 FROM labels b WHERE b.key = ? AND b.value = ? AND b.num = t.num)",
                [Value::Text(key.clone()), Value::Text(value.clone())],
            );
        }
        query
    }

    fn add(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.into());
        self.values.extend(values);
    }

    fn equal(&mut self, column: &str, value: Option<Value>) {
        if let Some(value) = value {
            let hidden = self.indexed || self.by_states;
            self.add(&format!("{}t.{column} = ?", if hidden { "+" } else { "" }), [value]);
            self.indexed |= !hidden;
        }
    }

    /// What a task must fulfil.
    fn condition(self) -> (String, Vec<Value>) {
        let Self { mut conditions, values, states, indexed, by_states: _ } = self;
        if !states.is_empty() {
            conditions.push(states_condition(&states, if indexed { "+" } else { "" }));
        }
        (where_all(&conditions), values)
    }

    /// Selects the newest; `columns` begins with `t.num`.
    ///
    /// By states alone, each state's newest are taken from its index and then merged: neither a rare
    /// nor a frequent state makes it read the whole table.
    fn newest(self, columns: &str, limit: usize) -> (String, Vec<Value>) {
        let Self { mut conditions, values, states, indexed, by_states: _ } = self;
        let limit = count(limit);
        let one = |conditions: &[String]| {
            format!(
                "SELECT {columns} FROM tasks t {} ORDER BY t.num DESC LIMIT {limit}",
                where_all(conditions)
            )
        };
        if states.is_empty() {
            return (one(&conditions), values);
        }
        if indexed {
            conditions.push(states_condition(&states, "+"));
            return (one(&conditions), values);
        }
        let parts: Vec<String> = states
            .iter()
            .map(|s| {
                let of_state = format!("t.state = {}", to_number(*s));
                let part = one(&[conditions.clone(), vec![of_state]].concat());
                format!("SELECT * FROM ({part})")
            })
            .collect();
        let values = states.iter().flat_map(|_| values.clone()).collect();
        (format!("{} ORDER BY 1 DESC LIMIT {limit}", parts.join(" UNION ALL ")), values)
    }
}

fn states_condition(states: &[State], hidden: &str) -> String {
    let numbers: Vec<String> = states.iter().map(|s| to_number(*s).to_string()).collect();
    format!("{hidden}t.state IN ({})", numbers.join(", "))
}

fn where_all(conditions: &[String]) -> String {
    if conditions.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", conditions.join(" AND "))
    }
}
