//! What a task's environment keeps secret is shown to no model.

use meanwhile_testkit::TestHome;
use serde_json::json;

use crate::client::{Client, MODERN, text};

const KEY: &str = "sk-test-0123456789abcdef";

/// Through every way out of a task, while its environment is kept and after, and also after the daemon was killed.
#[test]
fn a_secret_that_a_task_prints_reaches_no_model() {
    let home = TestHome::new();
    let mut client = Client::start_with(&home, MODERN, &["--session", "s"], &[("API_KEY", KEY)]);
    let launched = client.tool(
        "run",
        json!({"shell": "echo begins; echo \"key $API_KEY $OTHER_TOKEN\"; exit 3",
            "env": {"OTHER_TOKEN": "given with the launch"}}),
    );
    let id = launched["structuredContent"]["id"].as_str().expect("an id").to_owned();
    let waited = client.tool("wait", json!({"ids": [id]}));
    assert!(text(&waited).contains("begins"), "{waited}");
    home.kill_daemon();
    let output = client.tool("output", json!({"id": id}));
    assert!(
        text(&output).contains(&format!("key {} {}", "*".repeat(24), "*".repeat(21))),
        "{output}"
    );
    let searched = client.tool("output", json!({"id": id, "grep": "sk-test"}));
    assert!(
        text(&searched).contains("nothing to show"),
        "a search does not find it out: {searched}"
    );
    let report = client.request("resources/read", json!({"uri": format!("meanwhile://task/{id}")}));
    let log =
        client.request("resources/read", json!({"uri": format!("meanwhile://task/{id}/output")}));
    let typed = home.invoke(["--session", "s", "output", &id]).run().ok();
    let raw = home.invoke(["--session", "s", "output", "--raw", &id]).run().ok();
    let seen = [waited, output, report, log].map(|answer| answer.to_string());
    for seen in seen.iter().chain([&typed, &raw]) {
        assert!(seen.contains("begins"), "{seen}");
        assert!(!seen.contains(KEY) && !seen.contains("given with"), "{seen}");
    }
    assert!(home.cli(["output", &id]).ok().contains(KEY), "a person reads what was printed");
}

/// The last line of a task is in its notice.
#[test]
fn a_notice_holds_no_secret() {
    let home = TestHome::new();
    let mut client = Client::start_with(&home, MODERN, &["--session", "s"], &[("API_KEY", KEY)]);
    let id = client.launch("echo \"last: $API_KEY\"");
    home.wait(&id);
    let inbox = client.tool("inbox", json!({}));
    assert!(text(&inbox).contains("last: ****"), "{inbox}");
    assert!(!inbox.to_string().contains(KEY), "{inbox}");
}

/// Whoever holds it may launch in the name of any session.
#[test]
fn the_token_of_the_http_server_is_masked_like_a_secret_of_the_task() {
    let home = TestHome::new();
    let mut client = Client::start(&home, MODERN);
    client.launch("true");
    let token = "0123456789abcdef".repeat(4);
    let daemon = home.json(["daemon", "status"]);
    let file = format!("{}/mcp.token", daemon["home"].as_str().expect("a path"));
    std::fs::write(&file, &token).expect("the home can be written to");
    let id = client.launch(&format!("cat '{file}'"));
    home.wait(&id);
    let output = client.tool("output", json!({"id": id}));
    assert!(text(&output).contains(&"*".repeat(64)) && !text(&output).contains(&token), "{output}");
}
