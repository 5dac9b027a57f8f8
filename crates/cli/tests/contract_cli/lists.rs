//! `list`, `status` and the overview: filters, limits, counts, and answers without a daemon.

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

use crate::{hold_the_seat, one_seat};

fn ids(list: &Value) -> Vec<String> {
    let tasks = list.as_array().expect("`list --json` is an array");
    tasks.iter().map(|task| task["id"].as_str().expect("an id").to_owned()).collect()
}

/// Three finished tasks with different marks, and one that is queued.
struct Variety {
    home: TestHome,
    good: String,
    bad: String,
    queued: String,
    other: String,
    // Held open until the end of the test.
    _gate: meanwhile_testkit::Gate,
    holder: String,
}

fn variety() -> Variety {
    let home = one_seat();
    let gate = home.gate("gate");
    let good =
        home.launch_with(["--name", "good", "--label", "kind=fast", "--group", "g"], ["true"]);
    let bad =
        home.launch_with(["--label", "kind=slow", "--label", "x=1", "--group", "g"], ["false"]);
    let other = home.cli(["--session", "s1", "run", "--lane", "l2", "--", "true"]).ok();
    for id in [&good, &bad, &other] {
        home.wait(id);
    }
    let holder = hold_the_seat(&home, &gate);
    let queued = home.launch_with(["--lane", "one"], ["true"]);
    Variety { home, good, bad, queued, other, _gate: gate, holder }
}

#[test]
fn filters_leave_the_tasks_that_fit_all_of_them_the_newest_first() {
    let all = variety();
    let Variety { home, good, bad, queued, other, holder, .. } = &all;
    let table: &[(&[&str], &[&String])] = &[
        (&[], &[queued, holder, other, bad, good]),
        (&["--state", "completed"], &[other, good]),
        (&["--state", "completed,failed"], &[other, bad, good]),
        (&["--state", "completed", "--state", "failed"], &[other, bad, good]),
        (&["--state", "active"], &[queued, holder]),
        (&["--state", "ended"], &[other, bad, good]),
        (&["--state", "interrupted"], &[]),
        (&["--kind", "command"], &[queued, holder, other, bad, good]),
        (&["--kind", "agent"], &[]),
        (&["--lane", "one"], &[queued, holder]),
        (&["--lane", "no-such-lane"], &[]),
        (&["--group", "g"], &[bad, good]),
        (&["--group", "g", "--state", "failed"], &[bad]),
        (&["--name", "good"], &[good]),
        (&["--label", "kind=fast"], &[good]),
        (&["--label", "kind"], &[bad, good]),
        (&["--label", "kind=slow", "--label", "x=1"], &[bad]),
        (&["--label", "kind=fast", "--label", "x=1"], &[]),
        (&["--session", "s1"], &[other]),
        (&["--any-session"], &[queued, holder, other, bad, good]),
        (&["--since", "1h"], &[queued, holder, other, bad, good]),
        (&["--since", "2030-01-01T00:00:00Z"], &[]),
        (&["--limit", "2"], &[queued, holder]),
        (&["-n", "1", "--state", "failed"], &[bad]),
    ];
    for (words, expected) in table {
        let found = ids(&home.json([&["list"], *words].concat()));
        let expected: Vec<String> = expected.iter().map(|id| (*id).clone()).collect();
        assert_eq!(found, expected, "list {words:?}");
    }
}

#[test]
fn summary_counts_by_state_and_respects_filters() {
    let all = variety();
    let home = &all.home;
    let summary = home.json(["list", "--summary"]);
    let expected = json!({
        "queued": 1, "starting": 0, "running": 1, "input_required": 0, "completed": 2, "failed": 1,
        "cancelled": 0, "interrupted": 0
    });
    assert_eq!(summary, json!({ "total": 5, "states": expected }));
    assert_eq!(home.json(["list", "--summary", "--group", "g"])["total"], 2);
    let shown = home.cli(["list", "--summary"]).ok();
    assert!(shown.contains("completed") && shown.contains('2'), "{shown}");
}

#[test]
fn list_shows_the_newest_200_and_says_how_many_more() {
    let home = one_seat();
    let gate = home.gate("gate");
    hold_the_seat(&home, &gate);
    let entries = "{\"command\":[\"true\"],\"lane\":\"one\"}\n".repeat(250);
    let launched = home.invoke(["run", "--from", "-"]).stdin(entries).run().ok();
    let newest = launched.lines().last().expect("there are ids").to_owned();
    let listed = ids(&home.json(["list"]));
    assert_eq!((listed.len(), &listed[0]), (200, &newest));
    assert_eq!(ids(&home.json(["list", "--limit", "1000"])).len(), 251);
    let ran = home.cli(["list"]);
    assert!(ran.complaint().contains("51 more"), "{}", ran.complaint());
}

#[test]
fn an_empty_list_says_what_to_type() {
    let home = TestHome::new();
    let ran = home.cli(["list"]);
    assert_eq!(ran.ok(), "");
    assert!(ran.complaint().contains("meanwhile run"), "{}", ran.complaint());
    assert_eq!(home.json(["list"]), json!([]));
}

#[test]
fn one_id_answers_an_object_and_several_an_array_in_the_order_asked() {
    let home = TestHome::new();
    let [a, b] = [(); 2].map(|()| home.launch(["true"]));
    home.wait(&a);
    home.wait(&b);
    assert_eq!(home.json(["status", &a])["id"], a.as_str());
    assert_eq!(ids(&home.json(["status", &b, &a])), [b.clone(), a.clone()]);
    let shown = home.cli(["status", &b, &a]).ok();
    assert!(shown.find(&b) < shown.find(&a), "{shown}");
}

#[test]
fn the_overview_is_meanwhile_alone_and_status_without_an_id() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let id = home.launch_shell_with(["--name", "the one"], &gate.shell());
    crate::wait_for_state(&home, &id, "running");
    for words in [&[][..], &["status"]] {
        let shown = home.cli(words).ok();
        assert!(shown.contains("the one") && shown.contains("running"), "{shown}");
        assert!(shown.contains("meanwhile run -- COMMAND"), "what to type: {shown}");
        let json = home.json(words);
        assert_eq!(json["active"][0]["id"], id.as_str(), "{json:#}");
        assert_eq!(json["summary"]["states"]["running"], 1, "{json:#}");
    }
}

#[test]
fn reading_starts_no_daemon_and_an_absent_home_stays_absent() {
    let home = TestHome::builder().below("new").build();
    if home.daemon().is_some() {
        // Where a home is given a daemon at once, absence cannot be shown.
        return meanwhile_testkit::mode::not_here("this mode starts the daemon with the home");
    }
    let absent = home.root().join("absent");
    let absent_text = absent.to_str().expect("our own path is text");
    for words in [
        &["list"][..],
        &["list", "--summary"],
        &["status"],
        &[],
        &["doctor"],
        &["lanes"],
        &["config", "get"],
        &["config", "path"],
    ] {
        for options in [&[][..], &["--home", absent_text]] {
            let ran = home.cli([options, words].concat());
            assert!(
                matches!(ran.code(), 0 | 1),
                "{words:?} exited {}: {}",
                ran.code(),
                ran.complaint()
            );
            assert!(home.daemon().is_none(), "{words:?} started a daemon");
            assert!(!absent.exists(), "{words:?} made the home");
        }
    }
    home.cli(["status", "0123456789"]).expect(3);
    home.cli(["output", "0123456789"]).expect(3);
    home.cli(["daemon", "status"]).expect(5);
    assert!(home.daemon().is_none());
}

#[test]
fn without_a_daemon_the_store_answers_the_same() {
    let home = TestHome::new();
    let id = home.launch_shell_with(["--name", "n", "--label", "k=v"], "echo hello; exit 3");
    home.wait(&id);
    let questions: &[&[&str]] = &[
        &["list"],
        &["list", "--label", "k=v"],
        &["list", "--summary"],
        &["status", &id],
        &["status", "n"],
        &["status", &id[..4]],
        &["output", &id],
    ];
    let answers: Vec<Value> = questions.iter().map(|words| home.json(*words)).collect();
    home.cli(["daemon", "stop"]).ok();
    assert!(home.daemon().is_none());
    for (words, answer) in questions.iter().zip(&answers) {
        assert_eq!(home.json(*words), *answer, "{words:?}");
    }
    assert_eq!(home.output(&id), "hello");
    assert!(home.daemon().is_none(), "reading started a daemon");
}

#[test]
fn without_a_daemon_a_running_task_is_shown_with_its_output() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&format!("echo hello; {}; {}", bell.shell("up"), gate.shell()));
    bell.wait(meanwhile_testkit::DEADLINE);
    home.cli(["daemon", "stop"]).ok();
    let task = home.status(&id);
    assert_eq!(task["state"], "running", "{task:#}");
    assert_eq!(home.output(&id), "hello");
    assert!(home.daemon().is_none());
    gate.open();
    assert_eq!(home.wait(&id)["state"], "completed");
}
