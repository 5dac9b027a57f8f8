//! A queue of which nothing runs yet: whoever kills the daemon kills no task with it, because somebody is kept to
//! bring it back.
//!
//! Owns no state beyond the homes. Never types a command between the kill and the end of the task.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use meanwhile_testkit::{Bell, DEADLINE, Process, TestHome, until};

#[track_caller]
fn heard(bell: &mut Bell) -> Process {
    let pid = bell.wait(DEADLINE).parse().expect("the task rang with its pid");
    Process::of(pid).expect("the task that rang lives")
}

/// Waits until one supervisor is there, which runs nothing.
#[track_caller]
fn guard(home: &TestHome) {
    until("somebody to guard the queue", DEADLINE, || {
        let status = home.json(["daemon", "status"]);
        (status["supervisors"] == 1).then_some(())
    });
}

#[test]
fn a_delayed_task_starts_though_its_daemon_was_killed_while_nothing_ran() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    // Long enough for the daemon to be gone before it is due; nothing waits for the whole of it if it is not.
    let line = format!("{}; exit 3", bell.shell("$$"));
    let id = home.launch_shell_with(["--delay", "3s"], &line);
    guard(&home);
    let killed = home.kill_daemon();
    bell.wait(DEADLINE);
    assert_ne!(home.daemon().map(|daemon| daemon.pid()), Some(killed));
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["exit_code"]), (&"failed".into(), &3.into()));
    assert_eq!(task["attempt"], 1);
    home.finish();
}

/// The guard is told to stay; it goes with the last work, and the daemon that has none is alone.
#[test]
fn a_guard_outlasts_an_idle_supervisors_time_and_goes_with_the_last_work() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let id = home.launch_shell(&format!("{}; exec sleep 1000", bell.shell("$$")));
    let waits = home.launch_with(["--delay", "1h"], ["true"]);
    let main = heard(&mut bell);
    let supervisor = until("the task's supervisor to be known", DEADLINE, || {
        home.status(&id)["supervisor_pid"].as_u64()
    });
    let supervisor = Process::of(u32::try_from(supervisor).expect("pids are small"))
        .expect("the supervisor lives");
    home.cli(["cancel", &id]).ok();
    assert!(!main.is_alive());
    // Longer than an idle supervisor stays: 10 s.
    assert!(!supervisor.ends_within(Duration::from_secs(12)), "the queue has no guard");
    home.cli(["cancel", &waits]).ok();
    supervisor.wait_end(DEADLINE);
    home.finish();
}

/// A newer program asked the daemon to make room and then did not come (or was killed before it had written its name).
#[test]
fn a_delayed_task_starts_though_the_newer_daemon_did_not_come() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let id = home.launch_shell_with(["--delay", "3s"], &bell.shell("$$"));
    guard(&home);
    let old = home.daemon().expect("it was started by the first task");
    let mut socket =
        UnixStream::connect(home.state().join("daemon.sock")).expect("the daemon listens");
    let body = r#"{"hand_over":true}"#;
    let head = "POST /v1/daemon/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).expect("the daemon reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the daemon answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    old.wait_end(DEADLINE);
    bell.wait(DEADLINE);
    assert_eq!(home.wait(&id)["state"], "completed");
    home.finish();
}
