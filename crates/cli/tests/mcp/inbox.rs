//! What a session is told without asking for it.

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::json;

use crate::client::{Client, LEGACY, WITH_TASKS, text};

#[test]
fn what_nobody_waited_for_is_told_once_after_a_word_in_the_next_answer() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let mut gate = home.gate("gate");
    let held = client.launch(&format!("{}; echo how it went; exit 2", gate.shell()));
    gate.open();
    home.wait(&held);
    let other = home.gate("other");
    let next = client.tool("run", json!({"shell": other.shell()}));
    let blocks = next["content"].as_array().expect("a list");
    assert_eq!(blocks.last().expect("two")["text"], "1 unread: call `inbox`", "{next}");
    assert_eq!(next["structuredContent"]["unread"], "1 unread: call `inbox`", "{next}");
    let told = client.tool("inbox", json!({}));
    let shown = text(&told);
    assert!(
        shown.contains(&held) && shown.contains("how it went") && shown.contains("exit 2"),
        "{told}"
    );
    assert!(shown.starts_with("<meanwhile-"), "it is fenced: {told}");
    assert_eq!(text(&client.tool("inbox", json!({}))), "Nothing unread.");
}

#[test]
fn what_an_answer_has_told_is_not_told_again() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    for (tool, key) in [("wait", "ids"), ("output", "id"), ("cancel", "ids")] {
        let id = client.launch("echo once");
        home.wait(&id);
        client.tool(tool, json!({key: id}));
        assert_eq!(text(&client.tool("inbox", json!({}))), "Nothing unread.", "{tool}");
    }
    let id = client.launch("true");
    home.wait(&id);
    client.tool("list", json!({}));
    assert_eq!(text(&client.tool("inbox", json!({}))), "Nothing unread.");
}

/// The client shows the result of an MCP task to the model by itself.
#[test]
fn what_an_mcp_task_has_told_is_not_told_again() {
    let home = TestHome::new();
    let mut client = Client::start(&home, WITH_TASKS);
    let mut gate = home.gate("gate");
    client.launch(&gate.shell());
    let task = client.tool("wait", json!({}))["taskId"].as_str().expect("an id").to_owned();
    gate.open();
    until("the MCP task to end", DEADLINE, || {
        (client.get(&task)["status"] == "completed").then_some(())
    });
    assert_eq!(text(&client.tool("inbox", json!({}))), "Nothing unread.");
}

#[test]
fn the_last_receipts_are_handed_in_when_the_client_leaves() {
    let home = TestHome::new();
    let mut client = Client::start_with(&home, LEGACY, &["--session", "s"], &[]);
    let id = client.launch("true");
    home.wait(&id);
    client.tool("wait", json!({"ids": [id]}));
    assert_eq!(client.leave().1, 0);
    let unread = home.json(["--session", "s", "inbox", "--peek"]);
    assert_eq!(unread, json!([]));
}
