//! `--from`: many tasks in one transaction, or none and the line that is wrong.

use std::fs;

use meanwhile_testkit::{Ran, TestHome};
use serde_json::{Value, json};

use crate::{check_refusal, error_of};

fn submit(home: &TestHome, entries: &[Value]) -> Ran {
    let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    home.invoke(["run", "--from", "-"]).stdin(text).run()
}

fn ids(ran: &Ran) -> Vec<String> {
    ran.ok().lines().map(str::to_owned).collect()
}

#[test]
fn a_batch_answers_one_id_per_line_in_input_order() {
    let home = TestHome::new();
    let entries: Vec<Value> =
        (0..20).map(|n| json!({ "command": ["echo", n.to_string()] })).collect();
    let ids = ids(&submit(&home, &entries));
    assert_eq!(ids.len(), 20);
    for (n, id) in ids.iter().enumerate() {
        home.wait(id);
        assert_eq!(home.output(id), n.to_string());
    }
}

#[test]
fn a_batch_in_json_answers_one_document_per_line() {
    let home = TestHome::new();
    let entries = format!("{}\n{}\n", json!({ "shell": "true" }), json!({ "command": ["true"] }));
    let ran = home.invoke(["--json", "run", "--from", "-"]).stdin(entries).run();
    for line in ran.ok().lines() {
        let accepted: Value = serde_json::from_str(line).expect("a document");
        assert_eq!(accepted["id"].as_str().map(str::len), Some(10), "{line}");
    }
    assert_eq!(ran.text().lines().count(), 2);
}

#[test]
fn a_batch_may_be_a_file_with_empty_lines() {
    let home = TestHome::new();
    fs::write(home.path("batch"), "\n{\"shell\":\"echo a\"}\n\n  \n{\"shell\":\"echo b\"}")
        .expect("writable");
    let ids = ids(&home.cli(["run", "--from", "batch"]));
    assert_eq!(ids.len(), 2);
    check_refusal(&home.cli(["run", "--from", "no-such-file"]), 2, "no-such-file");
    check_refusal(&home.invoke(["run", "--from", "-"]).stdin("\n\n").run(), 2, "no entries");
}

#[test]
fn every_option_of_run_is_a_key() {
    let home = TestHome::new();
    fs::write(home.path("input"), "in").expect("a file can be written");
    let entry = json!({
        "command": ["sh", "-c", "cat; echo $A; pwd; exit 3"], "name": "n", "cwd": "/", "env": { "A": "b" },
        "keep_env": ["CLAUDECODE"], "group": "g", "labels": { "k": "v" }, "lane": "l", "priority": 4,
        "timeout": "1h", "idle_timeout": "30m", "kill_after": "5s", "retries": 1, "backoff": "1ms",
        "retry_on": "3,4", "delay": "1ms", "stdin": home.path("input"), "max_log": "1MiB", "nice": 1,
        "artifacts": ["*.log"], "keep_tmp": true, "idempotency_key": "k", "idempotent": true,
        "env_profile": "ci", "notify": "each", "notify_on": "x", "on_waiting": "notify", "detach": false,
        "force": true, "over_limit": true
    });
    let ids = ids(&submit(&home, &[entry]));
    let task = home.wait(&ids[0]);
    assert_eq!((&task["state"], &task["attempt"]), (&json!("failed"), &json!(2)), "{task:#}");
    assert_eq!(
        (&task["name"], &task["group"], &task["lane"]),
        (&json!("n"), &json!("g"), &json!("l"))
    );
    assert_eq!((&task["labels"], &task["priority"]), (&json!({ "k": "v" }), &json!(4)));
    assert_eq!(home.output(&ids[0]), "inb\n/");
}

#[test]
fn keys_may_be_written_as_the_options_are() {
    let home = TestHome::new();
    let entry = json!({
        "command": ["true"], "idle-timeout": "30m", "kill-after": "5s", "retry-on": [1, 2], "max-log": "1MiB",
        "label": "k=v", "artifact": "*.log", "keep-tmp": true, "idempotency-key": "x", "env-profile": "ci",
        "notify-on": "x", "on-waiting": "kill", "over-limit": true, "keep-env": "A", "keep-leaked": true
    });
    let ids = ids(&submit(&home, &[entry]));
    assert_eq!(home.wait(&ids[0])["labels"], json!({ "k": "v" }));
}

/// Entries that are wrong, and what is said of them.
fn bad_entries() -> Vec<(Value, i32)> {
    let command = |more: Value| {
        let mut entry = json!({ "command": ["true"] });
        let object = entry.as_object_mut().expect("an object");
        object.extend(more.as_object().expect("an object").clone());
        entry
    };
    vec![
        (json!({}), 2),
        (json!([]), 2),
        (json!("true"), 2),
        (json!({ "command": [] }), 2),
        (json!({ "command": "true" }), 2),
        (json!({ "command": ["true"], "shell": "true" }), 2),
        (json!({ "shell": "" }), 2),
        (command(json!({ "tiemout": "5m" })), 2),
        (command(json!({ "timeout": "5" })), 2),
        (command(json!({ "timeout": -5 })), 2),
        (command(json!({ "retries": -1 })), 2),
        (command(json!({ "retries": "two" })), 2),
        (command(json!({ "retry_on": "1,x" })), 2),
        (command(json!({ "retry_on": [256] })), 2),
        (command(json!({ "memory": "0" })), 2),
        (command(json!({ "max_log": "0" })), 2),
        (command(json!({ "cpus": 0 })), 2),
        (command(json!({ "cpus": -1 })), 2),
        (command(json!({ "pids": 0 })), 2),
        (command(json!({ "nice": 20 })), 2),
        (command(json!({ "ready": "(" })), 2),
        (command(json!({ "ready_port": 0 })), 2),
        (command(json!({ "ready_port": 70000 })), 2),
        (command(json!({ "notify_on": "[" })), 2),
        (command(json!({ "notify": "sometimes" })), 2),
        (command(json!({ "artifacts": ["a["] })), 2),
        (command(json!({ "name": "" })), 2),
        (command(json!({ "name": "a\nb" })), 2),
        (command(json!({ "name": "x".repeat(201) })), 2),
        (command(json!({ "lane": "" })), 2),
        (command(json!({ "labels": { "": "v" } })), 2),
        (command(json!({ "label": "novalue" })), 2),
        (command(json!({ "env": { "": "v" } })), 2),
        (command(json!({ "env": { "A=B": "v" } })), 2),
        (command(json!({ "stdin": "-" })), 2),
        (command(json!({ "after": ":ok" })), 2),
        (command(json!({ "after": "abcd:maybe" })), 2),
        (command(json!({ "after": "0123456789" })), 3),
        (command(json!({ "after": "zzzz" })), 3),
        (command(json!({ "cwd": "/no/such/directory" })), 4),
        (json!({ "command": ["no-such-program-here"] }), 4),
        (json!({ "command": ["/"] }), 4),
    ]
}

#[test]
fn a_batch_with_one_bad_entry_is_refused_whole_naming_the_line() {
    let home = TestHome::new();
    let good = json!({ "command": ["true"] });
    for (bad, code) in bad_entries() {
        let ran =
            home.invoke(["run", "--from", "-"]).stdin(format!("{good}\n\n{bad}\n{good}\n")).run();
        assert_eq!(ran.code(), code, "{bad}: {}", ran.complaint());
        check_refusal(&ran, code, "line 3");
    }
    assert_eq!(home.json(["list"]), json!([]), "nothing of them was launched");
}

#[test]
fn a_bad_line_is_named_in_json_too() {
    let home = TestHome::new();
    for bad in ["not json", "{\"command\":[\"true\"],\"after\":\"0123456789\"}"] {
        let entries = format!("{{\"shell\":\"true\"}}\n{bad}\n");
        let ran = home.invoke(["--json", "run", "--from", "-"]).stdin(entries).run();
        let error = error_of(&ran);
        assert_eq!(error["details"]["line"], 2, "{error:#}");
    }
}

#[test]
fn entries_may_come_after_others_of_the_batch_by_name() {
    let home = TestHome::new();
    let ids = ids(&submit(
        &home,
        &[
            json!({ "shell": "exit 1", "name": "build" }),
            json!({ "shell": "true", "name": "test", "after": "build" }),
            json!({ "shell": "true", "name": "tell", "after": ["build:fail", "test:any"] }),
        ],
    ));
    assert_eq!(home.wait(&ids[1])["cause"], json!({ "kind": "dependency", "task": ids[0] }));
    assert_eq!(home.wait(&ids[2])["state"], "completed");
}

#[test]
fn a_dependency_on_itself_is_a_cycle() {
    let home = TestHome::new();
    let ran = submit(&home, &[json!({ "shell": "true", "name": "a", "after": "a" })]);
    check_refusal(&ran, 4, "a");
    assert!(
        ran.complaint().contains("line 1") || ran.complaint().contains("each other"),
        "{}",
        ran.complaint()
    );
    assert_eq!(home.json(["list"]), json!([]));
}

#[test]
fn cycles_are_refused_whole() {
    let home = TestHome::new();
    let entry = |name: &str, after: &str| json!({ "shell": "true", "name": name, "after": after });
    for entries in [
        vec![entry("a", "b"), entry("b", "a")],
        vec![entry("a", "c"), entry("b", "a"), entry("c", "b")],
        vec![json!({ "shell": "true" }), entry("a", "b:any"), entry("b", "a:fail")],
    ] {
        let ran = submit(&home, &entries);
        check_refusal(&ran, 4, "");
        let json = home
            .invoke(["--json", "run", "--from", "-"])
            .stdin(entries.iter().map(|entry| format!("{entry}\n")).collect::<String>())
            .run();
        assert_eq!(error_of(&json)["code"], "cycle", "{}", json.complaint());
    }
    assert_eq!(home.json(["list"]), json!([]));
}

#[test]
fn an_ambiguous_name_in_after_is_refused() {
    let home = TestHome::new();
    let entry = |name: &str| json!({ "shell": "true", "name": name });
    let last = json!({ "shell": "true", "after": "twin" });
    check_refusal(&submit(&home, &[entry("twin"), entry("twin"), last]), 4, "twin");
}

#[test]
fn options_beside_the_batch_are_the_defaults_of_its_entries() {
    let home = TestHome::new();
    let entries = format!(
        "{}\n{}\n",
        json!({ "shell": "echo $A" }),
        json!({ "shell": "true", "lane": "own" })
    );
    let line = ["run", "--lane", "shared", "--label", "k=v", "--env", "A=b", "--from", "-"];
    let ids = ids(&home.invoke(line).stdin(entries).run());
    let tasks = [home.wait(&ids[0]), home.wait(&ids[1])];
    assert_eq!((&tasks[0]["lane"], &tasks[1]["lane"]), (&json!("shared"), &json!("own")));
    assert!(tasks.iter().all(|task| task["labels"] == json!({ "k": "v" })), "{tasks:?}");
    assert_eq!(home.output(&ids[0]), "b");
}

#[test]
fn a_large_batch_is_one_transaction_and_quick() {
    let home = TestHome::builder().config("lanes.held.limit = 1").build();
    let gate = home.gate("gate");
    home.launch_shell_with(["--lane", "held"], &gate.shell());
    let entries = "{\"command\":[\"true\"],\"lane\":\"held\"}\n".repeat(10_000);
    let ran = home.invoke(["run", "--from", "-"]).stdin(entries).run();
    assert_eq!(ran.ok().lines().count(), 10_000);
    assert_eq!(home.json(["list", "--summary"])["states"]["queued"], 10_000);
    home.kill_daemon();
    assert_eq!(home.json(["list", "--summary"])["states"]["queued"], 10_000, "it is on disk");
}

#[test]
fn a_batch_can_be_waited_for() {
    let home = TestHome::new();
    let entries = "{\"shell\":\"exit 0\"}\n{\"shell\":\"exit 3\"}\n";
    let ran = home.invoke(["run", "--wait", "--from", "-"]).stdin(entries).run();
    ran.expect(1);
    assert_eq!(ran.text().lines().count(), 2);
    let fine =
        home.invoke(["run", "--wait", "--from", "-"]).stdin("{\"shell\":\"exit 0\"}\n").run();
    fine.expect(0);
}
