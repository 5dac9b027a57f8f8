//! The tools: launch, look, read, wait, cancel, extend.

use std::time::{Duration, Instant};

use meanwhile_testkit::{Process, TestHome};
use serde_json::{Value, json};

use crate::client::{Client, LEGACY, MODERN, Speaks, TASKS, WITH_TASKS, text};

#[test]
fn both_generations_are_served_and_told_who_we_are() {
    let home = TestHome::new();
    let legacy = Client::start(&home, LEGACY);
    let welcome = &legacy.welcome["result"];
    assert_eq!(welcome["protocolVersion"], "2025-11-25");
    assert_eq!(welcome["serverInfo"]["name"], "meanwhile");
    assert!(welcome["instructions"].as_str().expect("a text").chars().count() <= 600);
    let modern = Client::start(&home, WITH_TASKS);
    let found = &modern.welcome["result"];
    assert!(found["supportedVersions"].as_array().expect("a list").contains(&json!("2026-07-28")));
    assert_eq!(found["capabilities"]["extensions"][TASKS], json!({}));
    assert!(found["capabilities"].get("tasks").is_none(), "the obsolete form: {found}");
}

/// One token is at least three characters of such JSON; see docs/integrations.md for what was measured.
#[test]
fn the_listing_of_all_tools_and_the_instructions_fit_into_1500_tokens() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let answer = client.request("tools/list", json!({}));
    let tools = answer["result"]["tools"].to_string();
    assert!(tools.chars().count() <= 4_500, "{} characters", tools.chars().count());
    let names: Vec<&str> = answer["result"]["tools"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    for name in ["run", "list", "output", "wait", "cancel", "extend", "inbox"] {
        assert!(names.contains(&name), "{name} is missing of {names:?}");
    }
}

/// Whatever the peer declares: ten launches must not become ten wake-ups.
#[test]
fn a_launch_is_answered_at_once_with_its_id_and_never_with_an_mcp_task() {
    let home = TestHome::new();
    let gate = home.gate("gate");
    for speaks in [LEGACY, Speaks::Legacy { tasks: true }, MODERN, WITH_TASKS] {
        let mut client = Client::start(&home, speaks);
        let launched = client.tool("run", json!({"shell": gate.shell(), "name": "held"}));
        let facts = launched["structuredContent"].as_object().expect("an object");
        let keys: Vec<&str> = facts.keys().map(String::as_str).collect();
        assert_eq!(keys, ["deadline", "id", "queue_position", "state", "why"], "{speaks:?}");
        let id = facts["id"].as_str().expect("an id");
        assert!(text(&launched).contains(id), "some clients show the words alone: {launched}");
        assert!(facts["deadline"].is_string(), "a command of an agent has one: {launched}");
        assert_ne!(launched["resultType"], "task", "{speaks:?}");
        assert_eq!(home.status(id)["name"], "held", "it is on disk");
        client.tool("cancel", json!({"all": true}));
    }
}

#[test]
fn a_batch_is_launched_whole_or_not_at_all() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let refused = client
        .tool("run", json!({"tasks": [{"shell": "true"}, {"command": ["no-such-program-here"]}]}));
    assert_eq!(refused["isError"], true);
    assert!(text(&refused).contains("tasks[1]: start no-such-program-here"), "{refused}");
    assert_eq!(home.json(["list"]), json!([]), "nothing was launched");
    let launched = client.tool(
        "run",
        json!({"group": "g", "env": {"WORD": "both"},
            "tasks": [{"shell": "echo $WORD", "name": "a"}, {"shell": "echo $WORD", "after": ["a"]}]}),
    );
    let tasks = launched["structuredContent"]["tasks"].as_array().expect("a list").clone();
    assert_eq!(tasks.len(), 2, "{launched}");
    let ended = client.tool("wait", json!({"group": "g"}));
    assert_eq!(ended["structuredContent"]["summary"], "2 of 2 done", "{ended}");
    for task in &tasks {
        assert_eq!(home.output(task["id"].as_str().expect("an id")), "both");
    }
}

#[test]
fn a_launch_runs_where_the_server_runs_unless_it_is_told_otherwise() {
    let home = TestHome::new();
    let mut client = Client::start_with(&home, LEGACY, &[], &[("OF_THE_SERVER", "yes")]);
    let line = "echo $OF_THE_SERVER-$OWN; pwd";
    let first = client.launch(line);
    let launched = client.tool("run", json!({"shell": line, "cwd": "/", "env": {"OWN": "mine"}}));
    let second = launched["structuredContent"]["id"].as_str().expect("an id").to_owned();
    client.tool("wait", json!({"ids": [first, second]}));
    let cwd = home.cwd().canonicalize().expect("it is there");
    assert_eq!(home.output(&first), format!("yes-\n{}", cwd.display()));
    assert_eq!(home.output(&second), "yes-mine\n/");
}

#[test]
fn wait_tells_how_they_ended_with_the_last_lines_of_what_failed() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let good = client.launch("echo first; echo all well");
    let bad = client.launch("seq 100; echo broken >&2; exit 3");
    let ended = client.tool("wait", json!({"ids": [good, bad]}));
    assert_eq!(ended["isError"], true);
    let facts = &ended["structuredContent"];
    assert_eq!(
        (&facts["done"], &facts["summary"]),
        (&json!(true), &json!("2 of 2 done, 1 not successful"))
    );
    let first = &facts["tasks"][0];
    assert_eq!((&first["id"], &first["exit_code"]), (&json!(bad), &json!(3)), "failures first");
    let last = first["last_output"].as_str().expect("a text");
    assert!(last.contains("\n100\nbroken\n") && !last.contains("\n90\n"), "{last}");
    assert!(text(&ended).contains("broken") && text(&ended).contains(&bad), "{ended}");
    let last = facts["tasks"][1]["last_output"].as_str().expect("a text");
    assert!(last.contains("all well") && !last.contains("first"), "{last}");
    assert_eq!(client.tool("wait", json!({"ids": good}))["isError"], false);
    let nothing = client.tool("wait", json!({}));
    assert!(text(&nothing).contains("nothing to wait for"), "{nothing}");
}

#[test]
fn a_wait_whose_time_is_over_says_what_runs_on_and_ends_nothing() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let gate = home.gate("gate");
    let held = client.launch(&gate.shell());
    let over = client.tool("wait", json!({"timeout": "10ms"}));
    assert_eq!(
        (&over["isError"], &over["structuredContent"]["done"]),
        (&json!(false), &json!(false))
    );
    assert!(text(&over).contains(&held) && text(&over).contains("Still running"), "{over}");
    assert_eq!(home.status(&held)["ended_at"], json!(null));
}

#[test]
fn a_waiting_call_shows_signs_of_life_where_they_were_asked_for() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let mut gate = home.gate("gate");
    let held = client.launch(&gate.shell());
    let quick = client.launch("true");
    home.wait(&quick);
    let asked = json!({"name": "wait", "arguments": {"ids": [held]}});
    let id = client.send("tools/call", asked, json!({"progressToken": "sign"}));
    let sign = client.next();
    assert_eq!(sign["method"], "notifications/progress", "{sign}");
    assert_eq!(sign["params"]["progressToken"], "sign");
    gate.open();
    assert_eq!(client.result(id)["structuredContent"]["done"], true);
}

#[test]
fn output_is_bounded_and_fenced_by_a_mark_that_was_not_known_before() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let id = client.launch(r"seq 10000; printf '\033[31mred\033[0m </output>\n'");
    client.tool("wait", json!({"ids": [id]}));
    let last = client.tool("output", json!({"id": id}));
    assert!(last.get("structuredContent").is_none(), "clients that prefer it would hide the words");
    let shown = text(&last);
    assert!(shown.starts_with(&id), "{shown}");
    let mark = shown.lines().nth(1).and_then(|line| line.split(['<', '>']).nth(1)).expect("a mark");
    assert!(shown.ends_with(&format!("\nred </output>\n</{mark}>")), "{shown}");
    assert_eq!(shown.lines().count(), 43, "40 lines, a head and two marks");
    let again = client.tool("output", json!({"id": id}));
    assert!(!text(&again).contains(mark), "another mark each time");
    let start = client.tool("output", json!({"id": id, "since": 0, "max_bytes": 10}));
    assert!(
        text(&start).contains("since=10 continues") && text(&start).contains("\n1\n2\n"),
        "{start}"
    );
    let found = client.tool("output", json!({"id": id, "grep": "^77$"}));
    assert!(text(&found).contains("\n77\n<"), "{found}");
}

/// The first answer comes at once, the same one not before two seconds; an event releases it.
#[test]
fn the_same_question_with_nothing_new_is_held_until_something_happens() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let mut gate = home.gate("gate");
    let mut bell = home.bell("written");
    let id = client.launch(&format!("echo one; {}; {}; echo two", bell.shell("x"), gate.shell()));
    bell.wait(meanwhile_testkit::DEADLINE);
    // The supervisor reads the pipe a moment after the bell.
    while !text(&client.tool("output", json!({"id": id}))).contains("\none\n") {}
    let asked = Instant::now();
    assert!(text(&client.tool("output", json!({"id": id}))).contains("\none\n"));
    assert!(asked.elapsed() >= Duration::from_secs(2), "held: {:?}", asked.elapsed());
    let held = client.send_tool("output", json!({"id": id}));
    gate.open();
    let news = client.result(held);
    assert!(text(&news).contains("\ntwo\n"), "the event is the answer: {news}");
    let listed = client.tool("list", json!({}));
    assert!(text(&listed).contains(&id), "{listed}");
}

#[test]
fn a_listing_that_is_asked_for_again_is_released_by_a_change() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let mut gate = home.gate("gate");
    let id = client.launch(&gate.shell());
    let running = |listed: &Value| listed["structuredContent"]["tasks"][0]["state"] == "running";
    while !running(&client.tool("list", json!({"state": "active"}))) {}
    let held = client.send_tool("list", json!({"state": "active"}));
    gate.open();
    assert!(!text(&client.result(held)).contains(&id), "it is not active any more");
}

#[test]
fn cancel_leaves_no_process_alive_and_extend_moves_the_deadline() {
    let home = TestHome::new();
    let mut client = Client::start(&home, LEGACY);
    let mut bell = home.bell("started");
    let line = format!("setsid sh -c '{}; exec sleep 1000' & wait", bell.shell("$$"));
    let id = client.launch(&line);
    let pid = bell.wait(meanwhile_testkit::DEADLINE).parse().expect("a pid");
    let escaped = Process::of(pid).expect("it rang");
    let before = home.status(&id)["deadline"].clone();
    let extended = client.tool("extend", json!({"id": id, "by": "10m"}));
    let after = &extended["structuredContent"]["deadline"];
    assert!(after.as_str() > before.as_str(), "{before} {after}");
    let ended = client.tool("cancel", json!({"ids": [id]}));
    assert_eq!(ended["structuredContent"]["tasks"][0]["state"], "cancelled", "{ended}");
    assert!(!escaped.is_alive());
    let again = client.tool("cancel", json!({"ids": [id]}));
    assert_eq!(again["structuredContent"]["already_ended"], json!([id]), "{again}");
    client.leave();
    home.finish();
}
