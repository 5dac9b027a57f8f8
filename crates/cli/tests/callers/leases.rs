//! What was handed to somebody who is gone.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::json;

use crate::agent::Agent;

/// Takes what is unread and says nothing more: neither that it has arrived nor that it has not.
const TAKE: &str = r#"
import os, socket, sys
body = '{"route":"mcp","holder":"predecessor"}'
client = socket.socket(socket.AF_UNIX)
client.connect(os.environ["MEANWHILE_HOME"] + "/daemon.sock")
client.sendall(("POST /v1/inbox/deliver HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    "meanwhile-protocol: 1\r\n"
    f"meanwhile-session: explicit:s\r\ncontent-length: {len(body)}\r\n\r\n{body}").encode())
said = b"".join(iter(lambda: client.recv(4096), b"")).decode()
print("taken" if '"outcome":"notices"' in said else said, flush=True)
sys.stdin.read()
"#;

/// A lease lasts 30 s: a server that is started anew would tell its session nothing for so long.
#[test]
fn what_was_leased_to_a_process_that_is_gone_is_free_at_once() {
    let home = TestHome::new();
    let id = home.cli(["--session", "s", "run", "--", "true"]).ok().trim().to_owned();
    home.wait(&id);
    let mut taker = Command::new("python3")
        .args(["-c", TAKE])
        .env_clear()
        .envs(home.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut said = String::new();
    let output = taker.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut said).expect("it says something");
    assert_eq!(said.trim(), "taken");
    let unread = || home.cli(["--json", "--session", "s", "inbox"]).json();
    assert_eq!(unread(), serde_json::json!([]), "it is on its way");
    home.kill_daemon();
    assert_eq!(unread(), serde_json::json!([]), "a new daemon knows that");
    taker.kill().expect("it is ours");
    // Dead and not reaped is gone, too.
    let told = until("the lease to be free", DEADLINE, || Some(unread()));
    assert!(told.to_string().contains(&id), "{told}");
    taker.wait().expect("it is ours");
}

/// A hook has said it, and the agent was killed before anybody can know that it has read it.
#[test]
fn what_a_hook_told_an_agent_that_is_killed_is_told_to_the_next_one_unless_it_went_on() {
    let home = TestHome::new();
    let said = [("CLAUDE_CODE_SESSION_ID", "s1")];
    for went_on in [false, true] {
        let mut agent = Agent::start(&home, "claude");
        let id = agent.run(&["run", "--", "true"], &said);
        agent.hook("SessionStart", "s1", json!({ "source": "resume" }));
        home.wait(&id);
        let told = agent.hook("PostToolUse", "s1", json!({}));
        // It may have ended before the start was told.
        let id = if told.contains(&id) {
            id
        } else {
            let next = agent.run(&["run", "--", "true"], &said);
            home.wait(&next);
            assert!(agent.hook("PostToolUse", "s1", json!({})).contains(&next));
            next
        };
        if went_on {
            agent.hook("Stop", "s1", json!({ "stop_hook_active": true }));
            agent.hook("UserPromptSubmit", "s1", json!({}));
        }
        agent.kill();
        let mut next = Agent::start(&home, "claude");
        let told = next.hook("SessionStart", "s1", json!({ "source": "resume" }));
        assert_eq!(told.contains(&id), !went_on, "{told}");
        assert_eq!(next.hook("UserPromptSubmit", "s1", json!({})), "", "and that is all");
    }
}
