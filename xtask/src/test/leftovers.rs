//! Processes that outlived the test that started them.
//!
//! Owns the search, in two ways: the cgroups made for the run, and the run's nonce in processes'
//! environments (for machines without cgroups). Never kills anything itself: the run's cgroup is
//! killed when its `Place` is dropped, and without one the report names what is left.

use std::fs;
use std::path::Path;

use super::cgroup;

/// One line per process that is still there.
pub(super) fn find(base: Option<&Path>, scratch: &Path, nonce: &str) -> Vec<String> {
    let mut found: Vec<u32> = base.map(cgroup::members).unwrap_or_default();
    found.extend(carrying(nonce));
    found.sort_unstable();
    found.dedup();
    found.retain(|pid| *pid != std::process::id());
    found.iter().filter_map(|pid| describe(*pid, scratch)).collect()
}

/// Processes whose environment names this run. Escapees that cleared theirs are found by cgroup.
fn carrying(nonce: &str) -> Vec<u32> {
    let marker = format!("MEANWHILE_TEST_NONCE={nonce}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
        })
        .collect()
}

fn describe(pid: u32, scratch: &Path) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // A zombie runs nothing: it waits for its parent, often the machine's own init.
    if status.lines().any(|line| line.starts_with("State:") && line.contains('Z')) {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let test = cgroup
        .split('/')
        .find(|part| part.starts_with("r-"))
        .and_then(|part| fs::read_to_string(scratch.join(format!("{}.name", part.trim()))).ok())
        .unwrap_or_else(|| "unknown test".to_owned());
    Some(format!("{pid} `{}` of {test}", line.trim()))
}
