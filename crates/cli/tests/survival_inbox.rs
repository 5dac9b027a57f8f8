//! `kill -9` of the daemon between the end of a task and the moment its session has read of it: each end is told, and
//! told once, because a client that lost its answer is given the same notices again and says again that it has them.
//!
//! Owns the count of what was told. Kills at random moments, so that every order of end, delivery and acknowledgement
//! comes up.

use std::collections::BTreeMap;
use std::time::Duration;

use meanwhile_testkit::{DEADLINE, Dice, Ran, TestHome};
use serde_json::Value;

const ROUNDS: u32 = 40;
/// Longer than from a launch to its end, and than an inbox takes.
const LATEST_KILL_US: u64 = 30_000;

fn tally(told: &mut BTreeMap<String, u32>, ran: &Ran) {
    ran.ok();
    for notice in ran.json().as_array().expect("an array") {
        *told.entry(notice["id"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
}

#[test]
fn every_end_is_told_exactly_once_however_often_the_daemon_is_killed() {
    let mut dice = Dice::new();
    let home = TestHome::new();
    let (mut launched, mut told) = (Vec::new(), BTreeMap::new());
    for round in 0..ROUNDS {
        let id = home.cli(["--session", "s", "run", "--", "true"]).ok();
        launched.push(format!("{}.1.done", id.trim()));
        let reading =
            (round % 2 == 0).then(|| home.invoke(["--json", "--session", "s", "inbox"]).start());
        // sleep: the moment of the kill is what the dice decide.
        std::thread::sleep(Duration::from_micros(dice.number(0..LATEST_KILL_US)));
        if let Some(daemon) = home.daemon() {
            daemon.kill();
        }
        if let Some(reading) = reading {
            tally(&mut told, &reading.wait(DEADLINE));
        }
    }
    for id in &launched {
        home.wait(id.split('.').next().unwrap_or_default());
    }
    tally(&mut told, &home.cli(["--json", "--session", "s", "inbox"]));
    let expected: BTreeMap<String, u32> = launched.into_iter().map(|id| (id, 1)).collect();
    assert_eq!(told, expected);
    let rest: Value = home.cli(["--json", "--session", "s", "inbox"]).json();
    assert_eq!(rest, serde_json::json!([]));
}
