//! Exit codes of `run --wait`, `run --follow`, `follow` and `wait`: the task's own, or one of ours, and never a
//! success that was none.

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

/// A script, its exit code for those who follow it, its state, and its cause.
type Ending = (&'static str, i32, &'static str, Value);

fn endings() -> Vec<Ending> {
    let exit = |code: i32| json!({ "kind": "exit", "code": code });
    let signal = |name: &str| json!({ "kind": "signal", "name": name });
    vec![
        ("exit 0", 0, "completed", exit(0)),
        ("exit 1", 1, "failed", exit(1)),
        ("exit 3", 3, "failed", exit(3)),
        ("exit 124", 124, "failed", exit(124)),
        ("exit 125", 125, "failed", exit(125)),
        ("exit 255", 255, "failed", exit(255)),
        ("kill -TERM $$", 143, "failed", signal("SIGTERM")),
        ("kill -KILL $$", 137, "failed", signal("SIGKILL")),
        ("kill -HUP $$", 129, "failed", signal("SIGHUP")),
        ("kill -USR1 $$", 138, "failed", signal("SIGUSR1")),
        ("no_such_command_here", 127, "failed", exit(127)),
    ]
}

#[test]
fn run_wait_ends_like_the_task() {
    let home = TestHome::new();
    for (script, code, state, _) in endings() {
        let ran = home.cli(["run", "--wait", "--shell", script]);
        ran.expect(code);
        assert_eq!(home.status(&ran.text())["state"], state, "{script}");
    }
}

#[test]
fn run_follow_and_follow_end_like_the_task() {
    let home = TestHome::new();
    for (script, code, _, _) in endings() {
        let ran = home.cli(["run", "--follow", "--shell", &format!("echo out; {script}")]);
        ran.expect(code);
        assert_eq!(ran.text().lines().next(), Some("out"), "{script}");
        let id = home.json(["list", "--limit", "1"])[0]["id"].as_str().expect("an id").to_owned();
        let followed = home.cli(["follow", &id]);
        followed.expect(code);
        assert_eq!(followed.stdout, ran.stdout, "{script}");
    }
}

#[test]
fn wait_exits_0_for_success_alone_and_the_task_tells_the_cause() {
    let home = TestHome::new();
    for (script, code, state, cause) in endings() {
        let id = home.launch_shell(script);
        home.cli(["wait", &id]).expect(i32::from(code != 0));
        let task = home.status(&id);
        assert_eq!((&task["state"], &task["cause"]), (&json!(state), &cause), "{script}: {task:#}");
        let (exit_code, signal) = match cause["kind"].as_str() {
            Some("exit") => (cause["code"].clone(), Value::Null),
            _ => (Value::Null, cause["name"].clone()),
        };
        assert_eq!((&task["exit_code"], &task["signal"]), (&exit_code, &signal), "{script}");
        let outcome = if code == 0 { "success" } else { "failure" };
        assert_eq!(task["outcome"], outcome, "{script}");
    }
}

#[test]
fn a_timeout_of_the_task_exits_124() {
    let home = TestHome::new();
    let line = ["--timeout", "100ms", "--shell", "exec sleep 1000"];
    home.cli([&["run", "--wait"], &line[..]].concat()).expect(124);
    home.cli([&["run", "--follow"], &line[..]].concat()).expect(124);
    let idle = ["run", "--wait", "--idle-timeout", "100ms", "--shell", "exec sleep 1000"];
    home.cli(idle).expect(124);
}

#[test]
fn failures_of_ours_exit_125_in_run_wait_and_follow() {
    let home = TestHome::new();
    home.cli(["run", "--wait", "--after", "0123456789", "--", "true"]).expect(125);
    home.cli(["follow", "0123456789"]).expect(125);
    // Misuse stays misuse: nothing was tried yet.
    home.cli(["run", "--wait", "--timeout", "x", "--", "true"]).expect(2);
}

#[test]
fn a_cancelled_task_is_never_a_success() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let script = format!("trap 'exit 0' TERM; {}; while :; do sleep 0.01; done", bell.shell("up"));
    let line = ["run", "--follow", "--name", "polite", "--shell", &script];
    let running = home.invoke(line).start();
    bell.wait(meanwhile_testkit::DEADLINE);
    home.cli(["cancel", "polite"]).ok();
    let ran = running.wait(meanwhile_testkit::DEADLINE);
    assert_ne!(ran.code(), 0);
    let task = home.status("polite");
    // The true exit code stands beside the state.
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("cancelled"), &json!(0)), "{task:#}");
    assert_eq!(task["outcome"], "failure");
    home.cli(["wait", "polite"]).expect(1);
}

#[test]
fn run_prints_the_id_alone_and_run_json_the_task() {
    let home = TestHome::new();
    let ran = home.cli(["run", "--", "true"]);
    let id = ran.ok();
    assert_eq!(ran.stdout, format!("{id}\n").as_bytes());
    assert_eq!(ran.complaint(), "");
    let task = home.json(["run", "--", "true"]);
    assert_eq!(task["id"].as_str().map(str::len), Some(10), "{task:#}");
    let waited = home.invoke(["--json", "run", "--wait", "--shell", "exit 3"]).run();
    waited.expect(3);
    let task: Value = serde_json::from_slice(&waited.stdout).expect("one document");
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(3)));
}

#[test]
fn run_wait_prints_the_id_and_says_why_it_failed_on_stderr() {
    let home = TestHome::new();
    let ran = home.cli(["run", "--wait", "--shell", "exit 3"]);
    assert_eq!(ran.text().len(), 10);
    assert!(
        ran.complaint().contains(&ran.text()) && ran.complaint().contains('3'),
        "{}",
        ran.complaint()
    );
    let fine = home.cli(["run", "--wait", "--", "true"]);
    assert_eq!(fine.complaint(), "");
}

#[test]
fn follow_in_json_is_a_stream_that_ends_with_the_task() {
    let home = TestHome::new();
    let id = home.launch_shell("echo one; echo two; exit 3");
    let ran = home.cli(["--json", "follow", &id]);
    ran.expect(3);
    let lines: Vec<Value> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is a document"))
        .collect();
    let (task, pages) = lines.split_last().expect("there are lines");
    assert_eq!((&task["id"], &task["state"]), (&json!(id), &json!("failed")));
    let text: String = pages.iter().filter_map(|page| page["text"].as_str()).collect();
    assert_eq!(text, "one\ntwo\n");
}

#[test]
fn follow_goes_on_with_the_next_attempt() {
    let home = TestHome::new();
    let script = "echo attempt $MEANWHILE_ATTEMPT; [ $MEANWHILE_ATTEMPT = 2 ]";
    let ran =
        home.cli(["run", "--follow", "--retries", "1", "--backoff", "1ms", "--shell", script]);
    assert_eq!(ran.ok(), "attempt 1\nattempt 2");
    let script = "echo attempt $MEANWHILE_ATTEMPT; [ $MEANWHILE_ATTEMPT = 9 ]";
    let ran = home.cli(["run", "--follow", "--retries", "9", "--backoff", "0", "--shell", script]);
    let all: Vec<String> = (1..=9).map(|number| format!("attempt {number}")).collect();
    assert_eq!(ran.ok(), all.join("\n"), "however fast they come and go");
    let id = home.json(["list", "-n", "1"])[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(home.cli(["follow", &id]).ok(), "attempt 9", "who comes later sees the current one");
}

#[test]
fn follow_waits_for_a_task_that_has_not_begun() {
    let home = crate::one_seat();
    let mut gate = home.gate("gate");
    crate::hold_the_seat(&home, &gate);
    let id = home.launch_shell_with(["--lane", "one"], "echo now; exit 3");
    let mut following = home.invoke(["follow", &id]).start();
    let launched = ["run", "--lane", "one", "--follow", "--shell", "echo then; exit 4"];
    let mut launching = home.invoke(launched).start();
    meanwhile_testkit::until("the second task to be queued", meanwhile_testkit::DEADLINE, || {
        (home.json(["list", "--summary"])["states"]["queued"] == 2).then_some(())
    });
    assert!(following.is_running() && launching.is_running());
    gate.open();
    let followed = following.wait(meanwhile_testkit::DEADLINE);
    assert_eq!((followed.code(), followed.text()), (3, "now".into()));
    let launched = launching.wait(meanwhile_testkit::DEADLINE);
    assert_eq!((launched.code(), launched.text()), (4, "then".into()));
}
