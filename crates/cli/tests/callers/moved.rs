//! Conversations that go on under other names: what they launched and have not heard follows them.

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

use crate::agent::{Agent, session_of};

/// As Claude Code says it when its user types /clear.
fn clear(agent: &mut Agent<'_>, from: &str, to: &str) -> String {
    agent.hook("SessionEnd", from, json!({ "reason": "clear" }));
    agent.hook("SessionStart", to, json!({ "source": "clear" }))
}

fn begin(agent: &mut Agent<'_>, session: &str) {
    agent.hook("SessionStart", session, json!({ "source": "startup" }));
}

const SAYS_S1: &[(&str, &str)] = &[("CLAUDE_CODE_SESSION_ID", "s1")];

#[test]
fn a_task_and_what_was_not_heard_follow_a_conversation_that_is_cleared() {
    let home = TestHome::new();
    let mut agent = Agent::start(&home, "claude");
    agent.serve("mcp", SAYS_S1);
    let mut gate = home.gate("gate");
    let running = agent.launch("mcp", &format!("{}; echo the-end", gate.shell()));
    begin(&mut agent, "s1");
    let ended = agent.run(&["run", "--", "true"], SAYS_S1);
    home.wait(&ended);
    let told = clear(&mut agent, "s1", "s2");
    assert!(told.contains(&ended), "what was unread is told at once: {told}");
    assert_eq!(session_of(&home, &running), "s2");
    gate.open();
    home.wait(&running);
    let told = agent.hook("UserPromptSubmit", "s2", json!({ "prompt": "x" }));
    assert!(told.contains(&running) && told.contains("the-end"), "{told}");
    assert_eq!(agent.hook("UserPromptSubmit", "s2", json!({})), "", "once");
}

#[test]
fn a_server_that_was_started_before_a_clear_speaks_for_the_conversation_of_now() {
    let home = TestHome::new();
    let mut agent = Agent::start(&home, "claude");
    agent.serve("mcp", SAYS_S1);
    agent.launch("mcp", "true");
    begin(&mut agent, "s1");
    for name in ["s2", "s3"] {
        clear(&mut agent, "s1", name);
        let id = agent.launch("mcp", "true");
        assert_eq!(session_of(&home, &id), name);
        // What is known is on disk.
        home.kill_daemon();
        let id = agent.launch("mcp", "echo unread");
        assert_eq!(session_of(&home, &id), name, "after a new start of the daemon");
        home.wait(&id);
        assert!(agent.inbox("mcp").contains(&id), "and it is told by that server");
    }
    // The command line, too, and from outside of the tree.
    let id = agent.run(&["run", "--", "true"], SAYS_S1);
    assert_eq!(session_of(&home, &id), "s3");
    let id = home.invoke(["run", "--", "true"]).env("CLAUDE_CODE_SESSION_ID", "s1").run().ok();
    assert_eq!(session_of(&home, id.trim()), "s3");
    home.wait(id.trim());
    home.cli(["daemon", "stop"]).ok();
    let unread = home.cli(["--json", "--session", "s2", "inbox", "--peek"]).json();
    assert!(unread.to_string().contains(id.trim()), "without a daemon, too: {unread}");
}

#[test]
fn who_resumes_an_earlier_conversation_takes_the_later_along() {
    let home = TestHome::new();
    let mut agent = Agent::start(&home, "claude");
    agent.serve("mcp", SAYS_S1);
    agent.launch("mcp", "true");
    begin(&mut agent, "s1");
    clear(&mut agent, "s1", "s2");
    let gate = home.gate("gate");
    let running = agent.launch("mcp", &gate.shell());
    assert_eq!(session_of(&home, &running), "s2");
    agent.hook("SessionStart", "s1", json!({ "source": "resume" }));
    assert_eq!(session_of(&home, &running), "s1");
    let id = agent.launch("mcp", "true");
    assert_eq!(session_of(&home, &id), "s1", "its server says what is true again");
    let events = home.cli(["--json", "audit"]).ok();
    let moved = |line: &&str| line.contains("rebound") && line.contains(&running);
    assert_eq!(events.lines().filter(moved).count(), 1, "the move is a fact: {events}");
}

#[test]
fn a_conversation_that_another_window_is_in_stays_with_that_one() {
    let home = TestHome::new();
    let mut agents = [Agent::start(&home, "claude"), Agent::start(&home, "claude")];
    agents[0].serve("mcp", SAYS_S1);
    let gate = home.gate("gate");
    let running = agents[0].launch("mcp", &gate.shell());
    agents.iter_mut().for_each(|agent| begin(agent, "s1"));
    clear(&mut agents[0], "s1", "s2");
    assert_eq!(session_of(&home, &running), "s1", "the other window is told");
    let id = agents[0].launch("mcp", "true");
    assert_eq!(session_of(&home, &id), "s2", "by its tree, whatever its environment says");
    let id = agents[1].run(&["run", "--", "true"], SAYS_S1);
    assert_eq!(session_of(&home, &id), "s1");
    // Once that one is gone, the name leads nowhere else all the same: nobody has said that it does.
    drop(agents);
    let id = home.invoke(["run", "--", "true"]).env("CLAUDE_CODE_SESSION_ID", "s1").run().ok();
    assert_eq!(session_of(&home, id.trim()), "s1");
}

#[test]
fn only_the_tree_of_a_running_agent_says_that_its_conversation_has_moved() {
    let home = TestHome::new();
    let mut agent = Agent::start(&home, "claude");
    let gate = home.gate("gate");
    let running = agent.run(&["run", "--shell", &gate.shell()], SAYS_S1);
    begin(&mut agent, "s1");
    let script = home.path("say.py");
    std::fs::write(&script, SAY).expect("a file can be written");
    let line =
        format!("python3 '{}' s1 '{{\"doing\":\"replaced\",\"by\":\"thief\"}}'", script.display());
    let outside = std::process::Command::new("sh")
        .args(["-c", &line])
        .env_clear()
        .envs(home.environment())
        .output()
        .expect("sh is there");
    let said = String::from_utf8_lossy(&outside.stdout).into_owned();
    assert!(said.contains("403") && said.contains("running agent"), "{said}");
    assert_eq!(session_of(&home, &running), "s1");
    let said = agent.shell(&line, "", &[]);
    assert!(said["out"].as_str().is_some_and(|said| said.contains("200")), "{said}");
    assert_eq!(session_of(&home, &running), "thief");
    for body in ["{\"doing\":\"began\",\"place\":\"instead\"}", "{\"doing\":\"closed\"}"] {
        let line = format!("python3 '{}' user '{body}'", script.display());
        let said = agent.shell(&line, "", &[]);
        assert!(said["out"].as_str().is_some_and(|said| said.contains("403")), "a person: {said}");
    }
}

/// Says something of a session to the daemon, as anybody could.
const SAY: &str = r#"
import os, socket, sys
session, body = sys.argv[1:]
client = socket.socket(socket.AF_UNIX)
client.connect(os.environ["MEANWHILE_HOME"] + "/daemon.sock")
client.sendall(("POST /v1/inbox/presence HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    "meanwhile-protocol: 1\r\n"
    f"meanwhile-session: claude:{session}\r\ncontent-length: {len(body)}\r\n\r\n{body}").encode())
print(b"".join(iter(lambda: client.recv(4096), b"")).decode())
"#;

/// A process that nobody knows for an agent is none: a hook that is tried out at a prompt turns no shell into one.
#[test]
fn a_hook_that_is_called_by_hand_makes_nobody_an_agent() {
    let home = TestHome::new();
    home.launch(["true"]);
    let input = json!({ "session_id": "s1", "hook_event_name": "SessionStart" }).to_string();
    home.invoke(["hook", "claude", "SessionStart"]).stdin(input).run().ok();
    let id = home.launch(["true"]);
    assert_eq!(session_of(&home, &id), "user");
    let kept: Vec<Value> = std::fs::read_dir(home.state().join("session-env"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| json!(entry.path()))
        .collect();
    assert_eq!(kept, Vec::<Value>::new());
}
