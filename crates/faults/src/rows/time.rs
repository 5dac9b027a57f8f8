//! Rows 30 and 31: a wall clock that is set, and a machine that was suspended.

use std::time::{Duration, Instant};

use meanwhile_testkit::{Process, TestHome, until};
use serde_json::{Value, json};

use crate::check::PATIENCE;
use crate::clocks::Clocks;
use crate::staging::{heard, supervisor_of};
use crate::work::Work;
use crate::{Load, Modes, Promise, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 30,
        name: "clock-set",
        title: "wall clock set by +1 day, -1 day, -50 years",
        expected: "no deadline early or late, delays kept, order of start as submitted",
        modes: Modes::Once,
        slow: false,
        stage: "the clock functions in the vDSO of the running daemon and supervisors are replaced (through \
                /proc/PID/mem), so that these processes see the jump and the machine does not; kernel timers are not \
                told",
        run: clock_set,
    },
    Row {
        number: 31,
        name: "suspended",
        title: "suspend for 8 h while tasks run",
        expected: "no deadline and no idle timeout ends a task; a delay that ran out meanwhile is over",
        modes: Modes::Once,
        slow: false,
        stage: "as row 30: boot time of daemon and supervisors jumps by 8 h, running time does not, which is what \
                processes see after a resume; the kernel's timers, which would fire then, do not",
        run: suspended,
    },
];

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

/// The clocks of the daemon and of the supervisors of these tasks.
fn clocks_of(home: &TestHome, ids: &[&String]) -> Result<Vec<Clocks>, String> {
    let daemon = home.daemon().expect("it runs");
    let mut all: Vec<Process> = ids.iter().map(|id| supervisor_of(home, id)).collect();
    all.push(daemon);
    all.iter().map(Clocks::of).collect()
}

fn clock_set(stage: &mut Stage) -> Seen {
    let mut said = Vec::new();
    for (jump, words) in [(DAY, "+1 d"), (-DAY, "-1 d"), (-50 * 365 * DAY, "-50 y")] {
        match set_by(stage, jump, words) {
            Ok(text) => said.push(text),
            Err(why) => return Seen::not_here(why),
        }
    }
    Seen::pass(said.join("; "))
}

fn set_by(stage: &mut Stage, jump: i64, words: &str) -> Result<String, String> {
    let home = TestHome::builder().config("lanes.commands.limit = 10\nlanes.one.limit = 1").build();
    let mut load = Load::new(&home, &[("one", 1)]);
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let line = format!("{}; exec sleep {}", bell.shell("$$"), home.marker());
    let [mut long, mut short, mut quiet] = [const { String::new() }; 3];
    for (id, options) in [
        (&mut long, ["--timeout", "1h"]),
        (&mut short, ["--timeout", "6s"]),
        (&mut quiet, ["--idle-timeout", "6s"]),
    ] {
        *id = home.launch_shell_with(options, &line);
        let _ = heard(&mut bell);
    }
    let held = home.launch_shell_with(["--lane", "one"], &gate.shell());
    let earlier: Vec<Work> = (0..10).map(Work::short).collect();
    load.submit(&home, &earlier, &json!({ "lane": "one" }), Promise::TrueEnd);
    let delayed = home.launch_with(["--delay", "5s"], ["true"]);
    let asked = Instant::now();
    let clocks = clocks_of(&home, &[&long, &short, &quiet, &held])?;
    clocks.iter().try_for_each(|clock| clock.wall(jump))?;
    let later: Vec<Work> = (10..20).map(Work::short).collect();
    load.submit(&home, &later, &json!({ "lane": "one" }), Promise::TrueEnd);
    gate.open();
    load.wait(&home);
    let begun: Vec<u64> = load
        .lines()
        .iter()
        .filter_map(|line| line.strip_prefix("begin ")?.split(' ').next()?.parse().ok())
        .collect();
    stage.demand(begun.is_sorted(), format!("{words}: began in the order {begun:?}"));
    home.invoke(["wait", &delayed]).deadline(PATIENCE).run().ok();
    let late = asked.elapsed();
    stage.demand(
        (Duration::from_secs(4)..Duration::from_secs(12)).contains(&late),
        format!("{words}: a delay of 5 s took {late:?}"),
    );
    for (id, kind) in [(&short, "timeout"), (&quiet, "idle_timeout")] {
        let task = home.wait(id);
        let told = task["cause"] == json!({ "kind": kind, "after": 6000 });
        stage.demand(told, format!("{words}: told as {}", task["cause"]));
        let ran = ran(&task);
        stage.demand((5_900..9_000).contains(&ran), format!("{words}: {kind} after {ran} ms"));
    }
    let state = home.status(&long)["state"].clone();
    stage.demand(state == "running", format!("{words}: an hour's task is {state}"));
    clocks.iter().for_each(|clock| drop(clock.wall(0)));
    home.cli(["cancel", &long]).ok();
    stage.check(&home, &load);
    home.finish();
    Ok(format!(
        "{words}: delay of 5 s over after {:.1} s, both timeouts true, order kept",
        late.as_secs_f64()
    ))
}

/// How long a task ran, in milliseconds.
fn ran(task: &Value) -> u64 {
    task["duration_ms"].as_u64().unwrap_or_default()
}

fn suspended(stage: &mut Stage) -> Seen {
    let home = TestHome::builder().config("lanes.commands.limit = 10").build();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let line = format!("{}; exec sleep {}", bell.shell("$$"), home.marker());
    let timed = home.launch_shell_with(["--timeout", "1h"], &line);
    let _ = heard(&mut bell);
    // Quiet for longer than it may be, unless the suspend gave it its silence anew.
    let quiet = home.launch_shell_with(
        ["--idle-timeout", "6s"],
        &format!("{}; {}; echo spoke", bell.shell("$$"), gate.shell()),
    );
    let _ = heard(&mut bell);
    let began = Instant::now();
    let delayed = home.launch_with(["--delay", "1h"], ["true"]);
    let clocks = match clocks_of(&home, &[&timed, &quiet]) {
        Ok(clocks) => clocks,
        Err(why) => return Seen::not_here(why),
    };
    // sleep: the silence before the suspend is what is looked at
    std::thread::sleep(Duration::from_secs(4).saturating_sub(began.elapsed()));
    for clock in &clocks {
        if let Err(why) = clock.suspended(8 * HOUR) {
            stage.complain(why);
        }
    }
    // Any event: the kernel's own timer, which would wake the daemon after a resume, was not deceived.
    let woke = Instant::now();
    home.launch(["true"]);
    let task = home.wait(&delayed);
    let waited = woke.elapsed();
    stage.demand(task["state"] == "completed", format!("the delayed task is {}", task["state"]));
    stage
        .demand(waited < Duration::from_secs(10), format!("a delay that was over took {waited:?}"));
    // sleep: 8 s of silence in all are more than the 6 it may have, and fewer than 6 since the suspend
    std::thread::sleep(Duration::from_secs(8).saturating_sub(began.elapsed()));
    let state = home.status(&timed)["state"].clone();
    stage.demand(state == "running", format!("an hour's task is {state} after 8 h of suspend"));
    gate.open();
    let spoke = home.wait(&quiet);
    stage.demand(
        spoke["state"] == "completed",
        format!("the quiet task is told as {}", spoke["cause"]),
    );
    until("the hour's task to be known", PATIENCE, || home.status(&timed)["pid"].as_u64());
    home.cli(["cancel", &timed]).ok();
    home.finish();
    Seen::pass(format!(
        "a timeout of 1 h and an idle timeout of 6 s (8 s of silence, 4 before the suspend) ended nothing; a delay of 1 h \
         was over {} ms after the first event",
        waited.as_millis()
    ))
}
