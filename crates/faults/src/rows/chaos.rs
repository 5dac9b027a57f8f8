//! `kill -9` of daemons and supervisors at random moments while hundreds of tasks come and go.

use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, Dice, TestHome};
use serde_json::json;

use crate::staging;
use crate::tally::Count;
use crate::work::{End, Work};
use crate::{Load, Modes, Promise, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[Row {
    number: 0,
    name: "random-kills",
    title: "SIGKILL of daemons and supervisors at random moments, hundreds of tasks",
    expected: "no task lost or run twice, true ends but for those whose supervisor was killed (lost), every byte, \
               limits kept",
    modes: Modes::Every,
    slow: false,
    stage: "400 tasks of random length, size and end in two lanes; for 12 s a kill every 20 to 500 ms, two of \
            three of the daemon, one of a random supervisor; clients and supervisors start the next daemon",
    run: random_kills,
}];

const TASKS: u64 = 400;
const LASTS: Duration = Duration::from_secs(12);

fn random_kills(stage: &mut Stage) -> Seen {
    let mut dice = Dice::new();
    let home =
        TestHome::builder().config("lanes.commands.limit = 5\nlanes.other.limit = 3").build();
    let mut load = Load::new(&home, &[("commands", 5), ("other", 3)]);
    let mut works = works(&mut dice).into_iter();
    for _ in 0..4 {
        for lane in ["commands", "other"] {
            let some: Vec<Work> = works.by_ref().take(TASKS as usize / 10).collect();
            load.submit(&home, &some, &json!({ "lane": lane }), Promise::OrInterrupted("lost"));
        }
    }
    let rest: Vec<Work> = works.collect();
    let (mut daemons, mut supervisors) = (0, 0);
    let mut clients = Vec::new();
    let began = Instant::now();
    let mut rest = rest.into_iter();
    while began.elapsed() < LASTS {
        // One more by a call of its own, whatever is alive: it must get its id.
        if let Some(work) = rest.next() {
            load.launch(&home, work, &[], Promise::OrInterrupted("lost"));
        } else {
            clients.push(home.invoke(["daemon", "start"]).start());
        }
        // sleep: no state is waited for; the moment of the kill is what is random here
        std::thread::sleep(Duration::from_millis(dice.number(20..500)));
        if dice.number(0..3) < 2 {
            if let Some(daemon) = home.daemon() {
                daemon.kill();
                daemons += 1;
            }
        } else {
            let found = staging::supervisors(&home);
            if !found.is_empty() {
                dice.pick(&found).kill();
                supervisors += 1;
            }
        }
    }
    for client in clients {
        client.wait(DEADLINE);
    }
    let rest: Vec<Work> = rest.collect();
    if !rest.is_empty() {
        load.submit(&home, &rest, &json!({}), Promise::TrueEnd);
    }
    stage.count(Count::DaemonKills, daemons);
    stage.count(Count::SupervisorKills, supervisors);
    load.wait(&home);
    stage.check(&home, &load);
    let states = home.json(["list", "--summary"])["states"].clone();
    let interrupted = states["interrupted"].as_u64().unwrap_or_default() as usize;
    stage.demand(
        interrupted <= supervisors,
        format!("{interrupted} are interrupted, {supervisors} supervisors were killed"),
    );
    home.finish();
    Seen::pass(format!(
        "{daemons} daemons and {supervisors} supervisors killed under {TASKS} tasks: none lost, none twice, \
         {interrupted} interrupted (lost), all others told truly"
    ))
}

fn works(dice: &mut Dice) -> Vec<Work> {
    (0..TASKS)
        .map(|number| Work {
            number,
            seed: dice.next_number(),
            bytes: *dice.pick(&[0, 50, 3000, 100_000]),
            parts: 3,
            nap: Duration::from_millis(dice.number(0..80)),
            end: *dice.pick(&[End::Exit(0), End::Exit(0), End::Exit(4), End::Term]),
        })
        .collect()
}
