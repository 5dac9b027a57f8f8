//! task-spooler (`tsp`): one server process per socket, the queue in its memory.
//!
//! Owns a server of its own. Its outputs go to files in the same directory, as they do for a user.

use crate::Outcome;
use crate::bench::ground::{Ground, Scratch, finish};

/// Debian's name of the program.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Spooler(pub(super) &'static str);

/// A running server.
pub(in crate::bench) struct Queue {
    scratch: Scratch,
    program: &'static str,
}

impl Spooler {
    pub(in crate::bench) fn start(&self, ground: &Ground, slots: u32) -> Outcome<Queue> {
        let queue = Queue { scratch: ground.scratch("tsp")?, program: self.0 };
        queue.call(&["-S", &slots.to_string()])?;
        Ok(queue)
    }
}

impl Queue {
    pub(in crate::bench) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.scratch.command(self.program);
        command.env("TS_SOCKET", self.scratch.path().join("socket")).args(arguments);
        // Its default keeps 1,000 finished ones; the lists to compare have more.
        command.env("TS_MAXFINISHED", "1000000");
        command
    }

    /// One call; adding a task answers its number.
    pub(in crate::bench) fn call(&self, arguments: &[&str]) -> Outcome<String> {
        finish(self.command(arguments))
    }

    pub(in crate::bench) fn file(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }

    /// The server's pid: the process that holds the directory in its environment and is nobody's child but init's.
    pub(in crate::bench) fn server_pid(&self) -> Outcome<u32> {
        let needle = format!("TS_SOCKET={}", self.scratch.path().join("socket").display());
        let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .find(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|entry| entry == needle.as_bytes())
            })
            .ok_or_else(|| "no server of task-spooler is found".to_owned())
    }
}
