//! Who a process is.
//!
//! Owns the reading of `/proc/PID/stat` and the check before a signal. Never walks trees.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

/// A process, unmistakable within one boot and one pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its process id.
    pub pid: u32,
    /// When it started: field 22 of `/proc/PID/stat`, clock ticks since boot.
    pub start_time: u64,
}

/// The fields of `/proc/PID/stat` that matter here (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcStat {
    /// The name, at most 15 bytes.
    pub comm: String,
    /// The state's letter; `Z` and `X` are dead.
    pub state: char,
    /// The parent.
    pub ppid: u32,
    /// User and system time, clock ticks.
    pub cpu_ticks: u64,
    /// Clock ticks since boot.
    pub start_time: u64,
    /// Resident pages.
    pub rss_pages: u64,
}

/// This boot's random id, as bytes.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let id = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    Ok(id.to_be_bytes())
}

/// The inode of this process's pid namespace.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn pid_namespace() -> io::Result<u64> {
    Ok(rustix::fs::stat("/proc/self/ns/pid")?.st_ino)
}

/// Reads `/proc/PID/stat`; `None` when there is no such process.
#[must_use]
pub fn stat(pid: u32) -> Option<ProcStat> {
    let mut file = std::fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    // One read brings the whole line: at most 52 numbers of 20 digits and the name. This runs for every task
    // and every member of a tree, and the file's size is told as zero, so a reader that grows pays ten calls.
    let mut line = [0; 1536];
    let len = file.read(&mut line).ok()?;
    parse_stat(&String::from_utf8_lossy(&line[..len]))
}

/// A process's start time, clock ticks since boot; `None` when there is no such process.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_time)
}

/// Whether exactly this process still runs (a zombie does not).
#[must_use]
pub fn is_alive(identity: Identity) -> bool {
    stat(identity.pid).is_some_and(|stat| {
        stat.start_time == identity.start_time && !matches!(stat.state, 'Z' | 'X')
    })
}

/// Signals exactly this process, and no other that may have its number by now.
///
/// # Errors
/// `SRCH` when it is gone; what the system says else.
pub fn signal(identity: Identity, signal: Signal) -> Result<(), Errno> {
    let pidfd = open(identity)?;
    rustix::process::pidfd_send_signal(&pidfd, signal)
}

/// A pidfd of exactly this process: the start time is compared after the open, so the pidfd cannot be of a
/// successor.
pub(crate) fn open(identity: Identity) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    match start_time(identity.pid) {
        Some(start_time) if start_time == identity.start_time => Ok(pidfd),
        _ => Err(Errno::SRCH),
    }
}

/// The name stands in parentheses and may hold anything, so the fields start after the last one.
fn parse_stat(text: &str) -> Option<ProcStat> {
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let comm = text.get(open + 1..close)?.to_owned();
    let fields: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
    // `fields[0]` is field 3 of the manual page.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(ProcStat {
        comm,
        state: fields.first()?.chars().next()?,
        ppid: u32::try_from(number(4)?).ok()?,
        cpu_ticks: number(14)? + number(15)?,
        start_time: number(22)?,
        rss_pages: number(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = "42 (a) b (c) S 7 1 1 0 -1 0 0 0 0 0 3 4 0 0 20 0 1 0 9001 0 5 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!(stat.comm, "a) b (c");
        assert_eq!((stat.ppid, stat.cpu_ticks, stat.start_time, stat.rss_pages), (7, 7, 9001, 5));
    }

    #[test]
    fn a_process_with_our_number_and_another_start_is_not_signalled() {
        let pid = std::process::id();
        let start_time = start_time(pid).unwrap();
        assert!(is_alive(Identity { pid, start_time }));
        // Were the check missing, this would end the test itself.
        let other = Identity { pid, start_time: start_time - 1 };
        assert_eq!(signal(other, Signal::KILL), Err(Errno::SRCH));
    }
}
