//! Row 1: `kill -9` of the daemon while fifty tasks run.

use std::time::{Duration, Instant};

use meanwhile_testkit::{Dice, TestHome};
use serde_json::json;

use crate::tally::Count;
use crate::work::{End, Work};
use crate::{Load, Modes, Promise, Row, Samples, Seen, Stage};

const TASKS: usize = 50;

pub(super) const ROWS: &[Row] = &[Row {
    number: 1,
    name: "daemon-killed",
    title: "SIGKILL daemon while 50 tasks run",
    expected: "all 50 run on, re-attached < 1 s after its return, true exit codes, logs byte-identical",
    modes: Modes::Every,
    slow: false,
    stage: "kill -9 by pidfd; a client starts the next daemon at once; true ends and bytes are \
            foretold by the tasks' own seeds",
    run: daemon_killed,
}];

fn daemon_killed(stage: &mut Stage) -> Seen {
    let mut dice = Dice::new();
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {TASKS}")).build();
    let mut load = Load::new(&home, &[("commands", TASKS)]);
    let works: Vec<Work> = (0..TASKS as u64)
        .map(|number| Work {
            number,
            seed: dice.next_number(),
            bytes: *dice.pick(&[0, 100, 10_000, 200_000]),
            parts: 20,
            nap: Duration::from_millis(dice.number(100..200)),
            end: *dice.pick(&[End::Exit(0), End::Exit(3), End::Term]),
        })
        .collect();
    load.submit(&home, &works, &json!({}), Promise::TrueEnd);
    load.wait_begun(TASKS);
    let before = load.alive();
    home.kill_daemon();
    stage.count(Count::DaemonKills, 1);
    let after = load.alive();
    let still = before.iter().filter(|pid| after.contains(pid)).count();
    let back = Instant::now();
    home.cli(["daemon", "start"]).ok();
    let status = home.json(["list", "--limit", "100"]);
    let took = back.elapsed();
    let known = status.as_array().map_or(0, Vec::len);
    stage.demand(known == TASKS, format!("{known} of {TASKS} tasks are listed"));
    stage.demand(took < Duration::from_secs(1), format!("re-attached after {took:?}"));
    stage.figure(format!("re-attach, {TASKS} tasks"), [took].into_iter().collect::<Samples>());
    load.wait(&home);
    stage.check(&home, &load);
    home.finish();
    Seen::pass(format!(
        "{still} of {} processes ran on; all re-attached {} ms after the next daemon was asked for; \
         50 true ends",
        before.len(),
        took.as_millis()
    ))
}
