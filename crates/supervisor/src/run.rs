//! The running supervisor: its entry, its loop and the parts the loop drives.
//!
//! Owns the process it runs in: [`supervise_main`] never returns.

mod attempt;
mod cgroup;
mod clock;
mod deadlines;
mod input;
mod ladder;
mod listener;
mod os;
mod output;
mod prepare;
mod revive;
mod sample;
mod slow_mounts;
mod spawn;
mod supervisor;
mod tmpdir;

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::wire::Connection;

/// The arguments (after the program's name) that make a process a supervisor.
///
/// `socket` is its end of the daemon's socket pair, `run_dir` the directory its listening socket goes to;
/// both must be inherited (no close-on-exec) under these numbers, above 2.
#[must_use]
pub fn supervise_args(socket: RawFd, run_dir: RawFd) -> Vec<OsString> {
    vec![
        "supervise".into(),
        format!("{SOCKET}{socket}").into(),
        format!("{RUN_DIR}{run_dir}").into(),
    ]
}

const SOCKET: &str = "--socket=";
const RUN_DIR: &str = "--run-dir=";

/// What the C library's `sysexits.h` calls a wrong use of the command line.
const EXIT_USAGE: i32 = 64;
/// The system refused what a supervisor cannot work without.
const EXIT_SYSTEM: i32 = 71;

/// Runs a supervisor with the arguments after `supervise`; never returns. Call it before any thread exists:
/// the task dies with the thread that started it.
#[expect(clippy::exit, reason = "this is the process's main")]
pub fn supervise_main(args: impl Iterator<Item = OsString>) -> ! {
    let Some((socket, run_dir)) = descriptors(args) else { std::process::exit(EXIT_USAGE) };
    match settle_in(socket, run_dir) {
        Ok(mut supervisor) => {
            supervisor.run();
            let leaf = supervisor.leaf_without_daemon();
            // An exit runs no destructors, and the socket's file must go.
            drop(supervisor);
            leaf.iter().for_each(|leaf| crate::leaf::leave(leaf));
            std::process::exit(0)
        }
        Err(_) => std::process::exit(EXIT_SYSTEM),
    }
}

fn descriptors(args: impl Iterator<Item = OsString>) -> Option<(RawFd, RawFd)> {
    let (mut socket, mut run_dir) = (None, None);
    for arg in args {
        let arg = arg.to_str()?;
        if let Some(number) = arg.strip_prefix(SOCKET) {
            socket = number.parse().ok();
        } else if let Some(number) = arg.strip_prefix(RUN_DIR) {
            run_dir = number.parse().ok();
        }
        // Others are of a later release that starts an older supervisor: they cannot be needed here.
    }
    Some((socket?, run_dir?))
}

/// Makes this process what a supervisor is: alone in its session, parent of all orphans below it, with no
/// descriptor but its own.
fn settle_in(socket: RawFd, run_dir: RawFd) -> std::io::Result<supervisor::Supervisor> {
    os::close_others(&mut [socket, run_dir]);
    let socket = os::adopt(socket)?;
    let run_dir: OwnedFd = os::adopt(run_dir)?;
    let null = os::null_stdio()?;
    debug_assert!(null.as_raw_fd() > 2, "the child's streams must not be overwritten in turn");
    // Already a leader when the daemon saw to it.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    meanwhile_faultpoint::fault_point!("supervisor.begun");
    let signals = os::signal_fd()?;
    os::default_signals();
    let daemon = Connection::new(socket).map_err(std::io::Error::other)?;
    supervisor::Supervisor::new(daemon, run_dir, null, signals)
}

/// How often the kernel's memory killer struck on this machine since boot.
fn oom_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
