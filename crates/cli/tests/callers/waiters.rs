//! The waiter beside an idle session of Claude Code.

use meanwhile_testkit::{DEADLINE, TestHome, until};
use serde_json::json;

use crate::agent::Agent;

/// Turns that end, one after the other; each starts a waiter.
const STOPS: usize = 200;

#[test]
fn two_hundred_stops_leave_one_waiter_and_that_one_wakes_the_session() {
    let home = TestHome::new();
    let mut agent = Agent::start(&home, "claude");
    let mut gate = home.gate("gate");
    let said = [("CLAUDE_CODE_SESSION_ID", "s1")];
    let id = agent.run(&["run", "--shell", &format!("{}; exit 3", gate.shell())], &said);
    for _ in 0..STOPS {
        agent.hook("Stop", "s1", json!({ "stop_hook_active": false }));
        agent.start_hook("Wait", "Stop", "s1");
    }
    until("all but one waiter to have ended", DEADLINE, || {
        let waiters = home.json(["daemon", "status"])["waiters"].as_u64();
        (agent.still_running() == 1 && waiters == Some(1)).then_some(())
    });
    let codes = agent.codes();
    assert_eq!(codes.iter().filter(|code| **code == json!(0)).count(), STOPS - 1, "{codes:?}");
    println!("{STOPS} stops: {} waiters ended, 1 waits", STOPS - 1);
    gate.open();
    home.wait(&id);
    // Claude Code wakes the model when its waiter ends with 2.
    until("the last waiter to wake the session", DEADLINE, || {
        let codes = agent.codes();
        codes.iter().any(|code| *code == json!(2)).then_some(())
    });
    assert_eq!(agent.hook("UserPromptSubmit", "s1", json!({})), "", "it was told");
}
