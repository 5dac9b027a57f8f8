//! The few calls of the system that no safe library offers: signal descriptors, reaping with usage, closing
//! inherited descriptors.
//!
//! Owns their unsafe blocks. Never decides anything.
#![expect(
    unsafe_code,
    reason = "signal masks, signalfd, wait4 and close_range have no safe form here"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, FdFlags};

use crate::exit::Usage;

/// What one look at the children brought.
#[derive(Debug)]
pub(super) enum Reaped {
    /// A child ended and its status is read.
    Child { pid: u32, status: i32, usage: Usage },
    /// There are children and none has ended.
    Nothing,
    /// There are no children: as a subreaper's, its whole tree is empty.
    Alone,
}

/// Signals that arrived since the last look.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Arrived {
    /// A child changed.
    pub(super) child: bool,
    /// Somebody asks this process to end.
    pub(super) leave: bool,
}

/// Takes over an inherited descriptor and closes it for programs that are started from here.
pub(super) fn adopt(raw: RawFd) -> io::Result<OwnedFd> {
    if raw <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_GETFD touches no memory; it only tells whether the number is open.
    if unsafe { libc::fcntl(raw, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open (checked above), was inherited for this purpose, and nothing else in this
    // process has taken it: `adopt` is called once per number, before anything else is opened.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Closes every descriptor from 3 on but those.
pub(super) fn close_others(keep: &mut [RawFd]) {
    keep.sort_unstable();
    let mut from: RawFd = 3;
    for kept in keep.iter().copied() {
        close_between(from, kept - 1);
        from = kept + 1;
    }
    close_between(from, RawFd::MAX);
}

fn close_between(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: close_range touches no memory. Called before anything is opened, so no owner loses its number.
    // A kernel without it leaves inherited descriptors open, which costs nothing but their files.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// Takes every signal's disposition back to the default. Ignored signals survive an exec, so from here on the
/// programs started by this process have none; the loop itself blocks what it must not die of.
pub(super) fn default_signals() {
    /// The highest signal number.
    const LAST: libc::c_int = 64;
    /// Bytes of the kernel's signal set.
    const SET: libc::size_t = 8;
    // The kernel's own `struct sigaction` with every field zero is SIG_DFL; it is shorter than this on every
    // architecture. The C library's call would refuse its two private signals, which may be ignored as well.
    let default = [0_u64; 16];
    let old = std::ptr::null_mut::<libc::c_void>();
    for signal in 1..=LAST {
        // SAFETY: `default` is valid for reads of a kernel sigaction, the null pointer means that the old one
        // is not wanted, and numbers that cannot be changed (KILL, STOP) only fail.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, SET) };
    }
}

/// Blocks the signals the loop reads and gives the descriptor they are read from. Two more are only blocked:
/// writing into a pipe that nobody reads (SIGPIPE) and beyond a limit on the size of files (SIGXFSZ) shall fail,
/// not kill.
pub(super) fn signal_fd() -> io::Result<OwnedFd> {
    let read = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
    let mut set = signal_set(&read);
    // SAFETY: `set` is an initialised signal set; signalfd returns a new descriptor that we own.
    let signals = unsafe {
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: `set` is an initialised signal set and both numbers are valid.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set_mask(&set).map(|()| signals)
}

/// Blocks nothing any more: for a child on its way to another program.
pub(super) fn unblock_signals() {
    let _ = set_mask(&signal_set(&[]));
}

fn signal_set(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before anything else touches it; the numbers are valid.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

fn set_mask(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is an initialised signal set; the null pointer means that the old mask is not wanted.
    let done = unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads all signals that have arrived.
pub(super) fn arrived(signals: &OwnedFd) -> Arrived {
    /// `signalfd_siginfo` is 128 bytes by definition; its first four are the number (signalfd(2)).
    const RECORD: usize = 128;
    let mut found = Arrived::default();
    let mut records = [0_u8; RECORD * 4];
    while let Ok(read @ 1..) = rustix::io::read(signals.as_fd(), &mut records) {
        for record in records[..read].chunks_exact(RECORD) {
            let number = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
            if i32::try_from(number) == Ok(libc::SIGCHLD) {
                found.child = true;
            } else {
                found.leave = true;
            }
        }
    }
    found
}

/// Reads the status of one ended child, whichever it is.
pub(super) fn reap() -> Reaped {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for writes of their types; a zeroed rusage is a valid one.
    let (pid, usage) = unsafe {
        let flags = libc::WNOHANG | libc::__WALL;
        let pid = libc::wait4(-1, &raw mut status, flags, usage.as_mut_ptr());
        (pid, usage.assume_init())
    };
    match u32::try_from(pid) {
        Ok(0) => Reaped::Nothing,
        Ok(pid) => Reaped::Child {
            pid,
            status,
            usage: Usage {
                user_us: micros(usage.ru_utime),
                system_us: micros(usage.ru_stime),
                max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
            },
        },
        Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) => Reaped::Alone,
        Err(_) => Reaped::Nothing,
    }
}

fn micros(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
}

/// Makes 0, 1 and 2 the null device, whatever they were: no descriptor opened later may get their numbers.
pub(super) fn null_stdio() -> io::Result<OwnedFd> {
    let null = loop {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())?;
        if fd.as_raw_fd() > 2 {
            break fd;
        }
        // One of the three was closed; it is filled for good.
        std::mem::forget(fd);
    };
    let dup = |result: Result<(), Errno>| result.map_err(io::Error::from);
    dup(rustix::stdio::dup2_stdin(&null))?;
    dup(rustix::stdio::dup2_stdout(&null))?;
    dup(rustix::stdio::dup2_stderr(&null))?;
    Ok(null)
}
