//! Which processes descend from one.
//!
//! Owns the walk over `/proc/PID/task/*/children`, with a scan of all parents where the kernel lacks that
//! file. A walk is a snapshot: who must be sure repeats it until it is empty. Never signals.

use std::collections::{HashMap, HashSet};

use super::identity::{Identity, stat};

/// One process of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub identity: Identity,
    /// Its name.
    pub comm: String,
    /// Whether it has ended and only waits for its parent to read its status.
    pub zombie: bool,
    /// Resident pages.
    pub rss_pages: u64,
}

impl Member {
    /// Looks a process up; `None` when it is gone.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = stat(pid)?;
        Some(Self {
            identity: Identity { pid, start_time: stat.start_time },
            comm: stat.comm,
            zombie: matches!(stat.state, 'Z' | 'X'),
            rss_pages: stat.rss_pages,
        })
    }
}

/// The direct children of a process.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    children_by_task(pid).unwrap_or_else(|| all_parents().remove(&pid).unwrap_or_default())
}

/// Every process below `root`, parents before children; `root` itself is not among them.
#[must_use]
pub fn descendants(root: u32) -> Vec<Member> {
    // Whether the kernel has the children file is the same for every process; ask about ourselves.
    let by_scan = children_by_task(std::process::id()).is_none().then(all_parents);
    let below = |pid: u32| match &by_scan {
        Some(parents) => parents.get(&pid).cloned().unwrap_or_default(),
        None => children_by_task(pid).unwrap_or_default(),
    };
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    let mut open = below(root);
    while let Some(pid) = open.pop() {
        // A number met twice was handed out again during the walk.
        if !seen.insert(pid) {
            continue;
        }
        let Some(member) = Member::of(pid) else { continue };
        members.push(member);
        open.extend(below(pid));
    }
    members
}

/// `None` where the kernel has no `children` file (`CONFIG_PROC_CHILDREN`).
fn children_by_task(pid: u32) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Some(found);
    };
    for task in tasks.flatten() {
        match std::fs::read_to_string(task.path().join("children")) {
            Ok(text) => {
                found.extend(text.split_ascii_whitespace().filter_map(|n| n.parse::<u32>().ok()))
            }
            // The thread is there and the file is not: the kernel was built without it.
            Err(_) if task.path().join("stat").exists() => return None,
            Err(_) => {}
        }
    }
    Some(found)
}

fn all_parents() -> HashMap<u32, Vec<u32>> {
    let mut parents: HashMap<u32, Vec<u32>> = HashMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return parents };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(stat) = stat(pid) {
            parents.entry(stat.ppid).or_default().push(pid);
        }
    }
    parents
}
