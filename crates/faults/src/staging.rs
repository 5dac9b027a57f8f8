//! What several rows need to stage a fault: who belongs to a task, strangers with a chosen pid, another
//! boot, a file that moved.
//!
//! Owns the strangers it starts. Never signals a process of which it does not know the start time.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use meanwhile_testkit::{Bell, DEADLINE, Invocation, Process, TestHome, marked, mode, until};

/// The process that rang with its pid.
#[track_caller]
#[must_use]
pub fn heard(bell: &mut Bell) -> Process {
    let pid = bell.wait(DEADLINE).parse().expect("the task rang with its pid");
    Process::of(pid).expect("the task that rang lives")
}

/// The supervisor of a task that runs. That it started is committed a moment later, with whatever comes
/// next, so it is asked for more than once.
#[track_caller]
#[must_use]
pub fn supervisor_of(home: &TestHome, id: &str) -> Process {
    let pid = until("the task's supervisor to be known", DEADLINE, || {
        home.status(id)["supervisor_pid"].as_u64()
    });
    Process::of(u32::try_from(pid).expect("pids are small")).expect("the supervisor lives")
}

/// Every living supervisor of a home, busy or idle.
#[must_use]
pub fn supervisors(home: &TestHome) -> Vec<Process> {
    let ours = home.processes();
    let mut found = marked("supervise");
    found.retain(|pid| ours.contains(pid) && is_supervisor(*pid));
    found.into_iter().filter_map(Process::of).collect()
}

fn is_supervisor(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(b"supervise")
}

/// Waits until no process of the home carries the mark; answers who still does after `patience`.
#[must_use]
pub fn survivors(mark: &str, patience: Duration) -> Vec<u32> {
    let end = std::time::Instant::now() + patience;
    loop {
        let found = marked(mark);
        if found.is_empty() || std::time::Instant::now() > end {
            return found;
        }
        std::thread::yield_now();
    }
}

/// Kills what carries the mark: the row is over, and it says itself what it found.
pub fn clear(mark: &str) {
    for process in marked(mark).into_iter().filter_map(Process::of) {
        process.signal(rustix::process::Signal::KILL);
        process.ends_within(DEADLINE);
    }
}

/// A call that sees another boot id; a daemon that it starts sees it too.
pub fn after_a_reboot<'a>(home: &'a TestHome, arguments: &[&str]) -> Invocation<'a> {
    const OTHER: &str = "01234567-89ab-4cde-8f01-23456789abcd\n";
    let file = home.root().join("boot_id");
    fs::write(&file, OTHER).expect("a file can be written");
    let mount =
        format!("mount --bind '{}' /proc/sys/kernel/random/boot_id && exec \"$@\"", file.display());
    home.invoke(arguments.iter().copied()).wrapped(["unshare", "-m", "sh", "-c", &mount, "sh"])
}

/// True where a private mount namespace may be made.
#[must_use]
pub fn can_mount() -> bool {
    mode::is_root() && succeeds("unshare", &["-m", "true"])
}

/// Whether a program is there and ends well.
#[must_use]
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A process of the row's own that has a pid which somebody else had.
#[derive(Debug)]
pub struct Stranger {
    child: Child,
}

impl Stranger {
    /// Starts one with this free pid. The kernel gives out the number after the last one; on a busy
    /// machine others may take it first, so it is tried more than once. `None`: nobody may set it.
    ///
    /// # Panics
    /// When `sleep` cannot be started.
    #[must_use]
    pub fn with(pid: u32) -> Option<Self> {
        let last = Path::new("/proc/sys/kernel/ns_last_pid");
        until("the pid to be free", DEADLINE, || {
            (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        });
        for _ in 0..500 {
            fs::write(last, (pid - 1).to_string()).ok()?;
            // SIGTERM would end it as any other program: what is looked for is any signal at all.
            let child = Command::new("sleep").arg("1000").spawn().expect("sleep starts");
            let stranger = Self { child };
            if stranger.child.id() == pid {
                return Some(stranger);
            }
        }
        None
    }

    /// True until somebody ended it.
    pub fn is_untouched(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
