//! Starting one of our own processes: fast, clean, and free of whoever asked for it.
//!
//! Owns the clone(2), what happens between it and the exec, and descriptors that were inherited that
//! way. The child shares our address space until it executes (`CLONE_VM | CLONE_VFORK`), so starting
//! costs the same whether we use 5 MB or 500, and a failure is told by writing to our memory.
//!
//! What every process started here gets: a session of its own, default signal actions and an empty
//! mask, umask 077, cwd `/`, `/dev/null` on 0 and 1 (and 2, unless a log is given), the descriptors it
//! was promised from 3 on, and nothing else.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};

/// Where inherited descriptors begin.
pub(crate) const FIRST_INHERITED: RawFd = 3;
/// Stack of the code between clone and exec, in bytes: a few system calls deep, with room for
/// unoptimised builds.
const STACK: usize = 64 * 1024;
/// Signals, real-time ones included, are numbered 1 to this.
const LAST_SIGNAL: c_int = 64;
/// Descriptors that are closed one by one where `close_range` is missing: the usual hard limit.
const DESCRIPTORS_AT_MOST: c_int = 65_536;

/// What to start.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The executable, by descriptor: an upgrade on disk changes nothing.
    pub(crate) executable: BorrowedFd<'a>,
    pub(crate) arguments: &'a [CString],
    pub(crate) environment: &'a [CString],
    /// Where its standard error goes; `/dev/null` without one.
    pub(crate) stderr: Option<BorrowedFd<'a>>,
    /// Its descriptors 3, 4, ...
    pub(crate) inherited: &'a [BorrowedFd<'a>],
    pub(crate) lineage: Lineage,
}

/// Whose child the new process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lineage {
    /// Ours: we wait for it.
    Child,
    /// Nobody's: the nearest subreaper's or init's, so that whoever kills our tree does not kill it.
    Orphan,
}

/// A process that has executed its program.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: u32,
    /// For a child, opened by the kernel with the process; for an orphan opened right after, `None`
    /// when it ended that fast.
    pub(crate) pidfd: Option<OwnedFd>,
}

/// Starts it; on return the program has been executed.
///
/// # Errors
/// The step that failed, as the system named it; nothing is left running.
pub(crate) fn launch(what: &Launch<'_>) -> io::Result<Launched> {
    let descriptors = Descriptors::prepare(what)?;
    let sources: Vec<RawFd> = descriptors.sources.iter().map(AsRawFd::as_raw_fd).collect();
    let arguments = pointers(what.arguments);
    let environment = pointers(what.environment);
    let executable = descriptors.executable.as_raw_fd();
    let by_path =
        CString::new(format!("/proc/self/fd/{executable}")).expect("a number has no zero byte");
    let mut stacks = [Stack::new(), Stack::new()];
    let [outer, inner] = &mut stacks;
    let mut plan = Plan {
        executable,
        by_path: by_path.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        sources: sources.as_ptr(),
        source_count: sources.len(),
        inner_stack: inner.top(),
        orphan: -1,
        failed: 0,
    };
    let (pid, pidfd) = clone_blocked(outer, what.lineage, &mut plan)?;
    // The kernel let us go on, so the child has executed or ended: `plan` is ours again.
    // SAFETY: volatile because the writes were made by another task of this address space, which
    // the compiler knows nothing of.
    let (failed, orphan) = unsafe {
        (ptr::read_volatile(&raw const plan.failed), ptr::read_volatile(&raw const plan.orphan))
    };
    let outcome = match (failed, what.lineage) {
        (0, Lineage::Child) => return Ok(Launched { pid, pidfd: Some(pidfd) }),
        (0, Lineage::Orphan) => Ok(adopt(orphan)),
        (errno, _) => Err(io::Error::from_raw_os_error(errno)),
    };
    // The middle process, or the child that failed, has ended or is about to.
    let _ = wait(pid);
    outcome
}

/// Waits for the end of a child.
pub(crate) fn wait(pid: u32) -> io::Result<ExitStatus> {
    let pid = c_int::try_from(pid).map_err(io::Error::other)?;
    loop {
        let mut status = 0;
        // SAFETY: writes one integer that lives on our stack.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } >= 0 {
            return Ok(ExitStatus::from_raw(status));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Takes over a descriptor that this process was started with, and closes it on exec.
///
/// # Errors
/// When there is no open descriptor of that number, or it is one of the standard three.
pub(crate) fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < FIRST_INHERITED {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: fcntl on a number touches no memory; it says whether the descriptor is open.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the agreement of our command line it is nobody else's: the caller
    // names it once, at the start of the process.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Copies of everything the child needs, numbered above where they are going to, so that putting
/// one in its place overwrites no other.
struct Descriptors {
    executable: OwnedFd,
    /// In the order of their places: 0, 1, 2, 3, ...
    sources: Vec<OwnedFd>,
}

impl Descriptors {
    fn prepare(what: &Launch<'_>) -> io::Result<Self> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let count = 3 + what.inherited.len();
        let above = RawFd::try_from(count).expect("a handful");
        let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, above);
        let mut sources = Vec::with_capacity(count);
        for _ in 0..2 {
            sources.push(copy(rustix::fd::AsFd::as_fd(&null))?);
        }
        sources.push(copy(what.stderr.unwrap_or(rustix::fd::AsFd::as_fd(&null)))?);
        for fd in what.inherited {
            sources.push(copy(*fd)?);
        }
        Ok(Self { executable: copy(what.executable)?, sources })
    }
}

/// Everything the code between clone and exec reads, and the two things it writes. Plain numbers and
/// pointers into memory that [`launch`] keeps alive.
struct Plan {
    executable: RawFd,
    by_path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    sources: *const RawFd,
    source_count: usize,
    inner_stack: *mut c_void,
    /// The pid of the orphan, written by the middle process.
    orphan: c_int,
    /// The error number of what failed.
    failed: c_int,
}

struct Stack(Vec<u128>);

impl Stack {
    fn new() -> Self {
        Self(vec![0; STACK / size_of::<u128>()])
    }

    /// Stacks grow downwards; the elements' alignment is what the ABI asks of a stack.
    fn top(&mut self) -> *mut c_void {
        self.0.as_mut_ptr_range().end.cast()
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

fn adopt(orphan: c_int) -> Launched {
    let pid = u32::try_from(orphan).expect("the middle process wrote the pid it was given");
    let pidfd = Pid::from_raw(orphan)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    Launched { pid, pidfd }
}

/// The clone, with every signal blocked: a handler of ours must not run in the child, which shares
/// our memory.
fn clone_blocked(
    stack: &mut Stack,
    lineage: Lineage,
    plan: &mut Plan,
) -> io::Result<(u32, OwnedFd)> {
    let entry = match lineage {
        Lineage::Child => run,
        Lineage::Orphan => run_orphan,
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    // SAFETY: both sets are initialised before use (sigfillset, pthread_sigmask). The stack and the
    // plan outlive the child's use of them, because CLONE_VFORK holds us here until it has executed
    // or ended. `entry` makes only system calls. errno is per thread and the child uses ours, which
    // is read after the mask is restored, from a copy taken at once.
    let (pid, error) = unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let plan = ptr::from_mut(plan).cast();
        let pid = libc::clone(entry, stack.top(), flags, plan, &raw mut pidfd);
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        (pid, error)
    };
    if pid < 0 {
        return Err(error);
    }
    let pid = u32::try_from(pid).expect("not negative");
    if pidfd < 0 {
        let raw = Pid::from_raw(pid.cast_signed()).expect("a child's pid is not 0");
        return Ok((pid, rustix::process::pidfd_open(raw, PidfdFlags::empty())?));
    }
    // SAFETY: the kernel made it for this call (CLONE_PIDFD), so nobody else has it.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The middle process: starts the orphan and ends.
extern "C" fn run_orphan(plan: *mut c_void) -> c_int {
    let plan: *mut Plan = plan.cast();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: as for the outer clone: the inner stack and the plan outlive it, we wait here.
    unsafe {
        let pid = libc::clone(run, (*plan).inner_stack, flags, plan.cast());
        if pid < 0 {
            (*plan).failed = *libc::__errno_location();
        }
        (*plan).orphan = pid;
    }
    0
}

/// Makes the process clean and executes. Only system calls: it shares the memory of a process whose
/// other threads run on, and may hold any lock.
extern "C" fn run(plan: *mut c_void) -> c_int {
    let plan: *mut Plan = plan.cast();
    // SAFETY: the plan and what it points to live until we have executed or ended; every call is
    // async-signal-safe; the descriptor table, the signal actions and the mask are our own copies.
    unsafe {
        libc::setsid();
        // The kernel's own structure, which is all zeroes for the default action, because the C
        // library refuses to touch the two signals it uses itself, and those can be ignored too.
        let default = [0_u64; 4];
        let nothing = ptr::null_mut::<c_void>();
        let mut signal = 1;
        while signal <= LAST_SIGNAL {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nothing, 8_usize);
            signal += 1;
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::umask(0o077);
        let mut place: c_int = 0;
        let mut source = (*plan).sources;
        let end = source.add((*plan).source_count);
        let mut fine = libc::chdir(c"/".as_ptr()) == 0;
        while fine && source < end {
            fine = libc::dup2(*source, place) >= 0;
            source = source.add(1);
            place += 1;
        }
        if fine {
            close_on_exec_from(place);
            execute(plan);
        }
        (*plan).failed = *libc::__errno_location();
    }
    127
}

/// # Safety
/// `plan` must be valid, with its strings and arrays.
unsafe fn execute(plan: *const Plan) {
    // SAFETY: the caller's promise; the arrays end in null pointers.
    unsafe {
        let Plan { executable, arguments, environment, by_path, .. } = *plan;
        let here = libc::AT_EMPTY_PATH;
        libc::syscall(libc::SYS_execveat, executable, c"".as_ptr(), arguments, environment, here);
        // Old sandboxes do not know the call; the path through /proc is the same file.
        if matches!(*libc::__errno_location(), libc::ENOSYS | libc::EPERM) {
            libc::execve(by_path, arguments, environment);
        }
    }
}

/// # Safety
/// Only in the child: the descriptor table must be its own.
unsafe fn close_on_exec_from(first: c_int) {
    const CLOSE_RANGE_CLOEXEC: c_int = 4;
    // SAFETY: numbers only. The executable's own descriptor stays open until the exec.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, c_int::MAX, CLOSE_RANGE_CLOEXEC) == 0 {
            return;
        }
        let mut fd = first;
        while fd < DESCRIPTORS_AT_MOST {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            fd += 1;
        }
    }
}

#[cfg(test)]
mod tests;
