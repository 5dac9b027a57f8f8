//! How long a new daemon takes to be connected to every supervisor of the one that was killed.

use std::time::{Duration, Instant};

use meanwhile_testkit::{TestHome, until};
use serde_json::json;

use crate::check::PATIENCE;
use crate::tally::Count;
use crate::{Modes, Row, Samples, Seen, Stage};

const EXPECTED: &str = "the next daemon is connected to all of them in less than a second (1,000: two seconds); \
                        all run on";
const STAGED: &str = "kill -9 by pidfd; the time runs from the call of `daemon start` until `daemon status` counts \
                      every supervisor; the tasks sleep";

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 0,
        name: "re-attach",
        title: "SIGKILL daemon while 1 and while 100 tasks run, again and again",
        expected: EXPECTED,
        modes: Modes::Every,
        slow: false,
        stage: STAGED,
        run: |stage| of(stage, &[(1, 20), (100, 10)]),
    },
    Row {
        number: 0,
        name: "re-attach-1000",
        title: "SIGKILL daemon while 1,000 tasks run, again and again",
        expected: EXPECTED,
        modes: Modes::Once,
        slow: true,
        stage: STAGED,
        run: |stage| of(stage, &[(1000, 8)]),
    },
];

fn of(stage: &mut Stage, sizes: &[(usize, usize)]) -> Seen {
    let said: Vec<String> = sizes
        .iter()
        .map(|(tasks, rounds)| {
            let samples = measure(stage, *tasks, *rounds);
            let words = format!("{tasks}: {}", samples.words());
            let most = Duration::from_secs(if *tasks > 100 { 2 } else { 1 });
            stage.demand(samples.percentile(50) < most, format!("too slow at {words}"));
            stage.figure(format!("re-attach, {tasks} running"), samples);
            words
        })
        .collect();
    Seen::pass(format!("re-attached at {}; every process ran on", said.join("; ")))
}

fn measure(stage: &mut Stage, tasks: usize, rounds: usize) -> Samples {
    let config = format!("lanes.commands.limit = {tasks}\nlimits.starts = 50");
    let home = TestHome::builder().config(&config).build();
    let nap = home.marker();
    let entry = json!({ "command": ["sleep", nap] }).to_string() + "\n";
    home.invoke(["run", "--from", "-"]).stdin(entry.repeat(tasks)).deadline(PATIENCE).run().ok();
    until("all tasks to run", PATIENCE, || (running(&home) == tasks).then_some(()));
    let before = meanwhile_testkit::marked(&nap);
    let mut took = Samples::default();
    for _ in 0..rounds {
        home.kill_daemon();
        stage.count(Count::DaemonKills, 1);
        let began = Instant::now();
        home.cli(["daemon", "start"]).ok();
        until("all supervisors to be met", PATIENCE, || {
            (home.json(["daemon", "status"])["supervisors"] == tasks).then_some(())
        });
        took.add(began.elapsed());
        let known = running(&home);
        stage.demand(known == tasks, format!("{known} of {tasks} tasks run"));
    }
    let after = meanwhile_testkit::marked(&nap);
    stage.demand(before == after, "they are not the same processes");
    home.cli(["cancel", "--all", "--yes"]).ok();
    stage.killed_tree(&meanwhile_testkit::marked(&nap));
    home.finish();
    took
}

fn running(home: &TestHome) -> usize {
    let states = home.json(["list", "--summary"])["states"].clone();
    states["running"].as_u64().unwrap_or_default() as usize
}
