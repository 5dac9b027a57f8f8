//! One task's cgroup: made before the start, killed as a whole, removed when it is empty.
//!
//! Owns the directory while it lives. Everything here is an addition: a supervisor without a cgroup does the
//! same by walking its descendants.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// How deep a task may have nested its own cgroups before their removal gives up.
const DEPTH: u32 = 16;

/// A read of the kernel's small text files that brings less than this brought all of it: what is longer comes in
/// chunks of nearly a page.
const SHORT: usize = 1024;

/// The cgroup of one attempt.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: Vec<u8>,
    dir: OwnedFd,
}

/// Which limits the kernel enforces for this cgroup.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Enforced {
    pub(super) memory: bool,
    pub(super) pids: bool,
}

impl Cgroup {
    /// Makes the directory (or takes over an empty one of the same name) and opens it.
    pub(super) fn create(path: &[u8]) -> Result<Self, Errno> {
        let was_there = match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => false,
            Err(Errno::EXIST) => true,
            Err(errno) => return Err(errno),
        };
        let dir = open_dir(rustix::fs::CWD, path)?;
        let cgroup = Self { path: path.to_vec(), dir };
        if was_there && cgroup.is_populated() {
            return Err(Errno::BUSY);
        }
        Ok(cgroup)
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Sets limits where the controllers exist and tells which ones hold.
    pub(super) fn limit(&self, memory_max: Option<u64>, pids_max: Option<u64>) -> Enforced {
        let set = |name: &str, value: Option<u64>| {
            value.is_some_and(|value| self.write(name, value.to_string().as_bytes()).is_ok())
        };
        let memory = set("memory.max", memory_max);
        if memory {
            // Swap would only put the limit off, and half a tree is worse than none.
            let _ = self.write("memory.swap.max", b"0");
            let _ = self.write("memory.oom.group", b"1");
        }
        Enforced { memory, pids: set("pids.max", pids_max) }
    }

    /// Whether any process is in it or below it. What cannot be read counts as empty: then the descendants
    /// decide alone.
    pub(super) fn is_populated(&self) -> bool {
        self.field("cgroup.events", "populated").is_some_and(|value| value != 0)
    }

    /// How many times the kernel's memory killer struck in it.
    pub(super) fn oom_kills(&self) -> u64 {
        self.field("memory.events", "oom_kill").unwrap_or(0)
    }

    /// The processes directly in it.
    pub(super) fn pids(&self) -> Vec<u32> {
        let text = self.read("cgroup.procs").unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Kills everything in it at once, forks in flight included.
    pub(super) fn kill(&self) -> Result<(), Errno> {
        self.write("cgroup.kill", b"1")
    }

    /// Removes it, with the empty cgroups the task made below.
    pub(super) fn remove(self) -> Result<(), Errno> {
        let remove = || rustix::fs::unlinkat(rustix::fs::CWD, &*self.path, AtFlags::REMOVEDIR);
        match remove() {
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                remove_below(&self.dir, DEPTH);
                remove()
            }
            other => other,
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty())?;
        rustix::io::write(&file, bytes).map(|_| ())
    }

    fn read(&self, name: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = rustix::io::read(&file, &mut chunk) {
            text.extend_from_slice(&chunk[..read]);
            // The short files come whole in one read; `cgroup.procs` ends in an empty one.
            if read < SHORT {
                break;
            }
        }
        String::from_utf8(text).ok()
    }

    fn field(&self, name: &str, key: &str) -> Option<u64> {
        self.read(name)?.lines().find_map(|line| {
            let (found, value) = line.split_once(' ')?;
            if found == key { value.trim().parse().ok() } else { None }
        })
    }
}

fn open_dir(at: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

fn remove_below(dir: &OwnedFd, depth: u32) {
    let Ok(entries) = Dir::read_from(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = entry.file_type() == FileType::Directory && !name.to_bytes().starts_with(b".");
        if !ours || depth == 0 {
            continue;
        }
        if let Ok(below) = open_dir(dir, name.to_bytes()) {
            remove_below(&below, depth - 1);
        }
        let _ = rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR);
    }
}
