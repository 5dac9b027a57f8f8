//! `cargo xtask demo`: from a fresh clone to a finished background task.
//!
//! Owns the short tour of the README. It runs the real binary against a daemon of its own in a
//! temporary home, and stops that daemon before it ends: no process and no file stays behind.
//! It never touches the user's own home or daemon.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Outcome, cargo};

/// The task of the tour: long enough to be seen running, short enough for a first impression.
const TASK: &str = "for n in 1 2 3; do echo \"step $n of 3\"; sleep 1; done; echo done";

pub(crate) fn main() -> Outcome {
    println!("building meanwhile (the first time takes a few minutes)");
    let binary = cargo::build_binary()?;
    let home = tempfile::Builder::new()
        .prefix("meanwhile-demo-")
        .tempdir()
        .map_err(|error| format!("cannot make a temporary home: {error}"))?;
    let tour = Tour { binary: &binary, home: home.path() };
    let outcome = tour.walk();
    // Also after a failed step: the daemon must not outlive the demonstration.
    let stopped = tour.quiet(&["daemon", "stop", "--cancel-all"]);
    outcome.and(stopped.map(drop))?;
    println!("\nThe daemon of this tour is stopped and its home is removed.");
    println!("Next: `cargo install --path crates/cli`, then `meanwhile run -- make test`.");
    Ok(())
}

struct Tour<'a> {
    binary: &'a Path,
    home: &'a Path,
}

impl Tour<'_> {
    fn walk(&self) -> Outcome {
        let id = self.quiet(&["run", "--name", "tour", "--shell", TASK])?;
        let id = id.trim();
        println!("\n$ meanwhile run --name tour --shell '...'\n{id}");
        println!("The prompt is back; the task works on in the background.");
        self.show(&["list"])?;
        self.show(&["wait", id])?;
        self.show(&["output", id])
    }

    /// Runs a command and lets the reader see both the line and what it prints.
    fn show(&self, arguments: &[&str]) -> Outcome {
        println!("\n$ meanwhile {}", arguments.join(" "));
        let status = self.command(arguments).status().map_err(|error| self.cannot(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(format!("`meanwhile {}` ended with {status}", arguments.join(" ")))
    }

    fn quiet(&self, arguments: &[&str]) -> Outcome<String> {
        let output = self.command(arguments).output().map_err(|error| self.cannot(&error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`meanwhile {}` ended with {}: {said}", arguments.join(" "), output.status))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command.arg("--home").arg(self.home).args(arguments).stdin(Stdio::null());
        // A tour inside somebody's task or session must not become part of it.
        for name in ["MEANWHILE_HOME", "MEANWHILE_SESSION", "MEANWHILE_TASK"] {
            command.env_remove(name);
        }
        command
    }

    fn cannot(&self, error: &std::io::Error) -> String {
        format!("cannot run {}: {error}", self.binary.display())
    }
}
