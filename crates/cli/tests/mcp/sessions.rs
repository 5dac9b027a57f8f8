//! Whose launches they are.

use meanwhile_testkit::TestHome;
use serde_json::{Value, json};

use crate::client::{Client, LEGACY, MODERN, text};

fn session_of(home: &TestHome, id: &str) -> String {
    home.status(id)["session"].as_str().expect("a name").to_owned()
}

#[test]
fn an_unknown_client_is_a_session_of_its_own_and_never_that_of_a_person() {
    let home = TestHome::new();
    let (mut one, mut other) = (Client::start(&home, LEGACY), Client::start(&home, MODERN));
    let (first, second) = (one.launch("true"), other.launch("true"));
    let sessions = [session_of(&home, &first), session_of(&home, &second)];
    assert!(sessions.iter().all(|name| name.starts_with("mcp-test-")), "{sessions:?}");
    assert_ne!(sessions[0], sessions[1], "two programs that share a name are two");
    let listed = one.tool("list", json!({}));
    assert!(text(&listed).contains(&first) && !text(&listed).contains(&second), "{listed}");
    for (tool, arguments) in [
        ("output", json!({"id": second})),
        ("cancel", json!({"ids": [second]})),
        ("extend", json!({"id": second, "by": "1m"})),
        ("wait", json!({"ids": [second]})),
    ] {
        let refused = one.tool(tool, arguments);
        assert_eq!(refused["isError"], true, "{tool}");
        assert!(text(&refused).contains("another session"), "{refused}");
    }
}

#[test]
fn the_agent_that_started_the_server_names_the_session() {
    let home = TestHome::new();
    let check = |options: &[&str], environment: &[(&str, &str)], expected: &str| {
        let mut client = Client::start_with(&home, LEGACY, options, environment);
        let id = client.launch("true");
        assert_eq!(session_of(&home, &id), expected, "{options:?} {environment:?}");
    };
    check(&[], &[("CLAUDE_CODE_SESSION_ID", "c-1")], "c-1");
    check(&[], &[("CODEX_THREAD_ID", "t-1")], "t-1");
    check(&[], &[("CLAUDE_CODE_SESSION_ID", "c-1"), ("MEANWHILE_SESSION", "m-1")], "m-1");
    check(&["--session", "s-1"], &[("MEANWHILE_SESSION", "m-1")], "s-1");
}

/// One Codex process serves many threads with one server, and says with each call which it is.
#[test]
fn what_a_call_says_of_its_conversation_counts_for_that_call() {
    let home = TestHome::new();
    let mut client =
        Client::start_with(&home, LEGACY, &[], &[("CODEX_THREAD_ID", "of the process")]);
    let mut launch = |more: Value| {
        let asked = json!({"name": "run", "arguments": {"shell": "true"}});
        let id = client.send("tools/call", asked, more);
        let launched = client.result(id);
        let id = launched["structuredContent"]["id"].as_str().expect("an id");
        session_of(&home, id)
    };
    assert_eq!(launch(json!({"threadId": "t-1"})), "t-1");
    assert_eq!(launch(json!({"threadId": "t-2"})), "t-2");
    assert_eq!(launch(json!({"vscode.conversationId": "v-1"})), "v-1");
    assert_eq!(launch(json!({})), "of the process");
    for bad in [json!("user"), json!("main"), json!(""), json!(3), json!("a\nb")] {
        assert_eq!(launch(json!({"threadId": bad})), "of the process", "{bad}");
    }
}

#[test]
fn a_server_inside_a_task_speaks_for_that_task_whatever_it_is_told() {
    let home = TestHome::new();
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"run","arguments":{"shell":"true","name":"child"},"_meta":{"threadId":"another"}}}"#;
    let line = format!(
        "printf '%s\\n' '{hello}' '{call}' | CLAUDE_CODE_SESSION_ID=claimed '{}' mcp >/dev/null",
        home.binary().display()
    );
    let parent = home.invoke(["--session", "mine", "run", "--shell", &line]).run().ok();
    assert_eq!(home.wait(&parent)["exit_code"], 0, "{}", home.output(&parent));
    let child = home.status("child");
    assert_eq!((&child["session"], &child["parent"]), (&json!("mine"), &json!(parent)));
}
