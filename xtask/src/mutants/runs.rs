//! The scratch worktree and the runs of tests in it.
//!
//! Owns the worktree, the time a run may take, and the processes of a run: what a broken product leaves behind
//! is found by the run's mark in its environment and killed. Never touches a process without that mark.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{Outcome, cargo};

/// Far beyond what any of these runs takes, building included, on two slow cores shared with others.
const PATIENCE: Duration = Duration::from_secs(900);

/// What the runner says before the name of a test that failed for good.
const FAILED: [&str; 5] = ["FAIL [", "TIMEOUT [", "TMT [", "SIGABRT [", "LEAK-FAIL ["];

/// Where mutations are tried.
pub(super) struct Runs {
    tree: PathBuf,
    built: PathBuf,
}

/// How a run ended.
pub(super) enum Ended {
    Passed,
    /// Which tests failed, shortened.
    Failed(String),
    NotBuilt,
}

/// A file that is broken until this is dropped.
pub(super) struct Broken {
    path: PathBuf,
    whole: String,
}

impl Drop for Broken {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.whole) {
            eprintln!("mutants: {} stays broken: {error}", self.path.display());
        }
    }
}

impl Runs {
    /// A worktree of the last commit below this directory.
    pub(super) fn prepare(directory: &Path) -> Outcome<Self> {
        let tree = directory.join("tree");
        let path = tree.to_str().ok_or("the target directory's path is not UTF-8")?;
        let root = cargo::root();
        // A worktree that somebody deleted by hand is still on git's list.
        git(&root, &["worktree", "prune"])?;
        if tree.join(".git").exists() {
            let here = git(&root, &["rev-parse", "HEAD"])?;
            git(&tree, &["checkout", "--quiet", "--force", "--detach", here.trim()])?;
        } else {
            git(&root, &["worktree", "add", "--quiet", "--force", "--detach", path, "HEAD"])?;
        }
        Ok(Self { tree, built: directory.join("target") })
    }

    /// Replaces a text of a file. None when it is not there exactly once.
    pub(super) fn break_it(&self, file: &str, old: &str, new: &str) -> Outcome<Option<Broken>> {
        let path = self.tree.join(file);
        let whole = match fs::read_to_string(&path) {
            Ok(whole) => whole,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        if whole.matches(old).count() != 1 {
            return Ok(None);
        }
        fs::write(&path, whole.replacen(old, new, 1))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Some(Broken { path, whole }))
    }

    /// Runs tests: arguments of `cargo nextest run`, filters last.
    pub(super) fn test(&self, run: &str) -> Outcome<Ended> {
        if !self.build(run)? {
            return Ok(Ended::NotBuilt);
        }
        let nonce = format!("mutants-{}-{}", std::process::id(), self.built.display());
        let log = self.built.join("run.log");
        let (status, text) = {
            let mut command = self.cargo(&log)?;
            command.args(["nextest", "run", "--profile", "mutants", "--offline"]);
            command.args(run.split_whitespace());
            command.env("MEANWHILE_TEST_NONCE", &nonce);
            wait(command.spawn(), &log)?
        };
        end_marked(&nonce);
        if status == Some(0) {
            return Ok(Ended::Passed);
        }
        // 4: no test to run. A filter that fits nothing proves nothing.
        if status == Some(4) || text.contains("no tests to run") {
            return Err(format!("`{run}` runs no test"));
        }
        let mut failed: Vec<&str> = text
            .lines()
            .filter(|line| FAILED.iter().any(|word| line.contains(word)))
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        failed.dedup();
        failed.truncate(3);
        Ok(Ended::Failed(if failed.is_empty() { last_line(&text) } else { failed.join(", ") }))
    }

    /// Builds what a run needs; whether that worked.
    fn build(&self, run: &str) -> Outcome<bool> {
        let log = self.built.join("build.log");
        let mut command = self.cargo(&log)?;
        command.args(["nextest", "run", "--no-run", "--offline"]);
        // Filters are positional: they come last and do not begin with a dash.
        command.args(run.split_whitespace());
        let (status, said) = wait(command.spawn(), &log)?;
        if status != Some(0) && said.contains("the compiler unexpectedly panicked") {
            // What it kept from the build before confuses it now and then: once more without.
            let _made_again = fs::remove_dir_all(self.built.join("debug/incremental"));
            return Ok(wait(command.spawn(), &log)?.0 == Some(0));
        }
        Ok(status == Some(0))
    }

    fn cargo(&self, log: &Path) -> Outcome<Command> {
        fs::create_dir_all(&self.built).map_err(|e| format!("{}: {e}", self.built.display()))?;
        let output = fs::File::create(log).map_err(|e| format!("{}: {e}", log.display()))?;
        let errors = output.try_clone().map_err(|e| e.to_string())?;
        let mut command = cargo::cargo();
        command
            .current_dir(&self.tree)
            .env_remove("CARGO_MANIFEST_DIR")
            .env("CARGO_TARGET_DIR", &self.built)
            .env("CARGO_TERM_COLOR", "never")
            .env("RUSTFLAGS", "-Awarnings")
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(errors))
            .process_group(0);
        Ok(command)
    }
}

fn git(directory: &Path, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("git {}: {}", arguments.join(" "), said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits for a run and reads what it said. One that takes too long is killed with its group; its code is none.
fn wait(child: std::io::Result<Child>, log: &Path) -> Outcome<(Option<i32>, String)> {
    let mut child = child.map_err(|error| format!("cannot run cargo nextest: {error}"))?;
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code(),
            Ok(None) if Instant::now() >= until => {
                let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                if let Some(group) = group {
                    // It is our child and not reaped yet: the number is still its group's.
                    let _gone = rustix::process::kill_process_group(group, Signal::KILL);
                }
                let _reaped = child.wait();
                break None;
            }
            // sleep: a wait with a deadline for a child has no other form in std, and nobody is held up.
            Ok(None) => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(format!("wait for cargo: {error}")),
        }
    };
    let text = fs::read(log).map_err(|error| format!("{}: {error}", log.display()))?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

/// Kills what a run left behind: daemons and supervisors of a product that was broken on purpose.
fn end_marked(nonce: &str) {
    let marker = format!("MEANWHILE_TEST_NONCE={nonce}");
    let marked = |pid: u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
    };
    // Who is killed may just have started another.
    for _ in 0..5 {
        let mut found = false;
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let Some(number) = number.filter(|_| marked(pid)) else { continue };
            // Looked at again behind the descriptor: the number may have changed hands.
            if let Ok(process) = pidfd_open(number, PidfdFlags::empty())
                && marked(pid)
            {
                found |= pidfd_send_signal(&process, Signal::KILL).is_ok();
            }
        }
        if !found {
            return;
        }
    }
}

fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}
