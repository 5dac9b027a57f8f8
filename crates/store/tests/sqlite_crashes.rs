//! The file after crashes: killed writers, torn logs, full disks, files that vanish.

mod kit;

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use meanwhile_core::{Boot, Now, RequestId, Wall};
use meanwhile_store::{
    Batch, Committed, Reader as _, SavedReply, SqliteReader, SqliteStore, Store as _, StoreError,
};
use meanwhile_testkit::conformance::home_identity;
use meanwhile_testkit::mode;

use kit::submission;

/// Names the store for the helper process.
const VICTIM: &str = "MEANWHILE_STORE_TEST_VICTIM";
/// Ends the helper process by itself after so many pairs.
const PAIRS: &str = "MEANWHILE_STORE_TEST_PAIRS";

fn home() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("meanwhile.db");
    (directory, path)
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, &home_identity()).expect("it opens")
}

/// Commits tasks 2n-1 and 2n with one reply, which are there together or not at all.
fn commit_pair(store: &mut SqliteStore, n: u64) -> Result<Committed, StoreError> {
    let request = RequestId::new(format!("r-{n}"));
    store.commit(&Batch {
        now: Now { wall: Wall(1_790_000_000_000), boot: Boot(1) },
        events: &[submission(2 * n - 1, 10), submission(2 * n, 3000)],
        replies: &[SavedReply { request: &request, reply: b"told" }],
        ..Batch::default()
    })
}

/// How many pairs are kept, having checked that each is whole and nothing contradicts anything.
fn pairs(store: &mut SqliteStore) -> u64 {
    let seq = store.last_seq().expect("it reads");
    assert_eq!(seq % 2, 0, "half a batch was kept");
    let tasks = store.list(&Default::default(), usize::MAX).expect("it reads");
    assert_eq!(tasks.len() as u64, seq);
    for n in 1..=seq / 2 {
        let reply = store.reply(&RequestId::new(format!("r-{n}")));
        assert_eq!(reply, Ok(Some(b"told".to_vec())), "pair {n} of {seq}");
    }
    assert_eq!(store.integrity(), Ok(vec![]));
    seq / 2
}

#[test]
#[ignore = "the helper process of the tests that kill it, started by them"]
fn commits_until_it_is_killed() {
    let path = std::env::var_os(VICTIM).expect("the test that starts it says where");
    let most = std::env::var(PAIRS).map_or(u64::MAX, |n| n.parse().expect("a number"));
    let mut store = open(Path::new(&path));
    for n in pairs(&mut store) + 1..=most {
        commit_pair(&mut store, n).expect("it commits");
        println!("acknowledged {n}");
    }
}

/// What the helper process is started with, by `program` or directly.
fn victim(program: Option<&[&str]>, path: &Path) -> Command {
    let helper = std::env::current_exe().expect("it runs");
    let mut command = match program {
        Some([program, args @ ..]) => {
            let mut command = Command::new(program);
            command.args(args).arg(helper);
            command
        }
        Some([]) | None => Command::new(helper),
    };
    command
        .args(["--exact", "commits_until_it_is_killed", "--ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env(VICTIM, path)
        .stdout(Stdio::piped());
    command
}

/// The number in a line of the helper process.
fn acknowledged(line: &str) -> Option<u64> {
    line.split("acknowledged ").nth(1).map(|n| n.trim().parse().expect("a number"))
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let (_directory, path) = home();
    drop(open(&path));
    let mut total = 0;
    for round in 1..=8 {
        let mut victim = victim(None, &path).spawn().expect("the test binary starts itself");
        let output = BufReader::new(victim.stdout.take().expect("it is piped"));
        let mut last = 0;
        // Killed at another moment each round: in between, during the next commit or a checkpoint.
        for n in output.lines().map_while(Result::ok).filter_map(|line| acknowledged(&line)) {
            last = n;
            if last >= total + round * 17 {
                victim.kill().expect("it is ours");
            }
        }
        victim.wait().expect("it is ours");
        assert!(last > total, "the helper did nothing");
        total = pairs(&mut open(&path));
        assert!(total >= last, "{last} were acknowledged, {total} are kept");
    }
}

#[test]
fn a_kill_at_any_write_of_making_and_filling_a_store_leaves_whole_commits() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return mode::not_here("strace(1), which kills at a chosen system call, is not installed");
    }
    let mut points = 0;
    for call in ["pwrite64", "fsync,fdatasync", "ftruncate,rename,unlink"] {
        for k in 1.. {
            let (_directory, path) = home();
            let inject = format!("inject={call}:signal=SIGKILL:when={k}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
            let ran = victim(Some(&strace), &path).env(PAIRS, "2").output().expect("it runs");
            let output = String::from_utf8_lossy(&ran.stdout);
            let last = output.lines().filter_map(acknowledged).next_back().unwrap_or(0);
            let kept = pairs(&mut open(&path));
            assert!(kept >= last, "{last} were acknowledged, {kept} are kept: {inject}");
            if ran.status.success() {
                assert_eq!(kept, 2, "{output}");
                break;
            }
            points += 1;
        }
    }
    assert!(points > 20, "only {points} places to kill it were found");
}

/// Copies the store as a crash of the machine would leave it, the log of writes cut off at `end`.
fn crashed_copy(from: &Path, end: u64) -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = home();
    fs::copy(from, &path).expect("it copies");
    let wal = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    fs::copy(wal(from), wal(&path)).expect("it copies");
    let file = OpenOptions::new().write(true).open(wal(&path)).expect("it opens");
    file.set_len(end).expect("it is cut off");
    (directory, path)
}

#[test]
fn a_torn_log_of_writes_loses_nothing_that_was_synced_before_the_tear() {
    let (_directory, path) = home();
    let mut store = open(&path);
    let wal = PathBuf::from(format!("{}-wal", path.display()));
    let length = || fs::metadata(&wal).expect("it is there").len();
    let mut ends = vec![length()];
    for n in 1..=8 {
        commit_pair(&mut store, n).expect("it commits");
        ends.push(length());
    }
    // A reader of a crashed copy sees the same, whether or not a writer came first.
    for end in (0..=length()).step_by(1361).chain(ends.iter().copied()) {
        let committed = ends.iter().skip(1).filter(|e| **e <= end).count() as u64;
        let (_copy, crashed) = crashed_copy(&path, end);
        let seen = SqliteReader::open(&crashed).expect("it opens").last_seq();
        assert_eq!(seen, Ok(2 * committed), "read with a log cut off at {end}");
        assert_eq!(pairs(&mut open(&crashed)), committed, "opened with a log cut off at {end}");
    }
}

#[test]
fn a_reader_sees_everything_after_its_writer_was_killed() {
    let (_directory, path) = home();
    let mut store = open(&path);
    commit_pair(&mut store, 1).expect("it commits");
    let (_copy, crashed) = crashed_copy(&path, u64::from(u32::MAX));
    let (_copy, whole) = {
        // The same without the length that `crashed_copy` gave it: exactly as it was.
        let length = fs::metadata(format!("{}-wal", path.display())).expect("it is there").len();
        crashed_copy(&path, length)
    };
    for path in [crashed, whole] {
        let mut reader = SqliteReader::open(&path).expect("it opens");
        assert_eq!(reader.list(&Default::default(), 9).expect("it reads").len(), 2);
    }
}

#[test]
fn a_file_that_was_deleted_or_replaced_acknowledges_nothing_more() {
    for replaced in [false, true] {
        let (directory, path) = home();
        let mut store = open(&path);
        commit_pair(&mut store, 1).expect("it commits");
        let aside = directory.path().join("aside");
        fs::rename(&path, &aside).expect("it moves");
        if replaced {
            fs::copy(&aside, &path).expect("it copies");
        }
        for _ in 0..2 {
            let error = commit_pair(&mut store, 2).expect_err("nobody could find it again");
            assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
        }
        if !replaced {
            let missing = StoreError::Missing { path: path.clone() };
            assert_eq!(store.reopen(), Err(missing), "it is not made anew");
            fs::rename(&aside, &path).expect("it moves back");
            store.reopen().expect("it is the same file again");
            assert_eq!(pairs(&mut store), 1);
            commit_pair(&mut store, 2).expect("it commits again");
        }
    }
}

#[test]
fn a_reader_that_holds_on_is_noticed_and_does_not_stop_the_writer() {
    let (_directory, path) = home();
    let mut store = open(&path);
    commit_pair(&mut store, 1).expect("it commits");
    let checkpoint = store.checkpoint().expect("it works");
    assert!(!checkpoint.held_up, "{checkpoint:?}");
    let holder = rusqlite::Connection::open(&path).expect("it opens");
    holder.execute_batch("BEGIN; SELECT count(*) FROM tasks;").expect("it reads");
    let count = || holder.query_row("SELECT count(*) FROM tasks", [], |r| r.get::<_, i64>(0));
    assert_eq!(count(), Ok(2));
    let mut n = 1;
    let checkpoint = loop {
        n += 1;
        let events: Vec<_> = (0..40).map(|k| submission(n * 1000 + k, 100_000)).collect();
        store.commit(&Batch { events: &events, ..Batch::default() }).expect("it commits");
        let checkpoint = store.checkpoint().expect("it works");
        assert!(checkpoint.held_up, "{checkpoint:?}");
        if checkpoint.too_long() || n > 40 {
            break checkpoint;
        }
    };
    assert!(checkpoint.too_long(), "{checkpoint:?}");
    assert_eq!(count(), Ok(2), "the holder still sees what it saw");
    drop(holder);
    // So much is not moved by a commit, which everybody would wait for, but beside them.
    let (mut aside, mut pair) = (false, 1);
    let checkpoint = loop {
        pair += 1;
        commit_pair(&mut store, pair).expect("it commits");
        let checkpoint = store.checkpoint().expect("it works");
        aside |= checkpoint.aside;
        if !checkpoint.held_up && !checkpoint.aside && !checkpoint.too_long() {
            break checkpoint;
        }
    };
    assert!(aside, "{checkpoint:?}");
    let last = store.last_seq();
    drop(store);
    let mut store = open(&path);
    assert_eq!((store.last_seq(), store.integrity()), (last, Ok(vec![])));
}

/// A small file system of its own, gone with it.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(directory.path())
            .status()
            .expect("mount(8) is there");
        assert!(mounted.success(), "mount said {mounted}");
        Self(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(done.is_ok_and(|s| s.success()), "the small disk stays mounted");
    }
}

#[test]
fn a_disk_that_is_really_full_is_told_apart_and_overcome() {
    if !mode::is_root() {
        return mode::not_here("a small file system of its own is mounted by root alone");
    }
    let disk = SmallDisk::mount("2m");
    let path = disk.0.path().join("meanwhile.db");
    let ballast = disk.0.path().join("ballast");
    let mut store = open(&path);
    fs::write(&ballast, vec![0; 512 << 10]).expect("there is room");
    let mut n = 0;
    let error = loop {
        match commit_pair(&mut store, n + 1) {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(n > 10, "{n}");
    assert_eq!(store.last_seq(), Ok(2 * n), "reading goes on");
    assert!(matches!(commit_pair(&mut store, n + 1), Err(StoreError::Full { .. })));
    fs::remove_file(&ballast).expect("it goes");
    commit_pair(&mut store, n + 1).expect("there is room again");
    assert_eq!(pairs(&mut store), n + 1);
    drop(store);
    assert_eq!(pairs(&mut open(&path)), n + 1);
}
