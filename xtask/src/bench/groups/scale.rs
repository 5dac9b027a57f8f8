//! What stays the same when the store grows: submission, list, status and start with 1,000 to 100,000 tasks in it.
//!
//! Owns three homes that differ in nothing but the number of queued tasks. Flat lines are the aim.

use std::time::Instant;

use super::Findings;
use super::memory::with_queued;
use crate::Outcome;
use crate::bench::Bench;
use crate::bench::actor;
use crate::bench::home::Home;
use crate::bench::machine::{NO_OP, monotonic_ns, ms_since};
use crate::bench::peers::spooler::Queue;
use crate::bench::record::{Figure, Role, Series, Target, Unit};
use crate::bench::samples::Samples;

/// How much slower the largest store may be than the smallest before a line is not called flat.
const FLAT: f64 = 1.5;

/// Calls whose median is one sample.
const CALLS: usize = 10;

/// A lane of its own, where what is queued is in nobody's way.
const LANE: [&str; 2] = ["--lane", "free"];

/// One sample in one home.
type Take = fn(&Bench, &Home) -> Outcome<f64>;

/// What is measured at each size: its key, its words, and how.
const MEASURES: [(&str, &str, Take); 4] = [
    ("submit", "one submission", submit),
    ("list", "list 50", list),
    ("status", "status of one", status),
    ("start", "submission until the task runs", start),
];

pub(super) fn measure(bench: &Bench) -> Outcome<Findings> {
    let sizes = if bench.quick { [100, 1_000, 10_000] } else { [1_000, 10_000, 100_000] };
    let homes: Vec<Home> =
        sizes.iter().map(|size| with_queued(bench, *size)).collect::<Outcome<_>>()?;
    let mut samples = vec![vec![Samples::default(); sizes.len()]; MEASURES.len()];
    for round in 1..=bench.runs {
        let mut said = Vec::new();
        for ((name, _, take), samples) in MEASURES.iter().zip(&mut samples) {
            let mut values = Vec::new();
            for (home, samples) in homes.iter().zip(samples) {
                let value = take(bench, home)?;
                samples.push(value);
                values.push(format!("{value:.2}"));
            }
            said.push(format!("{name} {} ms", values.join(" ")));
        }
        println!("  {sizes:?} tasks, round {round} of {}: {}", bench.runs, said.join(", "));
    }
    let mut figures = Vec::new();
    for ((name, title, _), samples) in MEASURES.iter().zip(&samples) {
        let smallest = samples[0].median();
        for (samples, size) in samples.iter().zip(&sizes) {
            figures.push(Figure {
                key: format!("scale-{name}-{size}"),
                title: format!("{title}, {size} tasks in the store"),
                unit: Unit::Ms,
                series: vec![Series::ours(samples.clone())],
                target: target(name, *size, smallest),
            });
        }
    }
    drop(homes);
    add_spooler(bench, &mut figures, sizes[1])?;
    let remarks = vec![
        "The tasks in the store are queued ones, which is the harder case: the daemon keeps a row of each in memory. Submissions go to another lane.".to_owned(),
        "`list` and `status` are whole calls of the command line. HyperQueue's Python interface has no list; task-spooler lists everything it has, here as many finished jobs.".to_owned(),
    ];
    Ok(Findings { figures, remarks })
}

/// Lists have an absolute target, the rest is measured against the smallest store.
fn target(name: &str, size: usize, smallest: f64) -> Option<Target> {
    match (name, size) {
        ("list", 10_000 | 100_000) => Target::must("under 5 ms", 5.0),
        (_, 100_000) => Target::aim("at most 1.5 times that at 1,000", FLAT * smallest),
        _ => None,
    }
}

fn median_of(call: impl FnMut() -> Outcome<f64>) -> Outcome<f64> {
    let mut call = call;
    let samples = (0..CALLS).map(|_| call()).collect::<Outcome<Vec<_>>>()?;
    Ok(samples.into_iter().collect::<Samples>().median())
}

fn submit(_: &Bench, home: &Home) -> Outcome<f64> {
    median_of(|| {
        let start = Instant::now();
        let id = home.call(&["run", LANE[0], LANE[1], "--", NO_OP])?;
        let elapsed = ms_since(start);
        home.call(&["wait", &id])?;
        Ok(elapsed)
    })
}

fn list(_: &Bench, home: &Home) -> Outcome<f64> {
    median_of(|| {
        let start = Instant::now();
        let text = home.call(&["list", "--limit", "50"])?;
        let elapsed = ms_since(start);
        // A heading and fifty rows.
        if text.lines().count() < 51 { Err(format!("list shows {text}")) } else { Ok(elapsed) }
    })
}

fn status(_: &Bench, home: &Home) -> Outcome<f64> {
    let id = home.call(&["run", LANE[0], LANE[1], "--", NO_OP])?;
    home.call(&["wait", &id])?;
    median_of(|| {
        let start = Instant::now();
        home.call(&["status", &id])?;
        Ok(ms_since(start))
    })
}

fn start(bench: &Bench, home: &Home) -> Outcome<f64> {
    let stamp = home.file("stamp");
    let (actor, file) = (bench.ground.actor.display().to_string(), stamp.display().to_string());
    median_of(|| {
        let before = monotonic_ns();
        let words = ["run", LANE[0], LANE[1], "--", &actor, actor::COMMAND, "stamp", &file, "0"];
        let id = home.call(&words)?;
        home.call(&["wait", &id])?;
        Ok(actor::read_time(&stamp)?.saturating_sub(before) as f64 / 1e6)
    })
}

/// task-spooler's list of as many finished jobs.
fn add_spooler(bench: &Bench, figures: &mut [Figure], size: usize) -> Outcome {
    let key = format!("scale-list-{size}");
    let figure = figures.iter_mut().find(|figure| figure.key == key);
    let figure = figure.ok_or("no figure for the list")?;
    let queue = bench.peers.spooler.clone().and_then(|tsp| tsp.start(&bench.ground, 2));
    let listed = queue.and_then(|queue| spooler_lists(&queue, size, bench.runs));
    figure.series.push(match listed {
        Ok(samples) => Series {
            name: "task-spooler (all)".to_owned(),
            role: Role::Peer,
            samples,
            absent: None,
        },
        Err(why) => Series::absent("task-spooler", why),
    });
    Ok(())
}

fn spooler_lists(queue: &Queue, size: usize, runs: usize) -> Outcome<Samples> {
    println!("  filling task-spooler with {size} jobs");
    for _ in 1..size {
        queue.call(&[NO_OP])?;
    }
    let last = queue.call(&[NO_OP])?;
    queue.call(&["-w", &last])?;
    let mut samples = Samples::default();
    for _ in 0..runs {
        samples.push(median_of(|| {
            let start = Instant::now();
            queue.call(&[])?;
            Ok(ms_since(start))
        })?);
    }
    Ok(samples)
}
