//! The inbox as MCP, hooks and programs use it: leases, acknowledgements, presence, sessions that become others.

use std::time::Duration;

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::{Value, json};

use crate::raw::{Raw, ask};

fn post(home: &TestHome, session: &str, path: &str, body: &Value) -> Raw {
    let session = format!("explicit:{session}");
    ask(home, "POST", path, &[("meanwhile-session", &session)], &body.to_string())
}

fn get(home: &TestHome, session: &str, path: &str) -> Value {
    let session = format!("explicit:{session}");
    let raw = ask(home, "GET", path, &[("meanwhile-session", &session)], "");
    assert_eq!(raw.status, 200, "{}", raw.body);
    raw.json()
}

fn deliver(home: &TestHome, session: &str, holder: &str) -> Value {
    let body = json!({ "route": "mcp", "holder": holder });
    let raw = post(home, session, "/v1/inbox/deliver", &body);
    assert_eq!(raw.status, 200, "{}", raw.body);
    raw.json()
}

fn ended(home: &TestHome, session: &str) -> String {
    let id = home.cli(["--session", session, "run", "--", "echo", "x"]).ok().trim().to_owned();
    home.wait(&id);
    id
}

fn unread(home: &TestHome, session: &str) -> u64 {
    get(home, session, "/v1/inbox")["unread"].as_u64().expect("a number")
}

#[test]
fn what_is_leased_comes_again_to_its_holder_at_once_and_to_nobody_else_until_then() {
    let home = TestHome::new();
    let id = ended(&home, "s");
    let first = deliver(&home, "s", "a");
    assert_eq!(first["outcome"], "notices");
    assert_eq!(first["notices"][0]["task"], id);
    let (digest, nonce) = (&first["digest"], first["nonce"].as_str().expect("a word"));
    assert!(digest.as_str().is_some_and(|text| text.contains(nonce) && text.contains(&id)));
    assert_eq!(deliver(&home, "s", "b")["outcome"], "nothing", "it is on its way");
    // Its holder lost the answer, and the daemon died: what was leased is on disk.
    home.kill_daemon();
    assert_eq!(deliver(&home, "s", "b")["outcome"], "nothing");
    let again = deliver(&home, "s", "a");
    assert_eq!(again["notices"], first["notices"], "recognisably the same");
    assert_ne!(again["nonce"], first["nonce"]);
    let ids = json!({ "ids": [first["notices"][0]["id"]] });
    assert_eq!(post(&home, "s", "/v1/inbox/ack", &ids).json(), json!({ "acknowledged": 1 }));
    home.kill_daemon();
    assert_eq!(post(&home, "s", "/v1/inbox/ack", &ids).json(), json!({ "acknowledged": 0 }));
    assert_eq!(deliver(&home, "s", "a")["outcome"], "nothing");
}

#[test]
fn a_hook_that_waits_starts_no_turn_while_its_session_works_and_one_when_it_is_idle() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    let want = json!({ "route": "hook", "holder": "a", "wait": true, "timeout": "60s" });
    let doing = |what: &str| {
        let raw = post(&home, "s", "/v1/inbox/presence", &json!({ "doing": what }));
        assert_eq!(raw.status, 200, "{}", raw.body);
    };
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| post(&home, "s", "/v1/inbox/deliver", &want).json());
        until("the hook to wait", DEADLINE, || {
            (home.json(["daemon", "status"])["waiters"] == 1).then_some(())
        });
        doing("busy");
        let id = ended(&home, "s");
        // sleep: without the rule it would be woken half a second after the end.
        std::thread::sleep(Duration::from_millis(900));
        assert!(!waiter.is_finished(), "it works: what there is rides along");
        assert_eq!(unread(&home, "s"), 1);
        doing("idle");
        let told = waiter.join().expect("it is answered");
        assert_eq!(told["notices"][0]["task"], id, "{told}");
    });
}

#[test]
fn nobody_is_woken_where_the_setting_says_never_and_a_change_of_it_counts_at_once() {
    let home = TestHome::builder().config("notify.wake = \"never\"").build();
    let id = ended(&home, "s");
    let hook = |timeout: &str| {
        let want = json!({ "route": "hook", "holder": "a", "wait": true, "timeout": timeout });
        post(&home, "s", "/v1/inbox/deliver", &want).json()
    };
    assert_eq!(hook("700ms")["outcome"], "timed_out");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| hook("60s"));
        until("the hook to wait", DEADLINE, || {
            (home.json(["daemon", "status"])["waiters"] == 1).then_some(())
        });
        home.cli(["config", "set", "notify.wake", "auto"]).ok();
        let told = waiter.join().expect("it is answered");
        assert_eq!(told["notices"][0]["task"], id, "{told}");
    });
}

#[test]
fn an_acknowledgement_is_for_ones_own_session() {
    let home = TestHome::new();
    let id = ended(&home, "s");
    let ids = json!({ "ids": [format!("{id}.1.done")] });
    assert_eq!(post(&home, "other", "/v1/inbox/ack", &ids).json(), json!({ "acknowledged": 0 }));
    let tasks = json!({ "tasks": [id] });
    assert_eq!(post(&home, "other", "/v1/inbox/ack", &tasks).status, 403);
    assert_eq!(unread(&home, "s"), 1);
    assert_eq!(post(&home, "s", "/v1/inbox/ack", &tasks).json(), json!({ "acknowledged": 1 }));
    assert_eq!(unread(&home, "s"), 0);
}

#[test]
fn a_session_that_becomes_another_takes_its_tasks_and_unread_notices_along() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let over = ended(&home, "old");
    let running = home.cli(["--session", "old", "run", "--shell", &gate.shell()]).ok();
    let replaced = json!({ "doing": "replaced", "by": "new" });
    assert_eq!(post(&home, "old", "/v1/inbox/presence", &replaced).json(), json!({ "unread": 1 }));
    assert_eq!(
        (unread(&home, "old"), unread(&home, "new")),
        (1, 1),
        "the old name leads to the new"
    );
    for id in [over.trim(), running.trim()] {
        assert_eq!(home.status(id)["session"], "new");
    }
    home.kill_daemon();
    assert_eq!(deliver(&home, "new", "a")["notices"][0]["task"], over, "also after a crash");
    let user =
        post(&home, "new", "/v1/inbox/presence", &json!({ "doing": "replaced", "by": "user" }));
    assert_eq!(user.status, 403, "nobody becomes the person");
}

#[test]
fn a_shortened_conversation_is_told_what_runs_and_what_is_unread() {
    let home = TestHome::new();
    assert_eq!(
        get(&home, "s", "/v1/inbox/compaction"),
        json!({ "entries": [], "more": 0, "text": null })
    );
    let gate = home.gate("gate");
    let over = ended(&home, "s");
    for _ in 0..24 {
        home.cli(["--session", "s", "run", "--name", &"n".repeat(200), "--shell", &gate.shell()])
            .ok();
    }
    let list = get(&home, "s", "/v1/inbox/compaction");
    let entries = list["entries"].as_array().expect("an array");
    assert_eq!((entries.len(), &list["more"]), (20, &json!(5)));
    assert!(entries[0].as_str().is_some_and(|e| e.starts_with(&over) && e.contains("unread")));
    for entry in entries {
        let entry = entry.as_str().expect("text");
        assert!(entry.chars().count() <= 240, "{entry}");
    }
}

#[test]
fn all_done_is_said_of_a_turn_where_the_caller_names_it() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let submit = |turn: &str, line: &str| {
        let body = json!({
            "tasks": [{ "shell": line, "turn": turn }],
            "caller": { "cwd": home.cwd(), "env": [["PATH", "/usr/bin:/bin"]], "umask": 18, "rlimits": [] },
        });
        let raw = post(&home, "s", "/v1/tasks", &body);
        assert_eq!(raw.status, 200, "{}", raw.body);
        raw.json()["accepted"][0]["id"].as_str().expect("an id").to_owned()
    };
    submit("1", &gate.shell());
    let id = submit("2", "true");
    let want = json!({ "route": "mcp", "holder": "a", "wait": true, "timeout": "20s" });
    let told = post(&home, "s", "/v1/inbox/deliver", &want).json();
    assert_eq!(told["notices"][0]["task"], id, "{told}");
    let none = json!({ "route": "mcp", "holder": "a", "wait": true, "timeout": "1ms" });
    post(&home, "s", "/v1/inbox/ack", &json!({ "tasks": [id] }));
    assert_eq!(post(&home, "s", "/v1/inbox/deliver", &none).json()["outcome"], "timed_out");
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let home = TestHome::new();
    ended(&home, "s");
    let check = |path: &str, body: Value, status: u16| {
        let raw = post(&home, "s", path, &body);
        assert_eq!(raw.status, status, "{path} {body}: {}", raw.body);
        assert!(raw.json()["error"]["hint"][0].is_string(), "{}", raw.body);
    };
    for holder in ["", "a b", "ä", &"x".repeat(65)] {
        check("/v1/inbox/deliver", json!({ "route": "mcp", "holder": holder }), 400);
    }
    check("/v1/inbox/deliver", json!({ "route": "pigeon", "holder": "a" }), 400);
    check("/v1/inbox/deliver", json!({ "route": "mcp", "holder": "a", "any_session": true }), 403);
    check("/v1/inbox/deliver", json!({ "holder": "a" }), 400);
    check("/v1/inbox/ack", json!({ "ids": ["../../x"] }), 400);
    check("/v1/inbox/ack", json!({ "tasks": ["zzzzzzzzzz"] }), 404);
    check("/v1/inbox/ack", json!({ "all": true }), 400);
    check("/v1/inbox/presence", json!({ "doing": "sleeping" }), 400);
    check("/v1/inbox/presence", json!({ "doing": "replaced", "by": "" }), 400);
    assert_eq!(unread(&home, "s"), 1);
}
