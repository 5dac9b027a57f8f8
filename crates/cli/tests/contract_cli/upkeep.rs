//! `prune`, `clean`, `lanes`, `doctor`, `audit`.

use meanwhile_testkit::{TestHome, until};
use serde_json::{Value, json};

use crate::{hold_the_seat, one_seat};

#[test]
fn clean_deletes_finished_tasks_and_their_files_and_nothing_else() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let running = home.launch_shell(&gate.shell());
    let done = home.launch_shell("echo some output");
    let log = home.wait(&done)["log"]["path"].as_str().expect("a path").to_owned();
    let reply = home.json(["clean"]);
    assert_eq!(reply["tasks"], 1, "{reply:#}");
    assert!(reply["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{reply:#}");
    home.cli(["status", &done]).expect(3);
    until("the files to be deleted", meanwhile_testkit::DEADLINE, || {
        (!std::path::Path::new(&log).exists()).then_some(())
    });
    assert!(!home.state().join("tasks").join(&done).exists());
    gate.open();
    assert_eq!(home.wait(&running)["state"], "completed");
}

#[test]
fn clean_older_than_spares_the_younger() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    assert_eq!(home.json(["clean", "--older-than", "1h"])["tasks"], 0);
    assert_eq!(home.status(&id)["state"], "completed");
    assert_eq!(home.json(["clean", "--older-than", "0"])["tasks"], 1);
}

#[test]
fn clean_says_what_it_did() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    assert!(home.cli(["clean"]).ok().contains("1 task"), "the number is told");
    home.cli(["clean"]).ok();
}

#[test]
fn prune_cancels_what_is_queued_for_too_long_and_says_so() {
    let home =
        TestHome::builder().config("lanes.one.limit = 1\nlimits.stale_queued = \"1ms\"").build();
    let gate = home.gate("gate");
    let holder = hold_the_seat(&home, &gate);
    let stale = home.launch_with(["--lane", "one"], ["true"]);
    let told = home.cli(["prune"]).ok();
    assert!(told.contains(&stale), "{told}");
    assert_eq!(home.status(&stale)["state"], "cancelled");
    assert_eq!(home.status(&holder)["state"], "running");
}

#[test]
fn prune_leaves_what_is_fresh_alone() {
    let home = one_seat();
    let gate = home.gate("gate");
    hold_the_seat(&home, &gate);
    let fresh = home.launch_with(["--lane", "one"], ["true"]);
    assert_eq!(home.json(["prune"])["done"], json!([]));
    assert_eq!(home.status(&fresh)["state"], "queued");
}

#[test]
fn lanes_show_limits_holders_and_who_waits() {
    let home = one_seat();
    let gate = home.gate("gate");
    let holder = hold_the_seat(&home, &gate);
    let waiting = home.launch_with(["--lane", "one"], ["true"]);
    let lanes = home.json(["lanes"]);
    let lane = lanes.as_array().expect("an array").iter().find(|lane| lane["name"] == "one");
    let lane = lane.expect("it is listed");
    let expected = json!({
        "name": "one", "limit": 1, "setting": "lanes.one.limit", "running": 1, "queued": 1,
        "holders": [holder], "waiting": [waiting], "paused": null
    });
    assert_eq!(*lane, expected);
    let shown = home.cli(["lanes"]).ok();
    assert!(shown.contains("one") && shown.contains("commands"), "{shown}");
}

#[test]
fn doctor_names_its_checks_starts_no_daemon_and_exits_0_where_all_is_well() {
    let home = TestHome::new();
    let before = home.daemon().map(|daemon| daemon.pid());
    let ran = home.cli(["--json", "doctor"]);
    let report: Value = serde_json::from_slice(&ran.stdout).expect("one document");
    let checks = report["checks"].as_array().expect("checks");
    assert!(!checks.is_empty());
    let failed: Vec<&Value> = checks.iter().filter(|check| check["health"] == "failed").collect();
    assert_eq!(ran.code(), i32::from(!failed.is_empty()), "{failed:?}");
    for check in checks {
        assert!(check["name"].is_string() && check["text"].is_string(), "{check}");
        let bad = check["health"] != "ok";
        assert!(!bad || check["hint"][0].is_string(), "what to do about it is not told: {check}");
    }
    assert_eq!(home.daemon().map(|daemon| daemon.pid()), before);
    let shown = home.cli(["doctor"]);
    assert!(shown.text().contains("ok"), "{}", shown.text());
}

#[test]
fn doctor_says_what_is_wrong_with_a_damaged_store() {
    let home = TestHome::new();
    let id = home.launch(["true"]);
    home.wait(&id);
    home.cli(["daemon", "stop"]).ok();
    std::fs::write(home.state().join("meanwhile.db"), b"not a database at all, really")
        .expect("writable");
    let ran = home.cli(["doctor"]);
    assert!(matches!(ran.code(), 1 | 6), "{}: {}", ran.code(), ran.complaint());
    let told = format!("{}{}", ran.text(), ran.complaint());
    assert!(told.contains("meanwhile.db"), "{told}");
}

#[test]
fn the_event_log_tells_who_did_what_in_order() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    crate::wait_for_state(&home, &id, "running");
    home.cli(["cancel", &id]).ok();
    let text = home.cli(["--json", "audit", "--task", &id]).ok();
    let events: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a document per line")).collect();
    let numbers: Vec<u64> =
        events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let kinds: Vec<&str> =
        events.iter().map(|event| event["kind"].as_str().expect("text")).collect();
    assert_eq!(kinds.first(), Some(&"submitted"), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"ended"), "{kinds:?}");
    assert!(events.iter().all(|event| event["task"] == id.as_str() && event["at"].is_string()));
    let after = numbers[0].to_string();
    let rest = home.cli(["--json", "audit", "--task", &id, "--since", &after]).ok();
    assert_eq!(rest.lines().count(), events.len() - 1);
    let ended = home.cli(["--json", "audit", "--task", &id, "--kind", "ended"]).ok();
    assert_eq!(ended.lines().count(), 1);
}

#[test]
fn ended_tasks_are_deleted_when_they_are_past_their_time() {
    let home = TestHome::new();
    let id = home.launch_shell("echo some output");
    home.wait(&id);
    let files = home.state().join("tasks").join(&id);
    assert!(files.is_dir());
    // Applied at once, not at the next hourly look.
    home.cli(["config", "set", "retention.age", "1ms"]).ok();
    until("the task to be deleted", meanwhile_testkit::DEADLINE, || {
        (home.cli(["status", &id]).code() == 3 && !files.exists()).then_some(())
    });
}

#[test]
fn the_oldest_ended_tasks_are_deleted_when_their_files_are_too_many_bytes() {
    let home = TestHome::new();
    let [old, new] = [(); 2].map(|()| {
        let id = home.launch_shell("head -c 1000000 /dev/zero");
        home.wait(&id);
        id
    });
    home.cli(["config", "set", "retention.bytes", "1500000"]).ok();
    until("the older task to be deleted", meanwhile_testkit::DEADLINE, || {
        (home.cli(["status", &old]).code() == 3).then_some(())
    });
    assert_eq!(home.status(&new)["state"], "completed");
}

#[test]
fn an_unfinished_task_is_never_past_its_time() {
    let home = TestHome::builder().config("retention.age = \"1ms\"").build();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    crate::wait_for_state(&home, &id, "running");
    home.cli(["config", "set", "retention.bytes", "1"]).ok();
    home.cli(["daemon", "stop"]).ok();
    home.cli(["daemon", "start"]).ok();
    assert_eq!(home.status(&id)["state"], "running");
    gate.open();
    home.cli(["wait", &id]).ok();
}
