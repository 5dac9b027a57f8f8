//! Queueing as one sees it: lanes, order, priority, dependencies, and why something waits.

use std::fs;

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

use crate::{check_refusal, hold_the_seat, one_seat, strings, wait_for_state};

/// The order in which tasks of lane `one` wrote their names.
fn journal(home: &TestHome) -> String {
    let text = fs::read_to_string(home.path("journal")).expect("the journal was written");
    text.lines().collect::<Vec<_>>().join(" ")
}

fn note(home: &TestHome, name: &str) -> String {
    format!("echo {name} >> '{}'", home.path("journal").display())
}

#[test]
fn a_command_queues_in_commands_three_at_a_time() {
    let home = TestHome::new();
    let mut gates: Vec<_> = (0..4).map(|n| home.gate(&format!("gate{n}"))).collect();
    let ids: Vec<String> = gates.iter().map(|gate| home.launch_shell(&gate.shell())).collect();
    for id in &ids[..3] {
        wait_for_state(&home, id, "running");
    }
    let fourth = home.status(&ids[3]);
    assert_eq!(
        (&fourth["state"], &fourth["lane"], &fourth["queue_position"]),
        (&json!("queued"), &json!("commands"), &json!(1))
    );
    for gate in &mut gates {
        gate.open();
    }
    for id in &ids {
        assert_eq!(home.wait(id)["state"], "completed");
    }
}

#[test]
fn a_queued_task_says_why_it_waits_and_which_setting_changes_it() {
    let home = one_seat();
    let gate = home.gate("gate");
    let holder = hold_the_seat(&home, &gate);
    let first = home.launch_with(["--lane", "one"], ["true"]);
    let second = home.launch_with(["--lane", "one"], ["true"]);
    let task = home.status(&first);
    let waiting = &task["waiting_for"];
    let text = waiting["text"].as_str().expect("it says why");
    assert!(text.contains("1 of 1 in `one`") && text.contains(&holder), "{text}");
    assert_eq!(waiting["setting"], "lanes.one.limit", "{waiting}");
    assert_eq!(strings(&waiting["tasks"]), [holder.as_str()]);
    assert!(home.status(&second)["waiting_for"]["text"].is_string());
    let card = home.cli(["status", &first]).ok();
    assert!(card.contains(text) && card.contains("lanes.one.limit"), "{card}");
    assert_eq!(
        home.status(&holder)["waiting_for"],
        json!(null),
        "a running task waits for nothing"
    );
}

#[test]
fn queue_positions_are_the_order_of_starts() {
    let home = one_seat();
    let mut gate = home.gate("gate");
    let holder = hold_the_seat(&home, &gate);
    let launch = |priority: &str, name: &str| {
        home.launch_shell_with(["--lane", "one", "--priority", priority], &note(&home, name))
    };
    let ids =
        [launch("0", "a"), launch("5", "b"), launch("-5", "c"), launch("5", "d"), launch("0", "e")];
    let position = |id: &String| home.status(id)["queue_position"].as_u64().expect("it is queued");
    let positions: Vec<u64> = ids.iter().map(position).collect();
    assert_eq!(positions, [3, 1, 5, 2, 4]);
    assert_eq!(home.status(&holder)["queue_position"], json!(null));
    gate.open();
    for id in &ids {
        assert_eq!(home.wait(id)["state"], "completed");
    }
    assert_eq!(journal(&home), "b d a e c", "higher priority first, then first in, first out");
}

#[test]
fn a_named_lane_exists_as_soon_as_it_is_used_with_the_default_limit() {
    let home = TestHome::builder().config("lanes.default.limit = 2").build();
    let mut gates: Vec<_> = (0..3).map(|n| home.gate(&format!("gate{n}"))).collect();
    let lane = "a lane/with:odd name";
    let ids: Vec<String> =
        gates.iter().map(|gate| home.launch_shell_with(["--lane", lane], &gate.shell())).collect();
    wait_for_state(&home, &ids[1], "running");
    assert_eq!(home.status(&ids[2])["state"], "queued");
    let lanes = home.json(["lanes"]);
    let found = lanes.as_array().expect("lanes").iter().find(|found| found["name"] == lane);
    let found = found.expect("the lane is listed");
    assert_eq!(
        (&found["limit"], &found["running"], &found["queued"]),
        (&json!(2), &json!(2), &json!(1))
    );
    assert_eq!(strings(&found["waiting"]), [ids[2].as_str()]);
    assert_eq!(found["holders"].as_array().map(Vec::len), Some(2));
    for gate in &mut gates {
        gate.open();
    }
    assert_eq!(home.wait(&ids[2])["state"], "completed");
}

#[test]
fn a_limit_of_zero_is_unlimited() {
    let home = TestHome::builder().config("lanes.free.limit = 0").build();
    let mut gates: Vec<_> = (0..8).map(|n| home.gate(&format!("gate{n}"))).collect();
    let ids: Vec<String> = gates
        .iter()
        .map(|gate| home.launch_shell_with(["--lane", "free"], &gate.shell()))
        .collect();
    for id in &ids {
        wait_for_state(&home, id, "running");
    }
    let lanes = home.json(["lanes"]);
    let free = lanes.as_array().expect("lanes").iter().find(|lane| lane["name"] == "free");
    assert_eq!(free.map(|lane| &lane["limit"]), Some(&json!(null)), "{lanes:#}");
    for gate in &mut gates {
        gate.open();
    }
}

#[test]
fn over_limit_starts_one_beyond_the_limit() {
    let home = one_seat();
    let gate = home.gate("gate");
    hold_the_seat(&home, &gate);
    let id = home.launch_with(["--lane", "one", "--over-limit"], ["true"]);
    assert_eq!(home.wait(&id)["state"], "completed");
}

#[test]
fn over_limit_is_for_people_only() {
    let home = one_seat();
    let line = ["run", "--over-limit", "--", "true"];
    let ran = home.invoke(line).env("CLAUDE_CODE_SESSION_ID", "abc").run();
    check_refusal(&ran, 4, "limit");
    let script = format!("'{}' run --over-limit -- true", home.binary().display());
    let inside = home.cli(["run", "--wait", "--shell", &script]);
    inside.expect(4);
}

#[test]
fn launches_deeper_than_three_levels_are_refused_naming_the_setting() {
    let home = TestHome::new();
    let script = home.path("level.sh");
    let text = format!(
        "echo level $1\nexec '{}' run --wait --lane free -- sh '{}' $(($1+1))\n",
        home.binary().display(),
        script.display()
    );
    fs::write(&script, text).expect("a file can be written");
    let script = script.to_str().expect("our own path is text");
    let id = home.launch_with(["--lane", "free"], ["sh", script, "1"]);
    home.wait(&id);
    let tasks = home.json(["list"]);
    let tasks = tasks.as_array().expect("an array");
    assert_eq!(tasks.len(), 3, "a fourth level is refused");
    let deepest = tasks.iter().find(|task| task["command"][2] == "3").expect("it ran");
    let told = home.output(deepest["id"].as_str().expect("an id"));
    assert!(told.contains("error: ") && told.contains("limits.depth"), "{told}");
    // In `run --wait` a failure of ours is 125.
    assert_eq!(deepest["exit_code"], 125, "{deepest:#}");
}

#[test]
fn an_agent_may_not_have_more_live_tasks_than_the_limit_and_is_told_which() {
    let home = TestHome::builder().config("limits.descendants = 2").build();
    let agent = |words: &[&str]| home.invoke(words).env("CLAUDE_CODE_SESSION_ID", "abc").run();
    for _ in 0..2 {
        agent(&["run", "--delay", "1h", "--", "true"]).ok();
    }
    let ran = agent(&["run", "--", "true"]);
    check_refusal(&ran, 4, "limit is 2");
    assert!(ran.complaint().contains("limits.descendants"), "{}", ran.complaint());
    let batch = home.invoke(["run", "--from", "-"]).env("CLAUDE_CODE_SESSION_ID", "abc");
    check_refusal(&batch.stdin("{\"shell\":\"true\"}\n").run(), 4, "limits.descendants");
    agent(&["cancel", "--all"]).ok();
    agent(&["run", "--", "true"]).ok();
}

#[test]
fn a_detached_child_outlives_the_cancel_of_its_parent() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let child = format!("CHILD={}; {}", bell.shell("up"), gate.shell());
    let script = format!(
        "'{}' run --detach --name child --shell \"$CHILD\"; exec sleep 1000",
        home.binary().display()
    );
    let parent = home.launch_shell_with(["--env", &child], &script);
    bell.wait(meanwhile_testkit::DEADLINE);
    home.cli(["cancel", &parent]).ok();
    gate.open();
    assert_eq!(home.wait("child")["state"], "completed");
}

#[test]
fn children_know_their_parent_and_belong_to_its_session() {
    let home = TestHome::new();
    let script = format!("'{}' run --name child -- true", home.binary().display());
    let parent = home.cli(["--session", "s1", "run", "--shell", &script]).ok();
    home.wait(&parent);
    let child = home.wait("child");
    assert_eq!((&child["parent"], &child["session"]), (&json!(parent), &json!("s1")), "{child:#}");
    let children = home.status(&parent)["children"].clone();
    assert_eq!(strings(&children), [child["id"].as_str().expect("an id")]);
    assert_eq!(home.status(&parent)["parent"], json!(null));
}

#[test]
fn a_claim_to_another_session_from_inside_a_task_is_refused() {
    let home = TestHome::new();
    let script = format!("'{}' --session other run -- true; echo $?", home.binary().display());
    let id = home.launch_shell(&script);
    home.wait(&id);
    assert!(home.output(&id).lines().any(|line| line == "4"), "{}", home.output(&id));
    assert_eq!(home.json(["list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn config_set_applies_to_what_is_queued_at_once() {
    let home = one_seat();
    let mut gate = home.gate("gate");
    hold_the_seat(&home, &gate);
    let mut second = home.gate("second");
    let id = home.launch_shell_with(["--lane", "one"], &second.shell());
    assert_eq!(home.status(&id)["state"], "queued");
    home.cli(["config", "set", "lanes.one.limit", "2"]).ok();
    wait_for_state(&home, &id, "running");
    gate.open();
    second.open();
    home.wait(&id);
}

#[test]
fn a_full_queue_refuses_naming_the_setting() {
    let home = TestHome::builder().config("lanes.one.limit = 1\nlimits.queued = 2").build();
    let gate = home.gate("gate");
    hold_the_seat(&home, &gate);
    for _ in 0..2 {
        home.launch_with(["--lane", "one"], ["true"]);
    }
    let ran = home.cli(["run", "--lane", "one", "--", "true"]);
    check_refusal(&ran, 4, "queued");
    assert!(ran.complaint().contains("limits.queued"), "{}", ran.complaint());
}

/// How the first task ends, the condition, and whether the second then runs.
const CONDITIONS: &[(&str, &str, bool)] = &[
    ("exit 0", "", true),
    ("exit 0", ":ok", true),
    ("exit 0", ":any", true),
    ("exit 0", ":fail", false),
    ("exit 1", "", false),
    ("exit 1", ":ok", false),
    ("exit 1", ":any", true),
    ("exit 1", ":fail", true),
    ("kill -KILL $$", ":fail", true),
    ("kill -KILL $$", ":any", true),
];

#[test]
fn a_dependency_is_met_by_the_end_it_asks_for() {
    let home = TestHome::new();
    for (script, condition, runs) in CONDITIONS {
        let mut gate = home.gate(&format!("gate {script} {condition}"));
        let first = home.launch_shell(&format!("{}; {script}", gate.shell()));
        let after = format!("{first}{condition}");
        let second = home.launch_with(["--after", &after], ["true"]);
        let waiting = home.status(&second);
        assert_eq!(waiting["state"], "queued", "{waiting:#}");
        assert_eq!(strings(&waiting["waiting_for"]["tasks"]), [first.as_str()]);
        gate.open();
        let task = home.wait(&second);
        check_dependent(&task, &first, *runs);
        // The same when the first has ended already.
        let late = home.cli(["run", "--after", &after, "--", "true"]);
        let task = home.wait(&late.ok());
        check_dependent(&task, &first, *runs);
    }
}

#[track_caller]
fn check_dependent(task: &Value, first: &str, runs: bool) {
    if runs {
        assert_eq!(task["state"], "completed", "{task:#}");
    } else {
        assert_eq!(task["state"], "failed", "{task:#}");
        assert_eq!(task["cause"], json!({ "kind": "dependency", "task": first }), "{task:#}");
        assert_eq!(
            (&task["started_at"], &task["outcome"]),
            (&json!(null), &json!("failure")),
            "{task:#}"
        );
    }
}

#[test]
fn a_task_after_a_cancelled_one_fails_and_so_on_down_the_chain() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let first = home.launch_shell(&gate.shell());
    let second = home.launch_with(["--after", &first], ["true"]);
    let third = home.launch_with(["--after", &second], ["true"]);
    let any = home.launch_with(["--after", &format!("{first}:any")], ["true"]);
    home.cli(["cancel", &first]).ok();
    assert_eq!(home.wait(&second)["cause"], json!({ "kind": "dependency", "task": first }));
    assert_eq!(home.wait(&third)["cause"], json!({ "kind": "dependency", "task": second }));
    assert_eq!(home.wait(&any)["state"], "completed");
}

#[test]
fn several_dependencies_must_all_be_met() {
    let home = TestHome::new();
    let mut gates = [home.gate("a"), home.gate("b")];
    let ids: Vec<String> = gates.iter().map(|gate| home.launch_shell(&gate.shell())).collect();
    let last = home.launch_with(["--after", &ids[0], "--after", &ids[1]], ["true"]);
    gates[0].open();
    home.wait(&ids[0]);
    assert_eq!(home.status(&last)["state"], "queued");
    gates[1].open();
    assert_eq!(home.wait(&last)["state"], "completed");
}

#[test]
fn a_dependent_task_holds_no_seat() {
    let home = one_seat();
    let mut gate = home.gate("gate");
    let first = home.launch_shell(&gate.shell());
    let dependent = home.launch_with(["--lane", "one", "--after", &first], ["true"]);
    let other = home.launch_with(["--lane", "one"], ["true"]);
    assert_eq!(home.wait(&other)["state"], "completed");
    gate.open();
    assert_eq!(home.wait(&dependent)["state"], "completed");
}

#[test]
fn an_unknown_dependency_is_refused() {
    let home = TestHome::new();
    check_refusal(&home.cli(["run", "--after", "0123456789", "--", "true"]), 3, "0123456789");
    check_refusal(&home.cli(["run", "--after", "x", "--", "true"]), 2, "x");
    assert_eq!(home.json(["list"]), json!([]));
}
