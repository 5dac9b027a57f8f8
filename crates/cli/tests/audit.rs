//! `audit --asked`: every request that was to change something is there with who made it, and with nothing of what it said.
//!
//! Owns no state; each test has a home of its own.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use meanwhile_testkit::TestHome;
use serde_json::Value;

fn asked(home: &TestHome, filters: &[&str]) -> Vec<Value> {
    let ran = home.cli([&["--json", "audit", "--asked"], filters].concat());
    ran.ok().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn texts<'a>(entries: &'a [Value], key: &str) -> Vec<&'a str> {
    entries.iter().map(|entry| entry[key].as_str().expect("a text")).collect()
}

#[test]
fn whoever_launches_or_changes_something_is_on_record_with_the_process_it_came_from() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.cli(["--session", "agent-7", "run", "--shell", &gate.shell()]).ok();
    home.cli(["--session", "agent-7", "extend", &id, "5m"]).ok();
    home.cli(["cancel", &id]).ok();
    gate.open();
    home.cli(["config", "set", "limits.depth", "2"]).ok();
    let entries = asked(&home, &[]);
    assert_eq!(texts(&entries, "asked"), ["submit", "extend", "cancel", "config_set"]);
    let by = ["session agent-7", "session agent-7", "user", "user"];
    assert_eq!(texts(&entries, "by"), by);
    assert_eq!(texts(&entries, "outcome"), ["done"; 4]);
    assert_eq!(texts(&entries, "door"), ["cli"; 4]);
    assert_eq!((&entries[0]["claim"], &entries[2]["claim"]), (&"explicit".into(), &Value::Null));
    for entry in &entries[..3] {
        assert_eq!(entry["tasks"], serde_json::json!([id]));
    }
    for entry in &entries {
        assert!(entry["pid"].as_u64().is_some_and(|pid| pid > 1), "{entry}");
        // The kernel keeps 15 bytes of a name.
        let name: String =
            home.binary().file_name().unwrap().to_string_lossy().chars().take(15).collect();
        assert_eq!(entry["tree"][0], name, "{entry}");
        assert!(entry["tree"].as_array().is_some_and(|tree| tree.len() > 1), "{entry}");
    }
    let shown = home.cli(["audit", "--asked", "--kind", "cancel"]).ok();
    assert!(shown.contains("cancel done: user by cli, pid ") && shown.ends_with(&id), "{shown}");
}

#[test]
fn a_task_that_asks_and_a_request_that_is_refused_are_on_record() {
    let home = TestHome::new();
    let binary = home.binary();
    let line =
        format!("'{0}' run -- true; '{0}' config set limits.depth 1; exit 0", binary.display());
    let id = home.cli(["--session", "s", "run", "--shell", &line]).ok();
    home.wait(&id);
    let entries = asked(&home, &[]);
    assert_eq!(texts(&entries, "asked"), ["submit", "submit", "config_set"]);
    assert_eq!(texts(&entries, "by")[1..], [format!("task {id}"), format!("task {id}")]);
    assert_eq!(texts(&entries, "outcome"), ["done", "done", "forbidden"]);
    assert_eq!(texts(&entries, "session"), ["s"; 3]);
}

#[test]
fn entries_are_found_by_task_session_and_kind_a_page_at_a_time() {
    let home = TestHome::new();
    let run = |session: &str| home.cli(["--session", session, "run", "--", "true"]).ok();
    let ids: Vec<String> = (0..6).map(|n| run(if n % 2 == 0 { "even" } else { "odd" })).collect();
    home.wait(&ids[3]);
    home.cli(["retry", &ids[3]]).ok();
    let of_task = asked(&home, &["--task", &ids[3]]);
    assert_eq!(texts(&of_task, "asked"), ["submit", "retry"]);
    assert_eq!(asked(&home, &["--of-session", "even"]).len(), 3);
    let first = home.cli(["--json", "audit", "--asked", "--since", "0", "--limit", "4"]);
    assert_eq!(first.ok().lines().count(), 4);
    assert!(first.complaint().contains("--since 4"), "{}", first.complaint());
    let rest = asked(&home, &["--since", "4"]);
    assert_eq!(rest.iter().map(|e| e["number"].as_u64().unwrap()).collect::<Vec<_>>(), [5, 6, 7]);
    home.kill_daemon();
    run("even");
    let numbers = asked(&home, &["--kind", "submit", "--kind", "retry"]);
    assert_eq!(numbers.last().unwrap()["number"], 8, "numbers go on");
    assert_eq!(numbers.len(), 8);
    home.cli(["audit", "--asked", "--task", "0000000000"]).expect(3);
    // What was deleted is known by its whole id.
    home.cli(["wait", &ids[5]]).ok();
    home.cli(["clean"]).ok();
    assert_eq!(texts(&asked(&home, &["--task", &ids[5]]), "asked"), ["submit"]);
}

#[test]
fn nothing_of_what_was_asked_is_in_it_and_agents_do_not_see_it() {
    let home = TestHome::new();
    let options = ["--env", "API_KEY=SENTINEL1", "--name", "SENTINEL2", "--label", "a=SENTINEL3"];
    home.cli([&["run"], &options[..], &["--", "true", "SENTINEL4"]].concat()).ok();
    let url = "https://example.com/SENTINEL5";
    home.cli(["config", "set", "notify.webhook.urls", url]).ok();
    home.cli(["config", "set", "notify.webhook.urls", "--default"]).ok();
    let asked =
        home.cli(["--json", "audit", "--asked"]).ok() + &home.cli(["audit", "--asked"]).ok();
    let events = home.cli(["--json", "audit"]).ok() + &home.cli(["audit"]).ok();
    let file = std::fs::read_to_string(home.state().join("logs/audit.log")).expect("the file");
    for text in [asked, events, file] {
        assert!(!text.is_empty() && !text.contains("SENTINEL"), "{text}");
    }
    let refused = home.cli(["--session", "agent", "audit", "--asked"]);
    refused.expect(4);
    assert!(refused.complaint().contains("for people"), "{}", refused.complaint());
}

#[test]
fn a_program_that_speaks_to_the_socket_itself_came_by_another_door() {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    let mut socket = UnixStream::connect(home.state().join("daemon.sock")).expect("it listens");
    let request = "POST /v1/prune HTTP/1.1\r\nhost: x\r\nmeanwhile-protocol: 1\r\nconnection: close\r\n\
                   content-length: 0\r\n\r\n";
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let entries = asked(&home, &["--kind", "prune"]);
    assert_eq!(texts(&entries, "door"), ["http"]);
    assert_eq!(entries[0]["pid"], std::process::id());
}
