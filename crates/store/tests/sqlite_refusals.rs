//! What is refused, and that it is left exactly as it was.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use meanwhile_store::{
    Batch, Identity, OpenOptions, Reader as _, SqliteReader, SqliteStore, Store as _, StoreError,
};
use meanwhile_testkit::conformance::home_identity;
use meanwhile_testkit::{free_uid, mode};
use rustix::process::Uid;

fn home() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("meanwhile.db");
    (directory, path)
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, &home_identity())
}

#[test]
fn a_reader_makes_no_store_where_there_is_none() {
    let (directory, path) = home();
    let missing = StoreError::Missing { path: path.clone() };
    assert_eq!(SqliteReader::open(&path).expect_err("there is none"), missing);
    assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 0);
}

#[test]
fn every_file_of_a_store_is_its_owners_alone() {
    let (directory, path) = home();
    let mut store = open(&path).expect("it opens");
    store.commit(&Batch { here: Some(&home_identity()), ..Batch::default() }).expect("it commits");
    let files: Vec<_> =
        fs::read_dir(directory.path()).expect("it is there").map(|e| e.expect("a file")).collect();
    assert_eq!(files.len(), 3, "the store, its log of writes and the index of that");
    for file in files {
        let mode = file.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.file_name());
    }
}

/// Checks that neither writer nor reader accepts this content, and that it is not touched.
fn check_refused(what: &str, content: &[u8], right: impl Fn(&StoreError) -> bool) {
    let (_directory, path) = home();
    fs::write(&path, content).expect("it is written");
    let writer = open(&path).expect_err(what);
    assert!(right(&writer), "{what}: {writer:?}");
    let hints = writer.hints().join("\n");
    assert!(hints.contains(&path.display().to_string()), "{what}: {hints}");
    if let Ok(mut reader) = SqliteReader::open(&path) {
        // A reader looks only at what it is asked for.
        let found = reader.integrity();
        assert!(found.as_ref().is_ok_and(|f| !f.is_empty()) || found.is_err(), "{what}: {found:?}");
    }
    assert!(fs::read(&path).expect("it is there") == content, "{what}: the file was changed");
}

/// The bytes of a sound store that holds something.
fn sound() -> Vec<u8> {
    let (_directory, path) = home();
    drop(open(&path).expect("it opens"));
    fs::read(&path).expect("it is there")
}

#[test]
fn a_damaged_file_is_refused_kept_and_explained() {
    let damaged = |e: &StoreError| matches!(e, StoreError::Damaged { .. });
    let sound = sound();
    check_refused("nothing", b"", damaged);
    check_refused("something else", &b"[1, 2]\n".repeat(2000), damaged);
    check_refused("half of it", &sound[..sound.len() / 2 / 4096 * 4096], damaged);
    check_refused("part of a page", &sound[..1000], damaged);
    let mut zeroed = sound.clone();
    zeroed[4096..8192].fill(0);
    check_refused("a page of zeros", &zeroed, damaged);
    let mut header = sound.clone();
    header[..16].fill(b'x');
    check_refused("no header", &header, damaged);
    for page in 1..sound.len() / 4096 {
        // The byte that says what kind of page it is.
        let mut flipped = sound.clone();
        flipped[page * 4096] ^= 0x40;
        check_refused(&format!("a flipped bit in page {page}"), &flipped, damaged);
    }
}

#[test]
fn another_programs_database_is_refused_and_kept() {
    let (_directory, path) = home();
    let other = rusqlite::Connection::open(&path).expect("it opens");
    other.execute_batch("CREATE TABLE cookies (a)").expect("it writes");
    other.close().expect("it closes");
    let before = fs::read(&path).expect("it is there");
    check_refused("cookies", &before, |e| matches!(e, StoreError::Unreadable { .. }));
}

#[test]
fn a_row_that_no_release_writes_is_damage_and_names_what_it_is() {
    let (_directory, path) = home();
    drop(open(&path).expect("it opens"));
    let other = meanwhile_store::fuzzing::raw(&path).expect("it opens");
    let insert = "INSERT INTO tasks (id, created_at, session, lane, priority, command_key, ord,
                      attempt, state, queued_at)
                  VALUES (1, 0, 's', 'l', 0, 0, 0, 1, 0, 0);
                  INSERT INTO launches (num, launch) VALUES (1, '{\"v\": 1');";
    other.execute_batch(insert).expect("it writes");
    other.close().expect("it closes");
    let mut store = open(&path).expect("it opens");
    let error = store.load_unfinished().expect_err("a task would be lost silently");
    let StoreError::Damaged { what, .. } = &error else { panic!("{error:?}") };
    assert!(what.contains("0000000001"), "{what}");
    assert!(store.commit(&Batch::default()).is_err(), "nothing is promised on a damaged store");
}

#[test]
fn links_and_directories_are_no_stores() {
    let (directory, path) = home();
    let elsewhere = directory.path().join("elsewhere");
    drop(open(&elsewhere).expect("it opens"));
    symlink(&elsewhere, &path).expect("it links");
    for link in [Some(()), None] {
        if link.is_none() {
            fs::remove_file(&path).expect("it goes");
            fs::create_dir(&path).expect("it is made");
        }
        let error = open(&path).expect_err("it is no file");
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
        assert!(SqliteReader::open(&path).is_err());
    }
}

#[test]
fn doctor_may_open_a_foreign_store_which_stays_foreign_until_it_says_otherwise() {
    let (_directory, path) = home();
    drop(open(&path).expect("it opens"));
    let here = Identity { machine: "other".into(), boot: "other".into(), pid_namespace: 9 };
    let accepted = OpenOptions { accept_foreign: true, ..OpenOptions::default() };
    drop(SqliteStore::open_with(&path, &here, accepted).expect("it is accepted"));
    assert!(matches!(SqliteStore::open(&path, &here), Err(StoreError::Foreign { .. })));
    let mut store = SqliteStore::open_with(&path, &here, accepted).expect("it is accepted");
    store.commit(&Batch { here: Some(&here), ..Batch::default() }).expect("it commits");
    drop(store);
    drop(SqliteStore::open(&path, &here).expect("it is at home here"));
    let recorded = SqliteReader::open(&path).expect("it opens").meta().expect("it reads");
    assert_eq!(recorded.identity, here);
    assert!(matches!(open(&path), Err(StoreError::Foreign { .. })));
}

/// Runs `look` as somebody who may read everything below `directory` and write nothing.
fn unprivileged<T: Send>(directory: &Path, look: impl FnOnce() -> T + Send) -> T {
    let read_only = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    for entry in fs::read_dir(directory).expect("it is there") {
        read_only(&entry.expect("a file").path(), 0o444);
    }
    read_only(directory, 0o555);
    let looked = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            if mode::is_root() {
                // This thread alone becomes somebody else.
                let uid = Uid::from_raw(free_uid());
                rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root may");
            }
            look()
        });
        other.join().expect("it does not panic")
    });
    read_only(directory, 0o755);
    looked
}

#[test]
fn a_store_can_be_read_where_nothing_can_be_written() {
    let (directory, path) = home();
    drop(open(&path).expect("it opens"));
    let seen = unprivileged(directory.path(), || {
        let mut reader = SqliteReader::open(&path)?;
        Ok::<_, StoreError>((reader.last_seq()?, reader.meta()?.identity))
    });
    assert_eq!(seen, Ok((0, home_identity())));
}

#[test]
fn where_nothing_can_be_written_unmerged_writes_are_refused_or_seen_but_never_left_out() {
    let (from, path) = home();
    let mut store = open(&path).expect("it opens");
    let here = Identity { boot: "boot-2".into(), ..home_identity() };
    store.commit(&Batch { here: Some(&here), ..Batch::default() }).expect("it commits");
    let (directory, copy) = home();
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(name(&path), name(&copy)).expect("it copies");
    }
    drop((store, from));
    let error = unprivileged(directory.path(), || SqliteReader::open(&copy).map(drop))
        .expect_err("the commit is only in the log of writes");
    let StoreError::Unreadable { why, .. } = &error else { panic!("{error:?}") };
    assert!(why.contains("write-ahead log"), "{why}");
}
