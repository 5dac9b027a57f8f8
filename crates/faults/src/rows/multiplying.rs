//! Row 23: a tree whose members never stay the same, and one that is larger than it may be.
//!
//! Bounded by construction, since the product may fail: no process here ever has two successors, so that
//! the tree cannot grow, and every link looks at a deadline and ends by itself.

use std::fs;
use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, Process, TestHome, marked};
use rustix::process::Signal;

use super::trees::mechanism;
use crate::{Modes, Row, Samples, Seen, Stage};

pub(super) const ROWS: &[Row] = &[Row {
    number: 23,
    name: "fork-bomb",
    title: "a task whose processes are replaced faster than they can be listed, and one with too many",
    expected: "cancel in time (2 s at rest), nobody left; bounded by --pids; daemon memory stable",
    modes: Modes::Every,
    slow: false,
    stage: "20 chains, in each of which a process forks its successor and exits: the population is \
            constant, the pids are never the same, and SIGTERM is ignored; then 100 sleepers under \
            --pids 20. (A bomb that doubles itself would take the machine along where the product fails.)",
    run: fork_bomb,
}];

/// How many chains there are.
const CHAINS: usize = 20;
/// When a chain ends by itself: only a failing row comes to it.
const CHAIN_LASTS: Duration = Duration::from_secs(120);
/// Forks its successor and exits, again and again. A millisecond of life each, so that a round of pids
/// takes seconds: others on this machine have pids, too.
const CHAIN: &str = "\
import os, signal, sys, time
chains, lasts, bell = min(int(sys.argv[1]), 100), min(float(sys.argv[2]), 15), sys.argv[3]
until = time.monotonic() + lasts
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(chains):
    if os.fork() == 0:
        while time.monotonic() < until:
            if os.fork() != 0:
                os._exit(0)
            time.sleep(0.001)
        os._exit(0)
with open(bell, 'w') as file:
    file.write('chains\\n')
time.sleep(lasts)
";

fn fork_bomb(stage: &mut Stage) -> Seen {
    const ROUNDS: usize = 3;
    let home = TestHome::new();
    home.cli(["daemon", "start"]).ok();
    let daemon = home.daemon().expect("it was started");
    let before = resident(daemon.pid());
    let mut took = Samples::default();
    let mut pids = 0;
    for round in 0..ROUNDS {
        let (elapsed, moved) = chains(stage, &home, round);
        took.add(elapsed);
        pids = pids.max(moved);
    }
    let worst = took.percentile(100);
    // How long is a figure, 2 s at most on a machine that has nothing else to do. That it comes before the chains end by
    // themselves is the promise on any machine.
    stage.demand(worst < CHAIN_LASTS / 2, format!("a cancel took {worst:?}"));
    let limited = too_many(stage, &home);
    let after = resident(daemon.pid());
    let grew = after.saturating_sub(before);
    stage.demand(grew < 8 << 10, format!("the daemon grew from {before} to {after} KiB"));
    stage.demand(home.daemon().is_some_and(|now| now.pid() == daemon.pid()), "another daemon");
    home.finish();
    let words = took.words();
    let name = format!("cancel to empty tree, {}, {CHAINS} fork chains, grace 100 ms", mechanism());
    stage.figure(name, took);
    Seen::pass(format!(
        "{CHAINS} chains, {pids} new pids a second, cancelled and empty: {words}; 100 sleepers under \
         --pids 20: {limited}; daemon grew by {grew} KiB"
    ))
}

/// One cancel of the chains: how long it took, and how many pids a second were handed out before it.
fn chains(stage: &mut Stage, home: &TestHome, round: usize) -> (Duration, u64) {
    let nap = format!("{}{round}", home.marker());
    let mut bell = home.bell(&format!("bell{round}"));
    let (chains, lasts) = (CHAINS.to_string(), CHAIN_LASTS.as_secs().to_string());
    let path = bell.path().display().to_string();
    let line = ["python3", "-c", CHAIN, &chains, &lasts, &path, &nap];
    let id = home.launch_with(["--kill-after", "100ms"], line);
    bell.wait(DEADLINE);
    let (forks, began) = (forks_so_far(), Instant::now());
    // sleep: how far the chains come by themselves in this time is what is looked at
    std::thread::sleep(Duration::from_millis(300));
    let a_second = (forks_so_far() - forks) * 1000 / began.elapsed().as_millis().max(1) as u64;
    let began = Instant::now();
    home.cli(["cancel", &id]).ok();
    let elapsed = began.elapsed();
    stage.killed_tree(&marked(&nap));
    stage.demand(home.status(&id)["state"] == "cancelled", "it is not told as cancelled");
    (elapsed, a_second)
}

/// How many processes and threads this machine has started since its boot.
fn forks_so_far() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("processes "));
    line.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// A hundred processes where twenty are allowed: either `fork` fails, or the task is ended for it.
fn too_many(stage: &mut Stage, home: &TestHome) -> String {
    let nap = home.marker();
    let line = format!("i=0; while [ $i -lt 100 ]; do sleep {nap} & i=$((i+1)); done; sleep {nap}");
    let id = home.launch_shell_with(["--pids", "20", "--kill-after", "100ms"], &line);
    let waiter = home.invoke(["wait", &id]).start();
    let ended = Process::of(waiter.pid()).is_none_or(|one| one.ends_within(DEADLINE));
    if !ended {
        waiter.signal(Signal::TERM);
    }
    let _ = waiter.wait(DEADLINE);
    let task = home.status(&id);
    let held = task["limits"]["pids"]["held"].as_str().unwrap_or("nowhere").to_owned();
    let told = (task["state"].as_str(), task["cause"]["kind"].as_str());
    // Where the kernel holds the limit, the shell that cannot fork gives up with a code of its own.
    let kind = if held == "sampled" { "pids_limit" } else { "exit" };
    stage.demand(told == (Some("failed"), Some(kind)), format!("held {held}, told as {told:?}"));
    stage.killed_tree(&marked(&nap));
    format!("{} ({held})", told.1.unwrap_or_default())
}

/// KiB of memory that is resident and nobody else's.
pub(super) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}
