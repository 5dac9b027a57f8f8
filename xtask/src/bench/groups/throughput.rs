//! Tasks per second: many no-ops in one submission, two slots.
//!
//! Owns the comparison with HyperQueue, `xargs -P2` and bare spawn and wait. The time runs from the submission to the
//! end of the last task.

use std::cell::RefCell;
use std::process::Stdio;
use std::time::Instant;

use super::Findings;
use crate::Outcome;
use crate::bench::Bench;
use crate::bench::home::{Home, processor_ms};
use crate::bench::machine::{NO_OP, spawn_and_wait};
use crate::bench::record::{Figure, Series, Target, Unit};
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::samples::Samples;

/// Slots of every contestant.
const SLOTS: u32 = 2;

/// Where nothing but the machine decides, fewer tasks give the same rate.
const LIMIT_SHARE: usize = 3;

pub(super) fn measure(bench: &Bench) -> Outcome<Findings> {
    let count = bench.tasks(10_000, 2_000);
    let (daemon_ms, submit_ms) = (RefCell::new(Samples::default()), RefCell::default());
    let contestants = vec![
        Contestant::ours(|| ours(bench, count, &daemon_ms, &submit_ms)),
        Contestant::peer("HyperQueue", bench.peers.hyperqueue.clone(), |hyperqueue| {
            Ok(count as f64 / hyperqueue.start(&bench.ground)?.run(count)?)
        }),
        Contestant::limit("xargs -P2", || xargs(bench, count / LIMIT_SHARE)),
        Contestant::limit("bare spawn+wait", || bare(count / LIMIT_SHARE)),
    ];
    let series = alternate("tasks/s", Unit::PerSecond, bench.runs, contestants)?;
    let bare = series.last().map_or(f64::NAN, |series| series.samples.median());
    let ideal = 2000.0 / (bench.t_ms.get() + bench.f_ms.get());
    let rate = series[0].samples.clone();
    let share = |of: f64| Series::ours(rate.values().map(|rate| 100.0 * rate / of).collect());
    let remarks = vec![
        format!(
            "{count} tasks of `{NO_OP}`, {SLOTS} slots; ours keeps a log and a durable exit record of each, HyperQueue an output file, the limits nothing."
        ),
        format!(
            "2/(T+F) is {ideal:.0}/s here. The daemon used {:.3} ms of processor time per task; the submission itself took {:.0} ms.",
            daemon_ms.borrow().median(),
            submit_ms.borrow().median()
        ),
    ];
    let figure = |key: &str, title: &str, unit, series, target| Figure {
        key: key.to_owned(),
        title: title.to_owned(),
        unit,
        series,
        target,
    };
    let title = format!("tasks per second, {count} in one submission, 2 slots");
    let figures = vec![
        figure("throughput", &title, Unit::PerSecond, series, Target::must("over 1,200", 1200.0)),
        figure(
            "throughput-bare",
            "the same as a share of bare spawn+wait",
            Unit::Percent,
            vec![share(bare)],
            Target::must("over 60 %", 60.0),
        ),
        figure(
            "throughput-ideal",
            "the same as a share of 2/(T+F)",
            Unit::Percent,
            vec![share(ideal)],
            Target::aim("80 %", 80.0),
        ),
    ];
    Ok(Findings { figures, remarks })
}

fn ours(
    bench: &Bench,
    count: usize,
    daemon_ms: &RefCell<Samples>,
    submit_ms: &RefCell<Samples>,
) -> Outcome<f64> {
    let home = Home::new(&bench.ground, SLOTS)?;
    let daemon = home.daemon_pid()?;
    let before = processor_ms(daemon)?;
    let start = Instant::now();
    let ids = home.submit_no_ops(count)?;
    let submitted = start.elapsed();
    home.wait_for_last(&ids, SLOTS as usize)?;
    let elapsed = start.elapsed().as_secs_f64();
    daemon_ms.borrow_mut().push((processor_ms(daemon)? - before) / count as f64);
    submit_ms.borrow_mut().push(submitted.as_secs_f64() * 1000.0);
    home.all_completed(count)?;
    Ok(count as f64 / elapsed)
}

fn xargs(bench: &Bench, count: usize) -> Outcome<f64> {
    let scratch = bench.ground.scratch("xargs")?;
    let lines = scratch.path().join("lines");
    let cannot = |error: std::io::Error| format!("cannot run xargs: {error}");
    std::fs::write(&lines, "x\n".repeat(count)).map_err(cannot)?;
    let mut command = scratch.command("xargs");
    command.args(["-P2", "-n1", NO_OP]);
    command.stdin(Stdio::from(std::fs::File::open(&lines).map_err(cannot)?));
    let start = Instant::now();
    let status = command.status().map_err(cannot)?;
    if !status.success() {
        return Err(format!("xargs ended with {status}"));
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// Two in flight: a thread for each.
fn bare(count: usize) -> Outcome<f64> {
    let start = Instant::now();
    let half = || (0..count / 2).try_for_each(|_| spawn_and_wait());
    std::thread::scope(|scope| {
        let other = scope.spawn(half);
        half().and(other.join().map_err(|_| "a thread of the limit ended early".to_owned())?)
    })?;
    Ok((count / 2 * 2) as f64 / start.elapsed().as_secs_f64())
}
