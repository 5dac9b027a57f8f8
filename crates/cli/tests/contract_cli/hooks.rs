//! `hook`: what an agent hears of it, and that nothing that goes wrong is the agent's trouble.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

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

#[test]
fn the_status_line_says_what_this_session_has_running_and_nothing_else() {
    let home = TestHome::new();
    let line = |input: &str| home.invoke(["statusline"]).stdin(input).run().ok();
    let own = json!({ "session_id": "s-1", "model": { "id": "m" } }).to_string();
    assert_eq!(line(&own), "", "no daemon runs");
    assert!(home.daemon().is_none(), "it is not started for that");
    let mut gate = home.gate("gate");
    home.invoke(["run", "--shell", &gate.shell()]).env("CLAUDE_CODE_SESSION_ID", "s-1").run().ok();
    home.launch(["sleep", "600"]);
    ended(&home, "exit 3");
    meanwhile_testkit::until("the start", meanwhile_testkit::DEADLINE, || {
        (line(&own) == "meanwhile: 1 running, 1 failed").then_some(())
    });
    hook(&home, "PostToolUse").ok();
    assert_eq!(line(&own), "meanwhile: 1 running", "what was told is no news");
    gate.open();
    meanwhile_testkit::until("the end", meanwhile_testkit::DEADLINE, || {
        line(&own).is_empty().then_some(())
    });
    for odd in ["", "{", "[]", "{}", "{\"session_id\": 7}", "{\"session_id\": \"other\"}"] {
        assert_eq!(line(odd), "", "{odd}");
    }
    home.cli(["cancel", "--all", "--yes"]).expect(0);
}

/// A waiter of OpenCode, as the plugin holds it.
struct Waiter {
    process: Child,
    input: ChildStdin,
}

impl Waiter {
    fn start(home: &TestHome, session: &str) -> Self {
        let mut process = Command::new(home.binary())
            .args(["hook", "opencode", "Wait"])
            .env_clear()
            .envs(home.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut input = process.stdin.take().expect("a pipe");
        writeln!(input, "{}", json!({ "session_id": session })).expect("it reads");
        Self { process, input }
    }

    /// What it says; it is answered with a word, or with none.
    fn hear(mut self, word: &str) -> String {
        let mut line = String::new();
        let output = self.process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("it says something");
        self.input.write_all(word.as_bytes()).expect("it reads");
        drop(self.input);
        assert!(self.process.wait().expect("it ends").success());
        let said: Value = serde_json::from_str(&line).expect("JSON");
        said["say"].as_str().expect("text").to_owned()
    }
}

#[test]
fn what_a_waiter_of_opencode_said_is_read_by_the_word_of_the_plugin_alone() {
    let home = TestHome::new();
    for (session, word, left) in [("ses_1", "", 1), ("ses_2", "no\n", 1), ("ses_3", "told\n", 0)] {
        let call = home.invoke(["run", "--shell", "exit 3"]).env("MEANWHILE_SESSION", session);
        let id = call.run().ok();
        home.wait(&id);
        assert!(Waiter::start(&home, session).hear(word).contains(&id));
        let unread = home.json(["--session", session, "inbox", "--peek"]);
        assert_eq!(unread.as_array().map(Vec::len), Some(left), "{word:?}: {unread}");
    }
}

#[test]
fn a_waiter_of_opencode_ends_with_it() {
    let home = TestHome::new();
    let input = "{\"session_id\": \"ses_1\"}\n";
    assert_eq!(home.invoke(["hook", "opencode", "Wait"]).stdin(input).run().ok(), "");
}

#[test]
fn a_waiter_of_opencode_outlives_the_daemon() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let line = format!("{}; exit 3", gate.shell());
    let id = home.invoke(["run", "--shell", &line]).env("MEANWHILE_SESSION", "ses_1").run().ok();
    let waits = || home.json(["daemon", "status"])["waiters"] == 1;
    let waiter = Waiter::start(&home, "ses_1");
    meanwhile_testkit::until("the waiter", meanwhile_testkit::DEADLINE, || waits().then_some(()));
    let old = home.kill_daemon();
    home.wait_for_other_daemon(old);
    meanwhile_testkit::until("it again", meanwhile_testkit::DEADLINE, || waits().then_some(()));
    gate.open();
    assert!(waiter.hear("told\n").contains(&id));
    let unread = home.json(["--session", "ses_1", "inbox", "--peek"]);
    assert_eq!(unread.as_array().map(Vec::len), Some(0), "{unread}");
}
