//! Agents in agents, agents in tasks, and agents with several conversations.

use meanwhile_testkit::TestHome;
use serde_json::json;

use crate::agent::{Agent, session_of};

/// Gemini and Droid tell their commands nothing of the conversation.
#[test]
fn what_an_agent_starts_without_a_word_belongs_to_the_conversation_it_is_in() {
    let home = TestHome::new();
    home.launch(["true"]);
    let mut agent = Agent::start(&home, "gemini");
    agent.hook("SessionStart", "g1", json!({ "source": "startup" }));
    let id = agent.run(&["run", "--", "true"], &[]);
    assert_eq!(session_of(&home, &id), "g1");
    // A server that would else be a session of its own.
    agent.serve("mcp", &[]);
    let id = agent.launch("mcp", "true");
    assert_eq!(session_of(&home, &id), "g1");
    agent.hook("SessionStart", "g2", json!({ "source": "clear" }));
    let id = agent.launch("mcp", "true");
    assert_eq!(session_of(&home, &id), "g2");
    let id = home.launch(["true"]);
    assert_eq!(session_of(&home, &id), "user", "whoever is not below it is a person");
    let id = agent.run(&["--session", "mine", "run", "--", "true"], &[]);
    assert_eq!(session_of(&home, &id), "mine", "a name that was typed counts more");
    drop(agent);
    let mut other = Agent::start(&home, "gemini");
    let id = other.run(&["run", "--", "true"], &[]);
    assert_eq!(session_of(&home, &id), "user", "another process of that agent");
}

/// Claude Code runs `codex exec` in its shell: both have left their mark in the environment.
#[test]
fn an_agent_in_another_agents_shell_speaks_for_itself() {
    let home = TestHome::new();
    let both = [("CLAUDE_CODE_SESSION_ID", "outer"), ("CODEX_THREAD_ID", "inner")];
    let mut codex = Agent::start_with(&home, "codex", &both[..1], &home.cwd());
    let id = codex.run(&["run", "--", "true"], &both);
    assert_eq!(session_of(&home, &id), "inner");
    let mut claude = Agent::start_with(&home, "claude", &both[1..], &home.cwd());
    let id = claude.run(&["run", "--", "true"], &both);
    assert_eq!(session_of(&home, &id), "outer", "and the other way round");
}

#[test]
fn an_agent_in_a_task_speaks_for_that_task_whatever_it_says_and_is_in_no_session_of_its_own() {
    let home = TestHome::new();
    let binary = home.binary().display().to_string();
    let script = home.path("codex-agent.py");
    let inner = format!(
        r#"
import os, subprocess
env = {{name: os.environ[name] for name in ("PATH", "HOME", "MEANWHILE_HOME") if name in os.environ}}
said = '{{"session_id": "t-1", "hook_event_name": "SessionStart", "source": "startup"}}'
hook = subprocess.run(["sh", "-c", "'{binary}' hook codex SessionStart; exit $?"], input=said, text=True,
    env=env, capture_output=True)
print("hook", hook.returncode, repr(hook.stdout), flush=True)
subprocess.run(["{binary}", "run", "--name", "child", "--", "true"], env=env | {{"CODEX_THREAD_ID": "t-1"}}, check=True)
"#
    );
    std::fs::write(&script, inner).expect("a file can be written");
    let script = script.display().to_string();
    let id = home.cli(["--session", "outer", "run", "--", "python3", &script]).ok();
    assert_eq!(home.wait(id.trim())["exit_code"], 0, "{}", home.output(id.trim()));
    assert!(home.output(id.trim()).contains("hook 0 ''"), "{}", home.output(id.trim()));
    let child = home.status("child");
    assert_eq!((&child["session"], &child["parent"]), (&json!("outer"), &json!(id.trim())));
    let entries = std::fs::read_dir(home.state().join("session-env"));
    assert_eq!(entries.map_or(0, Iterator::count), 0, "nothing was recorded");
}

/// One OpenCode server has all conversations, and its plugin says with each call which one it is.
#[test]
fn two_sessions_of_one_opencode_server_are_kept_apart() {
    let home = TestHome::new();
    let mut agent = Agent::start(&home, "opencode");
    agent.serve("mcp", &[]);
    let mut ids = Vec::new();
    for session in ["ses_a", "ses_b"] {
        agent.hook("chat.message", session, json!({}));
        let line = format!("echo of-{session}");
        let arguments = json!({ "shell": line, "meanwhile_session": session });
        let answer = agent.call("mcp", "run", arguments, json!({}));
        let by_server = answer["result"]["structuredContent"]["id"].as_str();
        let by_server = by_server.unwrap_or_else(|| panic!("{answer}")).to_owned();
        let by_shell = agent.run(&["run", "--shell", &line], &[("MEANWHILE_SESSION", session)]);
        for id in [&by_server, &by_shell] {
            assert_eq!(session_of(&home, id), session);
            home.wait(id);
        }
        ids.push((session, [by_server, by_shell]));
    }
    for (session, own) in &ids {
        let told = agent.hook("tool.execute.after", session, json!({}));
        for (other, ids) in &ids {
            let mine = other == session;
            assert!(ids.iter().all(|id| told.contains(id) == mine), "{session}: {told}");
        }
        assert!(own.iter().all(|id| session_of(&home, id) == **session));
    }
}
