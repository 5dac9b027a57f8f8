//! A temporary home with a daemon of its own, and what tests do with it.
//!
//! Owns a directory below the system's temporary directory and every process that belongs to it.
//! The environment of all calls is built from nothing, so nobody's real home, session or daemon can
//! be reached. Dropping it kills what is left; a failing test also gets the daemon's log.
//!
//! ```text
//! <temporary>/state   MEANWHILE_HOME: config, database, socket, logs
//! <temporary>/user    HOME
//! <temporary>/cwd     where the binary is called
//! <temporary>/tmp     TMPDIR
//! ```

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::invoke::{Invocation, Ran};
use crate::mode::{self, Isolation};
use crate::process::{self, Process};
use crate::{Bell, DEADLINE, Gate, wait_for_file};

/// How many times the processes of a home are looked for and killed. Each round can only find what
/// the round before let start, so a handful is plenty; the limit stops a fork bomb of a bug.
const KILL_ROUNDS: u32 = 20;

/// What is below it has nine digits at most; prime, so that the digits of names mix well.
const NINE_DIGITS: u64 = 999_999_937;

/// Choices for a home, before it is made.
#[derive(Debug, Default)]
#[must_use = "nothing is made before `build`"]
pub struct HomeBuilder {
    config: String,
    below: PathBuf,
    uid: Option<u32>,
    xdg: bool,
    disk: Option<u64>,
}

impl HomeBuilder {
    /// Lines for `config.toml`.
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Puts the state directory this much deeper, for example to make paths long.
    pub fn below(mut self, path: impl AsRef<Path>) -> Self {
        path.as_ref().clone_into(&mut self.below);
        self
    }

    /// Makes the home another user's; all calls then run as that user (root only).
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Sets no MEANWHILE_HOME: the default XDG directories below HOME are used.
    pub fn xdg(mut self) -> Self {
        self.xdg = true;
        self
    }

    /// Puts the home on a file system of its own with this many bytes (root only), so that it can
    /// be filled. Removed with the home.
    pub fn on_small_disk(mut self, bytes: u64) -> Self {
        self.disk = Some(bytes);
        self
    }

    /// Makes the directories and the configuration. Starts nothing, but in the mode `controllers`,
    /// where only a daemon that begins alone in its cgroup can have any.
    pub fn build(mut self) -> TestHome {
        println!("MODE: {}", mode::words());
        let directory = tempfile::Builder::new()
            .prefix("mw-")
            .tempdir()
            .expect("a temporary directory can be made");
        let root = directory.path().to_owned();
        let (state, config) = if self.xdg {
            (root.join("user/.local/state/meanwhile"), root.join("user/.config/meanwhile"))
        } else {
            let mut state = root.join("state");
            // Joined with an empty path it would end in a slash.
            state.extend(&self.below);
            (state.clone(), state)
        };
        if let Some(bytes) = self.disk {
            mount_disk(&root, bytes);
        }
        let home = TestHome {
            directory,
            state,
            uid: self.uid,
            xdg: self.xdg,
            has_disk: self.disk.is_some(),
        };
        for path in [&home.state, &config, &root.join("user"), &home.cwd(), &root.join("tmp")] {
            fs::create_dir_all(path).expect("directories can be made in a new one");
        }
        if mode::isolation() == Isolation::Off {
            self.config.push_str("isolation.cgroup = \"off\"\n");
        }
        if !self.config.is_empty() {
            fs::write(config.join("config.toml"), &self.config).expect("a file can be written");
        }
        own_everything(&root, self.uid);
        if mode::isolation() == Isolation::Controllers && self.uid.is_none() {
            crate::controllers::start_daemon(&home);
        }
        home
    }
}

/// A temporary home with its own daemon. See the crate's documentation for a first test.
#[derive(Debug)]
pub struct TestHome {
    directory: tempfile::TempDir,
    state: PathBuf,
    uid: Option<u32>,
    xdg: bool,
    has_disk: bool,
}

impl Default for TestHome {
    fn default() -> Self {
        Self::new()
    }
}

impl TestHome {
    /// A home in the mode of this run, with no further configuration.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A home with choices.
    pub fn builder() -> HomeBuilder {
        HomeBuilder::default()
    }

    /// The temporary directory that holds everything.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The state directory (MEANWHILE_HOME unless XDG was asked for).
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The directory the binary is called in.
    pub fn cwd(&self) -> PathBuf {
        self.root().join("cwd")
    }

    /// A path for a file of the test's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.cwd().join(name)
    }

    /// The binary under test.
    pub fn binary(&self) -> PathBuf {
        find_binary()
    }

    /// The whole environment of a call.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let root = self.root();
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("HOME".into(), root.join("user").into()),
            ("TMPDIR".into(), root.join("tmp").into()),
            ("PATH".into(), std::env::var_os("PATH").unwrap_or_default()),
            ("LANG".into(), "C.UTF-8".into()),
            ("RUST_BACKTRACE".into(), "1".into()),
        ];
        if !self.xdg {
            variables.push(("MEANWHILE_HOME".into(), self.state.clone().into()));
        }
        // Marks every process of a test run, so that leftovers can be found.
        if let Some(nonce) = std::env::var_os("MEANWHILE_TEST_NONCE") {
            variables.push(("MEANWHILE_TEST_NONCE".into(), nonce));
        }
        // Where a build with fault points is told what is armed; no other knows the name.
        if let Some(directory) = std::env::var_os("MEANWHILE_FAULTS") {
            variables.push(("MEANWHILE_FAULTS".into(), directory));
        }
        variables
    }

    /// A call with choices.
    pub fn invoke<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Invocation<'_> {
        let arguments = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let call = Invocation::new(self, arguments);
        match self.uid {
            Some(uid) => call.uid(uid),
            None => call,
        }
    }

    /// Runs `meanwhile ARGUMENTS` to its end.
    #[track_caller]
    pub fn cli<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        self.invoke(arguments).run()
    }

    /// Runs `meanwhile --json ARGUMENTS`, demands exit code 0, and answers the document.
    #[track_caller]
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Value {
        let mut line: Vec<OsString> = vec!["--json".into()];
        line.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self.cli(line).json()
    }

    /// `meanwhile run -- COMMAND`; answers the id.
    #[track_caller]
    pub fn launch<A: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = A>) -> String {
        self.launch_with::<&str, A>([], command)
    }

    /// `meanwhile run OPTIONS -- COMMAND`; answers the id.
    #[track_caller]
    pub fn launch_with<O: AsRef<OsStr>, A: AsRef<OsStr>>(
        &self,
        options: impl IntoIterator<Item = O>,
        command: impl IntoIterator<Item = A>,
    ) -> String {
        let mut line: Vec<OsString> = vec!["run".into()];
        line.extend(options.into_iter().map(|o| o.as_ref().to_owned()));
        line.push("--".into());
        line.extend(command.into_iter().map(|a| a.as_ref().to_owned()));
        self.cli(line).ok()
    }

    /// `meanwhile run --shell LINE`; answers the id.
    #[track_caller]
    pub fn launch_shell(&self, line: &str) -> String {
        self.launch_shell_with::<&str>([], line)
    }

    /// `meanwhile run OPTIONS --shell LINE`; answers the id.
    #[track_caller]
    pub fn launch_shell_with<O: AsRef<OsStr>>(
        &self,
        options: impl IntoIterator<Item = O>,
        line: &str,
    ) -> String {
        let mut arguments: Vec<OsString> = vec!["run".into()];
        arguments.extend(options.into_iter().map(|o| o.as_ref().to_owned()));
        arguments.extend(["--shell".into(), line.into()]);
        self.cli(arguments).ok()
    }

    /// The task object.
    #[track_caller]
    pub fn status(&self, id: &str) -> Value {
        self.json(["status", id])
    }

    /// Waits for the end of a task (any end) and answers its object.
    #[track_caller]
    pub fn wait(&self, id: &str) -> Value {
        let ran = self.cli(["wait", id]);
        assert!(
            matches!(ran.code(), 0 | 1),
            "`meanwhile wait {id}` exited {}: {}",
            ran.code(),
            ran.complaint()
        );
        self.status(id)
    }

    /// The whole output of a task, as text.
    #[track_caller]
    pub fn output(&self, id: &str) -> String {
        self.cli(["output", id]).ok()
    }

    /// A FIFO at which a task can be held. `name` must be new in this home.
    pub fn gate(&self, name: &str) -> Gate {
        let gate = Gate::new(&self.path(name));
        self.give(&self.path(name));
        gate
    }

    /// A FIFO by which a task can tell something. `name` must be new in this home.
    pub fn bell(&self, name: &str) -> Bell {
        let bell = Bell::new(&self.path(name));
        self.give(&self.path(name));
        bell
    }

    fn give(&self, path: &Path) {
        if self.uid.is_some() {
            chown(path, self.uid, self.uid).expect("root can give a file away");
        }
    }

    /// An argument for `sleep` that means more than a test's time and that nobody else uses, so that
    /// [`marked`](crate::marked) finds exactly this home's sleepers.
    pub fn marker(&self) -> String {
        let name = self.root().as_os_str().as_encoded_bytes();
        let number = name.iter().fold(u64::from(std::process::id()), |sum, byte| {
            (sum * 31 + u64::from(*byte)) % NINE_DIGITS
        });
        format!("1000.{number:09}")
    }

    /// The daemon that holds the lock now, if one does.
    pub fn daemon(&self) -> Option<Process> {
        let text = fs::read_to_string(self.state.join("daemon.lock")).ok()?;
        let process = Process::of(lock_holder(text.as_bytes())?)?;
        process::belongs_to(process.pid(), &self.state).then_some(process)
    }

    /// `kill -9` on the daemon, which must be there; answers its pid when it is dead.
    #[track_caller]
    pub fn kill_daemon(&self) -> u32 {
        let daemon = self.daemon().unwrap_or_else(|| panic!("no daemon\n{}", self.diagnosis()));
        daemon.kill();
        daemon.pid()
    }

    /// Waits until a daemon other than `old` holds the lock, without asking for one.
    #[track_caller]
    pub fn wait_for_other_daemon(&self, old: u32) -> Process {
        let lock = self.state.join("daemon.lock");
        wait_for_file(&lock, DEADLINE, |bytes| {
            lock_holder(bytes).is_some_and(|pid| pid != old && Process::of(pid).is_some())
        });
        self.daemon().expect("the holder of the lock was alive a moment ago")
    }

    /// Every process that belongs to this home: daemon, supervisors, tasks and what they started.
    pub fn processes(&self) -> Vec<u32> {
        let own = std::process::id();
        let mut roots: Vec<u32> = process::all_pids()
            .into_iter()
            .filter(|pid| *pid != own && process::belongs_to(*pid, self.root()))
            .collect();
        roots = process::descendants(&roots);
        roots.retain(|pid| *pid != own);
        roots
    }

    /// Stops the daemon with every task, and demands that nothing of this home is left alive.
    ///
    /// # Panics
    /// When a process is left.
    #[track_caller]
    pub fn finish(self) {
        self.cli(["daemon", "stop", "--cancel-all"]).ok();
        crate::until("every process of the home to end", DEADLINE, || {
            self.processes().is_empty().then_some(())
        });
    }

    /// What a failing test wants to know: the daemon's log, the processes, the files.
    pub fn diagnosis(&self) -> String {
        let processes: Vec<String> = self
            .processes()
            .into_iter()
            .map(|pid| format!("{pid} {}", process::command_line(pid)))
            .collect();
        format!("--- processes\n{}\n{}", processes.join("\n"), log_tail(&self.diagnosis_later()))
    }

    pub(crate) fn diagnosis_later(&self) -> PathBuf {
        self.state.join("logs/daemon.log")
    }

    /// Removes the empty cgroup that the daemon leaves for the next daemon of the same home: there
    /// will be none. Where it was, the daemon's log says.
    fn remove_cgroup(&self) {
        let log = fs::read_to_string(self.diagnosis_later()).unwrap_or_default();
        let paths = log.lines().filter_map(|line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            Some(PathBuf::from(entry["path"].as_str()?))
        });
        for path in paths.filter(|path| path.starts_with("/sys/fs/cgroup")) {
            remove_empty_directories(&path);
        }
    }

    fn kill_everything(&self) {
        for _ in 0..KILL_ROUNDS {
            let found: Vec<Process> =
                self.processes().into_iter().filter_map(Process::of).collect();
            if found.is_empty() {
                return;
            }
            for process in &found {
                process.signal(Signal::KILL);
            }
            for process in &found {
                process.ends_within(Duration::from_secs(5));
            }
        }
    }
}

impl Drop for TestHome {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.diagnosis());
        }
        self.kill_everything();
        self.remove_cgroup();
        if self.has_disk {
            let _ = Command::new("umount").arg("--lazy").arg(self.root()).status();
        }
    }
}

/// Removes a tree of directories as far as they are empty; cgroups with processes resist.
fn remove_empty_directories(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_directories(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

/// A tmpfs: the kernel gives ENOSPC exactly at the size, and needs no image and no loop device.
#[track_caller]
fn mount_disk(at: &Path, bytes: u64) {
    let done = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tmpfs"])
        .arg(at)
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "a small disk needs root and `mount`: ask `mode::is_root` first"
    );
}

/// The pid at the beginning of the lock file.
fn lock_holder(bytes: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(bytes);
    text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

/// The last lines of a daemon's log.
pub(crate) fn log_tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("(no daemon log: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    format!("--- daemon log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
}

/// The binary under test: the one the test run names, else the one beside the test binary.
fn find_binary() -> PathBuf {
    let named = ["MEANWHILE_TEST_BIN", "NEXTEST_BIN_EXE_meanwhile", "CARGO_BIN_EXE_meanwhile"]
        .into_iter()
        .find_map(std::env::var_os);
    if let Some(path) = named {
        return path.into();
    }
    // target/debug/deps/test-0123 -> target/debug/meanwhile
    let own = std::env::current_exe().expect("a running program has a path");
    let beside = own.ancestors().nth(2).map(|directory| directory.join("meanwhile"));
    beside.filter(|path| path.is_file()).expect(
        "`meanwhile` is not built: use `cargo xtask test`, or `cargo build -p meanwhile` first",
    )
}

/// Private modes for directories and files, and the owner where one was asked for.
fn own_everything(path: &Path, uid: Option<u32>) {
    let is_directory = path.is_dir();
    let mode = if is_directory { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own files can be changed");
    if is_directory {
        for entry in fs::read_dir(path).expect("own directory can be read").flatten() {
            own_everything(&entry.path(), uid);
        }
    }
    if uid.is_some() {
        chown(path, uid, uid).expect("only root may make homes of others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_may_hold_more_than_the_pid() {
        assert_eq!(lock_holder(b"123\n"), Some(123));
        assert_eq!(lock_holder(b"pid 77 started 5"), Some(77));
        assert_eq!(lock_holder(b""), None);
    }
}
