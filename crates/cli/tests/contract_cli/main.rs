//! The contract of the command line, kept by the real binary: every command, option, exit code and JSON field, and
//! every kind of bad input.
//!
//! Owns one file per part of the contract; each test names one promise. Never sleeps: gates hold tasks, bells tell
//! where they are. What survives a kill is tested elsewhere (`survival_*`).

mod agents;
mod batches;
mod bytes;
mod cannot_start;
mod change;
mod daemons;
mod display;
mod edges;
mod environment;
mod exits;
mod held;
mod homes;
mod hooks;
mod inbox;
mod inbox_http;
mod input;
mod lists;
mod misuse;
mod naming;
mod output;
mod plugin;
mod private;
mod queue;
mod raw;
mod repeat;
mod settings;
mod setup;
mod task_object;
mod time;
mod upkeep;
mod versions;
mod waiting;

use meanwhile_testkit::{DEADLINE, Gate, Ran, TestHome, until};
use serde_json::Value;

/// Demands an exit code, an `error:` line that holds `expected`, a hint, and nothing on stdout.
#[track_caller]
fn check_refusal(ran: &Ran, code: i32, expected: &str) {
    ran.expect(code);
    let told = ran.complaint();
    assert!(told.starts_with("error: "), "{told}");
    assert!(told.contains(expected), "expected `{expected}` in: {told}");
    assert!(told.contains("hint: "), "what to do next is not told: {told}");
    assert_eq!(ran.text(), "", "results only go to stdout");
}

/// The error document that `--json` puts on stderr.
#[track_caller]
fn error_of(ran: &Ran) -> Value {
    let document: Value = serde_json::from_slice(&ran.stderr)
        .unwrap_or_else(|error| panic!("no JSON on stderr ({error}): {}", ran.complaint()));
    document["error"].clone()
}

/// A task that holds the only seat of lane `one` until the gate opens; its id.
#[track_caller]
fn hold_the_seat(home: &TestHome, gate: &Gate) -> String {
    let id = home.launch_shell_with(["--lane", "one"], &gate.shell());
    wait_for_state(home, &id, "running");
    id
}

/// A home whose lane `one` has one seat.
fn one_seat() -> TestHome {
    TestHome::builder().config("lanes.one.limit = 1").build()
}

/// Waits until a task is in a state, by its events.
#[track_caller]
fn wait_for_state(home: &TestHome, id: &str, state: &str) -> Value {
    until(&format!("task {id} to be {state}"), DEADLINE, || {
        Some(home.status(id)).filter(|task| task["state"] == state)
    })
}

/// The strings of a JSON array.
#[track_caller]
fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .expect("it is an array")
        .iter()
        .map(|one| one.as_str().expect("text"))
        .collect()
}
