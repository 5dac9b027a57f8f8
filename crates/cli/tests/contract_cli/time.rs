//! Time: timeouts, idle timeouts, grace, delays, deadlines and more of it.

use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, TestHome};
use serde_json::json;

use crate::{check_refusal, wait_for_state};

#[test]
fn a_timeout_ends_the_task_with_its_cause() {
    let home = TestHome::new();
    let id = home.launch_with(["--timeout", "200ms"], ["sleep", &home.marker()]);
    let task = home.wait(&id);
    assert_eq!(task["state"], "failed");
    assert_eq!(task["cause"], json!({ "kind": "timeout", "after": 200 }), "{task:#}");
    assert_eq!(task["signal"], "SIGTERM");
    assert_eq!(task["exit_code"], json!(null));
    assert!(task["duration_ms"].as_u64().is_some_and(|ms| (200..20_000).contains(&ms)), "{task:#}");
}

#[test]
fn an_idle_timeout_ends_a_task_that_prints_nothing_and_no_other() {
    let home = TestHome::new();
    let quiet = home.launch_with(["--idle-timeout", "200ms"], ["sleep", &home.marker()]);
    let task = home.wait(&quiet);
    assert_eq!(task["cause"], json!({ "kind": "idle_timeout", "after": 200 }), "{task:#}");
    let script = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done";
    let busy = home.launch_shell_with(["--idle-timeout", "500ms"], script);
    assert_eq!(home.wait(&busy)["state"], "completed");
}

#[test]
fn a_timeout_of_zero_is_none() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell_with(["--timeout", "0"], &gate.shell());
    assert_eq!(wait_for_state(&home, &id, "running")["deadline"], json!(null));
    gate.open();
    home.wait(&id);
}

#[test]
fn a_command_of_a_person_has_no_timeout_and_one_of_an_agent_has() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let own = home.launch_shell(&gate.shell());
    assert_eq!(wait_for_state(&home, &own, "running")["deadline"], json!(null));
    gate.open();
    let mut other = home.gate("other");
    let line = ["--json", "run", "--shell", &other.shell()];
    let launched = home.invoke(line).env("CLAUDE_CODE_SESSION_ID", "abc").run().json();
    let id = launched["id"].as_str().expect("an id");
    let running = wait_for_state(&home, id, "running");
    assert_eq!(running["session"], "abc", "{running:#}");
    let (started, deadline) = (seconds(&running["started_at"]), seconds(&running["deadline"]));
    assert!((299.0..302.0).contains(&(deadline - started)), "{running:#}");
    other.open();
    home.wait(id);
}

/// Seconds since midnight of an RFC 3339 time in UTC (tests that cross midnight add a day).
fn seconds(time: &serde_json::Value) -> f64 {
    let text = time.as_str().expect("a time");
    let (date, clock) = text.split_once('T').expect("RFC 3339");
    let clock = clock.strip_suffix('Z').expect("UTC");
    let parts: Vec<f64> = clock.split(':').map(|part| part.parse().expect("a number")).collect();
    let day: f64 = date.rsplit('-').next().expect("a day").parse().expect("a number");
    ((day * 24.0 + parts[0]) * 60.0 + parts[1]) * 60.0 + parts[2]
}

#[test]
fn extend_moves_the_deadline() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell_with(["--timeout", "1h"], &gate.shell());
    let before = wait_for_state(&home, &id, "running");
    let after = home.json(["extend", &id, "30m"]);
    assert_eq!(after["id"], id.as_str());
    let moved = seconds(&after["deadline"]) - seconds(&before["deadline"]);
    assert!((1799.0..1801.0).contains(&moved), "{moved}");
    assert!(home.cli(["extend", &id, "1s"]).ok().contains(&id));
    gate.open();
    home.wait(&id);
}

#[test]
fn extend_saves_a_task_from_its_timeout() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell_with(["--timeout", "2s"], &gate.shell());
    wait_for_state(&home, &id, "running");
    home.cli(["extend", &id, "1h"]).ok();
    // Past the first deadline: the clock of the test, not of the task, says when.
    home.cli(["wait", &id, "--timeout", "2s"]).expect(124);
    gate.open();
    assert_eq!(home.wait(&id)["state"], "completed");
}

#[test]
fn extend_is_refused_where_there_is_nothing_to_extend() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let endless = home.launch_shell(&gate.shell());
    check_refusal(&home.cli(["extend", &endless, "5m"]), 4, &endless);
    gate.open();
    home.wait(&endless);
    check_refusal(&home.cli(["extend", &endless, "5m"]), 4, &endless);
}

#[test]
fn kill_after_is_the_grace_of_timeouts_and_cancels_alike() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let script = format!("trap '' TERM; {}; while :; do sleep 0.02; done", bell.shell("up"));
    let cancelled = home.launch_shell_with(["--kill-after", "100ms"], &script);
    bell.wait(DEADLINE);
    let asked = Instant::now();
    home.cli(["cancel", &cancelled]).ok();
    assert!(asked.elapsed() < Duration::from_secs(8), "the default grace is 10 s");
    let task = home.status(&cancelled);
    assert_eq!(
        (&task["state"], &task["signal"]),
        (&json!("cancelled"), &json!("SIGKILL")),
        "{task:#}"
    );
    for option in ["--timeout", "--idle-timeout"] {
        let id = home.launch_shell_with([option, "200ms", "--kill-after", "100ms"], &script);
        bell.wait(DEADLINE);
        let task = home.wait(&id);
        assert_eq!(
            (&task["state"], &task["signal"]),
            (&json!("failed"), &json!("SIGKILL")),
            "{option}: {task:#}"
        );
        assert!(task["duration_ms"].as_u64().is_some_and(|ms| ms < 8_000), "{task:#}");
    }
}

#[test]
fn a_delayed_task_is_queued_and_says_until_when() {
    let home = TestHome::new();
    let id = home.launch_with(["--delay", "1h"], ["true"]);
    let task = home.status(&id);
    assert_eq!((&task["state"], &task["started_at"]), (&json!("queued"), &json!(null)));
    let until = seconds(&task["waiting_for"]["until"]) - seconds(&task["created_at"]);
    assert!((3599.0..3601.0).contains(&until), "{task:#}");
    assert!(home.cli(["list"]).ok().contains("queued"));
    assert!(
        task["waiting_for"]["text"].as_str().is_some_and(|text| text.contains("delayed")),
        "{task:#}"
    );
    let card = home.cli(["status", &id]).ok();
    assert!(card.contains("queued: starts in") || card.contains("delayed"), "{card}");
    home.cli(["cancel", &id]).ok();
}

#[test]
fn a_delayed_task_starts_when_its_time_has_come_and_not_before() {
    let home = TestHome::new();
    let id = home.launch_with(["--delay", "300ms"], ["true"]);
    let task = home.wait(&id);
    assert_eq!(task["state"], "completed");
    let waited = seconds(&task["started_at"]) - seconds(&task["created_at"]);
    assert!(waited >= 0.299, "{waited}");
}

#[test]
fn a_delayed_task_holds_no_seat() {
    let home = crate::one_seat();
    home.launch_with(["--lane", "one", "--delay", "1h"], ["true"]);
    let id = home.launch_with(["--lane", "one"], ["true"]);
    assert_eq!(home.wait(&id)["state"], "completed");
}

#[test]
fn times_are_utc_and_durations_are_milliseconds() {
    let home = TestHome::new();
    let id = home.launch_shell("sleep 0.1");
    let task = home.wait(&id);
    for key in ["created_at", "started_at", "ended_at"] {
        let text = task[key].as_str().unwrap_or_else(|| panic!("{key} is absent: {task:#}"));
        assert!(text.ends_with('Z') && text.as_bytes()[10] == b'T', "{key}: {text}");
    }
    assert!(seconds(&task["created_at"]) <= seconds(&task["started_at"]), "{task:#}");
    assert!(seconds(&task["started_at"]) <= seconds(&task["ended_at"]), "{task:#}");
    assert!(task["duration_ms"].as_u64().is_some_and(|ms| (100..20_000).contains(&ms)), "{task:#}");
}

#[test]
fn a_timeout_holds_while_no_daemon_runs() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let script = format!("{}; exec sleep 1000", bell.shell("$$"));
    let id = home.launch_shell_with(["--timeout", "700ms"], &script);
    let pid = bell.wait(DEADLINE).parse().expect("it rang with its pid");
    let process = meanwhile_testkit::Process::of(pid).expect("it runs");
    home.cli(["daemon", "stop"]).ok();
    process.wait_end(DEADLINE);
    assert!(home.daemon().is_none(), "nobody started one");
    assert_eq!(home.wait(&id)["cause"], json!({ "kind": "timeout", "after": 700 }));
}
