//! Rows 28 and 29: a pid that belongs to somebody else by now, and a machine that has restarted.

use meanwhile_testkit::{DEADLINE, Process, TestHome, mode};
use rustix::process::Signal;
use serde_json::json;

use crate::staging::{Stranger, after_a_reboot, can_mount, heard, supervisor_of};
use crate::tally::Count;
use crate::work::Work;
use crate::{Load, Modes, Promise, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 28,
        name: "pid-reused",
        title: "the recorded pids belong to other programs; restart and cancel",
        expected: "never signalled (start time and boot id do not match)",
        modes: Modes::Every,
        slow: false,
        stage: "the kernel is told the next pid (ns_last_pid) until a stranger has that of the main \
                process and another that of the supervisor; who is signalled would die",
        run: pid_reused,
    },
    Row {
        number: 29,
        name: "reboot",
        title: "reboot (another boot id)",
        expected: "running: interrupted (reboot); queued stays queued and runs; ended stays as it was",
        modes: Modes::Every,
        slow: false,
        stage: "everything killed as by a power cut; the next daemon runs in a mount namespace with \
                another /proc/sys/kernel/random/boot_id, and strangers have the recorded pids",
        run: reboot,
    },
];

/// Kills daemon and supervisor of a running task as a power cut does; answers the two pids that are
/// free now.
fn cut(stage: &mut Stage, home: &TestHome, id: &str, main: &Process) -> [u32; 2] {
    let supervisor = supervisor_of(home, id);
    supervisor.signal(Signal::STOP);
    home.kill_daemon();
    supervisor.kill();
    main.wait_end(DEADLINE);
    stage.count(Count::DaemonKills, 1);
    stage.count(Count::SupervisorKills, 1);
    [main.pid(), supervisor.pid()]
}

fn strangers(pids: [u32; 2]) -> Option<Vec<Stranger>> {
    pids.into_iter().map(Stranger::with).collect()
}

fn judge(stage: &mut Stage, strangers: &mut [Stranger]) {
    for stranger in strangers {
        stage.count(Count::Strangers, 1);
        let untouched = stranger.is_untouched();
        stage.count(Count::StrangersSignalled, usize::from(!untouched));
        stage.demand(untouched, "a stranger with a reused pid was signalled");
    }
}

fn pid_reused(stage: &mut Stage) -> Seen {
    const ROUNDS: usize = 4;
    if !mode::is_root() {
        return Seen::not_here("only root may choose the pid of a new process");
    }
    for _ in 0..ROUNDS {
        let home = TestHome::new();
        let mut bell = home.bell("bell");
        let id = home.launch_shell(&format!("{}; exec sleep 1000", bell.shell("$$")));
        let main = heard(&mut bell);
        let pids = cut(stage, &home, &id, &main);
        let Some(mut strangers) = strangers(pids) else {
            return Seen::not_here("this machine does not let root choose the next pid");
        };
        let other = home.launch(["true"]);
        stage.demand(home.wait(&other)["state"] == "completed", "the queue does not go on");
        let task = home.wait(&id);
        let told = (&task["state"], &task["cause"]);
        let truth = told == (&json!("interrupted"), &json!({"kind": "lost"}));
        stage.demand(truth, format!("told as {told:?}"));
        home.cli(["cancel", &id]).ok();
        home.cli(["prune"]).ok();
        judge(stage, &mut strangers);
        home.finish();
        judge(stage, &mut strangers);
    }
    Seen::pass(format!(
        "{} strangers with the recorded pids of main process and supervisor: none signalled by \
         recovery, cancel, prune and stop --cancel-all",
        2 * ROUNDS
    ))
}

fn reboot(stage: &mut Stage) -> Seen {
    if !can_mount() {
        return Seen::not_here("another boot id needs a mount namespace, and that needs root");
    }
    let home = TestHome::builder().config("lanes.commands.limit = 1").build();
    let mut load = Load::new(&home, &[("commands", 1)]);
    let mut bell = home.bell("bell");
    let ended = load.launch(&home, Work::short(0), &[], Promise::TrueEnd);
    home.wait(&ended);
    let before = home.status(&ended);
    let running = home.launch_shell(&format!("{}; exec sleep 1000", bell.shell("$$")));
    let queued: Vec<Work> = (1..=5).map(Work::short).collect();
    load.submit(&home, &queued, &json!({}), Promise::TrueEnd);
    let main = heard(&mut bell);
    let pids = cut(stage, &home, &running, &main);
    let mut strangers = strangers(pids).unwrap_or_default();
    after_a_reboot(&home, &["daemon", "start"]).run().ok();
    let task = home.wait(&running);
    let told = (&task["state"], &task["cause"]);
    let truth = told == (&json!("interrupted"), &json!({"kind": "reboot"}));
    stage.demand(truth, format!("told as {told:?}"));
    stage.demand(home.status(&ended)["ended_at"] == before["ended_at"], "the past has changed");
    load.wait(&home);
    judge(stage, &mut strangers);
    stage.check(&home, &load);
    home.finish();
    Seen::pass(format!(
        "1 interrupted (reboot), 5 queued ones ran once, 1 ended one unchanged; {} strangers with \
         recorded pids untouched",
        strangers.len()
    ))
}
