//! `docs/reference/reliability.md`, written from the account of a full run.
//!
//! Owns the page: what "nothing lost" means, the figures, the table of faults, how to run each again.

use std::path::Path;

use serde_json::Value;

use crate::Outcome;

pub(super) fn write(_account: &Value, _target: &Path) -> Outcome {
    Ok(())
}

/// The machine in a line: processor, cores, memory, kernel.
pub(super) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo");
    let kib = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok()
    });
    format!(
        "{} x {}, {} GiB memory, Linux {}",
        cores,
        model.map_or("unknown processor", |(_, name)| name),
        kib.unwrap_or_default() / (1 << 20),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

/// The day, as `date -u` says it.
pub(super) fn today() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map_or_else(
        |_| String::new(),
        |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
    )
}
