//! Bits that change on disk: found, told with their place, and nothing is changed by it.

mod kit;

use std::fs;
use std::path::{Path, PathBuf};

use meanwhile_core::{LaneName, TaskId};

use meanwhile_store::{
    Batch, Identity, Reader as _, SqliteReader, SqliteStore, Store as _, StoreError, has_checksums,
};
use meanwhile_testkit::Dice;
use meanwhile_testkit::conformance::home_identity;

use kit::submission;

/// Bytes of a page.
const PAGE: usize = 4096;

fn here() -> Identity {
    home_identity()
}

fn wal_path(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A closed store with tasks, and where it is.
fn store_with_tasks() -> (tempfile::TempDir, PathBuf) {
    let (directory, path, mut store) = fresh();
    commit(&mut store, 1..40);
    drop(store);
    (directory, path)
}

fn fresh() -> (tempfile::TempDir, PathBuf, SqliteStore) {
    let directory = tempfile::tempdir().expect("it works");
    let path = directory.path().join("meanwhile.db");
    let store = SqliteStore::open(&path, &here()).expect("it works");
    (directory, path, store)
}

/// One commit per task, each a few hundred bytes.
fn commit(store: &mut SqliteStore, ids: std::ops::Range<u64>) {
    for id in ids {
        let events = [submission(id, 300)];
        store.commit(&Batch { events: &events, ..Batch::default() }).expect("it works");
    }
}

fn refusal(path: &Path) -> String {
    match SqliteStore::open(path, &here()) {
        Err(StoreError::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bit_that_changed_in_any_page_is_found_and_the_page_is_named() {
    let (_directory, path) = store_with_tasks();
    let sound = fs::read(&path).expect("it works");
    let mut dice = Dice::new();
    let pages = sound.len() / 4096;
    assert!(pages > 8, "{pages}");
    for page in 0..pages {
        // Behind what SQLite checks by itself in the first page; that it is refused for is told in its own words.
        let at = page * 4096 + usize::try_from(dice.number(100..4092)).expect("it works");
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << dice.number(0..8);
        fs::write(&path, &flipped).expect("it works");
        let what = refusal(&path);
        let named = format!("page {} does not hold what Meanwhile wrote to it", page + 1);
        assert!(what.contains(&named), "byte {at}: {what}");
        assert!(fs::read(&path).expect("it works") == flipped, "a refused store was changed");
        fs::remove_file(wal_path(&path)).ok();
    }
}

#[test]
fn a_flip_in_the_byte_that_says_there_are_checksums_is_found_by_them() {
    let (_directory, path) = store_with_tasks();
    let sound = fs::read(&path).expect("it works");
    for bit in 0..8 {
        let mut flipped = sound.clone();
        flipped[20] ^= 1 << bit;
        fs::write(&path, &flipped).expect("it works");
        refusal(&path);
        assert!(fs::read(&path).expect("it works") == flipped, "a refused store was changed");
    }
}

#[test]
fn a_page_that_lies_where_another_belongs_is_found() {
    let (_directory, path) = store_with_tasks();
    let mut bytes = fs::read(&path).expect("it works");
    let page = PAGE;
    let (one, other) = (bytes[page * 2..page * 3].to_vec(), bytes[page * 3..page * 4].to_vec());
    bytes[page * 2..page * 3].copy_from_slice(&other);
    bytes[page * 3..page * 4].copy_from_slice(&one);
    fs::write(&path, &bytes).expect("it works");
    assert!(refusal(&path).contains("does not hold what Meanwhile wrote"));
}

#[test]
fn a_bit_that_changes_while_a_store_is_open_is_found_when_it_is_read() {
    let (_directory, path) = store_with_tasks();
    let mut reader = SqliteReader::open(&path).expect("it works");
    let mut bytes = fs::read(&path).expect("it works");
    for page in bytes.as_chunks_mut::<4096>().0.iter_mut().skip(1) {
        page[4000] ^= 1;
    }
    fs::write(&path, &bytes).expect("it works");
    let error = reader.task(TaskId::from_random(7 * 7919)).expect_err("it is damaged");
    assert!(
        matches!(&error, StoreError::Damaged { what, .. } if what.contains("checksum")),
        "{error}"
    );
    assert!(error.hints().concat().contains(".recover"));
}

#[test]
fn a_store_without_checksums_is_used_as_it_is() {
    let directory = tempfile::tempdir().expect("it works");
    let path = directory.path().join("meanwhile.db");
    // As a build from before them made it, and as `sqlite3 .recover` does.
    let (_other, sound) = store_with_tasks();
    let from = rusqlite::Connection::open(sound).expect("it works");
    let to = rusqlite::Connection::open(&path).expect("it works");
    copy_by_statements(&from, &to);
    drop((from, to));
    assert_eq!(has_checksums(&path), Some(false));
    let mut store = SqliteStore::open(&path, &here()).expect("it works");
    commit(&mut store, 50..80);
    assert!(!store.checkpoint().expect("it works").held_up);
    drop(store);
    let db = rusqlite::Connection::open(&path).expect("it works");
    let sound: String =
        db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it works");
    assert_eq!((sound.as_str(), has_checksums(&path)), ("ok", Some(false)));
}

/// The tables and all that is in them, but by SQL alone.
fn copy_by_statements(from: &rusqlite::Connection, to: &rusqlite::Connection) {
    let texts = |sql: &str| -> Vec<String> {
        let mut query = from.prepare(sql).expect("it is our SQL");
        let rows = query.query_map([], |row| row.get(0)).expect("it reads");
        rows.collect::<Result<_, _>>().expect("it reads")
    };
    for statement in texts("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid") {
        to.execute_batch(&statement).expect("it is SQLite's own");
    }
    let path: String = from.path().expect("it has one").into();
    to.execute("ATTACH ?1 AS old", [path]).expect("it is there");
    for table in texts("SELECT name FROM sqlite_schema WHERE type = 'table'") {
        to.execute_batch(&format!("INSERT INTO {table} SELECT * FROM old.{table}"))
            .expect("it fits");
    }
    for pragma in ["application_id", "user_version"] {
        let value: i64 = from.pragma_query_value(None, pragma, |row| row.get(0)).expect("it reads");
        to.pragma_update(None, pragma, value).expect("it writes");
    }
}

/// A log of 20 commits as a killed writer leaves it, beside the file it belongs to.
fn left_behind() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let (_first, path, mut store) = fresh();
    commit(&mut store, 1..21);
    let copy = tempfile::tempdir().expect("it works");
    let to = copy.path().join("meanwhile.db");
    let log = fs::read(wal_path(&path)).expect("it works");
    fs::copy(&path, &to).expect("it works");
    fs::write(wal_path(&to), &log).expect("it works");
    (copy, to, log)
}

const FRAME: usize = 24 + 4096;

/// Where frames that end a commit begin.
fn commits(log: &[u8]) -> Vec<usize> {
    let frames = (0..(log.len() - 32) / FRAME).map(|n| 32 + n * FRAME);
    frames
        .filter(|at| log[at + 8..at + 16] == log[16..24] && log[at + 4..at + 8] != [0; 4])
        .collect()
}

#[test]
fn a_bit_that_changed_in_a_log_that_was_left_is_found_before_later_commits_are_dropped() {
    let (_directory, path, log) = left_behind();
    let ends = commits(&log);
    assert!(ends.len() >= 20, "{ends:?}");
    let before_last = ends[ends.len() - 2];
    let mut dice = Dice::new();
    let file = fs::read(&path).expect("it works");
    let mut places: Vec<usize> = (0..32).collect();
    places.extend(
        (0..40).map(|_| {
            usize::try_from(dice.number(32..before_last as u64 + 4120)).expect("it works")
        }),
    );
    // In each part of a frame's head.
    places.extend((0..24).map(|byte| ends[7] + byte));
    for at in places {
        let mut flipped = log.clone();
        flipped[at] ^= 1 << dice.number(0..8);
        fs::write(wal_path(&path), &flipped).expect("it works");
        let what = refusal(&path);
        assert!(
            what.contains("of its write-ahead log is not what was written"),
            "byte {at}: {what}"
        );
        assert!(
            fs::read(wal_path(&path)).expect("it works") == flipped
                && fs::read(&path).expect("it works") == file
        );
    }
}

#[test]
fn a_last_commit_that_is_there_in_part_is_a_crash_and_no_damage() {
    let (_directory, path, log) = left_behind();
    let file = fs::read(&path).expect("it works");
    let ends = commits(&log);
    let (before, last) = (ends[ends.len() - 2] + FRAME, ends[ends.len() - 1] + FRAME);
    for cut in [before, before + 1, before + 30, last - 4096] {
        let mut torn = log[..cut].to_vec();
        // In another order than it was written, as a disk may.
        torn.resize(last, 0);
        for left in [&log[..cut], &torn] {
            fs::write(&path, &file).expect("it works");
            fs::write(wal_path(&path), left).expect("it works");
            let mut store = SqliteStore::open(&path, &here()).expect("it works");
            let known = |store: &mut SqliteStore, id: u64| {
                store.task(TaskId::from_random(id * 7919)).expect("it works").is_some()
            };
            assert!(known(&mut store, 19) && !known(&mut store, 20), "cut at {cut}");
        }
    }
}

#[test]
fn a_log_that_never_came_to_hold_anything_is_none() {
    let (_directory, path) = store_with_tasks();
    for left in [&b""[..], &[0; 20], &[0; 32], &[0; 5000]] {
        fs::write(wal_path(&path), left).expect("it works");
        let mut store = SqliteStore::open(&path, &here()).expect("it works");
        assert_eq!(store.lane_epoch(&LaneName::new("none")), Ok(0));
    }
}
