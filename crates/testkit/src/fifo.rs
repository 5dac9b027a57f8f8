//! Two FIFOs instead of a sleep: a gate that holds a task, a bell that a task rings.
//!
//! Owns the FIFO files. The shell fragments they hand out work in any POSIX shell and need no
//! program beyond it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, mkfifoat};

/// Holds tasks until the test lets them pass.
///
/// The writing end is open from the start, so a task blocks in `read` and not in `open`.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    end: File,
}

impl Gate {
    /// Makes the FIFO at `path`, whose directory exists.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), end: make(path) }
    }

    /// A shell command that waits until the gate lets one task pass.
    pub fn shell(&self) -> String {
        format!("read -r _ < '{}'", self.path.display())
    }

    /// Lets one waiting task pass (or the next that comes).
    ///
    /// Two tasks that wait at the same gate may both see parts of one line: use a gate per task.
    pub fn open(&mut self) {
        self.end.write_all(b"go\n").expect("a FIFO with room takes three bytes");
    }
}

/// Tells the test that a task has come to a point, with a line of text.
#[derive(Debug)]
pub struct Bell {
    path: PathBuf,
    end: File,
    heard: Vec<u8>,
}

impl Bell {
    /// Makes the FIFO at `path`, whose directory exists.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), end: make(path), heard: Vec::new() }
    }

    /// A shell command that rings with `words`, which the shell expands (`$$` is its pid).
    pub fn shell(&self, words: &str) -> String {
        format!("echo \"{words}\" > '{}'", self.path.display())
    }

    /// Where the FIFO is, for tasks that are no shell script.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next line.
    ///
    /// # Panics
    /// When none comes within `deadline`.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> String {
        let until = Instant::now() + deadline;
        loop {
            if let Some(at) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=at).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no task rang {} within {deadline:?}", self.path.display());
            wait_readable(&self.end, left);
            let mut buffer = [0; 512];
            match self.end.read(&mut buffer) {
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("cannot read {}: {error}", self.path.display()),
            }
        }
    }
}

/// Waits until `file` can be read, at most for `left`.
pub(crate) fn wait_readable(file: &impl std::os::fd::AsFd, left: Duration) {
    let timeout = Timespec::try_from(left).expect("a test's deadline fits into a timespec");
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => panic!("cannot poll: {error}"),
    }
}

/// Opened for both directions, so that no open blocks and no reader sees a premature end.
fn make(path: &Path) -> File {
    mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR).expect("a FIFO can be made here");
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).expect("flags are small"))
        .open(path)
        .expect("the FIFO just made can be opened")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::DEADLINE;

    #[test]
    fn a_bell_is_heard_and_a_gate_holds_until_opened() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut bell = Bell::new(&directory.path().join("bell"));
        let mut gate = Gate::new(&directory.path().join("gate"));
        let script = format!("{}; {}; {}", bell.shell("at $$"), gate.shell(), bell.shell("past"));
        let mut child = Command::new("sh").args(["-c", &script]).spawn().expect("sh starts");
        assert_eq!(bell.wait(DEADLINE), format!("at {}", child.id()));
        assert!(child.try_wait().expect("a child can be asked").is_none());
        gate.open();
        assert_eq!(bell.wait(DEADLINE), "past");
        assert!(child.wait().expect("a child can be waited for").success());
    }
}
