//! Somebody else locks the store, as a database shell does: the daemon stands still, says why, and goes on when it is
//! free. What it said before stays true, and what it refused is not done.
//!
//! Owns the process that holds the lock.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::json;

/// A process in the middle of a transaction on the home's store.
struct Locker {
    child: Child,
}

impl Locker {
    #[track_caller]
    fn hold(home: &TestHome) -> Self {
        let script = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(home.state().join("meanwhile.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut line = String::new();
        let output = child.stdout.take().expect("it was piped");
        BufReader::new(output).read_line(&mut line).expect("it says a line");
        assert_eq!(line, "held\n");
        Self { child }
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_store_that_somebody_has_locked_holds_the_daemon_up_and_loses_nothing() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&format!("{}; {}; exit 3", bell.shell("$$"), gate.shell()));
    bell.wait(DEADLINE);
    let daemon = home.daemon().expect("it was started by the first task");
    let locker = Locker::hold(&home);
    gate.open();
    until("the daemon to be held up", DEADLINE, || {
        (home.cli(["daemon", "status"]).code() == 6).then_some(())
    });

    let refused = home.cli(["run", "--name", "refused", "--", "true"]);
    refused.expect(6);
    let said = refused.complaint();
    assert!(said.contains("another process holds it"), "{said}");
    assert!(said.contains("hint:") && said.contains("meanwhile.db"), "{said}");
    assert!(said.contains("nothing was done"), "{said}");
    let state = home.status(&id)["state"].clone();
    assert!(state == "running" || state == "starting", "what is stored can be read: {state}");
    let waiter = home.invoke(["wait", &id]).start();
    assert!(daemon.is_alive());

    drop(locker);
    waiter.wait(DEADLINE).expect(1);
    let task = home.status(&id);
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(3)));
    let after = home.launch(["true"]);
    assert_eq!(home.wait(&after)["state"], "completed");
    let listed = home.json(["list"]);
    assert_eq!(
        listed.as_array().map(Vec::len),
        Some(2),
        "what was refused is not there: {listed:#}"
    );
    assert_eq!(home.daemon().map(|now| now.pid()), Some(daemon.pid()), "it stayed");
    home.finish();
}

/// Whoever asked while the daemon did not yet know is told that it is done later, and it is.
#[test]
fn a_launch_that_met_the_lock_first_is_told_the_truth() {
    let home = TestHome::new();
    let first = home.launch(["true"]);
    home.wait(&first);
    let locker = Locker::hold(&home);
    let ran = home.cli(["run", "--name", "met", "--", "true"]);
    ran.expect(6);
    let said = ran.complaint();
    assert!(said.contains("done once it is free"), "{said}");
    drop(locker);
    let met = until("what was asked to be done", DEADLINE, || {
        let listed = home.json(["list"]);
        listed.as_array()?.iter().find(|task| task["name"] == "met").cloned()
    });
    let id = met["id"].as_str().expect("an id is a string");
    assert_eq!(home.wait(id)["state"], "completed");
    home.finish();
}
