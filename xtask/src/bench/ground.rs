//! The directory where everything of a run happens, and the processes that were started there.
//!
//! Owns the scratch directories, the clean environment of every contestant, and the ending of what was started. Never
//! ends a process by its name: only those whose environment or arguments carry this run's directory, by pid.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

use super::machine;
use crate::Outcome;

/// How long an ended process may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// Scratch space on a real disk, with a copy of the programs under test: a compiler that replaces them meanwhile
/// changes nothing.
pub(super) struct Ground {
    directory: TempDir,
    pub(super) binary: PathBuf,
    /// Ourselves, in the roles of `actor`.
    pub(super) actor: PathBuf,
}

impl Ground {
    pub(super) fn new(parent: &Path, binary: &Path) -> Outcome<Self> {
        fs::create_dir_all(parent).map_err(|error| cannot("make", parent, &error))?;
        let parent = parent.canonicalize().map_err(|error| cannot("find", parent, &error))?;
        machine::must_be_a_disk(&parent)?;
        sweep_earlier_runs(&parent)?;
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .map_err(|error| cannot("make a directory in", &parent, &error))?;
        let copy = |from: &Path, name: &str| {
            let to = directory.path().join(name);
            fs::copy(from, &to).map_err(|error| cannot("copy", from, &error))?;
            Ok::<_, String>(to)
        };
        let ourselves = std::env::current_exe().map_err(|e| format!("cannot find xtask: {e}"))?;
        let (binary, actor) = (copy(binary, "meanwhile")?, copy(&ourselves, "actor")?);
        Ok(Self { directory, binary, actor })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory of its own for one contestant in one round; what it started there is ended with it.
    pub(super) fn scratch(&self, name: &str) -> Outcome<Scratch> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(self.path())
            .map_err(|error| cannot("make a directory in", self.path(), &error))?;
        Ok(Scratch { directory })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        end_all_of(self.path());
    }
}

/// See [`Ground::scratch`].
pub(super) struct Scratch {
    directory: TempDir,
}

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A program in the same plain environment for everybody: what we inherited from an editor or an agent would cost
    /// whoever passes it on.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path())
            .env("TMPDIR", self.path())
            .env("LANG", "C.UTF-8")
            .env("USER", "bench")
            .env("TERM", "dumb")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        end_all_of(self.path());
    }
}

/// Runs a command to its end; answers what it printed.
pub(super) fn finish(mut command: Command) -> Outcome<String> {
    let output = command.output();
    // Without the environment, which is the same for all.
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let line: String = line.chars().take(200).collect();
    let output = output.map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{line}` ended with {}: {}", output.status, said.trim()))
}

/// How the directory of a run is called, so that the next run finds what an interrupted one left.
const PREFIX: &str = "run-";

/// An interrupted run (Ctrl-C) cleans nothing up; the next one does.
fn sweep_earlier_runs(parent: &Path) -> Outcome {
    for entry in fs::read_dir(parent).map_err(|error| cannot("read", parent, &error))?.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !ours || !owner_is_gone(&path) {
            continue;
        }
        println!("bench: removing what an interrupted run left in {}", path.display());
        end_all_of(&path);
        fs::remove_dir_all(&path).map_err(|error| cannot("remove", &path, &error))?;
    }
    Ok(())
}

/// Nobody runs the benchmark in this directory any more.
fn owner_is_gone(directory: &Path) -> bool {
    let owner = fs::read_to_string(directory.join("owner")).unwrap_or_default();
    let Ok(pid) = owner.trim().parse::<u32>() else { return true };
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !String::from_utf8_lossy(&line).contains("bench")
}

impl Ground {
    /// Says whose directory this is.
    pub(super) fn sign(&self) -> Outcome {
        let path = self.path().join("owner");
        fs::write(&path, std::process::id().to_string())
            .map_err(|error| cannot("write", &path, &error))
    }
}

/// Kills what carries this directory in its environment or arguments: daemons, supervisors, tasks, peers.
fn end_all_of(directory: &Path) {
    let deadline = Instant::now() + GONE_WITHIN;
    while Instant::now() < deadline {
        let found = carrying(directory);
        if found.is_empty() {
            return;
        }
        for pid in found {
            kill(pid, directory);
        }
        // sleep: ends of processes that are not our children announce themselves to nobody
        std::thread::sleep(Duration::from_millis(5));
    }
    eprintln!("bench: processes of {} could not be ended", directory.display());
}

/// The processes, other than ourselves, that carry a directory.
fn carrying(directory: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| i64::from(*pid) != i64::from(std::process::id()) && carries(*pid, directory))
        .collect()
}

fn carries(pid: i32, directory: &Path) -> bool {
    let needle = directory.as_os_str().as_encoded_bytes();
    ["environ", "cmdline"].iter().any(|file| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(needle.len()).any(|window| window == needle)
    }) || ["exe", "cwd"].iter().any(|link| {
        fs::read_link(format!("/proc/{pid}/{link}")).is_ok_and(|path| path.starts_with(directory))
    })
}

fn kill(pid: i32, directory: &Path) {
    let Some(number) = Pid::from_raw(pid) else { return };
    let Ok(descriptor) = pidfd_open(number, PidfdFlags::empty()) else { return };
    // Looked at again after the open: the descriptor is of the process that carries the directory.
    if carries(pid, directory) {
        let _ = pidfd_send_signal(&descriptor, Signal::KILL);
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
