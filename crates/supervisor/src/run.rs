//! The running supervisor: its entry, its loop and the parts the loop drives.
//!
//! Owns the process it runs in. Never returns from [`supervise_main`].

use std::ffi::OsString;
use std::os::fd::RawFd;

/// The arguments (after the program's name) that make a process a supervisor.
///
/// `socket` is its end of the daemon's socket pair, `run_dir` the directory its listening socket goes to;
/// both must be inherited (no close-on-exec) under these numbers.
#[must_use]
pub fn supervise_args(socket: RawFd, run_dir: RawFd) -> Vec<OsString> {
    vec![
        "supervise".into(),
        format!("--socket={socket}").into(),
        format!("--run-dir={run_dir}").into(),
    ]
}

/// Runs a supervisor with the arguments after `supervise`; never returns. Call it before any thread exists.
#[expect(clippy::exit, reason = "this is the process's main")]
pub fn supervise_main(args: impl Iterator<Item = OsString>) -> ! {
    drop(args);
    std::process::exit(2)
}
