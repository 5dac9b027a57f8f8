//! Rows 7 and 8: supervisors killed, alone and together with the daemon.
//!
//! What a lost supervisor knew is lost with it, and that is what must be said; its task must not run on.

use std::time::Duration;

use meanwhile_testkit::{DEADLINE, Process, TestHome, marked, mode};
use rustix::process::Signal;
use serde_json::json;

use crate::staging::{self, heard, supervisor_of};
use crate::tally::Count;
use crate::work::Work;
use crate::{Load, Modes, Promise, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 7,
        name: "supervisor-killed",
        title: "SIGKILL supervisor only",
        expected: "children killed, task interrupted (lost), never a success; seat freed",
        modes: Modes::Every,
        slow: false,
        stage: "kill -9 of the supervisor of a task with children in sessions of their own; without a \
                cgroup an orphan that cleared its environment as well cannot be found, and is counted \
                apart",
        run: supervisor_killed,
    },
    Row {
        number: 8,
        name: "all-killed",
        title: "SIGKILL daemon and all supervisors",
        expected: "as 7 for all; queue intact; no orphans",
        modes: Modes::Every,
        slow: false,
        stage: "all stopped first (SIGSTOP), so that none has the time to bring another back; then kill -9",
        run: all_killed,
    },
];

fn supervisor_killed(stage: &mut Stage) -> Seen {
    const ROUNDS: u32 = 8;
    let home = TestHome::builder().config("lanes.commands.limit = 1").build();
    let mut load = Load::new(&home, &[("commands", 1)]);
    let nap = home.marker();
    let mut bell = home.bell("bell");
    let mut beyond_reach = 0;
    for round in 0..ROUNDS {
        let bare = format!("{nap}77");
        let line = format!(
            "setsid sh -c 'sleep {nap} & sleep {nap}' & setsid env -i sleep {bare} & {}; exec sleep {nap}",
            bell.shell("$$")
        );
        let lost = home.launch_shell(&line);
        let main = heard(&mut bell);
        let daemon = home.daemon().expect("it started the task").pid();
        let next = Work::short(u64::from(round));
        let next = load.launch(&home, next, &[], Promise::TrueEnd);
        supervisor_of(&home, &lost).kill();
        stage.count(Count::SupervisorKills, 1);
        let task = home.wait(&lost);
        stage.count(Count::Ends, 1);
        let told = (&task["state"], &task["cause"]);
        let truth = (&json!("interrupted"), &json!({"kind": "lost"}));
        stage.count(Count::FalseEnds, usize::from(told != truth));
        stage.demand(told == truth, format!("told as {told:?}"));
        stage.demand(!main.is_alive(), "the main process outlived its supervisor");
        // Both kinds carry the mark; only the bare one carries its tail.
        let naked = marked(&bare);
        let mut left = marked(&nap);
        if !mode::has_cgroup() {
            left.retain(|pid| !naked.contains(pid));
            beyond_reach += naked.len();
        }
        stage.killed_tree(&left);
        staging::clear(&nap);
        stage.demand(home.wait(&next)["state"] == "completed", "the seat was not freed");
        let now = home.daemon().map(|daemon| daemon.pid());
        stage.demand(now == Some(daemon), "the daemon did not stay");
    }
    stage.check(&home, &load);
    home.finish();
    let apart = if mode::has_cgroup() {
        String::new()
    } else {
        format!("; {beyond_reach} orphans with a new session and no environment were out of reach")
    };
    Seen::pass(format!(
        "{ROUNDS} supervisors killed: each task interrupted (lost), no survivor, next task ran{apart}"
    ))
}

fn all_killed(stage: &mut Stage) -> Seen {
    const RUNNING: u64 = 8;
    const QUEUED: u64 = 40;
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {RUNNING}")).build();
    let mut load = Load::new(&home, &[("commands", 8)]);
    let busy: Vec<Work> = (0..RUNNING).map(Work::endless).collect();
    load.submit(&home, &busy, &json!({}), Promise::OrInterrupted("lost"));
    let queued: Vec<Work> = (RUNNING..RUNNING + QUEUED).map(Work::short).collect();
    load.submit(&home, &queued, &json!({}), Promise::TrueEnd);
    load.wait_begun(8);
    let mains: Vec<Process> = load.alive().into_iter().filter_map(Process::of).collect();
    let supervisors = staging::supervisors(&home);
    for one in &supervisors {
        one.signal(Signal::STOP);
    }
    home.kill_daemon();
    supervisors.iter().for_each(Process::kill);
    stage.count(Count::DaemonKills, 1);
    stage.count(Count::SupervisorKills, supervisors.len());
    let dead = mains.iter().filter(|main| main.ends_within(Duration::from_secs(5))).count();
    home.cli(["daemon", "start"]).ok();
    load.wait(&home);
    let left = load.alive();
    stage.killed_tree(&left);
    stage.check(&home, &load);
    let interrupted = home.json(["list", "--limit", "100"]);
    let interrupted = interrupted.as_array().into_iter().flatten();
    let interrupted = interrupted.filter(|task| task["state"] == "interrupted").count();
    stage.demand(interrupted == 8, format!("{interrupted} of 8 are interrupted"));
    stage.demand(
        supervisors.iter().all(|one| one.ends_within(DEADLINE)) && dead == mains.len(),
        "somebody lives on",
    );
    home.finish();
    Seen::pass(format!(
        "daemon and {} supervisors killed: {interrupted} running tasks interrupted (lost) and dead, \
         {QUEUED} queued ones ran once each",
        supervisors.len()
    ))
}
