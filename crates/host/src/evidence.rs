//! What a task's processes are and use, and ending what is left of a task whose supervisor is gone.
//!
//! Owns: finding the processes of an attempt by every means there is (its cgroup, what descends from
//! its main process, the marks in the environment), and [`kill_remains`] for recovery. Nothing is
//! signalled by number: only through a pidfd of exactly the process that was found. Never touches a
//! task that has a supervisor.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meanwhile_core::TaskId;
use meanwhile_supervisor::process::{Member, descendants, is_alive, stat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use crate::cgroup;
use crate::proc::{self, Identity};

/// How long one round of killing waits for the killed to be gone before it looks again: new ones may
/// have been forked meanwhile. It doubles up to [`LAST_ROUND`]: what does not go in the first rounds hangs
/// in the kernel, and each look reads all of `/proc`.
const ROUND: Duration = Duration::from_millis(50);
const LAST_ROUND: Duration = Duration::from_secs(5);

/// Where the processes of a running attempt are to be found.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Its cgroup, where it has one.
    pub cgroup: Option<PathBuf>,
    /// Its supervisor, below which they are otherwise.
    pub supervisor: Identity,
}

/// What a tree is and uses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The living processes.
    pub processes: Vec<Identity>,
    /// Resident memory in bytes; shared pages count in each process that has them.
    pub rss: u64,
    /// Processor time of the living, in clock ticks. Only its growth means something.
    pub cpu_ticks: u64,
}

/// What is known of an attempt whose supervisor is gone.
#[derive(Clone, Debug)]
pub struct Remains {
    /// The task.
    pub task: TaskId,
    /// The attempt's number.
    pub attempt: u32,
    /// The cgroup it was given.
    pub cgroup: Option<PathBuf>,
    /// The supervisor that is gone, by the owner file. Only one that has ended is accepted.
    pub supervisor: Identity,
    /// The main process, by the owner file.
    pub main: Option<Identity>,
}

/// What killing remains came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Everything that was killed.
    pub killed: Vec<Identity>,
    /// What was still there when time was over; empty means verified empty.
    pub left: Vec<Identity>,
}

/// Looks at the processes of a running attempt.
#[must_use]
pub fn usage(tree: &Tree) -> Usage {
    let page = rustix::param::page_size() as u64;
    let mut usage = Usage::default();
    for pid in pids(tree) {
        let Some(stat) = stat(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X')) else {
            continue;
        };
        usage.processes.push(Identity { pid, start_time: stat.start_time });
        usage.rss += stat.rss_pages.saturating_mul(page);
        usage.cpu_ticks += stat.cpu_ticks;
    }
    usage
}

/// Ends every process of an attempt that lost its supervisor, and makes sure.
///
/// For a recovery on the same boot and in the same pid namespace: otherwise the numbers mean nothing,
/// and there is nothing to call this for.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when the supervisor lives: then the task is its business.
pub fn kill_remains(remains: &Remains, patience: Duration) -> io::Result<Killed> {
    if is_alive(remains.supervisor) {
        let text = format!("the supervisor {} is alive", remains.supervisor.pid);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let deadline = Instant::now() + patience;
    let mut killed = HashSet::new();
    let mut round = ROUND;
    loop {
        if let Some(cgroup) = &remains.cgroup {
            // Without the file the processes are among those found below.
            let _ = cgroup::kill(cgroup);
        }
        let found = find(remains);
        let dying: Vec<OwnedFd> = found.iter().filter_map(|p| kill(*p)).collect();
        killed.extend(found.iter().copied());
        let now = Instant::now();
        wait_for_ends(&dying, deadline.min(now + round));
        if dying.is_empty() && !found.is_empty() {
            // sleep: there is no descriptor left to hold one of them by; nothing else tells of its end.
            std::thread::sleep(ROUND.min(deadline.saturating_duration_since(now)));
        }
        round = (round * 2).min(LAST_ROUND);
        let left = find(remains);
        if left.is_empty() || now >= deadline {
            if let Some(cgroup) = &remains.cgroup {
                cgroup::remove_empty(cgroup);
            }
            let mut killed: Vec<_> = killed.into_iter().collect();
            killed.sort_unstable_by_key(|p| (p.start_time, p.pid));
            return Ok(Killed { killed, left });
        }
    }
}

fn pids(tree: &Tree) -> Vec<u32> {
    match &tree.cgroup {
        Some(directory) if directory.exists() => cgroup::procs(directory),
        _ if is_alive(tree.supervisor) => {
            descendants(tree.supervisor.pid).iter().map(|member| member.identity.pid).collect()
        }
        _ => Vec::new(),
    }
}

/// Every living process that belongs to the attempt, by any evidence.
fn find(remains: &Remains) -> Vec<Identity> {
    let mut roots: Vec<Identity> = remains.main.into_iter().filter(|p| is_alive(*p)).collect();
    if let Some(directory) = &remains.cgroup {
        roots.extend(members(directory));
    }
    roots.extend(marked(remains.task, remains.attempt));
    let mut found = HashSet::new();
    for root in roots {
        if !is_ours_to_end(root) || !found.insert(root) {
            continue;
        }
        let below = descendants(root.pid);
        found.extend(below.iter().filter(|m| is_living(m)).map(|m| m.identity));
    }
    found.into_iter().filter(|p| is_ours_to_end(*p)).collect()
}

fn members(directory: &Path) -> impl Iterator<Item = Identity> {
    cgroup::procs(directory).into_iter().filter_map(proc::identity).filter(|p| is_alive(*p))
}

/// Processes that were started with the attempt's marks. A process can shed them, so this only adds
/// to what was found otherwise.
fn marked(task: TaskId, attempt: u32) -> Vec<Identity> {
    let task = format!("MEANWHILE_TASK={task}");
    let attempt = format!("MEANWHILE_ATTEMPT={attempt}");
    let is_marked = |pid: &u32| proc::was_started_with(*pid, [task.as_bytes(), attempt.as_bytes()]);
    let found = proc::all_pids().into_iter().filter(is_marked).filter_map(proc::identity);
    found.filter(|p| is_alive(*p)).collect()
}

/// Not this process, whatever it was found by.
fn is_ours_to_end(process: Identity) -> bool {
    process.pid != std::process::id()
}

fn is_living(member: &Member) -> bool {
    !member.zombie
}

fn kill(process: Identity) -> Option<OwnedFd> {
    let pidfd = proc::open(process)?;
    // Gone meanwhile is as good; not permitted shows in what is left.
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    Some(pidfd)
}

fn wait_for_ends(dying: &[OwnedFd], deadline: Instant) {
    for pidfd in dying {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("less than the patience, which fits");
        // Interrupted or failed: the caller looks again anyway.
        let _ = poll(&mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)], Some(&timeout));
    }
}

#[cfg(test)]
mod tests;
