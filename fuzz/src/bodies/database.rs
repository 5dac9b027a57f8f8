//! The database file: damaged in any way, it is read, or refused, and never taken for another.
//!
//! The input changes a small store: bytes of the file, or values in its rows. Both readers then ask
//! everything there is to ask.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use meanwhile_core::{TaskId, Wall};
use meanwhile_store::{EventFilter, Filter, Reader, Retention, SqliteReader, SqliteStore, Store};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::sample;
use crate::feed::Feed;

/// Rows that one question answers with.
const ROWS: usize = 100;

pub(crate) fn run(bytes: &[u8]) {
    let mut feed = Feed::of(bytes);
    let path = &fresh();
    match feed.choose(2) {
        0 => change_bytes(&mut feed, path),
        _ => change_rows(&mut feed, path),
    }
    if let Ok(mut reader) = SqliteReader::open(path) {
        ask(&mut reader);
    }
    if let Ok(mut store) = SqliteStore::open(path, &sample::identity()) {
        ask(&mut store);
        ask_writer(&mut store);
    }
}

/// The store, as new.
fn fresh() -> PathBuf {
    static STORE: OnceLock<Vec<u8>> = OnceLock::new();
    let directory = super::scratch_directory();
    super::empty(&directory);
    let path = directory.join("meanwhile.db");
    let bytes = STORE.get_or_init(|| {
        drop(sample::fill(&path));
        std::fs::read(&path).expect("the store is a file")
    });
    std::fs::write(&path, bytes).expect("the store can be written");
    path
}

fn change_bytes(feed: &mut Feed<'_>, path: &Path) {
    let mut bytes = std::fs::read(path).expect("it was just written");
    while !feed.is_empty() {
        let at = usize::from(feed.short()) << 8 | usize::from(feed.byte());
        let len = usize::from(feed.byte() & 15);
        let at = at % bytes.len();
        let piece = feed.take(len);
        let end = (at + piece.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&piece[..end - at]);
    }
    // Else every change would end at the first checksum.
    meanwhile_store::fuzzing::sum_pages(&mut bytes);
    std::fs::write(path, bytes).expect("the store can be written");
}

/// Every column of every table, so that the names are those of the file.
fn columns(db: &Connection) -> &'static [(String, String)] {
    static COLUMNS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    COLUMNS.get_or_init(|| {
        let sql = "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c \
                   WHERE m.type = 'table'";
        let mut query = db.prepare(sql).expect("the schema can be read");
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).expect("the schema can be read")
    })
}

fn change_rows(feed: &mut Feed<'_>, path: &Path) {
    let db = meanwhile_store::fuzzing::raw(path).expect("a store is a database");
    let columns = columns(&db);
    for _ in 0..=feed.choose(4) {
        let (table, column) = &columns[feed.choose(columns.len().min(256))];
        let value = match feed.choose(6) {
            0 => Value::Null,
            1 => Value::Integer(feed.number().cast_signed()),
            2 => Value::Integer(i64::from(feed.byte()) - 4),
            3 => Value::Blob(feed.take(16).to_vec()),
            4 => Value::Text(String::from_utf8_lossy(feed.take(16)).into_owned()),
            _ => Value::Text(String::from_utf8_lossy(feed.piece()).into_owned()),
        };
        let row = feed.choose(4);
        // What the table itself does not take is no damage that can be.
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {row} IN (3, rowid)");
        let plain = format!("UPDATE {table} SET {column} = ?1");
        let _refused = db.execute(&sql, [&value]).or_else(|_| db.execute(&plain, [&value]));
    }
}

fn ask(reader: &mut impl Reader) {
    let all = (TaskId::from_random(0), TaskId::from_random(u64::MAX));
    let ids = sample::TASKS.map(TaskId::from_random);
    let found = reader.find(all, ROWS).unwrap_or_default();
    for id in ids.iter().chain(&found) {
        if let Ok(Some(task)) = reader.task(*id) {
            assert!(!task.attempts.is_empty(), "a task has an attempt");
        }
    }
    let _answers = (
        reader.tasks(&ids),
        reader.states(&ids),
        reader.by_name("build", ROWS),
        reader.list(&Filter::default(), ROWS),
        reader.ids(&Filter::default(), ROWS),
        reader.summary(&Filter::default()),
    );
    if let Ok(events) = reader.events_since(0, ROWS, &EventFilter::default()) {
        assert!(events.is_sorted_by_key(|event| event.seq));
    }
}

fn ask_writer(store: &mut SqliteStore) {
    let loaded = store.load_unfinished();
    let specs = loaded.iter().flatten().map(|task| task.id).collect::<Vec<_>>();
    for id in specs.into_iter().chain(sample::TASKS.map(TaskId::from_random)) {
        let _answers = (store.spec(id), store.reopened(id));
    }
    let age = Some(std::time::Duration::ZERO);
    let retention = Retention { now: Wall(1 << 50), age, bytes: Some(0), at_most: ROWS };
    let _answers = (store.expired(&retention), store.by_idempotency_key("i"), store.checkpoint());
}
