//! Changing tasks: `cancel` and `complete`.

use meanwhile_testkit::{DEADLINE, Process, TestHome, marked};
use serde_json::{Value, json};

use crate::{check_refusal, hold_the_seat, one_seat, wait_for_state};

#[test]
fn cancel_returns_when_the_task_has_ended_and_nothing_of_it_lives() {
    let home = TestHome::new();
    let marker = home.marker();
    let mut bell = home.bell("bell");
    let script = format!("sleep {marker} & setsid sleep {marker} & {}; wait", bell.shell("up"));
    let id = home.launch_shell(&script);
    bell.wait(DEADLINE);
    let ran = home.cli(["--json", "cancel", &id]);
    let reply = ran.json();
    assert_eq!(marked(&marker), Vec::<u32>::new());
    let task = &reply["tasks"][0];
    assert_eq!((&task["id"], &task["state"]), (&json!(id), &json!("cancelled")), "{reply:#}");
    assert_eq!(task["cause"]["kind"], "cancelled_by", "{reply:#}");
    assert_eq!(task["cause"]["who"], "user", "{reply:#}");
    assert!(task["ended_at"].is_string());
    assert_eq!(reply["already_ended"], json!([]));
}

#[test]
fn cancel_no_wait_returns_at_acceptance() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let script = format!("trap '' TERM; {}; while :; do sleep 0.02; done", bell.shell("up"));
    let id = home.launch_shell_with(["--kill-after", "1s"], &script);
    bell.wait(DEADLINE);
    home.cli(["cancel", "--no-wait", &id]).ok();
    assert_eq!(home.status(&id)["ended_at"], json!(null), "its grace is a second");
    assert_eq!(home.wait(&id)["state"], "cancelled");
}

#[test]
fn cancel_of_an_ended_task_exits_0_and_says_so() {
    let home = TestHome::new();
    let id = home.launch_shell("exit 3");
    let before = home.wait(&id);
    let ran = home.cli(["cancel", &id]);
    ran.expect(0);
    assert!(
        ran.complaint().contains("ended") && ran.complaint().contains(&id),
        "{}",
        ran.complaint()
    );
    assert_eq!(home.status(&id), before, "it is left as it is");
    let reply = home.json(["cancel", &id]);
    assert_eq!(reply["already_ended"], json!([id]), "{reply:#}");
}

#[test]
fn a_queued_task_that_is_cancelled_never_runs() {
    let home = one_seat();
    let mut gate = home.gate("gate");
    let holder = hold_the_seat(&home, &gate);
    let mark = home.path("ran");
    let id = home.launch_with(["--lane", "one"], ["touch", mark.to_str().expect("text")]);
    home.cli(["cancel", &id]).ok();
    let task = home.status(&id);
    assert_eq!(
        (&task["state"], &task["started_at"], &task["log"]),
        (&json!("cancelled"), &json!(null), &json!(null)),
        "{task:#}"
    );
    gate.open();
    home.wait(&holder);
    let last = home.launch_with(["--lane", "one"], ["true"]);
    home.wait(&last);
    assert!(!mark.exists());
}

#[test]
fn cancel_of_a_group_is_of_that_group() {
    let home = TestHome::new();
    let gates = [home.gate("a"), home.gate("b")];
    let ids: Vec<String> =
        gates.iter().map(|gate| home.launch_shell_with(["--group", "g"], &gate.shell())).collect();
    let mut gate = home.gate("other");
    let other = home.launch_shell(&gate.shell());
    home.cli(["cancel", "--group", "g"]).ok();
    for id in &ids {
        assert_eq!(home.status(id)["state"], "cancelled");
    }
    check_refusal(&home.cli(["cancel", "--group", "no-such-group"]), 3, "no-such-group");
    gate.open();
    assert_eq!(home.wait(&other)["state"], "completed");
}

#[test]
fn cancel_of_a_session_is_of_that_session() {
    let home = TestHome::new();
    let gates = [home.gate("a"), home.gate("b")];
    let of_s = home.cli(["--session", "s", "run", "--shell", &gates[0].shell()]).ok();
    let own = home.launch_shell(&gates[1].shell());
    home.cli(["--session", "s", "cancel"]).ok();
    assert_eq!(home.status(&of_s)["state"], "cancelled");
    assert_eq!(home.status(&own)["ended_at"], json!(null));
}

#[test]
fn cancel_all_asks_and_without_a_terminal_wants_yes() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    check_refusal(&home.cli(["cancel", "--all"]), 2, "--yes");
    assert_eq!(home.status(&id)["ended_at"], json!(null));
    home.cli(["cancel", "--all", "--yes"]).ok();
    assert_eq!(home.status(&id)["state"], "cancelled");
    assert_eq!(home.cli(["cancel", "--all"]).code(), 0, "there is nothing to ask about");
}

#[test]
fn cancel_all_of_a_person_is_of_every_session_and_of_an_agent_its_own() {
    let home = TestHome::new();
    let gates = [home.gate("a"), home.gate("b"), home.gate("c")];
    let [a, b, c] = ["sa", "sb", "sb"]
        .into_iter()
        .zip(&gates)
        .map(|(session, gate)| {
            home.cli(["--session", session, "run", "--shell", &gate.shell()]).ok()
        })
        .collect::<Vec<_>>()
        .try_into()
        .expect("three were launched");
    home.cli(["--session", "sa", "cancel", "--all"]).ok();
    let state = |id: &String| home.status(id)["state"].clone();
    assert_eq!((state(&a), state(&b) == "cancelled"), (json!("cancelled"), false));
    home.cli(["cancel", "--all", "--yes"]).ok();
    assert_eq!((state(&b), state(&c)), (json!("cancelled"), json!("cancelled")));
}

#[test]
fn an_agent_sees_and_changes_its_own_session_only() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    let agent = |words: &[&str]| home.invoke(words).env("CLAUDE_CODE_SESSION_ID", "abc").run();
    for words in [&["cancel", &id][..], &["complete", &id], &["status", &id], &["output", &id]] {
        let ran = agent(words);
        assert!(
            matches!(ran.code(), 3 | 4),
            "{words:?} exited {}: {}",
            ran.code(),
            ran.complaint()
        );
    }
    let own = agent(&["run", "--", "true"]).ok();
    let listed = agent(&["--json", "list"]).json();
    let ids: Vec<&Value> =
        listed.as_array().expect("an array").iter().map(|task| &task["id"]).collect();
    assert_eq!(ids, [&json!(own)]);
    let all = agent(&["--json", "list", "--any-session"]);
    assert!(
        all.code() == 4 || !all.text().contains(&id),
        "others' tasks are shown: {}",
        all.text()
    );
    agent(&["cancel", "--all", "--yes"]).ok();
    assert_eq!(home.status(&id)["ended_at"], json!(null), "its `all` is its own session's");
    gate.open();
    assert_eq!(home.wait(&id)["state"], "completed");
}

fn family(home: &TestHome) -> (String, String) {
    let mut bell = home.bell("bell");
    let child = format!("{}; exec sleep 1000", bell.shell("up"));
    let script = format!(
        "'{}' run --name child --shell \"$CHILD\"; exec sleep 1000",
        home.binary().display()
    );
    let parent = home.launch_shell_with(["--env", &format!("CHILD={child}")], &script);
    bell.wait(DEADLINE);
    (parent, home.status("child")["id"].as_str().expect("an id").to_owned())
}

#[test]
fn cancel_takes_descendants_along() {
    let home = TestHome::new();
    let (parent, child) = family(&home);
    let reply = home.json(["cancel", &parent]);
    assert_eq!(reply["tasks"].as_array().map(Vec::len), Some(2), "{reply:#}");
    for id in [&parent, &child] {
        assert_eq!(home.status(id)["state"], "cancelled");
    }
}

#[test]
fn cancel_no_cascade_leaves_them() {
    let home = TestHome::new();
    let (parent, child) = family(&home);
    home.cli(["cancel", "--no-cascade", &parent]).ok();
    assert_eq!(home.status(&parent)["state"], "cancelled");
    assert_eq!(home.status(&child)["state"], "running");
    home.cli(["cancel", &child]).ok();
}

#[test]
fn complete_stops_the_process_first_and_the_cause_is_reported() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let id = home.launch_shell(&format!("{}; exec sleep 1000", bell.shell("$$")));
    let pid = bell.wait(DEADLINE).parse().expect("it rang with its pid");
    let process = Process::of(pid).expect("it runs");
    let task = home.json(["complete", &id, "good enough"]);
    assert!(!process.is_alive());
    assert_eq!(
        (&task["state"], &task["outcome"]),
        (&json!("completed"), &json!("success")),
        "{task:#}"
    );
    assert_eq!(
        task["cause"],
        json!({ "kind": "reported", "by": "user", "message": "good enough" })
    );
    home.cli(["wait", &id]).expect(0);
}

#[test]
fn complete_failed_is_a_failure() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    wait_for_state(&home, &id, "running");
    home.cli(["complete", &id, "--failed"]).ok();
    let task = home.status(&id);
    assert_eq!(
        (&task["state"], &task["outcome"]),
        (&json!("failed"), &json!("failure")),
        "{task:#}"
    );
    assert_eq!(
        (&task["cause"]["kind"], &task["cause"]["message"]),
        (&json!("reported"), &json!(null))
    );
    home.cli(["wait", &id]).expect(1);
    assert_ne!(home.cli(["follow", &id]).code(), 0, "a failure is never shown as a success");
    gate.open();
}

#[test]
fn complete_of_a_queued_task_settles_it_without_running() {
    let home = one_seat();
    let gate = home.gate("gate");
    hold_the_seat(&home, &gate);
    let id = home.launch_with(["--lane", "one"], ["true"]);
    home.cli(["complete", &id, "not needed"]).ok();
    let task = home.status(&id);
    assert_eq!(
        (&task["state"], &task["started_at"]),
        (&json!("completed"), &json!(null)),
        "{task:#}"
    );
}

#[test]
fn complete_of_an_ended_task_is_refused() {
    let home = TestHome::new();
    let id = home.launch(["false"]);
    let before = home.wait(&id);
    check_refusal(&home.cli(["complete", &id]), 4, &id);
    assert_eq!(home.status(&id), before);
}
