//! The machine a run was made on, and its two natural units: F (one flush to disk) and T (one process).
//!
//! Owns what is said about processor, kernel, file system, cgroups and load. Reads only; never tunes the machine.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::samples::Samples;
use crate::Outcome;

/// The no-op task of every contestant: a small program by absolute path, no shell and no search.
pub(super) const NO_OP: &str = "/usr/bin/true";

/// Appends measured for F; with fewer its median wanders.
const FLUSHES: usize = 200;

/// Size of the append: less than a page, as a commit of one small task is.
const APPEND: usize = 512;

/// Processes measured for T.
const SPAWNS: usize = 300;

/// What the figures were measured on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_mb: u64,
    pub(super) kernel: String,
    pub(super) system: String,
    pub(super) file_system: String,
    pub(super) cgroups: String,
    pub(super) user: String,
}

impl Machine {
    pub(super) fn describe(ground: &Path) -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.split_once(':'))
                .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        Self {
            processor: field("model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mb: memory_mb(),
            kernel: read_line("/proc/sys/kernel/osrelease"),
            system: distribution(),
            file_system: file_system(ground),
            cgroups: cgroups(),
            user: if rustix::process::geteuid().is_root() { "root" } else { "unprivileged" }
                .to_owned(),
        }
    }
}

/// F: milliseconds for a small append to be on disk, in the directory of the homes.
pub(super) fn flush_ms(ground: &Path) -> Outcome<f64> {
    let path = ground.join("flush");
    let cannot = |error: std::io::Error| format!("cannot measure a flush: {error}");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(cannot)?;
    let mut samples = Samples::default();
    for _ in 0..FLUSHES {
        file.write_all(&[7; APPEND]).map_err(cannot)?;
        let start = Instant::now();
        file.sync_data().map_err(cannot)?;
        samples.push(ms_since(start));
    }
    fs::remove_file(&path).map_err(cannot)?;
    Ok(samples.median())
}

/// T: milliseconds to start the no-op and to see it end, one after the other.
pub(super) fn spawn_ms() -> Outcome<f64> {
    let mut samples = Samples::default();
    for _ in 0..SPAWNS {
        let start = Instant::now();
        spawn_and_wait()?;
        samples.push(ms_since(start));
    }
    Ok(samples.median())
}

/// One no-op in the cheapest way there is (the standard library uses posix_spawn, which is a vfork).
pub(super) fn spawn_and_wait() -> Outcome {
    let status = Command::new(NO_OP)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run {NO_OP}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{NO_OP} ended with {status}")) }
}

pub(super) fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// Nanoseconds of the clock that all processes of this machine share and nobody sets.
pub(super) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The load average over one minute.
pub(super) fn load() -> f64 {
    let text = read_line("/proc/loadavg");
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

/// Now, UTC, for people.
pub(super) fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Refuses a directory in memory: nothing durable could be measured there.
pub(super) fn must_be_a_disk(directory: &Path) -> Outcome {
    let kind = file_system(directory);
    if kind.starts_with("tmpfs") || kind.starts_with("ramfs") {
        return Err(format!(
            "{} is {kind}, which is no disk: name a directory on one with --ground DIR",
            directory.display()
        ));
    }
    Ok(())
}

/// Type and options of the file system that holds a directory, from the longest mount point above it.
fn file_system(directory: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (_, point, kind, options) =
                (words.next()?, words.next()?, words.next()?, words.next()?);
            directory.starts_with(point).then_some((point.len(), kind, options))
        })
        .max_by_key(|(length, ..)| *length)
        .map_or_else(|| "unknown".to_owned(), |(_, kind, options)| format!("{kind} ({options})"))
}

fn cgroups() -> String {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    match unified {
        Ok(controllers) => format!("version 2, controllers: {}", controllers.trim()),
        Err(_) if own.lines().any(|line| line.starts_with("0::")) => {
            "hybrid: version 2 without controllers beside version 1".to_owned()
        }
        Err(_) => "version 1, or none".to_owned(),
    }
}

fn memory_mb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn distribution() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(|| "unknown".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn read_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// Flushes what earlier rounds left to be written, so that no contestant pays for another.
pub(super) fn settle_disk(ground: &Path) {
    if let Ok(directory) = File::open(ground) {
        let _ = rustix::fs::syncfs(directory);
    }
}
