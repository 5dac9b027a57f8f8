//! A `wait` as an MCP task: for whom, across what, and how it ends.

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::{Value, json};

use crate::client::{Client, LEGACY, MODERN, Speaks, WITH_TASKS, text};

/// Asks until the task has ended; the task.
#[track_caller]
fn ended(client: &mut Client, task: &str) -> Value {
    until("the MCP task to end", DEADLINE, || {
        let found = client.get(task);
        (found["status"] != "working").then_some(found)
    })
}

/// Makes an MCP task of a wait; its id.
#[track_caller]
fn waiting(client: &mut Client, arguments: Value) -> String {
    let made = client.tool("wait", arguments);
    assert_eq!(
        (&made["resultType"], &made["status"]),
        (&json!("task"), &json!("working")),
        "{made}"
    );
    for absent in
        ["task", "result", "error", "inputRequests", "requestState", "ttl", "pollInterval"]
    {
        assert!(made.get(absent).is_none(), "{absent}: {made}");
    }
    assert!(made["ttlMs"].is_null() && made["pollIntervalMs"].is_u64(), "{made}");
    made["taskId"].as_str().expect("an id").to_owned()
}

#[test]
fn only_a_peer_that_declared_tasks_on_2026_07_28_gets_one() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    for speaks in [LEGACY, MODERN, Speaks::Legacy { tasks: true }] {
        let mut client = Client::start(&home, speaks);
        client.launch(&gate.shell());
        let over = client.tool("wait", json!({"timeout": "10ms"}));
        assert!(text(&over).contains("Still running"), "{speaks:?}: {over}");
        client.tool("cancel", json!({"all": true}));
    }
    let mut client = Client::start(&home, WITH_TASKS);
    let held = client.launch(&gate.shell());
    let task = waiting(&mut client, json!({"ids": [held]}));
    assert!(task.contains(&held), "what the model is shown leads to the task: {task}");
    let found = client.get(&task);
    assert!(found["statusMessage"].as_str().expect("a text").contains(&held), "{found}");
    let quick = client.launch("true");
    home.wait(&quick);
    let at_once = client.tool("wait", json!({"ids": [quick]}));
    assert_eq!(at_once["resultType"], "complete", "nothing is left to wait for: {at_once}");
}

#[test]
fn a_wait_survives_its_server_and_the_daemon() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let mut client = Client::start(&home, WITH_TASKS);
    let held = client.launch(&format!("{}; echo the end; exit 7", gate.shell()));
    let task = waiting(&mut client, json!({}));
    client.kill();
    home.kill_daemon();
    let mut next = Client::start(&home, WITH_TASKS);
    assert_eq!(next.get(&task)["status"], "working");
    gate.open();
    let found = ended(&mut next, &task);
    assert_eq!(found["status"], "completed", "work that failed is a result: {found}");
    let result = &found["result"];
    assert_eq!(result["isError"], true);
    assert!(text(result).contains("exit 7") && text(result).contains("the end"), "{result}");
    let facts = &result["structuredContent"]["tasks"][0];
    assert_eq!(
        (&facts["id"], &facts["exit_code"]),
        (&json!(held), &json!(7)),
        "shown where text is not"
    );
    next.kill();
    let mut last = Client::start(&home, WITH_TASKS);
    assert_eq!(last.get(&task)["result"]["structuredContent"]["tasks"][0]["exit_code"], 7);
}

#[test]
fn an_id_that_was_issued_is_answered_with_an_end_even_when_nothing_is_left_of_it() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let mut client = Client::start(&home, WITH_TASKS);
    client.launch(&gate.shell());
    let task = waiting(&mut client, json!({}));
    gate.open();
    assert_eq!(ended(&mut client, &task)["result"]["isError"], false);
    home.cli(["clean"]).ok();
    let found = client.get(&task);
    assert_eq!(found["status"], "failed");
    assert!(found["error"]["message"].as_str().expect("a text").contains("deleted"), "{found}");
    for unknown in ["gate-test", "wait:", "wait:NOT-AN-ID", ""] {
        let answer = client.request("tasks/get", json!({"taskId": unknown}));
        assert_eq!(answer["error"]["code"], -32602, "{unknown}: {answer}");
    }
    let mut undeclared = Client::start(&home, MODERN);
    let answer = undeclared.request("tasks/get", json!({"taskId": task}));
    assert_eq!(answer["error"]["code"], -32021, "{answer}");
}

/// A client stops a task twice at once, and does not ask how it went.
#[test]
fn cancelling_a_wait_ends_the_waiting_and_not_the_work() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let mut client = Client::start(&home, WITH_TASKS);
    let held = client.launch(&gate.shell());
    let task = waiting(&mut client, json!({"ids": [held]}));
    let cancel = json!({"taskId": task});
    let both = [
        client.send("tasks/cancel", cancel.clone(), json!({})),
        client.send("tasks/cancel", cancel.clone(), json!({})),
    ];
    for id in both {
        assert_eq!(client.answer(id)["result"], json!({"resultType": "complete"}));
    }
    assert_eq!(client.get(&task)["status"], "cancelled");
    assert_eq!(home.status(&held)["ended_at"], json!(null), "it runs on");
    let again = waiting(&mut client, json!({"ids": [held]}));
    assert_eq!(client.get(&again)["status"], "working", "it is waited for anew");
    gate.open();
    assert_eq!(ended(&mut client, &again)["status"], "completed");
    assert_eq!(client.request("tasks/cancel", cancel)["result"], json!({"resultType": "complete"}));
    assert_eq!(client.get(&task)["status"], "completed", "what has ended stays as it ended");
    let answers = json!({"taskId": task, "inputResponses": {"x": {"action": "accept"}}});
    assert_eq!(
        client.request("tasks/update", answers)["result"],
        json!({"resultType": "complete"})
    );
}

#[test]
fn the_first_success_ends_a_wait_for_any() {
    let home = TestHome::new();
    let (gate, mut other) = (home.gate("gate"), home.gate("other"));
    let mut client = Client::start(&home, WITH_TASKS);
    let slow = client.launch(&gate.shell());
    let quick = client.launch(&other.shell());
    let task = waiting(&mut client, json!({"ids": [slow, quick], "any": true}));
    other.open();
    let found = ended(&mut client, &task);
    assert_eq!(found["result"]["isError"], false, "{found}");
    assert_eq!(home.status(&slow)["ended_at"], json!(null));
}

/// More tasks than an id should name.
#[test]
fn a_large_group_is_waited_for_by_its_name() {
    let home = TestHome::builder().config("lanes.commands.limit = 4").build();
    let mut gate = home.gate("gate");
    let mut client = Client::start(&home, WITH_TASKS);
    let mut tasks: Vec<Value> = (0..19).map(|_| json!({"shell": "true"})).collect();
    tasks.push(json!({"shell": gate.shell()}));
    client.tool("run", json!({"group": "many: of them", "tasks": tasks}));
    let task = waiting(&mut client, json!({"group": "many: of them"}));
    assert!(task.len() < 120, "{task}");
    gate.open();
    let found = ended(&mut client, &task);
    assert_eq!(found["result"]["structuredContent"]["summary"], "20 of 20 done", "{found}");
    let all = client.tool("wait", json!({"group": "many: of them"}));
    assert_eq!(all["resultType"], "complete", "{all}");
}

/// Ids that no group holds together are put down by name, before the client is told of it.
#[test]
fn any_number_of_tasks_becomes_one_mcp_task_that_outlives_its_server() {
    let home =
        TestHome::builder().config("lanes.commands.limit = 4\nlimits.descendants = 500").build();
    let (mut gate, mut other) = (home.gate("gate"), home.gate("other"));
    let mut client = Client::start(&home, WITH_TASKS);
    let mut tasks: Vec<Value> = (0..130).map(|_| json!({"shell": "true"})).collect();
    tasks.push(json!({"shell": "exit 9", "name": "the bad one"}));
    tasks.push(json!({"shell": gate.shell()}));
    let launched = client.tool("run", json!({ "tasks": tasks }));
    assert_eq!(launched["isError"], false, "{launched}");
    let launched = launched["structuredContent"]["tasks"].as_array().expect("a list").clone();
    let ids: Vec<Value> = launched.iter().map(|task| task["id"].clone()).collect();
    assert_eq!(ids.len(), 132);
    let task = waiting(&mut client, json!({"ids": ids}));
    assert!(task.len() < 60, "{task}");
    let lead = client.launch(&other.shell());
    let behind: Vec<Value> = (0..19).map(|_| json!({"shell": "true", "after": [lead]})).collect();
    let behind = client.tool("run", json!({ "tasks": behind }));
    let behind = behind["structuredContent"]["tasks"].as_array().expect("a list").clone();
    let mut some: Vec<Value> = behind.iter().map(|task| task["id"].clone()).collect();
    some.push(json!(lead));
    let first = waiting(&mut client, json!({"ids": some, "any": true}));
    assert!(first.starts_with("anyset:"), "{first}");
    client.kill();
    home.kill_daemon();
    let mut next = Client::start(&home, WITH_TASKS);
    other.open();
    assert_eq!(ended(&mut next, &first)["result"]["isError"], false);
    assert_eq!(next.get(&task)["status"], "working");
    gate.open();
    let found = ended(&mut next, &task);
    assert_eq!(found["result"]["isError"], true, "one of 132 has failed: {found}");
    let facts = &found["result"]["structuredContent"];
    assert_eq!(facts["tasks"].as_array().map(Vec::len), Some(100), "an answer has a bound");
    assert_eq!(facts["tasks"][0]["title"], "the bad one", "what matters is shown");
    let told = facts["summary"].as_str().expect("a text");
    assert_eq!(told, "132 of 132 done, 1 not successful (32 of them not shown)");
    let unknown = format!("set:{}", "0".repeat(32));
    assert_eq!(next.get(&unknown)["status"], "failed", "one that may have been ours ends");
}

/// What the library has no word for is carried past it; what is heard counts for nobody.
#[test]
fn a_peer_that_subscribed_hears_of_a_wait_without_asking() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let mut client = Client::start(&home, WITH_TASKS);
    let held = client.launch(&format!("{}; echo the end", gate.shell()));
    let task = waiting(&mut client, json!({"ids": [held]}));
    let filter = json!({"notifications": {"taskIds": [task, "gate-test", 3]}});
    let asked = client.send("subscriptions/listen", filter, json!({}));
    let mut hears = |status: &str| loop {
        let message = client.next();
        if message["method"] == "notifications/tasks" && message["params"]["status"] == status {
            return message["params"].clone();
        }
    };
    assert_eq!(hears("working")["taskId"], json!(task));
    gate.open();
    let end = hears("completed");
    assert!(text(&end["result"]).contains("1 of 1 done"), "{end}");
    assert_eq!(end["_meta"]["io.modelcontextprotocol/subscriptionId"], json!(asked), "{end}");
    assert!(client.answer(asked)["result"].is_object(), "there is nothing left to hear");
    let unread = client.tool("inbox", json!({}));
    assert!(text(&unread).contains(&held), "a notification tells nobody: {unread}");
}
