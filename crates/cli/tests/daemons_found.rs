//! The daemon of a home is found wherever it listens, and makes room for a newer program's.
//!
//! What it owns: the homes, and a copy of the program that says an older version of itself. What it never does: change
//! the program under test.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::json;

/// A directory that may be a runtime directory of its own.
fn runtime(home: &TestHome, name: &str) -> PathBuf {
    let path = home.path(name);
    fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
    path
}

#[test]
fn clients_with_different_runtime_directories_meet_one_daemon() {
    let home = TestHome::builder().xdg().build();
    let (here, there) = (runtime(&home, "run-a"), runtime(&home, "run-b"));
    let mut gate = home.gate("gate");
    let line = gate.shell();
    let id = home.invoke(["run", "--shell", &line]).env("XDG_RUNTIME_DIR", &here).run().ok();
    let id = id.trim();
    let daemon = home.daemon().expect("the first command started it");

    let seen = home.invoke(["daemon", "status", "--json"]).env("XDG_RUNTIME_DIR", &there).run();
    assert_eq!(seen.json()["pid"], daemon.pid());
    assert_eq!(seen.json()["socket"], json!(here.join("meanwhile/daemon.sock")));
    gate.open();
    let waited = home.invoke(["wait", id]).env("XDG_RUNTIME_DIR", &there).run();
    waited.ok();
    // Nor does one that looks in the state directory start a second.
    home.invoke(["status", id]).env_remove("XDG_RUNTIME_DIR").run().ok();
    assert_eq!(home.daemon().expect("it is still there").pid(), daemon.pid());
    home.invoke(["daemon", "stop"]).env("XDG_RUNTIME_DIR", &there).run().ok();
    daemon.wait_end(DEADLINE);
    home.finish();
}

/// A copy of the program whose version is older, and that older version.
fn older_program(home: &TestHome) -> (PathBuf, String) {
    let ours = env!("CARGO_PKG_VERSION").as_bytes();
    let digit = ours.iter().rposition(|byte| (b'1'..=b'9').contains(byte)).expect("not 0.0.0");
    let mut older = ours.to_vec();
    older[digit] -= 1;
    let mut program = fs::read(home.binary()).unwrap();
    let mut at = 0;
    while let Some(found) = program[at..].windows(ours.len()).position(|bytes| bytes == ours) {
        program[at + found..][..ours.len()].copy_from_slice(&older);
        at += found + ours.len();
    }
    let path = home.path("older-meanwhile");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (path, String::from_utf8(older).unwrap())
}

#[test]
fn a_newer_client_has_an_older_daemon_hand_over_and_tasks_do_not_notice() {
    let home = TestHome::new();
    let (older, version) = older_program(&home);
    let mut gate = home.gate("gate");
    let line = format!("echo before; {}; echo after; exit 3", gate.shell());
    let id = home.invoke(["run", "--shell", &line]).program(&older).run().ok();
    let id = id.trim();
    let first = home.daemon().expect("the older program started it");
    // Looking at it does not replace it.
    let seen = home.json(["daemon", "status", "--json"]);
    assert_eq!((&seen["pid"], &seen["version"]), (&json!(first.pid()), &json!(version)));

    assert_eq!(home.json(["list", "--json"])[0]["id"], id);
    first.wait_end(DEADLINE);
    let second = home.json(["daemon", "status", "--json"]);
    assert_eq!(second["version"], env!("CARGO_PKG_VERSION"));

    gate.open();
    let task = home.wait(id);
    assert_eq!((&task["exit_code"], &task["attempt"]), (&json!(3), &json!(1)));
    assert_eq!(home.output(id), "before\nafter");
    // An older client is content with a newer daemon.
    home.invoke(["list"]).program(&older).run().ok();
    assert_eq!(home.daemon().expect("it stays").pid(), second["pid"]);
    home.finish();
}

#[test]
fn inside_a_task_of_an_older_daemon_nothing_is_replaced() {
    let home = TestHome::new();
    let (older, version) = older_program(&home);
    let line = format!("{} list", home.binary().display());
    home.invoke(["run", "--wait", "--shell", &line]).program(&older).run().ok();
    let seen = until("the daemon to be seen", DEADLINE, || {
        let seen = home.cli(["daemon", "status", "--json"]);
        (seen.code() == 0).then(|| seen.json())
    });
    assert_eq!(seen["version"], version.as_str());
    home.finish();
}
