//! Clients and daemons of different releases, and daemons that do not answer.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, TestHome, mode};
use rustix::process::Signal;
use serde_json::json;

use crate::raw::ask;
use crate::{check_refusal, error_of};

#[test]
fn a_client_of_another_release_is_told_what_to_do() {
    let home = TestHome::new();
    for (version, hint) in [("99", "daemon stop"), ("0", "too old")] {
        let answer = ask(&home, "GET", "/v1/tasks", &[("Meanwhile-Protocol", version)], "");
        assert_eq!(answer.status, 426, "{}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["exit"]), (&json!("protocol"), &json!(4)), "{error:#}");
        assert!(error["hint"].to_string().contains(hint), "{error:#}");
        assert!(answer.head.contains("meanwhile-protocol: "), "its range is told: {}", answer.head);
    }
    let garbage = ask(&home, "GET", "/v1/tasks", &[("Meanwhile-Protocol", "new")], "");
    assert_eq!(garbage.status, 400, "{}", garbage.body);
}

#[test]
fn every_answer_tells_the_versions_the_daemon_speaks() {
    let home = TestHome::new();
    for path in ["/v1/tasks", "/nowhere"] {
        let answer = ask(&home, "GET", path, &[("Meanwhile-Protocol", "1")], "");
        let range = answer.head.lines().find_map(|line| line.strip_prefix("meanwhile-protocol: "));
        assert!(range.is_some_and(|range| range.split('-').count() == 2), "{}", answer.head);
    }
    let status = home.json(["daemon", "status"]);
    assert!(status["protocol"]["max"].is_u64() && status["version"].is_string(), "{status:#}");
}

/// Something that listens where the daemon should, and gives this answer to everything.
fn impostor(home: &TestHome, answer: String) {
    let listener =
        UnixListener::bind(home.state().join("daemon.sock")).expect("nobody listens there");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut connection = connection;
            let mut buffer = [0; 65536];
            let _ = connection.read(&mut buffer);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
}

fn without_daemon() -> Option<TestHome> {
    let home = TestHome::new();
    if home.daemon().is_some() {
        mode::not_here("this mode starts the daemon with the home");
        return None;
    }
    Some(home)
}

#[test]
fn a_daemon_of_another_protocol_is_told_and_left_alone() {
    let Some(home) = without_daemon() else { return };
    let error = json!({ "error": {
        "code": "protocol", "message": "talk protocol 1 with this daemon: 9.0.0 speaks 7-9",
        "hint": ["restart the daemon with the newer program"], "exit": 4, "details": { "min": 7, "max": 9 }
    }});
    let body = error.to_string();
    let head = "HTTP/1.1 426 Upgrade Required\r\nContent-Type: application/json\r\nMeanwhile-Protocol: 7-9\r\n";
    impostor(&home, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    let ran = home.cli(["run", "--", "true"]);
    check_refusal(&ran, 4, "7-9");
    assert_eq!(error_of(&home.cli(["--json", "run", "--", "true"]))["code"], "protocol");
}

#[test]
fn an_error_of_a_newer_daemon_is_shown_with_its_own_exit_code() {
    let Some(home) = without_daemon() else { return };
    let body = json!({ "error": {
        "code": "something_new", "message": "do this in space", "hint": ["come down"], "exit": 4, "new_key": [1]
    }})
    .to_string();
    let head = "HTTP/1.1 418 New\r\nContent-Type: application/json\r\n";
    impostor(&home, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    check_refusal(&home.cli(["run", "--", "true"]), 4, "do this in space");
}

#[test]
fn something_that_is_no_daemon_is_told_in_bounded_time() {
    let Some(home) = without_daemon() else { return };
    impostor(&home, "SSH-2.0-OpenSSH_9.6\r\n".to_owned());
    let asked = Instant::now();
    let ran = home.cli(["run", "--", "true"]);
    assert_eq!(ran.code(), 5, "{}", ran.complaint());
    assert!(ran.complaint().contains("hint: "), "{}", ran.complaint());
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[test]
fn a_daemon_that_hangs_is_named_within_seconds_and_never_killed() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    let daemon = home.daemon().expect("it runs");
    daemon.signal(Signal::STOP);
    let asked = Instant::now();
    let commands: &[(&[&str], i32)] = &[
        (&["status", &id], 5),
        (&["list"], 5),
        (&["run", "--", "true"], 5),
        (&["retry", &id], 5),
        (&["config", "set", "log.cap", "1MiB"], 5),
        (&["daemon", "status"], 5),
        (&["daemon", "start"], 5),
        (&["daemon", "stop"], 5),
        (&["run", "--wait", "--", "true"], 125),
        (&["follow", &id], 125),
        (&["wait", &id], 5),
        (&["cancel", &id], 5),
        (&["complete", &id], 5),
        (&["output", &id], 5),
        (&["output", &id, "--follow"], 5),
        (&["doctor"], 5),
    ];
    let calls: Vec<_> = commands.iter().map(|(words, _)| home.invoke(*words).start()).collect();
    for (call, (words, code)) in calls.into_iter().zip(commands) {
        let ran = call.wait(DEADLINE);
        assert_eq!(ran.code(), *code, "{words:?}: {}", ran.complaint());
        let told = ran.complaint();
        assert!(told.contains(&daemon.pid().to_string()), "{words:?} does not name it: {told}");
        assert!(told.contains("hint: "), "{words:?}: {told}");
    }
    let took = asked.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(15)).contains(&took), "{took:?}");
    assert!(daemon.is_alive(), "it was killed");
    daemon.signal(Signal::CONT);
    assert_eq!(home.status(&id)["state"], "completed");
    assert_eq!(home.daemon().map(|now| now.pid()), Some(daemon.pid()));
}

#[test]
fn a_wait_outlasts_a_daemon_that_hangs_for_a_while() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    let waiting = home.invoke(["wait", &id]).start();
    meanwhile_testkit::until("the client to wait", DEADLINE, || {
        (home.json(["daemon", "status"])["waiters"] == 1).then_some(())
    });
    let daemon = home.daemon().expect("it runs");
    daemon.signal(Signal::STOP);
    gate.open();
    daemon.signal(Signal::CONT);
    assert_eq!(waiting.wait(DEADLINE).code(), 0);
}
