//! Shortages that meet the queue: no task of it fails for want of what the machine will have again.
//!
//! Owns a small file system (root only) and the file that fills it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use meanwhile_testkit::{DEADLINE, TestHome, mode};

/// Writes until the file system takes nothing more.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file can be made");
    for size in [1 << 20, 4096, 1] {
        let block = vec![b'f'; size];
        while file.write(&block).is_ok_and(|written| written > 0) {}
    }
}

#[test]
fn a_queue_that_meets_a_full_disk_waits_for_space_and_then_runs() {
    if !mode::is_root() {
        return mode::not_here("a small file system needs root");
    }
    let home =
        TestHome::builder().config("lanes.commands.limit = 1").on_small_disk(24 << 20).build();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let first = home.launch_shell(&format!("{}; {}; exit 3", bell.shell("$$"), gate.shell()));
    let queued: Vec<String> = (0..5).map(|n| home.launch(["echo", &n.to_string()])).collect();
    bell.wait(DEADLINE);
    let filler = home.path("filler");
    fill(&filler);
    gate.open();
    assert_eq!(home.wait(&first)["exit_code"], 3);
    // The reserve was given up for that end: what was freed is taken again, so that no start has room.
    fill(&home.path("filler2"));
    let states = |home: &TestHome| -> Vec<String> {
        queued.iter().map(|id| home.status(id)["state"].to_string()).collect()
    };
    assert!(states(&home).iter().all(|s| s != "\"failed\""), "{:?}", states(&home));

    for name in ["filler", "filler2"] {
        fs::remove_file(home.path(name)).expect("the test's own file can be removed");
    }
    for id in &queued {
        let task = home.wait(id);
        // What the first of them prints may still meet the full disk; that is counted, and fails nothing.
        assert_eq!(task["state"], "completed", "{task:#}");
        assert_eq!(task["log"]["bytes"], 2, "{task:#}");
    }
    home.finish();
}
