//! A full disk: new work is refused with a clear error, running work is neither blocked nor forgotten, and
//! everything goes on when there is space again.
//!
//! Owns a small file system per test (root only) and the file that fills it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use meanwhile_testkit::{DEADLINE, Process, TestHome, mode, until};
use serde_json::json;

const DISK: u64 = 24 << 20;
/// What the daemon keeps back so that ends can be recorded on a full disk.
const RESERVE: u64 = 1 << 20;

/// Writes until the file system takes nothing more.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file can be made");
    for size in [1 << 20, 4096, 1] {
        let block = vec![b'f'; size];
        while file.write(&block).is_ok_and(|written| written > 0) {}
    }
}

#[test]
fn a_full_disk_refuses_new_work_and_records_the_end_of_running_work() {
    if !mode::is_root() {
        return mode::not_here("a small file system needs root");
    }
    let home = TestHome::builder().on_small_disk(DISK).build();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    // More than the reserve, so that some of it certainly has no place.
    let line =
        format!("echo before; {}; {}; seq 1 1000000; exit 3", bell.shell("$$"), gate.shell());
    let id = home.launch_shell(&line);
    let pid = bell.wait(DEADLINE).parse().expect("the task rang with its pid");
    let main = Process::of(pid).expect("the task lives");
    let daemon = home.daemon().expect("the task was started by it");
    let filler = home.path("filler");
    fill(&filler);

    let refused = home.cli(["run", "--", "true"]);
    assert_eq!(refused.code(), 6, "{}", refused.complaint());
    let said = refused.complaint();
    assert!(said.contains("disk") || said.contains("space"), "{said}");
    assert!(said.contains("hint:"), "{said}");
    assert!(main.is_alive() && daemon.is_alive());
    assert_eq!(home.status(&id)["ended_at"], json!(null), "what is stored can be read");

    gate.open();
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(3)));
    let whole: u64 = 7 + (1..=1_000_000_u64).map(|n| n.to_string().len() as u64 + 1).sum::<u64>();
    assert_eq!(task["log"]["bytes"], whole, "what was not written is counted: {task:#}");
    assert!(task["log"]["dropped_bytes"].as_u64() > Some(whole - 2 * RESERVE), "{task:#}");
    assert!(home.output(&id).starts_with("before\n"));
    assert!(daemon.is_alive());

    fs::remove_file(&filler).expect("the test's own file can be removed");
    let after = home.launch(["echo", "again"]);
    assert_eq!(home.wait(&after)["state"], "completed");
    assert_eq!(home.output(&after), "again");
    until("the reserve to be kept back again", DEADLINE, || {
        let length = fs::metadata(home.state().join("reserve")).map(|data| data.len());
        length.is_ok_and(|length| length >= RESERVE).then_some(())
    });
    assert_eq!(home.daemon().map(|now| now.pid()), Some(daemon.pid()));
    home.finish();
}

/// The daemon is killed while the disk is full: the one that follows finds the truth, and records it when
/// it can.
#[test]
fn a_daemon_that_starts_on_a_full_disk_loses_nothing() {
    if !mode::is_root() {
        return mode::not_here("a small file system needs root");
    }
    let home = TestHome::builder().on_small_disk(DISK).build();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&format!("{}; {}; exit 3", bell.shell("$$"), gate.shell()));
    bell.wait(DEADLINE);
    let filler = home.path("filler");
    fill(&filler);
    home.kill_daemon();
    gate.open();
    // Nothing is demanded of it but a clear answer, until there is space.
    let refused = home.cli(["run", "--", "true"]);
    assert!([5, 6].contains(&refused.code()), "{}: {}", refused.code(), refused.complaint());
    assert!(!refused.complaint().is_empty());
    fs::remove_file(&filler).expect("the test's own file can be removed");
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(3)));
    let after = home.launch(["true"]);
    assert_eq!(home.wait(&after)["state"], "completed");
    home.finish();
}
