//! Calls of the real `meanwhile` binary, each with a deadline and both outputs captured.
//!
//! Owns the child processes it starts. Every call checks one promise by itself: when the binary has
//! ended, nobody (a daemon it started, above all) may still hold the pipes it was given.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::process::Process;
use crate::{DEADLINE, TestHome};

/// How long after the end of the binary its pipes may take to close: the time to schedule a reader
/// thread on a loaded machine, far below the life of anybody who kept one.
const EOF_GRACE: Duration = Duration::from_secs(5);

/// A call being put together. `run` waits for its end, `start` does not.
#[derive(Debug)]
#[must_use = "nothing happens before `run` or `start`"]
pub struct Invocation<'a> {
    home: &'a TestHome,
    program: Option<PathBuf>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    uid: Option<u32>,
    wrapper: Vec<OsString>,
    deadline: Duration,
}

impl<'a> Invocation<'a> {
    pub(crate) fn new(home: &'a TestHome, arguments: Vec<OsString>) -> Self {
        Self {
            home,
            program: None,
            arguments,
            environment: Vec::new(),
            directory: None,
            stdin: None,
            uid: None,
            wrapper: Vec::new(),
            deadline: DEADLINE,
        }
    }

    /// Bytes for its standard input, which else is /dev/null.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.push((name, Some(value)));
        self
    }

    /// One environment variable less.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), None));
        self
    }

    /// The directory it is called in; else the home's `cwd`.
    pub fn cwd(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Calls it as another user (root only).
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Another copy of the binary, for upgrades.
    pub fn program(mut self, program: impl AsRef<Path>) -> Self {
        self.program = Some(program.as_ref().to_owned());
        self
    }

    /// Starts it through another command, whose last argument is followed by ours: `unshare -m sh -c
    /// '...; exec "$@"' sh`, `prlimit --nofile=64`, `nice`.
    pub fn wrapped<A: AsRef<OsStr>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.wrapper = command.into_iter().map(|a| a.as_ref().to_owned()).collect();
        self
    }

    /// How long it may take; else [`DEADLINE`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Ran {
        let deadline = self.deadline;
        self.start().wait(deadline)
    }

    /// Starts it and leaves it running.
    #[track_caller]
    pub fn start(self) -> Running<'a> {
        let program = self.program.clone().unwrap_or_else(|| self.home.binary());
        let mut line = self.wrapper.clone();
        line.push(program.into());
        line.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .current_dir(self.directory.as_deref().unwrap_or(&self.home.cwd()))
            .env_clear()
            .envs(self.home.environment())
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(uid) = self.uid {
            command.gid(uid).uid(uid);
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", shown(&line)));
        let line = shown(&self.arguments);
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program that does not read its input is no failure of the test's.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = collect(child.stdout.take().expect("stdout was asked to be a pipe"));
        let stderr = collect(child.stderr.take().expect("stderr was asked to be a pipe"));
        Running { home: self.home, line, child, stdout, stderr }
    }
}

/// The arguments as one line, shortened: some tests pass a megabyte.
fn shown(arguments: &[OsString]) -> String {
    let line: Vec<String> =
        arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    line.join(" ").chars().take(300).collect()
}

/// Reads a pipe to its end in a thread; the channel delivers once somebody closes the last holder.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// A call that runs.
#[derive(Debug)]
pub struct Running<'a> {
    home: &'a TestHome,
    line: String,
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

impl Running<'_> {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = Process::of(self.child.id()) {
            process.signal(signal);
        }
    }

    /// True while it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes longer than `deadline`, or when somebody holds its pipes after its end.
    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Ran {
        let ended =
            Process::of(self.child.id()).is_none_or(|process| process.ends_within(deadline));
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
            panic!(
                "`meanwhile {}` did not end within {deadline:?}\n{}",
                self.line,
                self.home.diagnosis()
            );
        }
        let status = self.child.wait().expect("an ended child can be waited for");
        let [stdout, stderr] =
            [(&self.stdout, "stdout"), (&self.stderr, "stderr")].map(|(pipe, name)| {
                pipe.recv_timeout(EOF_GRACE).unwrap_or_else(|_| {
                    panic!(
                        "`meanwhile {}` has ended, but somebody still holds its {name}\n{}",
                        self.line,
                        self.home.diagnosis()
                    )
                })
            });
        Ran {
            line: self.line.clone(),
            status,
            stdout,
            stderr,
            diagnosis: self.home.diagnosis_later(),
        }
    }
}

/// A call that has ended.
#[derive(Debug)]
pub struct Ran {
    line: String,
    status: ExitStatus,
    /// What it printed as a result.
    pub stdout: Vec<u8>,
    /// What it printed besides.
    pub stderr: Vec<u8>,
    diagnosis: PathBuf,
}

impl Ran {
    /// Its exit code; 128+N when signal N ended it, as a shell says it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Its result as text, without the newline at the end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// What it said on stderr.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Demands exit code 0 and answers the result as text.
    #[track_caller]
    pub fn ok(&self) -> String {
        self.expect(0);
        self.text()
    }

    /// Demands an exit code.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert!(
            self.code() == code,
            "`meanwhile {}` exited {}, expected {code}\nstdout: {}\nstderr: {}\n{}",
            self.line,
            self.code(),
            self.text(),
            self.complaint(),
            crate::home::log_tail(&self.diagnosis)
        );
        self
    }

    /// Demands exit code 0 and one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.ok();
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| {
            panic!("`meanwhile {}` printed no JSON: {error}\n{}", self.line, self.text())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call of `sh` instead of the binary: what is tested here is the harness.
    fn shell<'a>(home: &'a TestHome, script: &str) -> Invocation<'a> {
        home.invoke(["-c", script]).program("sh")
    }

    #[test]
    fn a_call_gets_its_own_home_and_nothing_of_ours() {
        let home = TestHome::new();
        let seen = shell(&home, "echo $MEANWHILE_HOME; echo $HOME; echo $CARGO_MANIFEST_DIR").run();
        let expected =
            format!("{}\n{}", home.state().display(), home.root().join("user").display());
        assert_eq!(seen.ok(), expected);
    }

    #[test]
    fn input_output_and_exit_code_arrive() {
        let home = TestHome::new();
        let ran = shell(&home, "cat; echo no >&2; exit 7").stdin("yes").run();
        assert_eq!((ran.code(), ran.text(), ran.complaint()), (7, "yes".into(), "no\n".into()));
    }

    #[test]
    #[should_panic(expected = "did not end within")]
    fn a_call_that_hangs_is_ended_and_fails() {
        let home = TestHome::new();
        shell(&home, "exec sleep 1000").deadline(Duration::from_millis(50)).run();
    }

    #[test]
    #[should_panic(expected = "somebody still holds its stdout")]
    fn a_call_whose_child_keeps_the_pipe_fails() {
        let home = TestHome::new();
        shell(&home, "sleep 1000 2>/dev/null &").run();
    }

    #[test]
    fn dropping_a_home_kills_what_belongs_to_it() {
        let home = TestHome::new();
        let mut bell = home.bell("bell");
        let script = format!(
            "setsid sh -c '{}; exec sleep 1000' >/dev/null 2>&1 &",
            bell.shell("$$").replace('\'', "\"")
        );
        shell(&home, &script).run().ok();
        let pid = bell.wait(DEADLINE).parse().expect("the shell rang with its pid");
        let process = Process::of(pid).expect("it runs");
        assert!(home.processes().contains(&pid));
        drop(home);
        assert!(!process.is_alive());
    }
}
