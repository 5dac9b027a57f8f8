//! Memory: the daemon at rest and with many tasks, and one supervisor while its task runs.
//!
//! Owns the comparison with task-spooler and HyperQueue. PSS is compared, since programs share their pages differently.

use std::cell::RefCell;

use super::Findings;
use crate::Outcome;
use crate::bench::Bench;
use crate::bench::home::Home;
use crate::bench::machine::NO_OP;
use crate::bench::memory::Memory;
use crate::bench::record::{Figure, Series, Target, Unit};
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::samples::Samples;

/// Tasks in one submission, when many are queued.
const BATCH: usize = 10_000;

/// A task that keeps its lane busy for as long as the measurement takes.
pub(super) const FOREVER: [&str; 2] = ["/usr/bin/sleep", "86400"];

pub(super) fn measure(bench: &Bench) -> Outcome<Findings> {
    let many = bench.tasks(10_000, 2_000);
    let most = bench.tasks(100_000, 10_000);
    let seen = RefCell::new(Vec::new());
    let mut figures = vec![
        idle(bench, &seen)?,
        done(bench, many, &seen)?,
        queued(bench, "memory-10k-queued", many, ("under 30 MB", 30.0), &seen)?,
        queued(bench, "memory-100k-queued", most, ("under 50 MB", 50.0), &seen)?,
    ];
    figures.push(supervisor(bench, &seen)?);
    let mut remarks = seen.into_inner();
    remarks.push("MB are 10^6 bytes, PSS of the daemon's process. HyperQueue's is what its process has beyond the bare Python interpreter, with server and worker in it. task-spooler keeps a process of its own for every queued job.".to_owned());
    Ok(Findings { figures, remarks })
}

type Seen = RefCell<Vec<String>>;

/// The daemon's PSS; the other counts are kept for the page.
fn of_daemon(home: &Home, what: &str, seen: &Seen) -> Outcome<f64> {
    let memory = Memory::of(home.daemon_pid()?)?;
    let line = format!(
        "Daemon, {what}: PSS {:.1}, RSS {:.1}, private {:.1} MB (last round).",
        memory.pss, memory.rss, memory.private
    );
    let mut seen = seen.borrow_mut();
    seen.retain(|other| !other.starts_with(&format!("Daemon, {what}:")));
    seen.push(line);
    Ok(memory.pss)
}

fn figure(key: &str, title: String, series: Vec<Series>, (words, limit): (&str, f64)) -> Figure {
    let target = Target::must(words, limit);
    Figure { key: key.to_owned(), title, unit: Unit::Mb, series, target }
}

fn idle(bench: &Bench, seen: &Seen) -> Outcome<Figure> {
    let contestants = vec![
        Contestant::ours(|| of_daemon(&Home::new(&bench.ground, 2)?, "idle", seen)),
        Contestant::peer("task-spooler", bench.peers.spooler.clone(), |tsp| {
            Ok(Memory::of(tsp.start(&bench.ground, 2)?.server_pid()?)?.pss)
        }),
        Contestant::peer("HyperQueue", bench.peers.hyperqueue.clone(), |hyperqueue| {
            hyperqueue.start(&bench.ground)?.memory_mb()
        }),
        Contestant::peer("pueue", bench.peers.pueue.clone(), |pueue| {
            Ok(Memory::of(pueue.start(&bench.ground, 2)?.pid())?.pss)
        }),
    ];
    let series = alternate("memory, idle", Unit::Mb, bench.runs, contestants)?;
    let title = "daemon memory, idle".to_owned();
    Ok(figure("memory-idle", title, series, ("under 12 MB", 12.0)))
}

fn done(bench: &Bench, count: usize, seen: &Seen) -> Outcome<Figure> {
    let mut spooled = None;
    let contestants = vec![
        Contestant::ours(|| {
            let home = Home::new(&bench.ground, 2)?;
            let ids = home.submit_no_ops(count)?;
            home.wait_for_last(&ids, 2)?;
            home.all_completed(count)?;
            of_daemon(&home, &format!("{count} done"), seen)
        }),
        Contestant::peer("HyperQueue", bench.peers.hyperqueue.clone(), |hyperqueue| {
            let mut cluster = hyperqueue.start(&bench.ground)?;
            cluster.run(count)?;
            cluster.memory_mb()
        }),
        Contestant::peer("task-spooler", bench.peers.spooler.clone(), |tsp| {
            // One call per task takes its time, and its memory does not vary: once is enough.
            if let Some(known) = spooled {
                return Ok(known);
            }
            let queue = tsp.start(&bench.ground, 2)?;
            for _ in 1..count {
                queue.call(&[NO_OP])?;
            }
            let last = queue.call(&[NO_OP])?;
            queue.call(&["-w", &last])?;
            Ok(*spooled.insert(Memory::of(queue.server_pid()?)?.pss))
        }),
    ];
    let series = alternate("memory, done", Unit::Mb, bench.runs, contestants)?;
    let title = format!("daemon memory, {count} done");
    Ok(figure("memory-10k-done", title, series, ("under 14 MB", 14.0)))
}

fn queued(
    bench: &Bench,
    key: &str,
    count: usize,
    target: (&str, f64),
    seen: &Seen,
) -> Outcome<Figure> {
    let contestants = vec![
        Contestant::ours(|| {
            let home = with_queued(bench, count)?;
            of_daemon(&home, &format!("{count} queued"), seen)
        }),
        Contestant::peer("HyperQueue", bench.peers.hyperqueue.clone(), |hyperqueue| {
            let mut cluster = hyperqueue.start(&bench.ground)?;
            cluster.queue(count)?;
            cluster.memory_mb()
        }),
    ];
    let what = format!("memory, {count} queued");
    let mut series = alternate(&what, Unit::Mb, bench.runs, contestants)?;
    let why = format!("would be {count} processes, one per queued job");
    series.push(Series::absent("task-spooler", why));
    Ok(figure(key, format!("daemon memory, {count} queued"), series, target))
}

/// A home with one task that keeps the lane busy, and so many behind it.
pub(super) fn with_queued(bench: &Bench, count: usize) -> Outcome<Home> {
    let home = Home::new(&bench.ground, 1)?;
    home.call(&["run", "--", FOREVER[0], FOREVER[1]])?;
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        home.submit_no_ops(batch)?;
        left -= batch;
    }
    Ok(home)
}

fn supervisor(bench: &Bench, seen: &Seen) -> Outcome<Figure> {
    let home = Home::new(&bench.ground, 0)?;
    let mut samples = Samples::default();
    for round in 1..=bench.runs {
        let memory = Memory::of(home.supervisor_of_new(&FOREVER)?)?;
        samples.push(memory.private);
        if round == bench.runs {
            seen.borrow_mut().push(format!(
                "A waiting supervisor: PSS {:.2}, RSS {:.2}, private {:.2} MB (last one).",
                memory.pss, memory.rss, memory.private
            ));
        }
    }
    let title = "private memory of one waiting supervisor".to_owned();
    Ok(figure("memory-supervisor", title, vec![Series::ours(samples)], ("under 1 MB", 1.0)))
}
