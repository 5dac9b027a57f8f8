//! Rows 22, 24, 26 and 27: trees of processes that do not want to end, and ends that somebody holds up.
//!
//! Survivors are looked for at the moment a cancel returns, by a mark on their command lines that
//! neither a new session, nor a new parent, nor an empty environment removes.

use std::fs;
use std::time::{Duration, Instant};

use meanwhile_testkit::{Bell, DEADLINE, TestHome, marked, mode};
use rustix::process::Signal;
use serde_json::json;

use crate::staging::heard;
use crate::{Modes, Row, Samples, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 22,
        name: "escapees-cancelled",
        title: "double forks (setsid, env -i, nohup) on cancel",
        expected: "0 survivors, with and without cgroups",
        modes: Modes::Every,
        slow: false,
        stage: "five ways to escape, in turn; survivors are searched by a mark on their command lines \
                the moment the cancel returns",
        run: escapees,
    },
    Row {
        number: 24,
        name: "sigterm-ignored",
        title: "task that ignores SIGTERM",
        expected: "SIGKILL at the end of its grace, +-100 ms",
        modes: Modes::Every,
        slow: false,
        stage: "the task rings when SIGTERM arrives; its end is taken from its pidfd",
        run: sigterm_ignored,
    },
    Row {
        number: 26,
        name: "output-held",
        title: "child exits, grandchild keeps stdout open",
        expected: "ends within 200 ms and the grace of 1 s; leaked = 1; nobody left",
        modes: Modes::Every,
        slow: false,
        stage: "`sleep &` with the task's own stdout; both a polite and a deaf one",
        run: output_held,
    },
    Row {
        number: 27,
        name: "hidden-grandchild",
        title: "grandchild closes its stdio, leaves the session and lives",
        expected: "found by cgroup or subreaper; counted as leaked, killed",
        modes: Modes::Every,
        slow: false,
        stage: "setsid, a second fork, /dev/null on 0 to 2, environment cleared",
        run: hidden_grandchild,
    },
];

/// Ways out of a task. `{stay}` rings and lasts, `{nap}` lasts.
const ESCAPES: [(&str, &str); 5] = [
    ("setsid", "setsid {stay} &"),
    ("double fork", "setsid sh -c '({stay} &) ; exit 0'"),
    ("no environment", "setsid env -i /bin/sh -c '({stay} &); exit 0'"),
    (
        "nohup",
        "setsid nohup sh -c 'trap \"\" HUP TERM INT; {ring}; {nap}' </dev/null >/dev/null 2>&1 &",
    ),
    (
        "heirs",
        "setsid sh -c 'trap \"setsid {nap} & setsid {nap} & exit 0\" TERM; {ring}; {nap} & wait' &",
    ),
];

fn escapees(stage: &mut Stage) -> Seen {
    const ROUNDS: usize = 8;
    let home = TestHome::new();
    let nap = home.marker();
    let mut bell = home.bell("bell");
    let ring = format!("echo $$ > '{}'", bell.path().display());
    let stay = home.path("stay.sh");
    fs::write(&stay, format!("{ring}; exec sleep {nap}\n")).expect("a file can be written");
    let mut took = Samples::default();
    let mut polite = Samples::default();
    for (what, escape) in ESCAPES.iter().cycle().take(ESCAPES.len() * ROUNDS) {
        let escape = escape
            .replace("{stay}", &format!("/bin/sh {}", stay.display()))
            .replace("{nap}", &format!("sleep {nap}"))
            .replace("{ring}", &ring);
        let line = format!("{escape}\nexec sleep {nap}");
        let id = home.launch_shell_with(["--kill-after", "100ms"], &line);
        let escaped = heard(&mut bell);
        let began = Instant::now();
        home.cli(["cancel", &id]).ok();
        let elapsed = began.elapsed();
        let left = marked(&nap);
        if *what == "nohup" {
            took.add(elapsed)
        } else {
            polite.add(elapsed)
        }
        stage.killed_tree(&left);
        stage.demand(!escaped.is_alive(), format!("{what}: what rang lives on"));
        stage.demand(home.status(&id)["state"] == "cancelled", format!("{what}: not cancelled"));
    }
    let how = mechanism();
    let words = format!(
        "{} trees cancelled, 0 survivors; to empty: {} (obeying SIGTERM), {} (ignoring it, grace 100 ms)",
        ESCAPES.len() * ROUNDS,
        polite.words(),
        took.words()
    );
    stage.figure(format!("cancel to empty tree, {how}, SIGTERM obeyed"), polite);
    stage.figure(format!("cancel to empty tree, {how}, SIGTERM ignored, grace 100 ms"), took);
    home.finish();
    Seen::pass(words)
}

pub(super) fn mechanism() -> &'static str {
    if mode::has_cgroup() { "by cgroup" } else { "by walk" }
}

fn sigterm_ignored(stage: &mut Stage) -> Seen {
    const ROUNDS: u32 = 10;
    const GRACE: Duration = Duration::from_millis(500);
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let mut off = Samples::default();
    for _ in 0..ROUNDS {
        // The shell hears SIGTERM, says so, and goes on.
        let line = format!(
            "trap '{}' TERM; {}; while :; do sleep 1000 & wait; done",
            bell.shell("heard").replace('"', ""),
            bell.shell("$$")
        );
        let id = home.launch_shell_with(["--kill-after", "500ms"], &line);
        let main = heard(&mut bell);
        let cancel = home.invoke(["cancel", &id]).start();
        ring(&mut bell);
        let told = Instant::now();
        let ended = main.ends_within(DEADLINE);
        let lived = told.elapsed();
        cancel.wait(DEADLINE).ok();
        let task = home.status(&id);
        stage.demand(ended && task["signal"] == "SIGKILL", format!("ended by {}", task["signal"]));
        // The bell is heard a moment after the signal: a little under the grace is on time.
        stage.demand(lived + Duration::from_millis(50) > GRACE, format!("it had {lived:?} only"));
        off.add(lived.abs_diff(GRACE));
    }
    stage.demand(
        off.percentile(50) < Duration::from_millis(100),
        format!("off by {} of a grace of {GRACE:?}", off.words()),
    );
    let words = format!("{ROUNDS} kills at a grace of 500 ms, off by {}", off.words());
    stage.figure("SIGKILL after the grace, off by", off);
    home.finish();
    Seen::pass(words)
}

#[track_caller]
fn ring(bell: &mut Bell) {
    assert_eq!(bell.wait(DEADLINE), "heard");
}

/// Launches a task that leaves `leftover` behind and exits with 3; answers (time to the end as told,
/// the task's object, who was left).
fn leak(
    home: &TestHome,
    name: &str,
    leftover: &str,
    nap: &str,
) -> (Duration, serde_json::Value, Vec<u32>) {
    let mut bell = home.bell(&format!("{name}.bell"));
    let mut gate = home.gate(&format!("{name}.gate"));
    let ring = format!("echo $$ > '{}'", bell.path().display());
    let leftover = leftover.replace("{nap}", &format!("sleep {nap}")).replace("{ring}", &ring);
    let id = home.launch_shell(&format!("{leftover}\n{}\necho out; exit 3", gate.shell()));
    bell.wait(DEADLINE);
    let waiter = home.invoke(["wait", &id]).start();
    gate.open();
    let began = Instant::now();
    waiter.wait(DEADLINE).expect(1);
    let took = began.elapsed();
    (took, home.status(&id), marked(nap))
}

fn check_leak(stage: &mut Stage, what: &str, most: Duration, leftover: &str) -> Duration {
    let home = TestHome::new();
    let nap = home.marker();
    let (took, task, left) = leak(&home, "leak", leftover, &nap);
    stage.killed_tree(&left);
    stage.demand(task["exit_code"] == 3, format!("{what}: told as {}", task["exit_code"]));
    let leaked = task["leaked"]["count"].as_u64().unwrap_or_default();
    stage.demand(leaked == 1, format!("{what}: leaked is {}", task["leaked"]));
    stage.demand(took < most, format!("{what}: the end came after {took:?}"));
    stage.demand(home.output(&json_id(&task)) == "out", format!("{what}: output is not whole"));
    home.finish();
    took
}

fn json_id(task: &serde_json::Value) -> String {
    task["id"].as_str().unwrap_or_default().to_owned()
}

fn output_held(stage: &mut Stage) -> Seen {
    // 200 ms of patience, 1 s of grace, and what a busy machine adds.
    let polite =
        check_leak(stage, "polite", Duration::from_secs(2), "sh -c '{ring}; exec {nap}' &");
    let deaf = check_leak(
        stage,
        "deaf",
        Duration::from_secs(3),
        "sh -c 'trap \"\" TERM; {ring}; exec {nap}' &",
    );
    // Kept when asked for: alive, counted, and the end is not held up either.
    let home = TestHome::new();
    let nap = home.marker();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let ring = bell.shell("$$").replace('\'', "");
    let line = format!("sh -c '{ring}; exec sleep {nap}' & {}; exit 3", gate.shell());
    let id = home.launch_shell_with(["--keep-leaked"], &line);
    let kept = heard(&mut bell);
    gate.open();
    let task = home.wait(&id);
    stage.demand(task["exit_code"] == 3 && kept.is_alive(), "with --keep-leaked it was not kept");
    kept.signal(Signal::KILL);
    home.finish();
    Seen::pass(format!(
        "ended after {} ms (obeying SIGTERM) and {} ms (ignoring it); leaked = 1, nobody left; kept \
         with --keep-leaked: {}",
        polite.as_millis(),
        deaf.as_millis(),
        json!(task["leaked"]["count"])
    ))
}

fn hidden_grandchild(stage: &mut Stage) -> Seen {
    let script = "setsid env -i /bin/sh -c '({ring}; exec {nap}) </dev/null >/dev/null 2>&1 &'";
    // `$$` is the shell that forked; what counts is that somebody rang.
    let took = check_leak(stage, "hidden", Duration::from_secs(2), script);
    Seen::pass(format!("leaked = 1, found and killed; the end came after {} ms", took.as_millis()))
}
