//! A lot of output: 1 GiB through the log against the same program writing into a file itself.
//!
//! Owns the comparison with plain redirection, in large writes and in lines, and with the least that a pipe between a
//! program and its file costs: a program that does nothing but move it. The time runs from the first write to the
//! moment the end is known (`wait` has returned; the shell's child is reaped).

use std::process::Stdio;

use super::Findings;
use crate::Outcome;
use crate::bench::Bench;
use crate::bench::actor;
use crate::bench::home::Home;
use crate::bench::machine::{monotonic_ns, settle_disk};
use crate::bench::record::{Figure, Series, Target, Unit};
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::samples::Samples;

/// More than what is written: nothing is dropped.
const HIGH_CAP: &str = "2GiB";

pub(super) fn measure(bench: &Bench) -> Outcome<Findings> {
    let total = bench.tasks(1 << 30, 1 << 27);
    let mut figures = Vec::new();
    let mut remarks = Vec::new();
    for (key, words, chunk, limit) in
        [("log-64k", "64 KiB writes", 64 << 10, 1.25), ("log-80", "80-byte writes", 80, 1.2)]
    {
        let contestants = vec![
            Contestant::limit("plain redirection", || plain(bench, chunk, total)),
            Contestant::ours(|| ours(bench, chunk, total, Some(HIGH_CAP))),
            Contestant::ours(|| ours(bench, chunk, total, None)),
            Contestant::limit("a pipe, moved", || moved(bench, chunk, total)),
        ];
        let series = alternate(words, Unit::Ms, bench.runs, contestants)?;
        let plain = &series[0].samples;
        let times_plain = |of: &Samples| -> Samples {
            of.values().zip(plain.values()).map(|(one, plain)| one / plain).collect()
        };
        let floor = Series { samples: times_plain(&series[3].samples), ..series[3].clone() };
        for (series, key, cap) in [
            (&series[1], key.to_owned(), "a cap above it"),
            (&series[2], format!("{key}-cap"), "the default cap of 64 MiB"),
        ] {
            let ratios = times_plain(&series.samples);
            let goal = format!("under {limit}");
            let mib = total >> 20;
            figures.push(Figure {
                key,
                title: format!("{mib} MiB of log in {words}, {cap}, times plain redirection"),
                unit: Unit::Ratio,
                series: vec![Series::ours(ratios), floor.clone()],
                target: Target::must(&goal, limit),
            });
            remarks.push(format!(
                "{words}, {cap}: {:.0} MiB/s, plain redirection {:.0} MiB/s.",
                mib as f64 * 1000.0 / series.samples.median(),
                mib as f64 * 1000.0 / plain.median()
            ));
        }
    }
    remarks.push("Ratios are of the two runs of the same round. A task of task-spooler or nq writes its file itself, which is plain redirection, without a cap.".to_owned());
    Ok(Findings { figures, remarks })
}

fn plain(bench: &Bench, chunk: usize, total: usize) -> Outcome<f64> {
    settle_disk(bench.ground.path());
    let scratch = bench.ground.scratch("plain")?;
    let cannot = |error: std::io::Error| format!("cannot write plainly: {error}");
    let file = std::fs::File::create(scratch.path().join("output")).map_err(cannot)?;
    let stamp = scratch.path().join("start");
    let mut command = scratch.command(&bench.ground.actor);
    command.args([actor::COMMAND, "write"]).arg(&stamp);
    command.args([chunk.to_string(), total.to_string()]).stdout(file);
    let status = command.status().map_err(cannot)?;
    let end = monotonic_ns();
    if !status.success() {
        return Err(format!("the writer ended with {status}"));
    }
    Ok((end - actor::read_time(&stamp)?) as f64 / 1e6)
}

/// The same through a pipe, and nothing else done with it.
fn moved(bench: &Bench, chunk: usize, total: usize) -> Outcome<f64> {
    settle_disk(bench.ground.path());
    let scratch = bench.ground.scratch("moved")?;
    let cannot = |error: std::io::Error| format!("cannot write through a pipe: {error}");
    let stamp = scratch.path().join("start");
    let mut mover = scratch.command(&bench.ground.actor);
    mover.args([actor::COMMAND, "move"]).arg(scratch.path().join("output"));
    let mut mover = mover.stdin(Stdio::piped()).spawn().map_err(cannot)?;
    let pipe = mover.stdin.take().expect("it is piped");
    let mut writer = scratch.command(&bench.ground.actor);
    writer.args([actor::COMMAND, "write"]).arg(&stamp);
    let written = writer.args([chunk.to_string(), total.to_string()]).stdout(pipe).status();
    // The command keeps the pipe that it was given for as long as it lives.
    drop(writer);
    let moved = mover.wait().map_err(cannot)?;
    let end = monotonic_ns();
    if !written.map_err(cannot)?.success() || !moved.success() {
        return Err(format!("the writer or the mover ended badly ({moved})"));
    }
    Ok((end - actor::read_time(&stamp)?) as f64 / 1e6)
}

fn ours(bench: &Bench, chunk: usize, total: usize, cap: Option<&str>) -> Outcome<f64> {
    settle_disk(bench.ground.path());
    let home = Home::new(&bench.ground, 2)?;
    let stamp = home.file("start");
    let (actor, file) = (bench.ground.actor.display().to_string(), stamp.display().to_string());
    let written = (total / chunk * chunk) as u64;
    let (chunk, total) = (chunk.to_string(), total.to_string());
    let mut words = vec!["run"];
    if let Some(cap) = cap {
        words.extend(["--max-log", cap]);
    }
    words.extend(["--", &actor, actor::COMMAND, "write", &file, &chunk, &total]);
    let id = home.call(&words)?;
    home.call(&["wait", &id])?;
    let end = monotonic_ns();
    let log = home.json(&["status", &id])?["log"].clone();
    if log["bytes"].as_u64() != Some(written) {
        return Err(format!("{written} bytes were written, the log says {log}"));
    }
    Ok((end - actor::read_time(&stamp)?) as f64 / 1e6)
}
