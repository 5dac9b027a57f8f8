//! Retries, by themselves and by hand.

use meanwhile_testkit::{TestHome, until};
use serde_json::json;

use crate::{check_refusal, wait_for_state};

fn states(task: &serde_json::Value) -> Vec<(u64, String)> {
    let attempts = task["attempts"].as_array().expect("attempts are an array");
    attempts
        .iter()
        .map(|one| {
            let state = one["state"].as_str().expect("a state").to_owned();
            (one["number"].as_u64().expect("a number"), state)
        })
        .collect()
}

#[test]
fn retries_of_n_allow_one_more_attempt_than_n() {
    let home = TestHome::new();
    let id = home.launch_shell_with(
        ["--retries", "2", "--backoff", "1ms"],
        "echo $MEANWHILE_ATTEMPT; exit 7",
    );
    let task = home.wait(&id);
    assert_eq!(
        (&task["state"], &task["attempt"], &task["exit_code"]),
        (&json!("failed"), &json!(3), &json!(7))
    );
    let failed = |number| (number, "failed".to_owned());
    assert_eq!(states(&task), [failed(1), failed(2), failed(3)]);
    for (number, attempt) in
        ["1", "2", "3"].into_iter().zip(task["attempts"].as_array().expect("attempts"))
    {
        assert_eq!(home.cli(["output", &id, "--attempt", number]).ok(), number);
        assert_eq!((&attempt["exit_code"], &attempt["cause"]["code"]), (&json!(7), &json!(7)));
        assert!(attempt["started_at"].is_string() && attempt["ended_at"].is_string());
        assert!(attempt["log"]["path"].is_string(), "{attempt:#}");
    }
    check_refusal(&home.cli(["output", &id, "--attempt", "4"]), 2, "4");
}

#[test]
fn a_retry_that_succeeds_is_a_success() {
    let home = TestHome::new();
    let id = home
        .launch_shell_with(["--retries", "5", "--backoff", "1ms"], "[ $MEANWHILE_ATTEMPT = 3 ]");
    let task = home.wait(&id);
    assert_eq!(
        (&task["state"], &task["attempt"], &task["outcome"]),
        (&json!("completed"), &json!(3), &json!("success"))
    );
}

#[test]
fn wait_waits_through_the_retries() {
    let home = TestHome::new();
    let id = home
        .launch_shell_with(["--retries", "3", "--backoff", "50ms"], "[ $MEANWHILE_ATTEMPT = 3 ]");
    home.cli(["wait", &id]).expect(0);
}

#[test]
fn retry_on_names_the_exit_codes_that_are_worth_it() {
    let home = TestHome::new();
    let worth = |codes: &str, script: &str| {
        let id = home
            .launch_shell_with(["--retries", "1", "--backoff", "1ms", "--retry-on", codes], script);
        home.wait(&id)["attempt"].clone()
    };
    assert_eq!(worth("3,75", "exit 75"), 2);
    assert_eq!(worth("3,75", "exit 4"), 1);
    assert_eq!(worth("3", "kill -KILL $$"), 1);
    assert_eq!(worth("3", "exit 0"), 1);
}

#[test]
fn a_cancelled_task_is_not_retried() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let id = home.launch_shell_with(["--retries", "3", "--backoff", "1ms"], &gate.shell());
    wait_for_state(&home, &id, "running");
    home.cli(["cancel", &id]).ok();
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["attempt"]), (&json!("cancelled"), &json!(1)));
}

#[test]
fn a_backoff_is_waited_for_visibly_and_can_be_cancelled() {
    let home = TestHome::new();
    let id = home.launch_with(["--retries", "1", "--backoff", "1h"], ["false"]);
    let task = until("the second attempt to be queued", meanwhile_testkit::DEADLINE, || {
        Some(home.status(&id)).filter(|task| task["attempt"] == 2)
    });
    assert_eq!(task["state"], "queued");
    assert!(task["waiting_for"]["until"].is_string(), "{task:#}");
    // A backoff holds no seat.
    let lanes = home.json(["lanes"]);
    assert_eq!(lanes[0]["running"], 0, "{lanes:#}");
    home.cli(["cancel", &id]).ok();
    assert_eq!(home.status(&id)["state"], "cancelled");
}

#[test]
fn retry_makes_the_next_attempt_and_keeps_the_old_ones_readable() {
    let home = TestHome::new();
    let id = home.launch_shell("echo attempt $MEANWHILE_ATTEMPT");
    home.wait(&id);
    let task = home.json(["retry", &id]);
    assert_eq!((&task["id"], &task["attempt"]), (&json!(id), &json!(2)), "{task:#}");
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["attempt"]), (&json!("completed"), &json!(2)));
    assert_eq!(home.output(&id), "attempt 2");
    assert_eq!(home.cli(["output", &id, "--attempt", "1"]).ok(), "attempt 1");
    assert_eq!(home.cli(["retry", &id]).ok(), id, "the id alone");
    home.wait(&id);
}

#[test]
fn retry_of_an_unfinished_task_is_refused() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    check_refusal(&home.cli(["retry", &id]), 4, &id);
    gate.open();
    home.wait(&id);
}

#[test]
fn a_reopened_task_is_told_as_such_in_the_event_log() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    home.cli(["retry", &id]).ok();
    home.wait(&id);
    let events = home.cli(["--json", "audit", "--task", &id]).ok();
    assert!(events.lines().any(|line| line.contains("\"reopened\"")), "{events}");
}

#[test]
fn an_idempotency_key_answers_with_the_old_id_while_the_task_is_kept() {
    let home = TestHome::new();
    let key = ["run", "--idempotency-key", "deploy 7", "--", "true"];
    let id = home.cli(key).ok();
    assert_eq!(home.cli(key).ok(), id);
    home.wait(&id);
    assert_eq!(home.cli(key).ok(), id, "finished tasks count");
    assert_eq!(home.json(["list"]).as_array().map(Vec::len), Some(1));
    let other = home.cli(["run", "--idempotency-key", "deploy 8", "--", "true"]).ok();
    assert_ne!(other, id);
    home.wait(&other);
    home.cli(["clean"]).ok();
    assert_ne!(home.cli(key).ok(), id, "it is not kept any more");
}

#[test]
fn an_idempotency_key_holds_in_a_batch_and_among_many_at_once() {
    let home = TestHome::new();
    let entry = json!({ "command": ["true"], "idempotency_key": "k" }).to_string() + "\n";
    let ids = home.invoke(["run", "--from", "-"]).stdin(entry.repeat(3)).run();
    let ids = ids.ok();
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let calls: Vec<_> = (0..8)
        .map(|_| home.invoke(["run", "--idempotency-key", "at once", "--", "true"]).start())
        .collect();
    let answers: Vec<String> =
        calls.into_iter().map(|call| call.wait(meanwhile_testkit::DEADLINE).ok()).collect();
    assert!(answers.iter().all(|id| *id == answers[0]), "{answers:?}");
}
