//! What a launch through MCP runs with: as the session's hooks recorded it, and nobody else can read that.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

use crate::agent::{Agent, Variables, variables};

const SECRET: &str = "a-key-that-only-the-session-has";

/// What Codex starts its servers with.
fn bare(home: &TestHome) -> Variables {
    let mut all = variables(home, &[]);
    all.retain(|name, _| matches!(name.as_str(), "PATH" | "HOME" | "MEANWHILE_HOME"));
    all
}

fn recorded(home: &TestHome) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home.state().join("session-env")).expect("it is there");
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Launches as a thread of Codex; the ended task and what it printed.
fn launched(agent: &mut Agent<'_>, home: &TestHome, thread: &str) -> (Value, String) {
    let arguments = json!({ "shell": "echo \"$WHOSE $KEY $CODEX_THREAD_ID\"; pwd" });
    let answer = agent.call("mcp", "run", arguments, json!({ "threadId": thread }));
    let id = answer["result"]["structuredContent"]["id"].as_str();
    let id = id.unwrap_or_else(|| panic!("{answer}"));
    let task = home.wait(id);
    assert_eq!(task["session"], thread);
    (task, home.output(id))
}

fn contains(path: &Path, text: &str) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_server_with_a_bare_environment_launches_as_the_sessions_hooks_recorded_it() {
    let home = TestHome::new();
    let (work, other) = (home.path("work"), home.path("other"));
    for directory in [&work, &other] {
        std::fs::create_dir(directory).expect("it can be made");
    }
    let mut agent = Agent::start_with(&home, "codex", &[("WHOSE", "the-agent")], &other);
    agent.serve_bare("mcp", &bare(&home), Path::new("/"));
    // Nobody has told the daemon anything yet: the agent process itself says how it was started.
    let (task, said) = launched(&mut agent, &home, "t-1");
    assert_eq!(task["env_from"], "agent", "{task:#}");
    assert_eq!(said, format!("the-agent  \n{}", other.display()));

    let own = [("WHOSE", "the-session"), ("KEY", SECRET), ("CODEX_THREAD_ID", "t-1")];
    let begun = json!({ "source": "startup", "cwd": work });
    agent.hook_with("SessionStart", "t-1", begun, &own);
    let (task, said) = launched(&mut agent, &home, "t-1");
    assert_eq!(task["env_from"], "session");
    assert_eq!(said, format!("the-session {SECRET} \n{}", work.display()));

    let kept = recorded(&home);
    assert_eq!(kept.len(), 1);
    assert!(contains(&kept[0], SECRET));
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode();
    assert_eq!(mode(&kept[0]) & 0o777, 0o600);
    assert_eq!(mode(kept[0].parent().expect("it has one")) & 0o777, 0o700);
    for name in ["meanwhile.db", "meanwhile.db-wal", "logs/daemon.log"] {
        assert!(!contains(&home.state().join(name), SECRET), "{name} has a value");
    }
}

#[test]
fn what_was_recorded_goes_with_its_conversation_and_with_its_agent() {
    let home = TestHome::new();
    home.launch(["true"]);
    let mut claude = Agent::start(&home, "claude");
    claude.hook_with("SessionStart", "s1", json!({ "source": "startup" }), &[("KEY", SECRET)]);
    assert_eq!(recorded(&home).len(), 1);
    claude.hook("SessionEnd", "s1", json!({ "reason": "other" }));
    assert_eq!(recorded(&home).len(), 0, "the conversation is closed");
    claude.hook_with("UserPromptSubmit", "s1", json!({}), &[("KEY", SECRET)]);
    assert_eq!(recorded(&home).len(), 1, "it goes on");
    // Killed: nobody says that it has ended. The next that begins finds out.
    drop(claude);
    let mut next = Agent::start(&home, "gemini");
    next.hook_with("SessionStart", "g1", json!({ "source": "startup" }), &[("KEY", "another")]);
    let kept = recorded(&home);
    assert_eq!(kept.len(), 1);
    assert!(!contains(&kept[0], SECRET));
}

#[test]
fn a_directory_that_is_gone_is_named_and_a_person_launches_as_ever() {
    let home = TestHome::new();
    let mut agent = Agent::start(&home, "claude");
    let gone = home.path("gone");
    home.launch(["true"]);
    agent.hook("SessionStart", "s1", json!({ "source": "startup", "cwd": gone }));
    agent.serve("mcp", &[("CLAUDE_CODE_SESSION_ID", "s1")]);
    let answer = agent.call("mcp", "run", json!({ "shell": "pwd" }), json!({}));
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(answer.to_string().contains("gone"), "{answer}");
    let answer = agent.call("mcp", "run", json!({ "shell": "pwd", "cwd": "/" }), json!({}));
    let id = answer["result"]["structuredContent"]["id"].as_str().expect("an id");
    home.wait(id);
    assert_eq!(
        (home.output(id), home.status(id)["env_from"].clone()),
        ("/".into(), json!("session"))
    );
    let id = agent.run(&["run", "--shell", "pwd"], &[("CLAUDE_CODE_SESSION_ID", "s1")]);
    let task = home.wait(&id);
    assert_eq!(task["env_from"], "caller", "a command line has an environment of its own");
    assert_eq!(home.output(&id), home.cwd().display().to_string());
}
