//! Rows 36 to 38: cancels that race, cancels of what others wait for, and dependencies that cannot be.

use std::time::{Duration, Instant};

use meanwhile_core::State;
use meanwhile_store::Logged;
use meanwhile_testkit::{Dice, TestHome, until};
use serde_json::{Value, json};

use crate::record;
use crate::tally::Count;
use crate::work::{End, Work};
use crate::{Load, Modes, Promise, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 36,
        name: "cancel-races",
        title: "cancel against start, exit and retry",
        expected: "one end per attempt, nothing alive after the cancel, seats back",
        modes: Modes::Every,
        slow: false,
        stage: "the real binary at random moments around each; the orders themselves are searched by `cargo xtask \
                sim`, seed by seed",
        run: races,
    },
    Row {
        number: 37,
        name: "cancel-with-dependents",
        title: "cancel of a queued task with dependents; the daemon killed at once after it",
        expected: "dependents end (dependency), those after `any` and `fail` run, the chain is consistent",
        modes: Modes::Once,
        slow: false,
        stage: "a chain of 30 behind the cancelled one, and two that are to run after it; kill -9 while the cancel \
                is under way or just done",
        run: dependents,
    },
    Row {
        number: 38,
        name: "impossible-dependencies",
        title: "dependency cycle, missing id, self",
        expected: "refused at submission with a code, whole batches, nothing left behind",
        modes: Modes::Once,
        slow: false,
        stage: "by command line and by batch, in rings of 1 to 100",
        run: impossible,
    },
];

/// How long races are run.
const RACING: Duration = Duration::from_secs(20);

fn races(stage: &mut Stage) -> Seen {
    let mut dice = Dice::new();
    let home = TestHome::builder().config("lanes.race.limit = 1").build();
    let mut load = Load::new(&home, &[("race", 1)]);
    let began = Instant::now();
    let mut tries = 0;
    let mut holders = Vec::new();
    while began.elapsed() < RACING {
        match tries % 3 {
            0 => holders.push(against_start(&home, &mut load, &mut dice, tries)),
            1 => against_exit(&home, &mut load, &mut dice, tries),
            _ => against_retry(&home, &mut load, &mut dice, tries),
        }
        let left = load.alive();
        stage.killed_tree(&left);
        tries += 1;
    }
    load.wait(&home);
    // On a busy machine races are faster than the lane that they are run in: what held its seat is still queued.
    let line = ["wait"].into_iter().chain(holders.iter().map(String::as_str));
    let ran = home.invoke(line).deadline(crate::check::PATIENCE).run();
    stage.demand(matches!(ran.code(), 0 | 1), format!("wait exited {}", ran.code()));
    stage.check(&home, &load);
    let [mut before, mut during, mut after] = [0; 3];
    let begun = load.lines();
    for task in &load.tasks {
        let state = record::task(&home, &task.id).map(|task| task.state);
        let word = format!("begin {} ", task.work.number);
        match (state, begun.iter().any(|line| line.starts_with(&word))) {
            (Some(State::Cancelled), false) => before += 1,
            (Some(State::Cancelled), true) => during += 1,
            _ => after += 1,
        }
    }
    home.finish();
    Seen::pass(format!(
        "{tries} races: {before} cancelled before their program began, {during} while it ran or between two \
         attempts, {after} had ended first; one end each, nobody left"
    ))
}

/// The seat becomes free at about the moment of the cancel. Answers who had it.
fn against_start(home: &TestHome, load: &mut Load, dice: &mut Dice, number: u64) -> String {
    let mut gate = home.gate(&format!("gate{number}"));
    let holder = home.launch_shell_with(["--lane", "race"], &gate.shell());
    let work = Work::endless(number);
    let id = load.launch(home, work, &["--lane", "race"], Promise::OrCancelled);
    pause(dice, 2);
    gate.open();
    pause(dice, 12);
    home.cli(["cancel", &id]).ok();
    holder
}

fn against_exit(home: &TestHome, load: &mut Load, dice: &mut Dice, number: u64) {
    let nap = Duration::from_millis(dice.number(0..25));
    let work = Work { nap, end: End::Exit(5), ..Work::short(number) };
    let id = load.launch(home, work, &["--lane", "race"], Promise::OrCancelled);
    pause(dice, 20);
    home.cli(["cancel", &id]).ok();
}

fn against_retry(home: &TestHome, load: &mut Load, dice: &mut Dice, number: u64) {
    let work = Work { end: End::Exit(6), ..Work::short(number) };
    let options = ["--lane", "race", "--retries", "5", "--backoff", "1ms"];
    let id = load.launch(home, work, &options, Promise::OrCancelled);
    pause(dice, 60);
    home.cli(["cancel", &id]).ok();
}

fn pause(dice: &mut Dice, most_ms: u64) {
    // sleep: no state is waited for; the moment of the cancel is what is random here
    std::thread::sleep(Duration::from_micros(dice.number(0..most_ms * 1000)));
}

const CHAIN: usize = 30;

fn dependents(stage: &mut Stage) -> Seen {
    const ROUNDS: usize = 6;
    let mut dice = Dice::new();
    let mut killed_first = 0;
    for _ in 0..ROUNDS {
        killed_first += usize::from(chain(stage, &mut dice));
    }
    Seen::pass(format!(
        "{ROUNDS} times: 1 cancelled, {CHAIN} behind it failed (dependency) without a start, 2 after `any` and `fail` \
         ran; the daemon was killed after each, {killed_first} times before the cancel was answered"
    ))
}

/// Answers whether the daemon died before the cancel was answered.
fn chain(stage: &mut Stage, dice: &mut Dice) -> bool {
    let home = TestHome::builder().config("lanes.commands.limit = 1").build();
    let mut gate = home.gate("gate");
    let held = home.launch_shell(&gate.shell());
    let entry = |name: &str, after: &str| {
        let mut entry = json!({ "shell": format!("echo {name} >> ran"), "name": name });
        if !after.is_empty() {
            entry["after"] = json!(after);
        }
        entry.to_string() + "\n"
    };
    let mut entries = entry("first", "");
    entries += &entry("link0", "first");
    for link in 1..CHAIN {
        entries += &entry(&format!("link{link}"), &format!("link{}", link - 1));
    }
    entries += &entry("any", "first:any");
    entries += &entry("fail", &format!("link{}:fail", CHAIN - 1));
    let ids = home.invoke(["run", "--from", "-"]).stdin(entries).run().ok();
    let ids: Vec<&str> = ids.lines().collect();
    let mut cancel = home.invoke(["cancel", ids[0]]).start();
    pause(dice, 60);
    let unanswered = cancel.is_running();
    home.kill_daemon();
    stage.count(Count::DaemonKills, 1);
    cancel.wait(meanwhile_testkit::DEADLINE).ok();
    gate.open();
    for id in ids.iter().chain([&held.as_str()]) {
        home.wait(id);
    }
    let told = |id: &str| {
        let task = home.status(id);
        (task["state"].clone(), task["cause"]["kind"].clone(), task["started_at"].is_null())
    };
    let is = |state: &str, cause: &str, unstarted| (json!(state), json!(cause), unstarted);
    stage.demand(
        told(ids[0]) == is("cancelled", "cancelled_by", true),
        format!("{:?}", told(ids[0])),
    );
    for id in &ids[1..=CHAIN] {
        stage.demand(told(id) == is("failed", "dependency", true), format!("{id}: {:?}", told(id)));
    }
    for id in &ids[CHAIN + 1..] {
        stage.demand(told(id) == is("completed", "exit", false), format!("{id}: {:?}", told(id)));
    }
    let ran = std::fs::read_to_string(home.path("ran")).unwrap_or_default();
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    stage.demand(ran == ["any", "fail"], format!("what ran: {ran:?}"));
    let ends = record::events(&home);
    let ends = ends.iter().filter(|event| matches!(event.what, Logged::Ended { .. })).count();
    stage.demand(ends == ids.len() + 1, format!("{ends} ends of {} tasks", ids.len() + 1));
    stage.count(Count::Tasks, ids.len() + 1);
    stage.count(Count::Ends, ids.len() + 1);
    stage.check_seats(&home);
    home.finish();
    unanswered
}

fn impossible(stage: &mut Stage) -> Seen {
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    let mut refused = 0;
    let mut refuse = |stage: &mut Stage, what: &str, entries: &[Value], code: i32| {
        let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        let ran = home.invoke(["run", "--from", "-"]).stdin(lines).run();
        let said = ran.complaint();
        let right = ran.code() == code && ran.text().is_empty() && !said.is_empty();
        stage.demand(right, format!("{what}: exited {}, said: {said}", ran.code()));
        refused += 1;
    };
    let entry = |name: usize, after: usize| json!({ "shell": "true", "name": format!("t{name}"), "after": format!("t{after}") });
    for ring in [1, 2, 3, 10, 100] {
        let mut entries: Vec<Value> = (0..ring).map(|n| entry(n, (n + 1) % ring)).collect();
        refuse(stage, "a ring", &entries, 4);
        entries.insert(0, json!({ "shell": "true" }));
        refuse(stage, "a ring with one beside it", &entries, 4);
    }
    let missing = json!({ "shell": "true", "after": "0123456789" });
    refuse(stage, "an unknown id", &[json!({ "shell": "true" }), missing], 3);
    let single = home.cli(["run", "--after", "0123456789", "--", "true"]);
    stage.demand(single.code() == 3, format!("an unknown id alone exited {}", single.code()));
    let own = home.cli(["run", "--name", "own", "--after", "own", "--", "true"]);
    stage.demand(matches!(own.code(), 3 | 4), format!("its own name exited {}", own.code()));
    let again = |stage: &mut Stage| {
        let kept = home.json(["list"]);
        stage.demand(kept == json!([]), format!("refused tasks are kept: {kept}"));
        let events = record::events(&home).len();
        stage.demand(events == 0, format!("{events} events of refused tasks are logged"));
    };
    again(stage);
    home.kill_daemon();
    stage.count(Count::DaemonKills, 1);
    home.cli(["daemon", "start"]).ok();
    until("the next daemon", meanwhile_testkit::DEADLINE, || home.daemon());
    again(stage);
    home.finish();
    Seen::pass(format!(
        "{} submissions refused (4 for cycles, 3 for unknown ids), nothing kept, not even after kill -9",
        refused + 2
    ))
}
