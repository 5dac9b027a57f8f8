//! Claude Code, whose user types /clear while a task runs: the conversation has another name, and its MCP server says the
//! old one.

use meanwhile_testkit::model::Model;
use meanwhile_testkit::{DEADLINE, Gate, TestHome, until};
use serde_json::{Value, json};

use super::terminal::{Terminal, known_user};

fn tasks(home: &TestHome) -> Vec<Value> {
    home.json(["list", "--any-session"]).as_array().cloned().unwrap_or_default()
}

/// Types a prompt that lets the model launch this, and waits until the turn is over.
fn launch(terminal: &mut Terminal, model: &Model, home: &TestHome, gate: &Gate, word: &str) {
    let before = (tasks(home).len(), model.asked().len());
    let call = json!({ "shell": format!("{}; echo {word}", gate.shell()) });
    terminal.press(&format!("do [[call:mcp__meanwhile__run {call}]] {word}-prompt"));
    terminal.until_any_drawn(&[&format!("{word}-prompt"), "Pasted text"]);
    terminal.press("\r");
    model.until("the end of the turn", |asked| {
        asked[before.1..].iter().any(|one| one.after_tools).then_some(())
    });
    assert_eq!(tasks(home).len(), before.0 + 1);
}

#[test]
fn a_cleared_conversation_takes_its_task_along_and_its_server_speaks_for_the_new_one() {
    let model = Model::new();
    let home = TestHome::new();
    known_user(&home);
    home.cli(["install", "claude", "--allow-launch"]).expect(0);
    let mut gates = [home.gate("first"), home.gate("second")];
    let mut terminal = Terminal::start(&home, &model);
    terminal.until_drawn("shift+tab to cycle");
    launch(&mut terminal, &model, &home, &gates[0], "first");
    let first = tasks(&home)[0].clone();
    let id = first["id"].as_str().expect("an id");
    assert_eq!(first["env_from"], "session", "as its hook recorded it");
    terminal.press("/clear");
    terminal.until_drawn("/clear");
    terminal.press("\r");
    let moved = until("the task to belong to the new conversation", DEADLINE, || {
        let session = home.status(id)["session"].clone();
        (session != first["session"]).then_some(session)
    });
    launch(&mut terminal, &model, &home, &gates[1], "second");
    let sessions: Vec<Value> = tasks(&home).iter().map(|task| task["session"].clone()).collect();
    assert_eq!(sessions, [moved.clone(), moved], "one server for both conversations");
    gates.iter_mut().for_each(Gate::open);
    let woken = model.until("the digest in a request", |asked| {
        asked.iter().position(|one| one.mentions("background task") && one.mentions("have ended"))
    });
    let asked = model.asked();
    assert!(asked[woken].mentions(id), "{:#?}", asked[woken].last_user);
    drop(terminal);
}
