//! What `/proc` says about processes beyond the supervisor crate's `process`: cgroups, ancestors,
//! namespaces, arguments.
//!
//! Owns the formats of `/proc/PID/cgroup` and `/proc/PID/cmdline`. Never keeps an answer: a process
//! that was there may be gone and its number another's; [`Identity`] is what survives that.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub use meanwhile_supervisor::process::Identity;
use meanwhile_supervisor::process::{start_time, stat};
use rustix::process::{Pid, PidfdFlags};

use crate::environment::Environment;

/// The identity of a process that is there (a zombie is).
#[must_use]
pub fn identity(pid: u32) -> Option<Identity> {
    Some(Identity { pid, start_time: start_time(pid)? })
}

/// Our own identity.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn own_identity() -> io::Result<Identity> {
    identity(std::process::id())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "/proc is not mounted"))
}

/// A pidfd of exactly this process; `None` when it is gone.
#[must_use]
pub fn open(process: Identity) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Looked at after the open: the descriptor holds on to whoever has the number now.
    (identity(process.pid) == Some(process)).then_some(pidfd)
}

/// The process and its ancestors, nearest first, up to the top of our pid namespace.
#[must_use]
pub fn ancestry(pid: u32) -> Vec<Identity> {
    /// Deeper trees than this are made by nobody; it bounds the walk while processes come and go.
    const DEEPEST: usize = 512;
    let mut chain: Vec<Identity> = Vec::new();
    let mut next = pid;
    while next != 0 && chain.len() < DEEPEST {
        let Some(stat) = stat(next) else { break };
        // A parent started before its child; otherwise the number was handed out again meanwhile.
        if chain.last().is_some_and(|child| stat.start_time > child.start_time) {
            break;
        }
        chain.push(Identity { pid: next, start_time: stat.start_time });
        next = stat.ppid;
    }
    chain
}

/// The arguments of a process, its program first; empty where they cannot be read.
#[must_use]
pub fn arguments(pid: u32) -> Vec<Vec<u8>> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let whole = text.strip_suffix(&[0]).unwrap_or(&text);
    if whole.is_empty() {
        vec![]
    } else {
        whole.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
    }
}

/// Whether these are the arguments of a shell that was given a line: `sh -c LINE`, `bash -lc LINE`. Agents call hooks and
/// tools by such.
#[must_use]
pub fn is_shell_with_a_line(arguments: &[Vec<u8>]) -> bool {
    let [program, option, ..] = arguments else { return false };
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_shell = matches!(name, b"sh" | b"bash" | b"dash" | b"ash" | b"zsh" | b"ksh" | b"fish");
    is_shell && option.starts_with(b"-") && !option.starts_with(b"--") && option.contains(&b'c')
}

/// Whether the first words of these arguments have this name (lower case): of the program, of its interpreter's script, or
/// of an option's between them.
#[must_use]
pub fn is_named(arguments: &[Vec<u8>], name: &str) -> bool {
    /// `node --option SCRIPT`.
    const FIRST_WORDS: usize = 3;
    let has_it = |word: &Vec<u8>| String::from_utf8_lossy(word).to_ascii_lowercase().contains(name);
    !name.is_empty() && arguments.iter().take(FIRST_WORDS).any(has_it)
}

/// Whether a process has ended or has begun to: it closes its descriptors before anybody else can see that it is gone.
#[must_use]
pub fn is_ending(process: Identity) -> bool {
    /// PF_EXITING of linux/sched.h: set before the descriptors are closed.
    const EXITING: u64 = 0x4;
    if identity(process.pid) != Some(process) {
        return true;
    }
    let text = fs::read(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    // The name, which is in brackets, may have any character in it.
    let Some(end) = text.iter().rposition(|byte| *byte == b')') else { return true };
    let fields = String::from_utf8_lossy(&text[end + 1..]);
    // State, parent, group, session, terminal, its group, flags (proc(5)).
    let mut fields = fields.split_ascii_whitespace();
    let ended = matches!(fields.next(), None | Some("Z" | "X"));
    let flags: Option<u64> = fields.nth(5).and_then(|flags| flags.parse().ok());
    ended || flags.is_none_or(|flags| flags & EXITING != 0)
}

/// The environment that a process was started with, and its directory; `None` when it is gone or not ours to look at.
#[must_use]
pub fn surroundings(process: Identity) -> Option<(Environment, PathBuf)> {
    let entries = fs::read(format!("/proc/{}/environ", process.pid)).ok()?;
    let cwd = fs::read_link(format!("/proc/{}/cwd", process.pid)).ok()?;
    let environment = Environment::from_entries(entries.split(|byte| *byte == 0));
    // Looked at after the reading: else it may have been another's.
    (identity(process.pid) == Some(process)).then_some((environment, cwd))
}

/// The names of a process and of those that led to it, nearest first: 15 bytes of each, as the kernel keeps them. A process
/// may call itself anything.
#[must_use]
pub fn names(pid: u32, most: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = pid;
    while next != 0 && names.len() < most {
        let stat = fs::read(format!("/proc/{next}/stat")).unwrap_or_default();
        let Some((name, parent)) = name_and_parent(&stat) else { break };
        names.push(name);
        next = parent;
    }
    names
}

/// Out of `/proc/PID/stat` (proc(5)). The name in parentheses may hold anything, parentheses too.
fn name_and_parent(stat: &[u8]) -> Option<(String, u32)> {
    let text = String::from_utf8_lossy(stat);
    let (before, after) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let parent = after.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((name.chars().filter(|c| !c.is_control()).collect(), parent))
}

/// The cgroup v2 path of a process, as seen from our cgroup namespace. `None` when it is gone, or
/// where there is no unified hierarchy.
#[must_use]
pub fn cgroup(pid: u32) -> Option<PathBuf> {
    parse_cgroup(&fs::read(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The inode of the pid namespace a process is in.
#[must_use]
pub fn pid_namespace(pid: u32) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(fs::metadata(format!("/proc/{pid}/ns/pid")).ok()?.ino())
}

/// Whether the environment a process was started with has all of these entries (`K=V`). False when
/// it cannot be read. A process can shed them: it is a supplement, never proof of absence.
#[must_use]
pub fn was_started_with<const N: usize>(pid: u32, entries: [&[u8]; N]) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    entries.iter().all(|wanted| environ.split(|b| *b == 0).any(|entry| entry == *wanted))
}

/// The processes we can see.
#[must_use]
pub fn all_pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn parse_cgroup(text: &[u8]) -> Option<PathBuf> {
    let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    // The kernel marks the cgroup of a process that outlived its directory.
    let path = line.strip_suffix(b" (deleted)").unwrap_or(line);
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_is_that_of_the_unified_hierarchy() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(parse_cgroup(text.as_bytes()), expected.map(PathBuf::from), "{text:?}");
        };
        check("4:memory:/x\n0::/a/b\n", Some("/a/b"));
        check("0::/a/t-1 (deleted)\n", Some("/a/t-1"));
        check("4:memory:/x\n", None);
    }

    #[test]
    fn a_shell_that_was_given_a_line_is_known_from_others() {
        let check = |line: &str, expected: bool| {
            let words: Vec<Vec<u8>> =
                line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(is_shell_with_a_line(&words), expected, "{line}");
        };
        check("/bin/sh -c meanwhile", true);
        check("bash -lc meanwhile", true);
        check("bash /usr/bin/claude", false);
        check("bash --rcfile c", false);
        check("-bash", false);
        check("claude -c", false);
    }

    #[test]
    fn an_agent_is_known_by_its_first_words() {
        let check = |line: &str, expected: bool| {
            let words: Vec<Vec<u8>> =
                line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(is_named(&words, "claude"), expected, "{line}");
        };
        check("claude", true);
        check("/usr/bin/Claude --resume", true);
        check("node --no-warnings /lib/claude-code/cli.js", true);
        check("vim -R notes of-claude.md", false);
        check("codex", false);
        assert!(!is_named(&[b"x".to_vec()], ""));
    }

    #[test]
    fn a_process_that_was_killed_is_ending_and_we_are_not() {
        let own = own_identity().unwrap();
        assert!(!is_ending(own));
        assert!(is_ending(Identity { start_time: own.start_time + 1, ..own }));
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = identity(child.id()).unwrap();
        assert!(!is_ending(process));
        child.kill().unwrap();
        let pidfd = open(process);
        if let Some(pidfd) = pidfd {
            let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).unwrap();
        }
        assert!(is_ending(process), "nobody has reaped it");
        child.wait().unwrap();
    }

    #[test]
    fn our_surroundings_are_those_we_were_started_with() {
        let own = own_identity().unwrap();
        let (environment, cwd) = surroundings(own).unwrap();
        assert_eq!(cwd, std::env::current_dir().unwrap());
        assert!(!environment.is_empty());
        assert!(surroundings(Identity { start_time: own.start_time + 1, ..own }).is_none());
    }

    #[test]
    fn names_come_out_of_whatever_a_process_calls_itself() {
        let check = |stat: &str, expected: Option<(&str, u32)>| {
            let expected = expected.map(|(name, parent)| (name.to_owned(), parent));
            assert_eq!(name_and_parent(stat.as_bytes()), expected, "{stat}");
        };
        check("7 (sh) S 4 7 7 0", Some(("sh", 4)));
        check("7 (a) S 1 (b) R 9 7", Some(("a) S 1 (b", 9)));
        check("7 (x\u{1b}[2J) S 4 7", Some(("x[2J", 4)));
        check("7 () S 0 0", Some(("", 0)));
        check("", None);
        let own = names(std::process::id(), 3);
        assert!(own.len() > 1 && own.len() <= 3, "{own:?}");
        assert_eq!(names(u32::MAX, 3), [] as [String; 0]);
    }

    #[test]
    fn we_are_our_own_nearest_ancestor() {
        let own = own_identity().unwrap();
        let chain = ancestry(own.pid);
        assert_eq!(chain[0], own);
        assert!(chain.len() > 1, "a test has a parent");
        assert!(all_pids().contains(&own.pid));
        assert_eq!(pid_namespace(own.pid), meanwhile_supervisor::process::pid_namespace().ok());
    }
}
