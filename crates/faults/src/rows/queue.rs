//! Row 35: a queue of ten thousand and a stream of short tasks. What is compared is the event log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use meanwhile_core::TaskId;
use meanwhile_store::{EventRecord, Logged};
use meanwhile_testkit::TestHome;
use serde_json::json;

use crate::check::PATIENCE;
use crate::record;
use crate::tally::Count;
use crate::{Load, Modes, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[Row {
    number: 35,
    name: "long-queue",
    title: "10,000 queued, then 1,000 short tasks a second for 60 s",
    expected: "FIFO per lane, no lane starves, limits kept at every transition, every task runs once",
    modes: Modes::Once,
    slow: true,
    stage: "10,000 in one submission over 20 lanes of 2 seats; then batches of 100 every 100 ms for 60 s, held back \
            while more than 10,000 wait; order, seats and gaps are read from the event log",
    run: long_queue,
}];

const LANES: usize = 20;
const SEATS: usize = 2;
const QUEUED: usize = 10_000;
const LASTS: Duration = Duration::from_secs(60);
const BATCH: usize = 100;
const EVERY: Duration = Duration::from_millis(100);
/// A lane in which work waits starts something at least this often.
const LONGEST_GAP_MS: i64 = 5_000;

fn long_queue(stage: &mut Stage) -> Seen {
    let home = TestHome::builder().config(&format!("lanes.default.limit = {SEATS}")).build();
    let names: Vec<String> = (0..LANES).map(|lane| format!("lane{lane}")).collect();
    let limits: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), SEATS)).collect();
    let load = Load::new(&home, &limits);
    submit(&home, QUEUED);
    let began = Instant::now();
    let (mut given, mut held_back) = (QUEUED, 0);
    while began.elapsed() < LASTS {
        let round = Instant::now();
        let waiting = home.json(["list", "--summary"])["states"]["queued"].as_u64();
        if waiting.is_some_and(|waiting| waiting <= QUEUED as u64) {
            submit(&home, BATCH);
            given += BATCH;
        } else {
            held_back += 1;
        }
        // sleep: the pace of the submissions is the fault
        std::thread::sleep(EVERY.saturating_sub(round.elapsed()));
    }
    let fed = began.elapsed();
    wait_for_all(&home);
    let took = began.elapsed();
    let events = record::events(&home);
    let lanes = lanes(&home, &events);
    let started = check_each_once(stage, &events);
    stage.demand(started == given, format!("{started} of {given} tasks were started"));
    check_order(stage, &events, &lanes);
    let gap = check_gaps(stage, &events, &lanes);
    stage.check_limits(&home, &load, &events);
    stage.check_seats(&home);
    home.finish();
    Seen::pass(format!(
        "{given} tasks in {LANES} lanes ran once each in {:.0} s ({:.0} a second; {} more a second were asked for \
         during {:.0} s, {held_back} batches held back); every lane in order of submission; longest time without a \
         start in a lane with work: {gap} ms",
        took.as_secs_f64(),
        given as f64 / took.as_secs_f64(),
        BATCH * 1000 / EVERY.as_millis() as usize,
        fed.as_secs_f64(),
    ))
}

fn submit(home: &TestHome, how_many: usize) {
    let entries: String = (0..how_many)
        .map(|n| {
            json!({ "command": ["true"], "lane": format!("lane{}", n % LANES) }).to_string() + "\n"
        })
        .collect();
    home.invoke(["run", "--from", "-"]).stdin(entries).deadline(PATIENCE).run().ok();
}

/// Until nothing is queued or runs; the command itself tells when, nobody asks again and again.
fn wait_for_all(home: &TestHome) {
    let ran = home.invoke(["wait"]).deadline(PATIENCE).run();
    assert!(ran.code() == 0, "the wait exited {}: {}", ran.code(), ran.complaint());
}

fn lanes(home: &TestHome, events: &[EventRecord]) -> BTreeMap<TaskId, String> {
    use meanwhile_store::Reader;
    let mut reader = record::reader(home);
    let mut found = BTreeMap::new();
    for event in events.iter().filter(|event| matches!(event.what, Logged::Submitted)) {
        let task = reader.task(event.task).expect("the store can be read");
        let task = task.expect("nothing is deleted in this home");
        found.insert(event.task, task.placement.lane.as_str().to_owned());
    }
    found
}

/// One start and one true end each; answers how many started.
fn check_each_once(stage: &mut Stage, events: &[EventRecord]) -> usize {
    let mut each: BTreeMap<TaskId, (u32, u32)> = BTreeMap::new();
    for event in events {
        let counts = each.entry(event.task).or_default();
        match &event.what {
            Logged::Starting => counts.0 += 1,
            Logged::Ended { state, .. } => {
                counts.1 += 1;
                let truth = *state == meanwhile_core::State::Completed;
                stage.count(Count::FalseEnds, usize::from(!truth));
                stage.demand(truth, format!("`true` ({}) is told as {state:?}", event.task));
            }
            _ => {}
        }
    }
    stage.count(Count::Tasks, each.len());
    stage.count(Count::Ends, each.len());
    for (task, counts) in &each {
        stage.demand(*counts == (1, 1), format!("{task}: {} starts, {} ends", counts.0, counts.1));
    }
    each.values().filter(|counts| counts.0 > 0).count()
}

/// In each lane the tasks start in the order in which they were submitted.
fn check_order(stage: &mut Stage, events: &[EventRecord], lanes: &BTreeMap<TaskId, String>) {
    let mut order: BTreeMap<&str, [Vec<TaskId>; 2]> = BTreeMap::new();
    for event in events {
        let which = match event.what {
            Logged::Submitted => 0,
            Logged::Starting => 1,
            _ => continue,
        };
        order.entry(&lanes[&event.task]).or_default()[which].push(event.task);
    }
    for (lane, [came, started]) in order {
        let wrong = came.iter().zip(&started).filter(|(one, other)| one != other).count();
        stage.demand(wrong == 0, format!("`{lane}`: {wrong} of {} not in order", came.len()));
    }
}

/// The longest time between two starts of a lane in which somebody waited meanwhile.
fn check_gaps(stage: &mut Stage, events: &[EventRecord], lanes: &BTreeMap<TaskId, String>) -> i64 {
    let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
    let mut since: BTreeMap<&str, i64> = BTreeMap::new();
    let mut longest = 0;
    for event in events {
        let lane = lanes[&event.task].as_str();
        let waiting = waiting.entry(lane).or_default();
        match event.what {
            Logged::Submitted => {
                if *waiting == 0 {
                    since.insert(lane, event.at.0);
                }
                *waiting += 1;
            }
            Logged::Starting => {
                *waiting = waiting.saturating_sub(1);
                let before = since.insert(lane, event.at.0).unwrap_or(event.at.0);
                longest = longest.max(event.at.0 - before);
            }
            _ => {}
        }
    }
    stage
        .demand(longest < LONGEST_GAP_MS, format!("a lane with work stood still for {longest} ms"));
    longest
}
