//! `cargo xtask bench`: the figures of the design, measured beside the peers on the same work at the same moment.
//!
//! Owns `target/bench.json`, `docs/reference/performance.md` and its plots. It drives binaries from outside, on a real
//! disk, in homes of its own, and ends everything it starts. Never tunes anything and never leaves a contestant out in
//! silence.
//!
//! ```text
//! groups/* --Contestant--> rounds (A B C A B C ...) --Series--> record --> target/bench.json
//!    |                                                             \----> page + plots
//!    +-- home (ours), peers/*, machine (F, T)
//! ```

pub(crate) mod actor;
mod ground;
mod groups;
mod home;
mod http;
mod machine;
mod memory;
mod options;
mod page;
mod peers;
mod plot;
mod record;
mod rounds;
mod samples;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use self::ground::Ground;
use self::groups::{GROUPS, Group};
use self::machine::Machine;
use self::options::Options;
use self::peers::Peers;
use self::record::{Figure, GroupRecord, Record};
use crate::{Outcome, cargo};

/// What a group needs to measure.
struct Bench {
    ground: Ground,
    peers: Peers,
    runs: usize,
    quick: bool,
    /// F and T of the group that is being measured, milliseconds.
    f_ms: Cell<f64>,
    t_ms: Cell<f64>,
}

impl Bench {
    /// How many tasks: all of them, or few in a quick run.
    fn tasks(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

pub(crate) fn main(arguments: &[String]) -> Outcome {
    let options = Options::read(arguments)?;
    let target = cargo::target_directory()?;
    let file = target.join("bench.json");
    if options.page {
        let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let record = serde_json::from_slice(&text)
            .map_err(|error| format!("{}: {error}; measure again", file.display()))?;
        return page::write(&record);
    }
    let (binary, build) = match &options.binary {
        Some(path) => (path.clone(), path.display().to_string()),
        None => (cargo::build_release_binary()?, "release".to_owned()),
    };
    let ground = Ground::new(options.ground.as_deref().unwrap_or(&target.join("bench")), &binary)?;
    ground.sign()?;
    let machine = Machine::describe(ground.path());
    println!(
        "bench: {} x {}, kernel {}, {}",
        machine.processors, machine.processor, machine.kernel, machine.file_system
    );
    let peers = Peers::prepare(&target.join("peers"), options.with_pueue);
    let words = describe_binary(&ground.binary, &build)?;
    let bench = Bench {
        ground,
        peers,
        runs: options.runs,
        quick: options.quick,
        f_ms: Cell::new(f64::NAN),
        t_ms: Cell::new(f64::NAN),
    };
    let mut record = earlier(&file, machine, &bench.peers);
    let mut failed = Vec::new();
    for group in GROUPS.iter().filter(|group| options.wants(group.name)) {
        match run(&bench, group, &words) {
            Ok(found) => {
                print(&found);
                record.put(found);
                write(&file, &record)?;
            }
            // The other groups are still worth their time.
            Err(why) => {
                eprintln!("bench: {} FAILED: {why}", group.name);
                failed.push(group.name);
            }
        }
    }
    println!("bench: raw samples are in {}", file.display());
    if options.is_whole() && failed.is_empty() {
        page::write(&record)?;
    } else {
        println!("bench: the page is as it was; `cargo xtask bench --page` draws it from these");
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("no figures of: {}", failed.join(", "))) }
}

fn run(bench: &Bench, group: &Group, binary: &str) -> Outcome<GroupRecord> {
    machine::settle_disk(bench.ground.path());
    bench.f_ms.set(machine::flush_ms(bench.ground.path())?);
    bench.t_ms.set(machine::spawn_ms()?);
    let (at, load, start) = (machine::date(), machine::load(), Instant::now());
    println!(
        "\n{} ({}): load {load:.2}, F {:.3} ms, T {:.3} ms",
        group.title,
        group.name,
        bench.f_ms.get(),
        bench.t_ms.get()
    );
    let found = (group.measure)(bench)?;
    Ok(GroupRecord {
        name: group.name.to_owned(),
        title: group.title.to_owned(),
        at,
        seconds: start.elapsed().as_secs_f64(),
        binary: binary.to_owned(),
        quick: bench.quick,
        load: (load, machine::load()),
        f_ms: bench.f_ms.get(),
        t_ms: bench.t_ms.get(),
        figures: found.figures,
        remarks: found.remarks,
    })
}

/// What earlier runs of other groups found on this machine.
fn earlier(file: &Path, machine: Machine, peers: &Peers) -> Record {
    let read = fs::read(file).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
    let groups = read.map_or_else(Vec::new, |record| record.groups);
    Record { machine, peers: peers.versions.clone(), groups }
}

fn write(file: &Path, record: &Record) -> Outcome {
    let text = serde_json::to_string_pretty(record).expect("a record is numbers and words");
    fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn print(group: &GroupRecord) {
    for figure in &group.figures {
        println!("  {}", figure.title);
        for series in &figure.series {
            match &series.absent {
                Some(why) => println!("    {:<18} NOT MEASURED: {why}", series.name),
                None => println!("    {:<18} {}", series.name, spread(figure, &series.samples)),
            }
        }
        println!("    {:<18} {}", "target", verdict(figure));
    }
    for remark in &group.remarks {
        println!("  {remark}");
    }
    println!(
        "  {:.0} s, load {:.2} before, {:.2} after",
        group.seconds, group.load.0, group.load.1
    );
}

fn spread(figure: &Figure, samples: &samples::Samples) -> String {
    let show = |value| figure.unit.show(value);
    format!(
        "{:>12}  ({} to {}, n={})",
        show(samples.median()),
        show(samples.min()),
        show(samples.max()),
        samples.count()
    )
}

fn verdict(figure: &Figure) -> String {
    let Some(target) = &figure.target else { return "none".to_owned() };
    let ratio = figure
        .ratio()
        .zip(figure.best_peer())
        .map(|(ratio, peer)| format!("; {ratio:.2} times the best peer ({})", peer.name));
    let word = match figure.reached() {
        Some(true) => "reached",
        Some(false) => "NOT REACHED",
        None => "not measured",
    };
    let limit = figure.unit.show(target.limit);
    format!("{} ({limit}): {word}{}", target.words, ratio.unwrap_or_default())
}

/// Version, commit and build of the program that was measured.
fn describe_binary(binary: &Path, build: &str) -> Outcome<String> {
    let mut version = Command::new(binary);
    version.arg("--version");
    let version = ground::finish(version)?;
    let commit = cargo::commit();
    let profile =
        Path::new(build).parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let build = match profile {
        Some(profile @ ("release" | "quick" | "debug")) => format!("{profile} profile"),
        Some(_) => "a binary from elsewhere".to_owned(),
        None => format!("{build} profile"),
    };
    Ok(format!("{version}, checkout at {commit}, {build}"))
}
