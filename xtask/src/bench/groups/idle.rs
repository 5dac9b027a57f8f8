//! Wake-ups of a daemon that has nothing to do.
//!
//! Owns ten quiet seconds, the same ones for all daemons. Counted are the times any thread was scheduled again, which
//! `/proc` knows as voluntary and involuntary context switches.

use std::time::{Duration, Instant};

use super::Findings;
use crate::Outcome;
use crate::bench::Bench;
use crate::bench::home::Home;
use crate::bench::machine::NO_OP;
use crate::bench::record::{Figure, Role, Series, Target, Unit};
use crate::bench::samples::Samples;

/// How long nothing happens.
const WINDOW: Duration = Duration::from_secs(10);

/// An idle supervisor goes after ten seconds; then there is nothing left that could wake the daemon.
const SUPERVISORS_GONE_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn measure(bench: &Bench) -> Outcome<Findings> {
    let home = Home::new(&bench.ground, 2)?;
    let id = home.call(&["run", "--", NO_OP])?;
    home.call(&["wait", &id])?;
    let spooler = bench.peers.spooler.clone().and_then(|tsp| tsp.start(&bench.ground, 2));
    let pueue = bench.peers.pueue.clone().and_then(|pueue| pueue.start(&bench.ground, 2));
    let hyperqueue = bench.peers.hyperqueue.clone().and_then(|hq| hq.start(&bench.ground));
    let mut watched = vec![watch("meanwhile", Role::Ours, home.daemon_pid())];
    let pid = spooler.as_ref().map_err(Clone::clone).and_then(|queue| queue.server_pid());
    watched.push(watch("task-spooler", Role::Peer, pid));
    let pid = hyperqueue.as_ref().map_err(Clone::clone).map(|cluster| cluster.pid());
    watched.push(watch("HyperQueue", Role::Peer, pid));
    let pid = pueue.as_ref().map_err(Clone::clone).map(|daemon| daemon.pid());
    watched.push(watch("pueue", Role::Peer, pid));
    until_supervisors_are_gone(&home)?;
    for round in 1..=bench.runs {
        let before: Vec<Outcome<u64>> = watched.iter().map(|(_, pid)| switches(pid)).collect();
        // sleep: time itself is the subject
        std::thread::sleep(WINDOW);
        let mut said = Vec::new();
        for ((series, pid), before) in watched.iter_mut().zip(before) {
            let Ok(woken) = before.and_then(|before| Ok(switches(pid)? - before)) else { continue };
            series.samples.push(woken as f64);
            said.push(format!("{} {woken}", series.name));
        }
        println!("  wake-ups, round {round} of {}: {}", bench.runs, said.join(", "));
    }
    let figure = Figure {
        key: "idle-wakeups".to_owned(),
        title: "idle daemon, wake-ups in 10 s".to_owned(),
        unit: Unit::Count,
        series: watched.into_iter().map(|(series, _)| series).collect(),
        target: Target::must("0", 0.0),
    };
    let remarks = vec![
        "One task has run and its supervisor has gone; nq has no process that could be idle."
            .to_owned(),
    ];
    Ok(Findings { figures: vec![figure], remarks })
}

fn watch(name: &str, role: Role, pid: Outcome<u32>) -> (Series, Outcome<u32>) {
    let absent = pid.as_ref().err().cloned();
    (Series { name: name.to_owned(), role, samples: Samples::default(), absent }, pid)
}

fn until_supervisors_are_gone(home: &Home) -> Outcome {
    let deadline = Instant::now() + SUPERVISORS_GONE_WITHIN;
    while home.json(&["daemon", "status"])?["supervisors"] != 0 {
        if Instant::now() > deadline {
            return Err("an idle supervisor does not go".to_owned());
        }
        // sleep: asking is what would keep the daemon awake, so it is asked rarely
        std::thread::sleep(Duration::from_millis(500));
    }
    // sleep: the answer to the last question is still being put away
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// How often any thread of a process was given a processor again.
fn switches(pid: &Outcome<u32>) -> Outcome<u64> {
    let pid = pid.as_ref().map_err(Clone::clone)?;
    let cannot = |error: std::io::Error| format!("cannot look at process {pid}: {error}");
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).map_err(cannot)?.flatten() {
        let text = std::fs::read_to_string(thread.path().join("status")).map_err(cannot)?;
        let counts = text.lines().filter(|line| line.contains("ctxt_switches"));
        let numbers = counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok());
        sum += numbers.sum::<u64>();
    }
    Ok(sum)
}
