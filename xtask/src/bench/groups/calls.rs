//! One call of the command line per task: how many a second, how long one takes, and how soon `wait` returns.
//!
//! Owns the comparison with task-spooler, nq and pueue. Ours is on disk when the id is printed; theirs is in memory (tsp),
//! in a file that is not flushed (nq, pueue).

use std::time::Instant;

use super::Findings;
use crate::Outcome;
use crate::bench::Bench;
use crate::bench::actor;
use crate::bench::ground::finish;
use crate::bench::home::Home;
use crate::bench::machine::{NO_OP, monotonic_ns, ms_since};
use crate::bench::record::{Figure, Target, Unit};
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::samples::Samples;

const SLOTS: u32 = 2;

/// The waiter is started this long before the end it waits for: it has its time to get there.
const BEFORE_THE_END_MS: &str = "150";

/// Calls whose median is one sample of the latency of a submission.
const CALLS_PER_SAMPLE: usize = 20;

/// Ends whose median is one sample of the latency of a wait.
const ENDS_PER_SAMPLE: usize = 5;

pub(super) fn measure(bench: &Bench) -> Outcome<Findings> {
    let figures = vec![many(bench)?, one(bench)?, end(bench)?];
    let remarks = vec![
        "Ours is committed to disk before the id is printed; task-spooler keeps its queue in memory, nq and pueue in files they do not flush.".to_owned(),
        "nq runs one job at a time per directory: two directories take turns.".to_owned(),
        "pueue gets a tenth of the tasks: it starts few a second, by its clock, however many wait.".to_owned(),
        "The end is the moment the task itself writes down as its last act (monotonic clock); what `bare waitpid` needs is the kernel's share in every one of these figures.".to_owned(),
    ];
    Ok(Findings { figures, remarks })
}

fn many(bench: &Bench) -> Outcome<Figure> {
    let count = bench.tasks(1_000, 200);
    let rate = |start: Instant| count as f64 / start.elapsed().as_secs_f64();
    let contestants = vec![
        Contestant::ours(|| {
            let home = Home::new(&bench.ground, SLOTS)?;
            let start = Instant::now();
            let ids: Vec<String> =
                (0..count).map(|_| home.call(&["run", "--", NO_OP])).collect::<Outcome<_>>()?;
            home.wait_for_last(&ids, SLOTS as usize)?;
            let rate = rate(start);
            home.all_completed(count)?;
            Ok(rate)
        }),
        Contestant::peer("task-spooler", bench.peers.spooler.clone(), |tsp| {
            let queue = tsp.start(&bench.ground, SLOTS)?;
            let start = Instant::now();
            let ids: Vec<String> =
                (0..count).map(|_| queue.call(&[NO_OP])).collect::<Outcome<_>>()?;
            for id in &ids[count - SLOTS as usize..] {
                queue.call(&["-w", id])?;
            }
            Ok(rate(start))
        }),
        Contestant::peer("nq", bench.peers.nq.clone(), |nq| {
            let lanes = nq.start(&bench.ground)?;
            let start = Instant::now();
            let ids: Vec<String> = (0..count)
                .map(|at| lanes.call(at % SLOTS as usize, &[NO_OP]))
                .collect::<Outcome<_>>()?;
            for (at, id) in ids.iter().enumerate().skip(count - SLOTS as usize) {
                lanes.call(at % SLOTS as usize, &["-w", id])?;
            }
            Ok(rate(start))
        }),
        Contestant::peer("pueue", bench.peers.pueue.clone(), |pueue| {
            let daemon = pueue.start(&bench.ground, SLOTS)?;
            // It starts a task per tick of its clock: a tenth says the same and does not take minutes a round.
            let count = count / 10;
            let start = Instant::now();
            for _ in 0..count {
                daemon.call(&["add", "--", NO_OP])?;
            }
            daemon.call(&["wait", "--quiet"])?;
            Ok(count as f64 / start.elapsed().as_secs_f64())
        }),
    ];
    Ok(Figure {
        key: "calls".to_owned(),
        title: format!("{count} tasks submitted by one CLI call each, 2 slots"),
        unit: Unit::PerSecond,
        series: alternate("one call each", Unit::PerSecond, bench.runs, contestants)?,
        target: Target::must("over 300/s, durable", 300.0),
    })
}

fn one(bench: &Bench) -> Outcome<Figure> {
    let home = Home::new(&bench.ground, SLOTS)?;
    let spooler = bench.peers.spooler.clone().and_then(|tsp| tsp.start(&bench.ground, SLOTS));
    let lanes = bench.peers.nq.clone().and_then(|nq| nq.start(&bench.ground));
    let pueue = bench.peers.pueue.clone().and_then(|pueue| pueue.start(&bench.ground, SLOTS));
    let contestants = vec![
        Contestant::ours(|| {
            submission(|| home.call(&["run", "--", NO_OP]), |id| home.call(&["wait", id]))
        }),
        Contestant::peer("task-spooler", spooler, |queue| {
            submission(|| queue.call(&[NO_OP]), |id| queue.call(&["-w", id]))
        }),
        Contestant::peer("nq", lanes, |lanes| {
            submission(|| lanes.call(0, &[NO_OP]), |id| lanes.call(0, &["-w", id]))
        }),
        Contestant::peer("pueue", pueue, |daemon| {
            submission(
                || daemon.call(&["add", "--print-task-id", "--", NO_OP]),
                |id| daemon.call(&["wait", "--quiet", id]),
            )
        }),
    ];
    Ok(Figure {
        key: "submit".to_owned(),
        title: "one submission by the CLI".to_owned(),
        unit: Unit::Ms,
        series: alternate("one submission", Unit::Ms, bench.runs, contestants)?,
        target: Target::must("2.5 ms + 2F, on disk", 2.5 + 2.0 * bench.f_ms.get()),
    })
}

/// The median of some submissions, each after the end of the one before.
fn submission(
    submit: impl Fn() -> Outcome<String>,
    wait: impl Fn(&str) -> Outcome<String>,
) -> Outcome<f64> {
    let mut samples = Samples::default();
    for _ in 0..CALLS_PER_SAMPLE {
        let start = Instant::now();
        let id = submit()?;
        samples.push(ms_since(start));
        wait(&id)?;
    }
    Ok(samples.median())
}

fn end(bench: &Bench) -> Outcome<Figure> {
    let home = Home::new(&bench.ground, SLOTS)?;
    let spooler = bench.peers.spooler.clone().and_then(|tsp| tsp.start(&bench.ground, SLOTS));
    let lanes = bench.peers.nq.clone().and_then(|nq| nq.start(&bench.ground));
    let pueue = bench.peers.pueue.clone().and_then(|pueue| pueue.start(&bench.ground, SLOTS));
    let actor = bench.ground.actor.display().to_string();
    let task =
        |file: &str| [&actor, actor::COMMAND, "stamp", file, BEFORE_THE_END_MS].map(str::to_owned);
    let contestants = vec![
        Contestant::ours(|| {
            ends(&home.file("stamp"), |file| {
                let task = task(file);
                let words = task.each_ref().map(String::as_str);
                let id = home.call(&[&["run", "--"], &words[..]].concat())?;
                finish(home.command(&["wait", &id]))
            })
        }),
        Contestant::peer("task-spooler", spooler, |queue| {
            ends(&queue.file("stamp"), |file| {
                let task = task(file);
                let id = queue.call(&task.each_ref().map(String::as_str))?;
                queue.call(&["-w", &id])
            })
        }),
        Contestant::peer("nq", lanes, |lanes| {
            ends(&lanes.file("stamp"), |file| {
                let task = task(file);
                let id = lanes.call(0, &task.each_ref().map(String::as_str))?;
                lanes.call(0, &["-w", &id])
            })
        }),
        Contestant::peer("pueue", pueue, |daemon| {
            ends(&daemon.file("stamp"), |file| {
                let task = task(file);
                let words = task.each_ref().map(String::as_str);
                let id = daemon.call(&[&["add", "--print-task-id", "--"], &words[..]].concat())?;
                daemon.call(&["wait", "--quiet", &id])
            })
        }),
        Contestant::limit("bare waitpid", || {
            ends(&bench.ground.path().join("stamp"), |file| {
                let task = task(file);
                let mut command = std::process::Command::new(&task[0]);
                command.args(&task[1..]);
                finish(command)
            })
        }),
    ];
    Ok(Figure {
        key: "wait".to_owned(),
        title: "end of a task until `wait` has returned".to_owned(),
        unit: Unit::Ms,
        series: alternate("end to wait", Unit::Ms, bench.runs, contestants)?,
        target: Target::must("1.0 ms + 2F", 1.0 + 2.0 * bench.f_ms.get()),
    })
}

/// The median time from the stamp a task leaves to the end of whoever waited for it.
fn ends(stamp: &std::path::Path, run_and_wait: impl Fn(&str) -> Outcome<String>) -> Outcome<f64> {
    let file = stamp.display().to_string();
    let mut samples = Samples::default();
    for _ in 0..ENDS_PER_SAMPLE {
        run_and_wait(&file)?;
        let returned = monotonic_ns();
        let ended = actor::read_time(stamp)?;
        samples.push(returned.saturating_sub(ended) as f64 / 1e6);
    }
    Ok(samples.median())
}
