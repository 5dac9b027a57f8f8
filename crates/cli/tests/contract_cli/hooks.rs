//! `hook`: what an agent hears of it, and that nothing that goes wrong is the agent's trouble.

use meanwhile_testkit::{Ran, TestHome};
use serde_json::{Value, json};

/// A hook of Claude Code, called as it calls it.
fn hook(home: &TestHome, event: &str) -> Ran {
    let input = json!({ "session_id": "s-1", "hook_event_name": event, "cwd": "/" }).to_string();
    home.invoke(["hook", "claude", event]).stdin(input).run()
}

/// Launches as that session does, and waits for the end as somebody else.
fn ended(home: &TestHome, shell: &str) -> String {
    let id = home.invoke(["run", "--shell", shell]).env("CLAUDE_CODE_SESSION_ID", "s-1").run().ok();
    home.wait(&id);
    id
}

#[test]
fn what_ended_is_told_beside_the_next_tool_and_not_again() {
    let home = TestHome::new();
    let id = ended(&home, "echo the-last-line; exit 3");
    let told: Value = serde_json::from_str(&hook(&home, "PostToolUse").ok()).expect("JSON");
    let text = told["hookSpecificOutput"]["additionalContext"].as_str().expect("text");
    assert!(
        text.contains(&id) && text.contains("the-last-line") && text.contains("exit 3"),
        "{text}"
    );
    assert_eq!(hook(&home, "PostToolUse").ok(), "", "once");
    assert_eq!(hook(&home, "UserPromptSubmit").ok(), "", "by no other way either");
}

#[test]
fn a_turn_without_a_person_is_held_until_its_tasks_are_done_and_not_twice() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let line = format!("{}; echo over", gate.shell());
    home.invoke(["run", "--shell", &line]).env("CLAUDE_CODE_SESSION_ID", "s-1").run().ok();
    let stop = |again: bool| {
        let input =
            json!({ "session_id": "s-1", "hook_event_name": "Stop", "stop_hook_active": again });
        home.invoke(["hook", "claude", "Stop"])
            .env("CLAUDE_CODE_ENTRYPOINT", "sdk-cli")
            .stdin(input.to_string())
    };
    assert_eq!(stop(true).run().ok(), "", "a turn that was held goes");
    let held = stop(false).start();
    meanwhile_testkit::until("the hook to wait", meanwhile_testkit::DEADLINE, || {
        (home.json(["daemon", "status"])["waiters"] == 1).then_some(())
    });
    gate.open();
    let told: Value =
        serde_json::from_str(&held.wait(meanwhile_testkit::DEADLINE).ok()).expect("JSON");
    assert_eq!(told["decision"], "block");
    assert!(told["reason"].as_str().is_some_and(|text| text.contains("over")), "{told}");
}

#[test]
fn whatever_goes_wrong_the_agent_goes_on() {
    let home = TestHome::new();
    for (words, input) in [
        (&["hook", "claude", "Stop"][..], "nonsense"),
        (&["hook", "claude", "Stop"], ""),
        (&["hook", "claude", "Stop"], "{}"),
        (&["hook", "claude", "NewEvent"], "{\"session_id\": \"s\"}"),
        (&["hook", "vim", "Stop"], "{\"session_id\": \"s\"}"),
        (&["hook", "claude", "--unknown"], "{\"session_id\": \"s\"}"),
        (&["hook"], ""),
    ] {
        let ran = home.invoke(words).stdin(input).run();
        // 2 would be a veto, or wake the session.
        assert_eq!(
            (ran.code(), ran.text().as_str()),
            (0, ""),
            "{words:?} {input}: {}",
            ran.complaint()
        );
    }
    assert!(home.daemon().is_none(), "a hook that has nothing to say started a daemon");
    assert_eq!(hook(&home, "UserPromptSubmit").ok(), "");
    assert!(home.daemon().is_none(), "a hook that has nothing to say started a daemon");
}
