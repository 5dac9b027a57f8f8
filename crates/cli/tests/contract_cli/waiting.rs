//! `wait`: for one, for several, for the first, for a group, for a session, for readiness, for some time.

use meanwhile_testkit::{DEADLINE, Running, TestHome, until};
use serde_json::{Value, json};

use crate::check_refusal;

/// Waits until so many clients wait.
fn until_waiting(home: &TestHome, count: u64) {
    until("the clients to wait", DEADLINE, || {
        (home.json(["daemon", "status"])["waiters"] == count).then_some(())
    });
}

fn start_waiting<'a>(home: &'a TestHome, words: &[&str]) -> Running<'a> {
    let running = home.invoke([&["--json", "wait"], words].concat()).start();
    until_waiting(home, 1);
    running
}

#[test]
fn wait_for_several_ends_with_the_last_and_exits_1_if_any_did_not_complete() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let slow = home.launch_shell(&gate.shell());
    let bad = home.launch(["false"]);
    let good = home.launch(["true"]);
    let mut waiting = start_waiting(&home, &[&slow, &bad, &good]);
    assert!(waiting.is_running());
    gate.open();
    let ran = waiting.wait(DEADLINE);
    ran.expect(1);
    let tasks: Value = serde_json::from_slice(&ran.stdout).expect("one document");
    let states: Vec<_> =
        tasks.as_array().expect("several make an array").iter().map(|t| &t["state"]).collect();
    assert_eq!(states, ["completed", "failed", "completed"], "in the order asked for");
    home.cli(["wait", &slow, &good]).expect(0);
}

#[test]
fn wait_any_exits_0_at_the_first_success_whatever_else_runs_or_failed() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let mut other = home.gate("other");
    let slow = home.launch_shell(&gate.shell());
    let bad = home.launch(["false"]);
    home.wait(&bad);
    let good = home.launch_shell(&other.shell());
    let mut waiting = start_waiting(&home, &["--any", &slow, &bad, &good]);
    assert!(waiting.is_running(), "a failure is no success");
    other.open();
    waiting.wait(DEADLINE).expect(0);
    assert_eq!(home.status(&slow)["ended_at"], json!(null));
}

#[test]
fn wait_any_exits_1_when_none_can_succeed_any_more() {
    let home = TestHome::new();
    let ids = [home.launch(["false"]), home.launch_shell("exit 3")];
    home.cli(["wait", "--any", &ids[0], &ids[1]]).expect(1);
}

#[test]
fn wait_times_out_with_124_and_the_task_runs_on() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    for timeout in ["0", "50ms"] {
        let ran = home.cli(["wait", &id, "--timeout", timeout]);
        ran.expect(124);
        assert!(!ran.complaint().is_empty(), "it says so");
    }
    gate.open();
    home.cli(["wait", &id, "--timeout", "1h"]).expect(0);
    // What is done already is no matter of time.
    home.cli(["wait", &id, "--timeout", "0"]).expect(0);
}

#[test]
fn wait_for_a_group_is_for_all_of_it_and_nothing_else() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    home.launch_shell(&gate.shell());
    for _ in 0..2 {
        home.launch_with(["--group", "g"], ["true"]);
    }
    home.cli(["wait", "--group", "g"]).expect(0);
    home.launch_with(["--group", "g"], ["false"]);
    let ran = home.cli(["--json", "wait", "--group", "g"]);
    ran.expect(1);
    let tasks: Value = serde_json::from_slice(&ran.stdout).expect("one document");
    assert_eq!(tasks.as_array().map(Vec::len), Some(3));
    check_refusal(&home.cli(["wait", "--group", "no-such-group"]), 3, "no-such-group");
}

#[test]
fn wait_for_a_session_is_for_that_session() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    home.launch_shell(&gate.shell());
    let id = home.cli(["--session", "s1", "run", "--shell", "exit 3"]).ok();
    assert_eq!(home.status(&id)["session"], "s1");
    let code = home.cli(["wait", "--session", "s1"]).code();
    assert!(matches!(code, 0 | 1), "it does not wait for the others: {code}");
    home.cli(["wait", &id]).expect(1);
}

#[test]
fn wait_without_ids_is_for_all_that_is_unfinished() {
    let home = TestHome::new();
    assert_eq!(home.cli(["wait"]).code(), 0, "there is nothing to wait for");
    let mut gate = home.gate("gate");
    let held = home.launch_shell(&gate.shell());
    let waiting = start_waiting(&home, &[]);
    gate.open();
    let ran = waiting.wait(DEADLINE);
    ran.expect(0);
    let tasks: Value = serde_json::from_slice(&ran.stdout).expect("one document");
    assert_eq!(tasks[0]["id"], held.as_str(), "without ids an array: {tasks}");
}

#[test]
fn wait_is_for_the_attempt_that_is_current_when_it_is_called() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let script = format!("[ $MEANWHILE_ATTEMPT = 1 ] || {}", gate.shell());
    let id = home.launch_shell(&format!("{script}; exit $((2 - MEANWHILE_ATTEMPT))"));
    home.cli(["wait", &id]).expect(1);
    home.cli(["retry", &id]).ok();
    home.cli(["wait", &id, "--timeout", "50ms"]).expect(124);
    gate.open();
    home.cli(["wait", &id]).expect(0);
}

#[test]
fn an_interrupted_wait_leaves_the_task_alone_and_says_how_to_stop_it() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    let waiting = home.invoke(["wait", &id]).start();
    until_waiting(&home, 1);
    waiting.signal(rustix::process::Signal::INT);
    let ran = waiting.wait(DEADLINE);
    assert_eq!(ran.code(), 130);
    assert!(
        ran.complaint().contains("run on") || ran.complaint().contains("runs on"),
        "{}",
        ran.complaint()
    );
    gate.open();
    assert_eq!(home.wait(&id)["state"], "completed");
}

#[test]
fn an_interrupted_run_leaves_its_task_alone() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    for option in ["--wait", "--follow"] {
        let mut bell = home.bell(option);
        let script = format!("{}; {}", bell.shell("$MEANWHILE_TASK"), gate.shell());
        let running = home.invoke(["run", option, "--shell", &script]).start();
        let id = bell.wait(DEADLINE);
        if option == "--wait" {
            until_waiting(&home, 1);
        }
        running.signal(rustix::process::Signal::INT);
        assert_eq!(running.wait(DEADLINE).code(), 130, "{option}");
        gate.open();
        assert_eq!(home.wait(&id)["state"], "completed");
    }
}

#[test]
fn a_task_may_not_wait_for_itself_or_its_ancestors() {
    let home = TestHome::new();
    let meanwhile = home.binary().display().to_string();
    let inner = format!("'{meanwhile}' wait $PARENT; echo inner $?");
    let script = format!(
        "'{meanwhile}' wait $MEANWHILE_TASK; echo own $?; \
         '{meanwhile}' run --wait --env PARENT=$MEANWHILE_TASK --name inner --shell \"$INNER\""
    );
    let inner_variable = format!("INNER={inner}");
    let id = home.launch_shell_with(["--env", &inner_variable], &script);
    home.wait(&id);
    assert!(home.output(&id).lines().any(|line| line == "own 4"), "{}", home.output(&id));
    home.cli(["wait", "inner"]).ok();
    let inner = home.output("inner");
    assert!(inner.lines().any(|line| line == "inner 4"), "{inner}");
    assert!(inner.contains("hint: "), "{inner}");
}

#[test]
fn readiness_by_a_line_is_waited_for() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let script =
        format!("echo starting; {}; echo 'listening on port 80'; exec sleep 1000", gate.shell());
    let id = home.launch_shell_with(["--ready", "^listening on"], &script);
    let task = home.status(&id);
    assert_eq!(
        (&task["lane"], &task["ready"], &task["deadline"]),
        (&json!("services"), &json!(null), &json!(null))
    );
    home.cli(["wait", &id, "--until", "ready", "--timeout", "100ms"]).expect(124);
    let waiting = start_waiting(&home, &[&id, "--until", "ready"]);
    gate.open();
    let ran = waiting.wait(DEADLINE);
    ran.expect(0);
    let task = home.status(&id);
    assert_eq!(task["state"], "running");
    assert!(task["ready"]["at"].is_string(), "{task:#}");
    assert!(
        task["ready"]["how"].as_str().is_some_and(|how| how.contains("listening on port 80")),
        "{task:#}"
    );
    home.cli(["wait", &id, "--until", "ready"]).expect(0);
}

#[test]
fn readiness_outlives_the_daemon_before_and_after() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let script = format!("{}; echo up; exec sleep 1000", gate.shell());
    let id = home.launch_shell_with(["--ready", "^up$"], &script);
    crate::wait_for_state(&home, &id, "running");
    // The line is printed while nobody listens; whoever comes next finds it in the log.
    home.cli(["daemon", "stop"]).ok();
    gate.open();
    home.cli(["wait", &id, "--until", "ready"]).expect(0);
    let ready = home.status(&id)["ready"].clone();
    assert!(ready["at"].is_string(), "{ready}");
    home.kill_daemon();
    home.cli(["wait", &id, "--until", "ready"]).expect(0);
    assert_eq!(home.status(&id)["ready"], ready);
}

#[test]
fn a_port_that_opens_late_is_found() {
    let home = TestHome::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let id = home.launch_with(["--ready-port", &port.to_string()], ["sleep", &home.marker()]);
    home.cli(["wait", &id, "--until", "ready", "--timeout", "300ms"]).expect(124);
    let listener =
        std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is still free");
    home.cli(["wait", &id, "--until", "ready"]).expect(0);
    drop(listener);
}

#[test]
fn readiness_by_a_port_is_waited_for() {
    let home = TestHome::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let id = home.launch_with(["--ready-port", &port.to_string()], ["sleep", &home.marker()]);
    home.cli(["wait", &id, "--until", "ready"]).expect(0);
    let ready = home.status(&id)["ready"].clone();
    assert!(ready["how"].as_str().is_some_and(|how| how.contains(&port.to_string())), "{ready}");
    drop(listener);
}

#[test]
fn wait_until_ready_exits_1_when_the_task_ends_first() {
    let home = TestHome::new();
    let id = home.launch_shell_with(["--ready", "^never$"], "echo something else");
    home.cli(["wait", &id, "--until", "ready"]).expect(1);
    assert_eq!(home.wait(&id)["ready"], json!(null));
}

#[test]
fn a_service_has_no_timeout_and_its_own_lane() {
    let home = TestHome::builder().config("timeouts.command = \"1h\"").build();
    let id = home.launch_with(["--service"], ["sleep", &home.marker()]);
    let task = crate::wait_for_state(&home, &id, "running");
    assert_eq!((&task["lane"], &task["deadline"]), (&json!("services"), &json!(null)), "{task:#}");
    let lanes = home.json(["lanes"]);
    let services = lanes.as_array().expect("lanes").iter().find(|lane| lane["name"] == "services");
    assert_eq!(services.map(|lane| &lane["limit"]), Some(&json!(10)), "{lanes:#}");
}
