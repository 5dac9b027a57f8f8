//! `inbox`: what a session is told, once, and what counts as told.

use meanwhile_testkit::{DEADLINE, Ran, Running, TestHome, until};
use serde_json::{Value, json};

use crate::check_refusal;

/// Notices of a session, without taking them.
fn peek(home: &TestHome, session: &str) -> Vec<Value> {
    let ran = home.cli(["--json", "--session", session, "inbox", "--peek"]);
    notices(&ran)
}

fn notices(ran: &Ran) -> Vec<Value> {
    ran.ok();
    ran.json().as_array().expect("an array").clone()
}

fn tasks(notices: &[Value]) -> Vec<&str> {
    notices.iter().map(|notice| notice["task"].as_str().expect("a task")).collect()
}

/// Launches for a session and waits, as somebody else, for the end.
fn launch(home: &TestHome, session: &str, options: &[&str], line: &str) -> String {
    let words = [&["--session", session, "run"], options, &["--shell", line]].concat();
    home.cli(words).ok().trim().to_owned()
}

fn ended(home: &TestHome, session: &str, options: &[&str], line: &str) -> String {
    let id = launch(home, session, options, line);
    home.wait(&id);
    id
}

fn start_waiting<'a>(home: &'a TestHome, session: &str, waiters: u64) -> Running<'a> {
    let words = ["--json", "--session", session, "inbox", "--wait"];
    let running = home.invoke(words).start();
    until("the waiter to wait", DEADLINE, || {
        (home.json(["daemon", "status"])["waiters"] == waiters).then_some(())
    });
    running
}

#[test]
fn an_end_is_told_once_with_all_that_a_parent_needs() {
    let home = TestHome::new();
    let id = ended(
        &home,
        "s",
        &["--name", "unit tests"],
        "echo one; printf 'two\\033[2J\\n\\n'; exit 3",
    );
    let told = peek(&home, "s");
    let [notice] = told.as_slice() else { panic!("one notice: {told:?}") };
    assert_eq!(notice["id"], format!("{id}.1.done"));
    assert_eq!(notice["kind"], "done");
    assert_eq!(notice["task"], id);
    assert_eq!(notice["attempt"], 1);
    assert_eq!(notice["name"], "unit tests");
    assert_eq!(notice["state"], "failed");
    assert_eq!(notice["cause"], json!({ "kind": "exit", "code": 3 }));
    assert!(notice["duration_ms"].is_u64());
    assert_eq!(notice["head"], "two", "the last line, and nothing that commands a terminal");
    assert_eq!(notice["more"], format!("meanwhile output {id}"));
    assert_eq!(peek(&home, "s").len(), 1, "it was only looked at");
    let human = home.cli(["--session", "s", "inbox"]);
    let text = human.ok();
    assert!(text.contains(&id) && text.contains("two"), "{text}");
    assert_eq!(peek(&home, "s"), [] as [Value; 0], "it was shown");
    let again = home.cli(["--session", "s", "inbox"]);
    assert_eq!((again.ok(), again.complaint().trim()), (String::new(), "nothing unread"));
    assert_eq!(peek(&home, "user"), [] as [Value; 0]);
}

#[test]
fn a_notice_outlives_the_daemon() {
    let home = TestHome::new();
    let id = ended(&home, "s", &[], "true");
    home.kill_daemon();
    assert_eq!(tasks(&peek(&home, "s")), [&id], "read from the store, without a daemon");
    assert!(home.daemon().is_none(), "looking starts none");
    let told = notices(&home.cli(["--json", "--session", "s", "inbox"]));
    assert_eq!(tasks(&told), [&id]);
    home.kill_daemon();
    assert_eq!(peek(&home, "s"), [] as [Value; 0], "what was acknowledged is on disk");
}

#[test]
fn whoever_was_shown_the_end_is_not_told_again() {
    let home = TestHome::new();
    for words in [&["wait"][..], &["status"], &["output"], &["follow"], &["cancel"]] {
        let id = ended(&home, "s", &[], "echo x");
        assert_eq!(tasks(&peek(&home, "s")), [&id], "{words:?}");
        home.cli([&["--session", "s"], words, &[&id]].concat());
        assert_eq!(peek(&home, "s"), [] as [Value; 0], "{words:?}");
    }
    home.cli(["--session", "s", "run", "--wait", "--", "true"]).ok();
    assert_eq!(peek(&home, "s"), [] as [Value; 0], "run --wait");
    // Somebody else's look is not the session's.
    let id = ended(&home, "s", &[], "echo x");
    home.cli(["status", &id]).ok();
    assert_eq!(tasks(&peek(&home, "s")), [&id]);
}

#[test]
fn a_waiter_is_told_when_the_last_of_them_is_done() {
    let home = TestHome::new();
    let (mut first, mut last) = (home.gate("first"), home.gate("last"));
    let one = launch(&home, "s", &[], &first.shell());
    let two = launch(&home, "s", &[], &last.shell());
    let mut waiting = start_waiting(&home, "s", 1);
    first.open();
    home.wait(&one);
    assert!(waiting.is_running(), "one of two is no news");
    last.open();
    let ran = waiting.wait(DEADLINE);
    assert_eq!(tasks(&notices(&ran)), [&one, &two]);
    assert_eq!(peek(&home, "s"), [] as [Value; 0]);
}

#[test]
fn a_failure_and_each_that_was_asked_for_are_told_before_the_others_are_done() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    launch(&home, "s", &[], &gate.shell());
    let waiting = start_waiting(&home, "s", 1);
    let bad = launch(&home, "s", &[], "exit 1");
    assert_eq!(tasks(&notices(&waiting.wait(DEADLINE))), [&bad]);
    let waiting = start_waiting(&home, "s", 1);
    let each = launch(&home, "s", &["--notify", "each"], "true");
    assert_eq!(tasks(&notices(&waiting.wait(DEADLINE))), [&each]);
}

#[test]
fn groups_are_told_of_by_themselves() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    launch(&home, "s", &[], &gate.shell());
    let waiting = start_waiting(&home, "s", 1);
    let grouped = launch(&home, "s", &["--group", "g"], "true");
    assert_eq!(tasks(&notices(&waiting.wait(DEADLINE))), [&grouped]);
}

#[test]
fn of_what_nobody_wants_to_hear_nobody_is_told() {
    let home = TestHome::new();
    ended(&home, "s", &["--notify", "none"], "exit 1");
    ended(&home, "s", &["--notify", "failures"], "true");
    assert_eq!(peek(&home, "s"), [] as [Value; 0]);
    let bad = ended(&home, "s", &["--notify", "failures"], "exit 1");
    assert_eq!(tasks(&peek(&home, "s")), [&bad]);
}

#[test]
fn a_later_waiter_takes_over_and_the_first_is_told_so() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = launch(&home, "s", &[], &gate.shell());
    let first = start_waiting(&home, "s", 1);
    let words = ["--json", "--session", "s", "inbox", "--wait"];
    let second = home.invoke(words).start();
    let told = first.wait(DEADLINE);
    told.expect(4);
    assert!(told.complaint().contains("taken over"), "{}", told.complaint());
    gate.open();
    assert_eq!(tasks(&notices(&second.wait(DEADLINE))), [&id]);
}

#[test]
fn a_waiter_goes_on_after_the_daemon_was_killed() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = launch(&home, "s", &[], &gate.shell());
    let waiting = start_waiting(&home, "s", 1);
    home.kill_daemon();
    until("the waiter to have started a daemon and to wait again", DEADLINE, || {
        let status = home.cli(["--json", "daemon", "status"]);
        (status.code() == 0 && status.json()["waiters"] == 1).then_some(())
    });
    gate.open();
    assert_eq!(tasks(&notices(&waiting.wait(DEADLINE))), [&id]);
}

#[test]
fn waiting_ends_with_124_when_the_time_is_over() {
    let home = TestHome::new();
    let ran = home.cli(["--session", "s", "inbox", "--wait", "--timeout", "50ms"]);
    ran.expect(124);
    assert_eq!((ran.text(), ran.complaint().trim()), (String::new(), "nothing unread"));
    let json = home.cli(["--json", "inbox", "--wait", "--timeout", "0"]);
    json.expect(124);
    assert_eq!(json.text().trim(), "[]");
}

#[test]
fn another_attempt_supersedes_what_was_told_and_is_told_itself() {
    let home = TestHome::new();
    let id = ended(&home, "s", &["--retries", "1", "--backoff", "0"], "exit 1");
    assert_eq!(peek(&home, "s")[0]["id"], format!("{id}.2.done"), "the last attempt alone");
    home.cli(["retry", &id]).ok();
    home.wait(&id);
    let told: Vec<Value> =
        peek(&home, "s").iter().map(|notice| notice["attempt"].clone()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].as_u64() > Some(2), "{told:?}");
}

#[test]
fn a_deadline_that_is_near_is_told_with_what_gives_more_time_and_more_time_takes_it_back() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    let id = launch(&home, "s", &["--timeout", "10s"], &gate.shell());
    let told = until("four fifths of ten seconds to pass", DEADLINE, || {
        peek(&home, "s").into_iter().next()
    });
    assert_eq!((&told["kind"], &told["task"]), (&json!("deadline"), &json!(id)));
    assert_eq!(told["more"], format!("meanwhile extend {id} 10m"));
    assert_eq!((&told["state"], &told["cause"]), (&json!("running"), &Value::Null));
    home.cli(["extend", &id, "1h"]).ok();
    assert_eq!(peek(&home, "s"), [] as [Value; 0]);
}

#[test]
fn answers_say_how_much_is_unread_and_documents_do_not() {
    let home = TestHome::new();
    let id = ended(&home, "s", &[], "true");
    for words in [&["list"][..], &["run", "--", "true"], &["list", "--summary"], &["status"]] {
        let ran = home.cli([&["--session", "s"], words].concat());
        ran.ok();
        let last = ran.complaint().lines().last().unwrap_or_default().to_owned();
        assert!(last.ends_with("unread: meanwhile inbox"), "{words:?}: {last}");
    }
    let json = home.cli(["--json", "--session", "s", "list"]);
    json.ok();
    assert_eq!(json.complaint(), "");
    let other = home.cli(["--session", "other", "list"]);
    assert!(!other.complaint().contains("unread"), "{}", other.complaint());
    let shown = home.cli(["--session", "s", "status", &id]);
    assert!(!shown.complaint().contains("2 unread"), "{}", shown.complaint());
}

#[test]
fn a_session_reads_its_own_inbox_and_a_person_all_of_them() {
    let home = TestHome::new();
    let (one, two) = (ended(&home, "a", &[], "true"), ended(&home, "b", &[], "true"));
    let all = notices(&home.cli(["--json", "inbox", "--peek", "--any-session"]));
    assert_eq!(tasks(&all), [&one, &two]);
    let refused = home.cli(["--session", "a", "inbox", "--any-session"]);
    check_refusal(&refused, 4, "for people");
    assert_eq!(tasks(&notices(&home.cli(["--json", "inbox", "--any-session"]))), [&one, &two]);
    assert_eq!(peek(&home, "a"), [] as [Value; 0]);
}

#[test]
fn a_task_may_look_into_its_sessions_inbox_and_takes_nothing_from_it() {
    let home = TestHome::new();
    let id = ended(&home, "s", &[], "true");
    let program = home.binary().display().to_string();
    let line = format!("'{program}' --json inbox --peek; '{program}' inbox; echo $?");
    let inside = ended(&home, "s", &["--group", "g"], &line);
    let text = home.cli(["output", &inside]).ok();
    assert!(text.contains(&format!("{id}.1.done")), "{text}");
    assert!(text.trim().ends_with('4'), "{text}");
    assert_eq!(tasks(&peek(&home, "s")), [&id, &inside]);
}

#[test]
fn an_agent_reads_a_digest_that_is_fenced_and_bounded() {
    let home = TestHome::new();
    for n in 0..20 {
        ended(&home, "s", &["--name", &format!("n{n}")], "head -c 2000 /dev/zero | tr '\\0' x");
    }
    let ran = home.cli(["--session", "s", "inbox"]);
    let text = ran.ok();
    assert!(text.len() <= 2048, "{} bytes", text.len());
    let first = text.lines().next().expect("it says something");
    let nonce = first.strip_prefix("<meanwhile-").and_then(|rest| rest.strip_suffix('>'));
    let nonce = nonce.expect("it opens a fence");
    assert!(text.trim_end().ends_with(&format!("</meanwhile-{nonce}>")), "{text}");
    assert!(text.contains("data") && text.contains("20 background tasks have ended"), "{text}");
}

#[test]
fn nonsense_is_refused() {
    let home = TestHome::new();
    for words in [
        &["inbox", "--peek", "--wait"][..],
        &["inbox", "--timeout", "1s"],
        &["inbox", "--wait", "--timeout", "soon"],
        &["inbox", "x"],
    ] {
        check_refusal(&home.cli(words), 2, "");
    }
}
