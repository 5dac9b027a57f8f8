//! Tests of what only this store has and only it can see: migrations and how queries are answered.

use std::fs;
use std::path::PathBuf;

use meanwhile_core::cause::{Actor, Cause};
use meanwhile_core::event::{End, Event, Fact};
use meanwhile_core::notice::{Notify, Part, Scope};
use meanwhile_core::{GroupName, Notice, SessionId, State, TaskId, Wall};
use rusqlite::{Connection, params_from_iter};

use super::schema::{APPLICATION_ID, LAYOUT_1, LAYOUT_2, Migration};
use super::{SqliteReader, SqliteStore, load, open, read};
use crate::{Filter, Identity, Reader as _, Store, StoreError};

fn here() -> Identity {
    Identity { machine: "m".into(), pid_namespace: 1, boot: "b".into() }
}

/// A connection that knows of checksums and of nothing else.
fn raw(path: &std::path::Path) -> rusqlite::Result<Connection> {
    crate::fuzzing::raw(path)
}

/// A store of this release in a directory of its own.
fn store() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meanwhile.db");
    drop(SqliteStore::open(&path, &here()).unwrap());
    (directory, path)
}

fn names(directory: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a later release might do: give every lane a note, and then one more change.
const LATER: &[Migration] = &[
    LAYOUT_1,
    LAYOUT_2,
    "ALTER TABLE lanes ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
    "INSERT INTO lanes (name, epoch, note) VALUES ('from 3 to 4', 3, 'new')",
];

#[test]
fn an_older_layout_is_migrated_and_a_copy_of_it_is_kept() {
    let (directory, path) = store();
    let db = raw(&path).unwrap();
    db.execute_batch("INSERT INTO lanes (name, epoch) VALUES ('a', 7)").unwrap();
    drop(db);
    let db = open::writer(&path, None, LATER).unwrap();
    let lanes: i64 =
        db.query_row("SELECT count(*) FROM lanes WHERE note <> ''", [], |r| r.get(0)).unwrap();
    assert_eq!((lanes, open::meta(&db).unwrap().schema), (2, 4));
    drop(db);
    assert_eq!(names(&directory), ["meanwhile.db", "meanwhile.db.layout-2"]);
    let copy = directory.path().join("meanwhile.db.layout-2");
    assert_eq!(crate::has_checksums(&copy), Some(true));
    let mut before = SqliteStore::open(&copy, &here()).unwrap();
    assert_eq!(before.lane_epoch(&meanwhile_core::LaneName::new("a")), Ok(7));
}

/// A store as the first release left it: one task that had ended, one that was queued.
fn first_release() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meanwhile.db");
    let db = raw(&path).unwrap();
    db.execute_batch(LAYOUT_1).unwrap();
    db.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = 1;
         INSERT INTO meta VALUES ('machine', 'm'), ('pid_namespace', '1'), ('boot', 'b');
         INSERT INTO tasks (num, id, created_at, session, lane, priority, command_key, ord, attempt, state,
             queued_at, token, ended_at, cause) VALUES
             (1, 7, 1, 's', 'commands', 0, 1, 1, 1, 5, 1, x'00112233445566778899aabbccddeeff', 9,
              '{{\"kind\":\"exit\",\"code\":3}}'),
             (2, 8, 2, 's', 'commands', 0, 1, 2, 1, 0, 2, NULL, NULL, NULL);
         INSERT INTO launches VALUES (1, '{LAUNCH}'), (2, '{LAUNCH}');"
    ))
    .unwrap();
    (directory, path)
}

const LAUNCH: &str = r#"{"v":1,"spec":{"command":{"argv":["true"]},"cwd":"/","env":{"profile":"agent","from":"client"},"process":{"umask":18},"timing":{"grace_ns":10000000000}},"by_person":true}"#;

#[test]
fn a_store_of_the_first_release_keeps_its_tasks_and_tells_of_ends_from_then_on() {
    let (directory, path) = first_release();
    let older = StoreError::Older { path: path.clone(), found: 1, needed: 2 };
    assert_eq!(SqliteReader::open(&path).unwrap_err(), older, "a reader changes nothing");
    let mut store = SqliteStore::open(&path, &here()).unwrap();
    assert!(names(&directory).contains(&"meanwhile.db.layout-1".to_owned()));
    assert_eq!(store.meta().schema, 2);
    let [ended, queued] = [7, 8].map(TaskId::from_random);
    assert_eq!(store.states(&[ended, queued]), Ok(vec![Some(State::Failed), Some(State::Queued)]));
    assert_eq!(store.notices_of(&[ended, queued]), Ok(vec![]), "what ended before was told before");
    let scope = Scope { session: SessionId::new("s"), part: Part::Rest };
    let notice = Notice { scope, notify: Notify::AllDone };
    let by = Actor::Person;
    let end = End {
        state: State::Cancelled,
        cause: Cause::CancelledBy { who: by },
        exit: None,
        run: None,
        seat_kept: false,
    };
    let fact = Fact::Ended { end: Box::new(end), notice: Some(Box::new(notice)) };
    let event = Event { at: Wall(11), task: queued, attempt: 1, fact };
    store.commit(&crate::Batch { events: &[event], ..Default::default() }).unwrap();
    let open = store.open_notices(Some(&SessionId::new("s")), 9).unwrap();
    assert_eq!(open.iter().map(|n| n.id.task).collect::<Vec<_>>(), [queued]);
    assert_eq!(store.integrity(), Ok(vec![]));
}

#[test]
fn what_a_session_has_not_heard_is_found_by_its_index() {
    let (_directory, path) = store();
    let db = open::writer(&path, None, super::schema::MIGRATIONS).unwrap();
    let limit = rusqlite::types::Value::Integer(9);
    let session = rusqlite::types::Value::Text("s".into());
    for (of_session, values) in [(true, vec![limit.clone(), session]), (false, vec![limit])] {
        let plan = plan(&db, &super::notices::open_sql(of_session), values);
        assert!(plan.contains("notices_open"), "{plan}");
        assert!(!plan.contains("SCAN t"), "{plan}");
    }
}

#[test]
fn a_migration_that_fails_changes_nothing_and_names_the_copy() {
    let (directory, path) = store();
    let broken =
        &[LAYOUT_1, LAYOUT_2, LATER[2], "INSERT INTO lanes (name) VALUES (1); SELECT nonsense"];
    for copy in ["meanwhile.db.layout-2", "meanwhile.db.layout-2.1"] {
        let error = open::writer(&path, None, broken).unwrap_err();
        let StoreError::Migration { from: 2, to: 4, backup, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*backup, Some(directory.path().join(copy)), "no copy replaces another");
        assert!(error.hints().concat().contains(copy));
    }
    let store = SqliteStore::open(&path, &here()).unwrap();
    assert_eq!(store.meta().schema, 2);
}

#[test]
fn a_newer_layout_is_refused_by_writer_and_reader_and_left_as_it_is() {
    let (directory, path) = store();
    drop(open::writer(&path, None, LATER).unwrap());
    let before = fs::read(&path).unwrap();
    let newer = StoreError::Newer { path: path.clone(), found: 4, supported: 2 };
    assert_eq!(SqliteStore::open(&path, &here()).unwrap_err(), newer);
    assert_eq!(SqliteReader::open(&path).unwrap_err(), newer);
    assert!(before == fs::read(&path).unwrap(), "the file was changed");
    // A reader leaves the (empty) log of writes behind, and nothing else.
    assert_eq!(fs::metadata(super::wal_path(&path)).map_or(0, |m| m.len()), 0);
    let mut names = names(&directory);
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    assert_eq!(names, ["meanwhile.db", "meanwhile.db.layout-2"]);
}

#[test]
fn a_store_that_was_never_finished_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meanwhile.db");
    fs::write(directory.path().join("meanwhile.db.new"), b"half").unwrap();
    drop(SqliteStore::open(&path, &here()).unwrap());
    assert_eq!(names(&directory), ["meanwhile.db"]);
}

/// How SQLite answers, one step per line.
fn plan(db: &Connection, sql: &str, values: Vec<rusqlite::types::Value>) -> String {
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
    steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_list_reads_all_tasks_or_sorts_them() {
    let (_directory, path) = store();
    let db = open::writer(&path, None, super::schema::MIGRATIONS).unwrap();
    let any = Filter::default;
    let session = Some(SessionId::new("s"));
    let label = vec![("k".to_owned(), "v".to_owned())];
    for (filter, index) in [
        (any(), "SCAN t"),
        (Filter { states: vec![State::Running, State::Failed], ..any() }, "tasks_state"),
        (Filter { session: session.clone(), ..any() }, "tasks_session"),
        (
            Filter { states: vec![State::Failed], session: session.clone(), ..any() },
            "tasks_session",
        ),
        (Filter { states: vec![State::Running], session, ..any() }, "tasks_state"),
        (Filter { group: Some(GroupName::new("g")), labels: label, ..any() }, "tasks_group"),
        (Filter { name: Some("n".into()), ..any() }, "tasks_name"),
        (
            Filter { parent: Some(TaskId::from_random(1)), name: Some("n".into()), ..any() },
            "tasks_parent",
        ),
    ] {
        let (sql, values) = read::newest_sql(&filter, 50);
        let plan = plan(&db, &sql, values);
        assert!(plan.contains(index), "{filter:?}:\n{plan}");
        // Rows come newest first out of the table or index, so that the limit ends the reading.
        // Sorted is at most what the limit has let through, to merge states.
        let merged = plan.replace("SCAN (subquery-1)\nUSE TEMP B-TREE FOR ORDER BY", "");
        let merged = merged.replace("SCAN (subquery-3)\nUSE TEMP B-TREE FOR ORDER BY", "");
        assert!(!merged.contains("TEMP B-TREE"), "{filter:?}:\n{plan}");
    }
}

#[test]
fn loading_and_counting_read_indexes_alone() {
    let (_directory, path) = store();
    let db = open::writer(&path, None, super::schema::MIGRATIONS).unwrap();
    let loading = plan(&db, &load::unfinished_sql(), Vec::new());
    assert!(loading.contains("tasks_state") && loading.contains("tasks_seat_kept"), "{loading}");
    assert!(!loading.contains("SCAN t\n") && !loading.contains("SCAN l"), "{loading}");
    let counting = plan(&db, "SELECT t.state, count(*) FROM tasks t GROUP BY t.state", Vec::new());
    assert!(counting.contains("COVERING INDEX tasks_state"), "{counting}");
}

#[test]
fn a_commit_is_synced_before_and_after_a_reopening() {
    let (_directory, path) = store();
    let mut store = SqliteStore::open(&path, &here()).unwrap();
    for _ in 0..2 {
        let get = |pragma| store.db.pragma_query_value(None, pragma, |r| r.get::<_, String>(0));
        assert_eq!(get("journal_mode").unwrap(), "wal");
        let full = store.db.pragma_query_value(None, "synchronous", |r| r.get::<_, i64>(0));
        assert_eq!(full.unwrap(), 2, "2 is FULL");
        store.reopen().unwrap();
    }
}

#[test]
fn a_reopening_writes_the_log_of_writes_once_more_where_it_belongs() {
    let (_directory, path) = store();
    let mut store = SqliteStore::open(&path, &here()).unwrap();
    let wal = || fs::metadata(super::wal_path(&path)).unwrap().len();
    let restarted = Identity { boot: "another".into(), ..here() };
    store.commit(&crate::Batch { here: Some(&restarted), ..Default::default() }).unwrap();
    assert!(wal() > 0);
    store.failed = Some(StoreError::Io { path: path.clone(), what: "fsync".into() });
    assert!(store.commit(&crate::Batch::default()).is_err());
    store.reopen().unwrap();
    assert_eq!((wal(), store.meta().identity), (0, restarted));
    store.commit(&crate::Batch::default()).unwrap();
}

/// What needs a process of its own.
#[cfg(test)]
mod killed {
    use super::*;

    /// Names the store for the helper process.
    const MIGRATED: &str = "MEANWHILE_STORE_TEST_MIGRATED";

    /// Its last step has no end, and writes all the while.
    const ENDLESS: &[Migration] = &[
        LAYOUT_1,
        LAYOUT_2,
        LATER[2],
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
         INSERT INTO lanes (name, epoch) SELECT 'lane ' || i, i FROM n",
    ];

    #[test]
    #[ignore = "the helper process of the test that kills it, started by that"]
    fn migrates_until_it_is_killed() {
        let path = std::env::var_os(MIGRATED).expect("the test that starts it says where");
        let _ = open::writer(path.as_ref(), None, ENDLESS);
    }

    #[test]
    fn a_crash_in_the_middle_of_a_migration_leaves_the_older_store_whole() {
        let (directory, path) = store();
        let db = raw(&path).unwrap();
        db.execute_batch("INSERT INTO lanes (name, epoch) VALUES ('a', 7)").unwrap();
        drop(db);
        let mut helper = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::tests::killed::migrates_until_it_is_killed", "--ignored"])
            .env(MIGRATED, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Far more than one step but the last could have written, and more than is kept in memory.
        meanwhile_testkit::until(
            "the migration to be under way",
            meanwhile_testkit::DEADLINE,
            || {
                let log = fs::metadata(crate::sqlite::wal_path(&path)).map_or(0, |log| log.len());
                (log > 8 << 20).then_some(())
            },
        );
        helper.kill().unwrap();
        assert!(!helper.wait().unwrap().success(), "it was killed");

        let lane = meanwhile_core::LaneName::new("a");
        let mut store = SqliteStore::open(&path, &here()).unwrap();
        assert_eq!((store.meta().schema, store.lane_epoch(&lane)), (2, Ok(7)));
        assert_eq!(store.integrity(), Ok(vec![]));
        drop(store);
        let db = open::writer(&path, None, LATER).unwrap();
        let lanes: i64 = db.query_row("SELECT count(*) FROM lanes", [], |r| r.get(0)).unwrap();
        assert_eq!((lanes, open::meta(&db).unwrap().schema), (2, 4), "and it can be migrated");
        drop(db);
        let copies = names(&directory).into_iter().filter(|name| name.contains("layout-2"));
        assert_eq!(copies.count(), 2, "each try kept a copy");
    }
}
