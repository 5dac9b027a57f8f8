//! Bringing a lost daemon back.
//!
//! The new daemon is a sibling of this supervisor (`CLONE_PARENT`), never its child: as a child it would be one
//! more descendant, and ending a task must not end the daemon. Whether one lives already is told by the lock on
//! `daemon.lock`; a second lock lets one supervisor of many do the starting.
//! Owns the pace of attempts. Never talks to the daemon.
#![expect(unsafe_code, reason = "clone with CLONE_PARENT and execve have no safe form")]

use std::ffi::{CString, c_char};
use std::os::fd::OwnedFd;
use std::ptr;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::limits::{REVIVE_FIRST, REVIVE_LAST};
use crate::wire::{DaemonResult, Init};

use super::clock::Moment;

/// The lock a daemon holds as long as it lives, in the home directory.
const DAEMON_LOCK: &[u8] = b"daemon.lock";

/// The lock of the supervisor that starts one, in the run directory.
const REVIVE_LOCK: &str = "revive.lock";

/// Supervisors lose their daemon at the same instant; they look for a new one spread over this time.
const SPREAD_MS: u64 = 400;

/// What a supervisor wants a daemon for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A task of its own, which the daemon has to come for.
    Task,
    /// What may be queued, of which a supervisor knows nothing; and an end that is on file, to be read.
    Queue,
}

/// What the lock of the daemon says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastDaemon {
    /// It holds the lock.
    Lives,
    /// It left its name in the file: it could not tidy up.
    Died,
    /// It emptied the file, or there was none.
    Stopped,
}

/// The pace of bringing a daemon back.
#[derive(Debug)]
pub(super) struct Reviver {
    next: Option<Moment>,
    pause: Duration,
    /// Since when the daemon that is here has been.
    met: Option<Moment>,
    /// Held from a start until the daemon is there or is given up.
    turn: Option<OwnedFd>,
}

impl Reviver {
    pub(super) fn new() -> Self {
        Self { next: None, pause: REVIVE_FIRST, met: None, turn: None }
    }

    /// The daemon is lost. One that came and died at once has not ended the row of those that do: the next pause is
    /// longer still, or a daemon that ends of what it meets would come back every second for ever.
    pub(super) fn arm(&mut self, now: Moment) {
        let spread = Duration::from_millis(u64::from(std::process::id()) * 7 % SPREAD_MS);
        if self.met.take().is_some_and(|met| now.since(met) >= REVIVE_LAST) {
            self.pause = REVIVE_FIRST;
        }
        self.next = Some(now.after(self.pause).after(spread));
    }

    /// A daemon is there. Whether it stays will be seen.
    pub(super) fn met(&mut self, now: Moment) {
        self.met.get_or_insert(now);
        self.next = None;
        self.turn = None;
    }

    /// No daemon is wanted.
    pub(super) fn disarm(&mut self) {
        *self = Self::new();
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.next
    }

    /// Starts a daemon when it is time and nobody else did.
    pub(super) fn advance(&mut self, init: &Init, run_dir: &OwnedFd, now: Moment, need: Need) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        // A daemon that came meanwhile need not know of this supervisor, nor tell it of its stop.
        if need == Need::Queue && last_daemon(&init.home) != Ok(LastDaemon::Died) {
            return self.disarm();
        }
        self.pause = (self.pause * 2).min(REVIVE_LAST);
        self.next = Some(now.after(self.pause));
        self.turn = None;
        self.turn = take_turn(run_dir);
        meanwhile_faultpoint::fault_point!("revive.turn-taken");
        let alive = self.turn.is_some() && start(init) == DaemonResult::Alive;
        // One that lives may never come here, and with the queue's need nobody will: then nobody says that the
        // turn is over, and the others' would not come when that daemon dies.
        meanwhile_faultpoint::fault_point!("revive.started");
        if alive || need == Need::Queue {
            self.turn = None;
        }
    }
}

fn take_turn(run_dir: &OwnedFd) -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(run_dir, REVIVE_LOCK, flags, Mode::RUSR | Mode::WUSR).ok()?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(lock)
}

/// Starts a daemon unless one lives.
pub(super) fn start(init: &Init) -> DaemonResult {
    match last_daemon(&init.home) {
        Ok(LastDaemon::Lives) => DaemonResult::Alive,
        Ok(LastDaemon::Died | LastDaemon::Stopped) => match launch(init) {
            Ok(()) => DaemonResult::Started,
            Err(errno) => DaemonResult::Failed(errno.raw_os_error()),
        },
        // The home is gone: there is nothing a daemon could serve.
        Err(errno) => DaemonResult::Failed(errno.raw_os_error()),
    }
}

fn last_daemon(home: &[u8]) -> Result<LastDaemon, Errno> {
    let path = [home, b"/", DAEMON_LOCK].concat();
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(lock) => lock,
        Err(Errno::NOENT) => {
            // Without the file no daemon holds it; without the home there is none to start.
            return rustix::fs::stat(home).map(|_| LastDaemon::Stopped);
        }
        Err(errno) => return Err(errno),
    };
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) if rustix::fs::fstat(&lock)?.st_size == 0 => Ok(LastDaemon::Stopped),
        Ok(()) => Ok(LastDaemon::Died),
        Err(Errno::AGAIN) => Ok(LastDaemon::Lives),
        Err(errno) => Err(errno),
    }
}

/// Everything the child needs, prepared before the fork.
struct Prepared {
    exe: Vec<CString>,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    cgroup: Option<CString>,
    null: OwnedFd,
}

fn launch(init: &Init) -> Result<(), Errno> {
    let string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::INVAL);
    let strings = |list: &[Vec<u8>]| list.iter().map(|s| string(s)).collect::<Result<Vec<_>, _>>();
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        list.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let exe = string(&init.exe)?;
    let mut argv = vec![exe.clone()];
    argv.extend(strings(&init.daemon_args)?);
    let env = strings(&init.daemon_env)?;
    let cgroup = init
        .daemon_cgroup
        .as_ref()
        .map(|path| string(&[path, "/cgroup.procs".as_bytes()].concat()));
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let prepared = Prepared {
        argv: pointers(&argv),
        env: pointers(&env),
        // The path first, so that an upgrade takes effect; what we run ourselves if it is gone.
        exe: vec![exe, c"/proc/self/exe".to_owned()],
        cgroup: cgroup.transpose()?,
        null: rustix::fs::open("/dev/null", flags, Mode::empty())?,
    };
    // With CLONE_PARENT the kernel sends our parent the signal that our own end would send it.
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with no stack given this is a fork; the process has one thread, and the
    // child makes only system calls on prepared bytes until it executes or ends.
    let pid = unsafe {
        let none = ptr::null_mut::<libc::c_void>();
        libc::syscall(libc::SYS_clone, libc::c_long::from(flags), none, none, none, none)
    };
    match pid {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
        0 => become_daemon(&prepared),
        _ => Ok(()),
    }
}

/// The child's side. A daemon that cannot come up is seen at its lock, so nothing is reported from here.
fn become_daemon(prepared: &Prepared) -> ! {
    let _ = rustix::process::setsid();
    if let Some(procs) = &prepared.cgroup {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(procs.as_c_str(), flags, Mode::empty()) {
            let _ = rustix::io::write(&file, b"0");
        }
    }
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let _ = rustix::process::chdir(c"/");
    let _ = rustix::stdio::dup2_stdin(&prepared.null);
    let _ = rustix::stdio::dup2_stdout(&prepared.null);
    let _ = rustix::stdio::dup2_stderr(&prepared.null);
    super::os::unblock_signals();
    for exe in &prepared.exe {
        // SAFETY: close_range touches no memory, and with CLOEXEC nothing is closed before the exec. The lists
        // end in null and point to strings of the parent's frames, which this copy of the process has too.
        unsafe {
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            libc::execve(exe.as_ptr(), prepared.argv.as_ptr(), prepared.env.as_ptr());
        }
    }
    // SAFETY: _exit runs none of the parent's exit handlers.
    unsafe { libc::_exit(127) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_that_die_soon_after_they_came_are_brought_back_ever_more_slowly() {
        let pause_after = |lived: Duration| {
            let mut reviver = Reviver::new();
            // As after three starts.
            reviver.pause = REVIVE_FIRST * 8;
            let came = Moment::now();
            reviver.met(came);
            reviver.met(came.after(lived));
            assert_eq!(reviver.next(), None, "it is there");
            let lost = came.after(lived);
            reviver.arm(lost);
            reviver.next().unwrap().since(lost)
        };
        let spread = Duration::from_millis(SPREAD_MS);
        for lived in [Duration::ZERO, REVIVE_FIRST, REVIVE_LAST / 2] {
            let pause = pause_after(lived);
            assert!(pause >= REVIVE_FIRST * 8 && pause < REVIVE_FIRST * 8 + spread, "{pause:?}");
        }
        let pause = pause_after(REVIVE_LAST);
        assert!(pause >= REVIVE_FIRST && pause < REVIVE_FIRST + spread, "{pause:?}");
    }
}
