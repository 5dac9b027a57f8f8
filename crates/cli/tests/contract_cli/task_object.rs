//! The task object: every promised key, always there, in its promised form.

use std::collections::BTreeSet;

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

use crate::{hold_the_seat, one_seat, wait_for_state};

/// Every key of the contract.
const KEYS: &[&str] = &[
    "id",
    "kind",
    "name",
    "session",
    "group",
    "labels",
    "lane",
    "priority",
    "state",
    "cause",
    "exit_code",
    "signal",
    "created_at",
    "started_at",
    "ended_at",
    "duration_ms",
    "attempt",
    "attempts",
    "command",
    "cwd",
    "queue_position",
    "log",
    "progress",
    "result",
    "outcome",
    "usage",
    "questions",
    "ready",
    "waiting",
    "stuck",
    "deadline",
    "waiting_for",
    "role",
    "driver",
    "model",
    "autonomy",
    "enforced_by",
    "activity",
    "parent",
    "children",
    "env_from",
    "pid",
    "supervisor_pid",
    "leaked",
    "limits",
];

/// Every key of an attempt.
const ATTEMPT_KEYS: &[&str] =
    &["number", "state", "cause", "driver", "model", "session", "started_at", "ended_at"];

#[track_caller]
fn check_keys(task: &Value) {
    let object = task.as_object().expect("a task is an object");
    let found: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    let missing: Vec<&&str> = KEYS.iter().filter(|key| !found.contains(**key)).collect();
    assert!(missing.is_empty(), "missing: {missing:?} in {task:#}");
    for attempt in task["attempts"].as_array().expect("attempts are an array") {
        let missing: Vec<_> =
            ATTEMPT_KEYS.iter().filter(|key| attempt.get(key).is_none()).collect();
        assert!(missing.is_empty(), "missing: {missing:?} in {attempt:#}");
    }
}

#[track_caller]
fn check_null(task: &Value, keys: &[&str]) {
    for key in keys {
        assert_eq!(task[key], json!(null), "{key} of {task:#}");
    }
}

const OF_AGENTS: &[&str] =
    &["result", "usage", "role", "driver", "model", "autonomy", "enforced_by", "activity"];

#[test]
fn a_queued_task_has_every_key_and_nothing_that_has_not_happened() {
    let home = one_seat();
    let gate = home.gate("gate");
    hold_the_seat(&home, &gate);
    let id = home.launch_with(["--lane", "one"], ["true"]);
    let task = home.status(&id);
    check_keys(&task);
    check_null(&task, OF_AGENTS);
    check_null(
        &task,
        &[
            "started_at",
            "ended_at",
            "duration_ms",
            "exit_code",
            "signal",
            "cause",
            "outcome",
            "log",
            "pid",
            "supervisor_pid",
            "leaked",
            "limits",
            "ready",
            "waiting",
            "stuck",
            "deadline",
            "progress",
        ],
    );
    assert_eq!(
        (&task["kind"], &task["state"], &task["attempt"]),
        (&json!("command"), &json!("queued"), &json!(1))
    );
    assert_eq!((&task["queue_position"], &task["children"]), (&json!(1), &json!([])));
}

#[test]
fn a_running_task_has_its_processes_and_its_log() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let gate = home.gate("gate");
    let id = home.launch_shell(&format!("echo hello; {}; {}", bell.shell("$$"), gate.shell()));
    let pid: u64 = bell.wait(meanwhile_testkit::DEADLINE).parse().expect("it rang with its pid");
    let task = wait_for_state(&home, &id, "running");
    check_keys(&task);
    assert_eq!(task["pid"], pid);
    let supervisor = task["supervisor_pid"].as_u64().expect("it has one");
    let line = std::fs::read(format!("/proc/{supervisor}/cmdline")).expect("it lives");
    assert!(String::from_utf8_lossy(&line).contains("supervise"), "{line:?}");
    assert!(
        task["started_at"].is_string()
            && task["duration_ms"].is_u64()
            && task["log"]["path"].is_string()
    );
    check_null(
        &task,
        &["ended_at", "exit_code", "signal", "cause", "outcome", "queue_position", "waiting_for"],
    );
}

#[test]
fn a_finished_task_has_its_end_and_no_processes() {
    let home = TestHome::new();
    let options =
        ["--name", "n", "--group", "g", "--label", "a=1", "--label", "b=", "--priority", "-2"];
    let id = home.launch_with(options, ["sh", "-c", "echo hello; exit 3"]);
    let task = home.wait(&id);
    check_keys(&task);
    check_null(&task, OF_AGENTS);
    check_null(
        &task,
        &["pid", "supervisor_pid", "queue_position", "waiting_for", "signal", "leaked", "parent"],
    );
    for (key, expected) in [
        ("name", json!("n")),
        ("group", json!("g")),
        ("labels", json!({ "a": "1", "b": "" })),
        ("priority", json!(-2)),
        ("lane", json!("commands")),
        ("session", json!("user")),
        ("state", json!("failed")),
        ("cause", json!({ "kind": "exit", "code": 3 })),
        ("exit_code", json!(3)),
        ("outcome", json!("failure")),
        ("command", json!(["sh", "-c", "echo hello; exit 3"])),
        ("cwd", json!(home.cwd())),
        ("env_from", json!("caller")),
    ] {
        assert_eq!(task[key], expected, "{key}");
    }
    assert_eq!(task["log"]["bytes"], 6);
}

#[test]
fn a_shell_line_is_shown_as_the_shell_with_its_line() {
    let home = TestHome::new();
    let id = home.launch_shell("echo 'a b' | cat");
    let task = home.wait(&id);
    let command = crate::strings(&task["command"]);
    assert_eq!(command[command.len() - 2..], ["-c", "echo 'a b' | cat"], "{command:?}");
    assert_eq!(home.output(&id), "a b");
}

#[test]
fn every_answer_shows_the_same_object() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    let waited = home.json(["wait", &id]);
    let status = home.status(&id);
    let listed = home.json(["list"])[0].clone();
    assert_eq!(waited, status);
    assert_eq!(listed, status);
    check_keys(&home.json(["run", "--", "true"]));
    check_keys(&home.json(["retry", &id]));
}

#[test]
fn the_session_of_a_person_is_user_and_main_is_its_alias() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    assert_eq!(home.status(&id)["session"], "user");
    let named = home.cli(["--session", "main", "run", "--", "true"]).ok();
    assert_eq!(home.status(&named)["session"], "user");
    let by_variable = home.invoke(["run", "--", "true"]).env("MEANWHILE_SESSION", "s2").run().ok();
    assert_eq!(home.status(&by_variable)["session"], "s2");
    let both = home
        .invoke(["--session", "s3", "run", "--", "true"])
        .env("MEANWHILE_SESSION", "s2")
        .run()
        .ok();
    assert_eq!(home.status(&both)["session"], "s3", "the option wins");
    let codex = home.invoke(["run", "--", "true"]).env("CODEX_THREAD_ID", "t1").run().ok();
    assert_eq!(home.status(&codex)["session"], "t1");
}
