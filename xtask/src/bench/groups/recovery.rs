//! Coming back, coming up, and a crowd: re-attaching to running tasks, the first command, a thousand waiters.
//!
//! Owns these three. No peer has them to compare: the targets stand alone.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Findings;
use super::memory::FOREVER;
use crate::Outcome;
use crate::bench::Bench;
use crate::bench::actor;
use crate::bench::home::Home;
use crate::bench::http;
use crate::bench::machine::{NO_OP, monotonic_ns, ms_since};
use crate::bench::record::{Figure, Series, Target, Unit};
use crate::bench::rounds::{Contestant, alternate};

/// Longer than any of the waits here should be.
const PATIENCE: Duration = Duration::from_secs(120);

/// The waiters are all there long before the end they wait for.
const BEFORE_THE_END_MS: &str = "2500";

pub(super) fn measure(bench: &Bench) -> Outcome<Findings> {
    let many = bench.tasks(1_000, 200);
    let figures = vec![
        figure(
            "reattach",
            format!("re-attach to {many} running tasks"),
            reattach(bench, many)?,
            ("under 2 s", 2000.0),
        ),
        figure("cold", "cold first command".to_owned(), cold(bench)?, ("under 50 ms", 50.0)),
        figure(
            "waiters",
            format!("{many} waiters on one end, until the last is answered"),
            waiters(bench, many)?,
            ("under 100 ms", 100.0),
        ),
    ];
    let remarks = vec![
        "Re-attached: after `kill -9` of the daemon and `meanwhile daemon start`, until the new daemon is connected to every supervisor. Left alone, the supervisors start it themselves after a second.".to_owned(),
        "Cold: a home in which nothing ever ran, until `run` has printed the id and ended: directories, store, daemon and commit.".to_owned(),
        "Waiters are HTTP connections; the time runs from the stamp that is the task's last act to the last byte of the last answer, read by one thread.".to_owned(),
    ];
    Ok(Findings { figures, remarks })
}

fn figure(key: &str, title: String, series: Vec<Series>, (words, limit): (&str, f64)) -> Figure {
    let target = Target::must(words, limit);
    Figure { key: key.to_owned(), title, unit: Unit::Ms, series, target }
}

fn reattach(bench: &Bench, count: usize) -> Outcome<Vec<Series>> {
    let home = Home::new(&bench.ground, 0)?;
    let line = format!("{{\"command\":[\"{}\",\"{}\"]}}\n", FOREVER[0], FOREVER[1]);
    home.submit(&line.repeat(count))?;
    let status = || http::ask(&home.path(), "GET", "/v1/daemon", "")?.answer();
    until(|| Ok(status()?["tasks"]["states"]["running"] == count))?;
    let measure = || {
        let old = home.daemon_pid()?;
        kill(old)?;
        let start = Instant::now();
        home.call(&["daemon", "start"])?;
        until(|| {
            let status = status()?;
            if status["pid"] == old {
                return Err("the killed daemon answers".to_owned());
            }
            Ok(status["supervisors"] == count)
        })?;
        let elapsed = ms_since(start);
        let states = home.json(&["list", "--summary"])?["states"].clone();
        if states["running"] != count {
            return Err(format!("{count} tasks were running, now: {states}"));
        }
        Ok(elapsed)
    };
    alternate("re-attach", Unit::Ms, bench.runs, vec![Contestant::ours(measure)])
}

fn cold(bench: &Bench) -> Outcome<Vec<Series>> {
    let measure = || {
        let home = Home::without_daemon(&bench.ground)?;
        let start = Instant::now();
        home.call(&["run", "--", NO_OP])?;
        Ok(ms_since(start))
    };
    alternate("cold first command", Unit::Ms, bench.runs, vec![Contestant::ours(measure)])
}

fn waiters(bench: &Bench, count: usize) -> Outcome<Vec<Series>> {
    let home = Home::new(&bench.ground, 2)?;
    let stamp = home.file("stamp");
    let (actor, file) = (bench.ground.actor.display().to_string(), stamp.display().to_string());
    let measure = || {
        let words = ["run", "--", &actor, actor::COMMAND, "stamp", &file, BEFORE_THE_END_MS];
        let id = home.call(&words)?;
        let body = format!("{{\"select\":{{\"ids\":[\"{id}\"]}}}}");
        let asked = (0..count)
            .map(|_| http::ask(&home.path(), "POST", "/v1/wait", &body))
            .collect::<Outcome<Vec<_>>>()?;
        until(|| {
            let status = http::ask(&home.path(), "GET", "/v1/daemon", "")?.answer()?;
            Ok(status["waiters"] == count)
        })?;
        for one in asked {
            let answer = one.answer()?;
            if answer["verdict"] != "met" {
                return Err(format!("a waiter was told {answer}"));
            }
        }
        let answered = monotonic_ns();
        Ok(answered.saturating_sub(actor::read_time(&stamp)?) as f64 / 1e6)
    };
    alternate("waiters", Unit::Ms, bench.runs, vec![Contestant::ours(measure)])
}

fn kill(pid: u32) -> Outcome {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| format!("{pid} is no process"))?;
    kill_process(number, Signal::KILL).map_err(|error| format!("cannot kill the daemon: {error}"))
}

/// Asks again and again until something holds.
fn until(mut holds: impl FnMut() -> Outcome<bool>) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > deadline {
            return Err("what was waited for did not come".to_owned());
        }
        // sleep: the daemon offers no event for how many supervisors and waiters it has
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
