//! Processes by identity: signals that cannot hit a stranger, and waiting for an end.
//!
//! Owns the pair of pid and start time, and the pidfd behind it. Never signals by number alone.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::fifo::wait_readable;

/// One process that was seen alive.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    descriptor: OwnedFd,
}

impl Process {
    /// The process that has `pid` now; `None` when there is none (a zombie counts as none).
    pub fn of(pid: u32) -> Option<Self> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let before = start_time(pid)?;
        let descriptor = pidfd_open(number, PidfdFlags::empty()).ok()?;
        // The same start time after the open: the descriptor is of the process we looked at.
        (start_time(pid) == Some(before)).then_some(Self { pid, descriptor })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal; false when the process has ended already.
    pub fn signal(&self, signal: Signal) -> bool {
        pidfd_send_signal(&self.descriptor, signal).is_ok()
    }

    /// `kill -9` and wait for the end.
    #[track_caller]
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait_end(crate::DEADLINE);
    }

    /// True until the process has ended (also while it is a zombie nobody has reaped: false).
    pub fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended within `deadline`.
    #[track_caller]
    pub fn wait_end(&self, deadline: Duration) {
        assert!(
            self.ends_within(deadline),
            "process {} ({}) still runs after {deadline:?}",
            self.pid,
            command_line(self.pid)
        );
    }

    /// True when it ends within `deadline`. A pidfd becomes readable at the end of its process.
    pub fn ends_within(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            wait_readable(&self.descriptor, left);
            if start_time(self.pid).is_none() || self.is_readable() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// How often its threads were put to sleep and woken up again so far. An idle process that polls
    /// nothing has the same number a while later.
    pub fn wake_ups(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        threads
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
            .filter_map(|status| {
                let line = status.lines().find(|line| line.starts_with("voluntary_ctxt"))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            })
            .sum()
    }

    fn is_readable(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        poll(&mut polled, Some(&now)).is_ok_and(|count| count > 0)
    }
}

/// Field 22 of `/proc/PID/stat`; `None` when there is no such process, or a zombie only.
fn start_time(pid: u32) -> Option<u64> {
    let fields = stat(pid)?;
    (fields.first()? != "Z").then(|| fields.get(19)?.parse().ok())?
}

/// The fields of `/proc/PID/stat` after the name: state first, then the parent's pid.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// The command line of a process, for messages.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// Every living process that has `marker` in its command line. It finds what has left its session,
/// its parent and its environment behind; only a test that puts a marker there can ask.
pub fn marked(marker: &str) -> Vec<u32> {
    let mut found = all_pids();
    found.retain(|pid| command_line(*pid).contains(marker) && start_time(*pid).is_some());
    found
}

/// Every pid there is.
pub(crate) fn all_pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Every living process below `roots` in the tree of parents, `roots` included.
pub fn descendants(roots: &[u32]) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all_pids()
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut found: Vec<u32> = roots.to_vec();
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        for (pid, of) in &parents {
            if *of == parent && !found.contains(pid) {
                found.push(*pid);
            }
        }
        at += 1;
    }
    found.retain(|pid| start_time(*pid).is_some());
    found
}

/// True when the process shows that it belongs to the home at `directory`: it was started with it,
/// or holds one of its files open.
pub(crate) fn belongs_to(pid: u32, directory: &Path) -> bool {
    let name = directory.as_os_str().as_encoded_bytes();
    let mentions = |file: &str| {
        fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| bytes.windows(name.len()).any(|part| part == name))
    };
    if mentions("environ") || mentions("cmdline") {
        return true;
    }
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file.starts_with(directory))
}

/// A uid without account and processes, for a second user in a test that runs as root.
///
/// # Panics
/// When there is none, which takes hundreds of accounts in a row.
pub fn free_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let running: Vec<u32> = all_pids()
        .into_iter()
        .filter_map(|pid| Some(fs::metadata(format!("/proc/{pid}")).ok()?.uid()))
        .collect();
    (46_100..46_900)
        .find(|uid| {
            let field = uid.to_string();
            !running.contains(uid)
                && !accounts.lines().any(|line| line.split(':').nth(2) == Some(&field))
        })
        .expect("one of eight hundred uids is free")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen_and_a_dead_one_is_not_found() {
        let mut child = Command::new("sh")
            .args(["-c", "read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("sh starts");
        let process = Process::of(child.id()).expect("it runs");
        assert!(process.is_alive());
        assert!(descendants(&[std::process::id()]).contains(&child.id()));
        process.kill();
        assert!(!process.is_alive());
        assert!(Process::of(child.id()).is_none(), "a zombie is no process");
        let _ = child.wait();
    }
}
