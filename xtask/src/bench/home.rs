//! A home of Meanwhile for one round: its own daemon, reached through the command line as a user reaches it.
//!
//! Owns the daemon it causes to start. Never reaches into the product: it types commands, reads `/proc`, and speaks
//! HTTP (see `http`).

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::ground::{Ground, Scratch, finish};
use super::machine::NO_OP;
use crate::Outcome;

/// How often a task that was launched is asked for its supervisor.
const TRIES: usize = 500;

/// See the module.
pub(super) struct Home {
    scratch: Scratch,
    binary: PathBuf,
}

impl Home {
    /// A new home whose daemon runs, with so many slots for commands (0: no limit).
    pub(super) fn new(ground: &Ground, slots: u32) -> Outcome<Self> {
        let home = Self::without_daemon(ground)?;
        home.call(&["config", "set", "lanes.commands.limit", &slots.to_string()])?;
        // The largest store that is measured holds as many as may be queued, and takes some more.
        home.call(&["config", "set", "limits.queued", "200000"])?;
        home.call(&["daemon", "start"])?;
        Ok(home)
    }

    /// A new home in which nothing has ever run.
    pub(super) fn without_daemon(ground: &Ground) -> Outcome<Self> {
        Ok(Self { scratch: ground.scratch("meanwhile")?, binary: ground.binary.clone() })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(&self.binary);
        command.env("MEANWHILE_HOME", self.path()).args(arguments);
        command
    }

    /// One call of the command line; answers what it printed.
    pub(super) fn call(&self, arguments: &[&str]) -> Outcome<String> {
        finish(self.command(arguments))
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Outcome<Value> {
        let text = self.call(&[&["--json"], arguments].concat())?;
        serde_json::from_str(&text).map_err(|error| format!("{arguments:?} answered: {error}"))
    }

    /// Launches many no-ops in one submission; answers the ids.
    pub(super) fn submit_no_ops(&self, count: usize) -> Outcome<Vec<String>> {
        self.submit(&format!("{{\"command\":[\"{NO_OP}\"]}}\n").repeat(count))
    }

    /// One submission of these lines.
    pub(super) fn submit(&self, lines: &str) -> Outcome<Vec<String>> {
        let file = self.file("batch");
        std::fs::write(&file, lines).map_err(|error| format!("cannot write a batch: {error}"))?;
        let batch = std::fs::File::open(&file).map_err(|e| format!("cannot read a batch: {e}"))?;
        let mut command = self.command(&["run", "--from", "-"]);
        command.stdin(Stdio::from(batch));
        Ok(finish(command)?.lines().map(str::to_owned).collect())
    }

    /// Waits for the tasks that start last; with few slots that is the end of all.
    pub(super) fn wait_for_last(&self, ids: &[String], slots: usize) -> Outcome {
        let last = ids[ids.len().saturating_sub(slots)..].iter().map(String::as_str);
        self.call(&["wait"].into_iter().chain(last).collect::<Vec<_>>()).map(drop)
    }

    /// Fails unless every task of the home has completed: a fast figure for lost work would be worth nothing.
    pub(super) fn all_completed(&self, expected: usize) -> Outcome {
        let summary = self.json(&["list", "--summary"])?;
        if summary["states"]["completed"].as_u64() == Some(expected as u64) {
            return Ok(());
        }
        Err(format!("expected {expected} completed tasks, the summary says {summary}"))
    }

    /// Launches a task; answers the pid of its supervisor once the task runs.
    pub(super) fn supervisor_of_new(&self, words: &[&str]) -> Outcome<u32> {
        let id = self.call(&[&["run", "--"], words].concat())?;
        for _ in 0..TRIES {
            let pid = self.json(&["status", &id])?["supervisor_pid"].as_u64();
            if let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()) {
                return Ok(pid);
            }
            // sleep: a start is no event the command line can wait for
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("task {id} got no supervisor"))
    }

    pub(super) fn daemon_pid(&self) -> Outcome<u32> {
        let status = self.json(&["daemon", "status"])?;
        let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.ok_or_else(|| format!("the daemon names no pid: {status}"))
    }
}

/// Processor time a process has used, milliseconds, in user and kernel mode together.
pub(super) fn processor_ms(pid: u32) -> Outcome<f64> {
    /// USER_HZ, which is 100 on every architecture Linux shows `/proc` on.
    const TICK_MS: f64 = 10.0;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|error| format!("cannot read the times of process {pid}: {error}"))?;
    // Fields are counted from after the name, which may hold anything; utime and stime are the 14th and 15th.
    let fields: Vec<&str> =
        text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(kernel)) => Ok((user + kernel) * TICK_MS),
        _ => Err(format!("the times of process {pid} cannot be read: {text}")),
    }
}
