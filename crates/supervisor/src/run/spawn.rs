//! Fork and exec of a task's main process.
//!
//! Everything that allocates happens before the fork; between fork and exec only system calls on prepared
//! bytes are made. There are two ways:
//!
//! - The child borrows our memory, on a stack of its own, and we stand still until it has executed or given up
//!   (`vfork`). Nothing is copied, and what failed is known at once. Only for a launch that cannot wait for anybody.
//! - The child gets a copy (`fork`), and what fails comes back through a pipe that closes by itself at exec.
//!
//! Owns the child until it has executed. Never interprets the spec: the launch arrives prepared.
#![expect(unsafe_code, reason = "fork, clone3 and execve have no safe form")]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;

use crate::exit::SpawnStage;
use crate::wire::Rlimit;

/// Where the child's stdin comes from.
pub(super) enum ChildStdin<'a> {
    /// An open descriptor.
    Fd(BorrowedFd<'a>),
    /// A file the child opens itself (opening a FIFO waits for its writer).
    Path(CString),
}

/// Everything the child needs, prepared.
pub(super) struct Launch<'a> {
    /// The paths to try, in order.
    pub(super) candidates: Vec<CString>,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) cwd: CString,
    pub(super) stdin: ChildStdin<'a>,
    pub(super) stdout: BorrowedFd<'a>,
    pub(super) stderr: BorrowedFd<'a>,
    /// Whether stdin is a terminal to be made the controlling one.
    pub(super) terminal: bool,
    pub(super) umask: u32,
    pub(super) rlimits: &'a [Rlimit],
    pub(super) nice: Option<i32>,
    /// The processors it may use.
    pub(super) affinity: Option<rustix::thread::CpuSet>,
    /// What goes into `/proc/self/oom_score_adj`.
    pub(super) oom_score: &'a [u8],
    /// The cgroup's directory.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    /// Whether a file that the child opens or looks up may make it wait: then we must not stand still with it.
    pub(super) may_wait: bool,
}

/// A forked child.
pub(super) struct Spawned {
    pub(super) pid: u32,
    pub(super) exec: Exec,
    /// Whether the kernel put it into the cgroup at birth.
    pub(super) born_in_cgroup: bool,
}

/// What is known of the child's exec.
pub(super) enum Exec {
    /// It is over.
    Done(Result<(), Failure>),
    /// This reads a [`Failure`], or ends at exec.
    Reports(OwnedFd),
}

/// What a child says before it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) stage: SpawnStage,
    pub(super) errno: i32,
}

/// Bytes of a failure on the pipe.
const FAILURE: usize = 5;

impl Failure {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; FAILURE] = bytes.try_into().ok()?;
        let errno = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        Some(Self { stage: SpawnStage::from_number(bytes[0]), errno })
    }
}

/// Pointers into a launch, in the shape `execve` wants, with the shell's form for scripts without `#!`.
struct Prepared {
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// `/bin/sh`, the program (filled in by the child), its arguments.
    script: Vec<Cell<*const c_char>>,
}

/// `CLONE_INTO_CGROUP` of linux/sched.h; the libc crate's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

const SHELL: &CStr = c"/bin/sh";

/// Forks and executes. The parent must be single-threaded: its death ends the child.
pub(super) fn spawn(launch: &Launch<'_>) -> io::Result<Spawned> {
    let null = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let mut prepared =
        Prepared { argv: null(&launch.argv), env: null(&launch.env), script: Vec::new() };
    prepared.script = [SHELL.as_ptr(), ptr::null()]
        .into_iter()
        .chain(prepared.argv.iter().skip(1).copied())
        .map(Cell::new)
        .collect();
    if !launch.may_wait
        && let Some(spawned) = spawn_sharing(launch, &prepared)
    {
        return Ok(spawned);
    }
    spawn_copied(launch, &prepared)
}

/// Everything a child on borrowed memory needs; it stands still on our stack until that child is gone from it.
struct Borrowed<'a> {
    launch: &'a Launch<'a>,
    prepared: &'a Prepared,
    parent: u32,
    in_cgroup: bool,
    failure: Cell<Option<Failure>>,
}

/// Bytes of the child's stack; what it calls needs a small part of it.
const STACK: usize = 64 * 1024;

/// The quick way. None where the system does not have it.
fn spawn_sharing(launch: &Launch<'_>, prepared: &Prepared) -> Option<Spawned> {
    let mut stack: Vec<MaybeUninit<u128>> = Vec::with_capacity(STACK / size_of::<u128>());
    let spawn_with = |stack: &mut Vec<MaybeUninit<u128>>, cgroup: Option<BorrowedFd<'_>>| {
        let borrowed = Borrowed {
            launch,
            prepared,
            parent: std::process::id(),
            in_cgroup: cgroup.is_some(),
            failure: Cell::new(None),
        };
        // SAFETY: clone_args is plain data; all zero is its valid default.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags = (libc::CLONE_VM | libc::CLONE_VFORK).cast_unsigned().into();
        args.exit_signal = libc::SIGCHLD.cast_unsigned().into();
        args.stack = stack.as_mut_ptr() as u64;
        args.stack_size = STACK as u64;
        if let Some(dir) = cgroup {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = u64::try_from(dir.as_raw_fd()).expect("descriptors are not negative");
        }
        // SAFETY: the stack is ours, of that size, and outlives the call; CLONE_VFORK keeps us from running until
        // the child has left this memory by exec or exit, so `borrowed` outlives the child's use of it. The process
        // has one thread and no signal handler, so nothing else runs on this memory meanwhile.
        let pid =
            unsafe { clone3::with_entry(&mut args, child_sharing, (&raw const borrowed).cast()) };
        let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0)?;
        let exec = Exec::Done(borrowed.failure.get().map_or(Ok(()), Err));
        Some(Spawned { pid, exec, born_in_cgroup: cgroup.is_some() })
    };
    // A cgroup that refuses the birth costs the cgroup, not the quick way: the child then moves itself.
    launch
        .cgroup
        .and_then(|dir| spawn_with(&mut stack, Some(dir)))
        .or_else(|| spawn_with(&mut stack, None))
}

/// The child's side of the quick way: the parent reads the failure from the memory they share.
extern "C" fn child_sharing(borrowed: *const c_void) -> ! {
    // SAFETY: `spawn_sharing` passes a pointer to a value that lives until this process leaves its memory, and that
    // nobody else uses until then.
    let borrowed = unsafe { &*borrowed.cast::<Borrowed<'_>>() };
    let Borrowed { launch, prepared, parent, in_cgroup, failure } = borrowed;
    failure.set(Some(attempt(launch, prepared, *parent, *in_cgroup)));
    // SAFETY: _exit runs none of the parent's exit handlers.
    unsafe { libc::_exit(127) }
}

/// `clone3` with a stack of its own for the child. The C library has no form of it, and a plain system call would
/// let the child return on its parent's stack.
mod clone3 {
    use super::c_void;

    type Entry = extern "C" fn(*const c_void) -> !;

    /// # Safety
    /// `args` names a stack that stays valid as long as the child uses it, and `arg` is what `entry` expects.
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn with_entry(
        args: &mut libc::clone_args,
        entry: Entry,
        arg: *const c_void,
    ) -> i64 {
        let answer: i64;
        // SAFETY: the child goes on behind the system call with all registers as they were, but for its stack (its
        // top is aligned to 16 bytes as a call wants it) and rax; it calls `entry`, which never returns.
        unsafe {
            std::arch::asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "xor ebp, ebp",
                "mov rdi, {arg}",
                "call {entry}",
                "ud2",
                "2:",
                arg = in(reg) arg,
                entry = in(reg) entry,
                inout("rax") libc::SYS_clone3 => answer,
                in("rdi") &raw mut *args,
                in("rsi") size_of::<libc::clone_args>(),
                out("rcx") _,
                out("r11") _,
            );
        }
        answer
    }

    /// # Safety
    /// As above.
    #[cfg(target_arch = "aarch64")]
    pub(super) unsafe fn with_entry(
        args: &mut libc::clone_args,
        entry: Entry,
        arg: *const c_void,
    ) -> i64 {
        let answer: i64;
        // SAFETY: as above; the answer is in x0.
        unsafe {
            std::arch::asm!(
                "svc #0",
                "cbnz x0, 2f",
                "mov x29, xzr",
                "mov x0, {arg}",
                "blr {entry}",
                "brk #1",
                "2:",
                arg = in(reg) arg,
                entry = in(reg) entry,
                in("x8") libc::SYS_clone3,
                inout("x0") &raw mut *args => answer,
                in("x1") size_of::<libc::clone_args>(),
            );
        }
        answer
    }

    /// Elsewhere there is the other way.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(super) unsafe fn with_entry(
        _args: &mut libc::clone_args,
        _entry: Entry,
        _arg: *const c_void,
    ) -> i64 {
        -1
    }
}

/// The way with a copy of the memory.
fn spawn_copied(launch: &Launch<'_>, prepared: &Prepared) -> io::Result<Spawned> {
    let (report, report_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&report, true)?;
    let parent = std::process::id();
    let (pid, born_in_cgroup) = fork(launch)?;
    if pid == 0 {
        child_copied(launch, prepared, report_write.as_raw_fd(), parent, born_in_cgroup);
    }
    let pid = u32::try_from(pid).expect("a child's pid is positive");
    Ok(Spawned { pid, exec: Exec::Reports(report), born_in_cgroup })
}

/// Forks, into the cgroup where the kernel can. Returns 0 in the child.
fn fork(launch: &Launch<'_>) -> io::Result<(libc::pid_t, bool)> {
    if let Some(dir) = launch.cgroup {
        // SAFETY: clone_args is plain data; all zero is its valid default.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags = CLONE_INTO_CGROUP;
        args.exit_signal = libc::SIGCHLD as u64;
        args.cgroup = u64::try_from(dir.as_raw_fd()).expect("an open descriptor is not negative");
        // SAFETY: without CLONE_VM the child gets its own copy of everything, like fork; `args` is valid for
        // its size. The process has one thread, so no lock is held by anyone else.
        let pid = unsafe {
            libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>())
        };
        if let Ok(pid @ 0..) = libc::pid_t::try_from(pid) {
            return Ok((pid, true));
        }
        // Old kernels, and sandboxes that forbid clone3: the child moves itself.
    }
    // SAFETY: the process has one thread, and the child makes only system calls until it executes.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok((pid, false)),
    }
}

/// The child's side with a copy: execute, or report and end.
fn child_copied(
    launch: &Launch<'_>,
    prepared: &Prepared,
    report: RawFd,
    parent: u32,
    in_cgroup: bool,
) -> ! {
    let failure = attempt(launch, prepared, parent, in_cgroup);
    let errno = failure.errno.to_le_bytes();
    let bytes = [failure.stage.number(), errno[0], errno[1], errno[2], errno[3]];
    // SAFETY: `bytes` is valid for its length; _exit runs none of the parent's exit handlers.
    unsafe {
        libc::write(report, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(127)
    }
}

/// Sets up and executes; returns only if that failed.
fn attempt(launch: &Launch<'_>, prepared: &Prepared, parent: u32, in_cgroup: bool) -> Failure {
    meanwhile_faultpoint::fault_point!("child.born");
    if !in_cgroup && let Some(dir) = launch.cgroup {
        move_into(dir);
    }
    match set_up(launch, parent) {
        Ok(()) => Failure { stage: SpawnStage::Exec, errno: execute(launch, prepared) },
        Err(failure) => failure,
    }
}

/// A refusal costs the cgroup, not the task: the parent looks where the child is.
fn move_into(cgroup: BorrowedFd<'_>) {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    let procs = rustix::fs::openat(cgroup, c"cgroup.procs", flags, rustix::fs::Mode::empty());
    if let Ok(procs) = procs {
        let _ = rustix::io::write(&procs, b"0");
    }
}

fn set_up(launch: &Launch<'_>, parent: u32) -> Result<(), Failure> {
    let at = |stage| move |errno: Errno| Failure { stage, errno: errno.raw_os_error() };
    // First of all, so that whatever may wait below (a FIFO's open) can be ended politely.
    super::os::unblock_signals();
    let _ = rustix::process::setsid();
    let death =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    death.map_err(at(SpawnStage::Fork))?;
    let still = rustix::process::getppid()
        .is_some_and(|pid| pid.as_raw_nonzero().get().cast_unsigned() == parent);
    if !still {
        // The supervisor died before the signal was armed: nobody would ever know of this process.
        return Err(Failure { stage: SpawnStage::Fork, errno: libc::ESRCH });
    }
    write_oom_score(launch.oom_score);
    if let Some(nice) = launch.nice {
        rustix::process::setpriority_process(None, nice).map_err(at(SpawnStage::Limit))?;
    }
    if let Some(cpus) = &launch.affinity {
        rustix::thread::sched_setaffinity(None, cpus).map_err(at(SpawnStage::Limit))?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(launch.umask));
    rustix::process::chdir(launch.cwd.as_c_str()).map_err(at(SpawnStage::Cwd))?;
    set_stdio(launch)?;
    // SAFETY: close_range with CLOEXEC touches no memory and closes nothing yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    launch.rlimits.iter().try_for_each(set_limit)
}

/// A failure is not worth a task: it only decides whom the kernel prefers when memory runs out.
fn write_oom_score(score: &[u8]) {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    if let Ok(file) =
        rustix::fs::open(c"/proc/self/oom_score_adj", flags, rustix::fs::Mode::empty())
    {
        let _ = rustix::io::write(&file, score);
    }
}

fn set_stdio(launch: &Launch<'_>) -> Result<(), Failure> {
    let at = |stage| move |errno: Errno| Failure { stage, errno: errno.raw_os_error() };
    match &launch.stdin {
        ChildStdin::Fd(fd) => {
            rustix::stdio::dup2_stdin(fd).map_err(at(SpawnStage::Stdin))?;
        }
        ChildStdin::Path(path) => {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOCTTY;
            let file = rustix::fs::open(path.as_c_str(), flags, rustix::fs::Mode::empty())
                .map_err(at(SpawnStage::Stdin))?;
            rustix::stdio::dup2_stdin(&file).map_err(at(SpawnStage::Stdin))?;
        }
    }
    rustix::stdio::dup2_stdout(launch.stdout).map_err(at(SpawnStage::Log))?;
    rustix::stdio::dup2_stderr(launch.stderr).map_err(at(SpawnStage::Log))?;
    if launch.terminal {
        rustix::process::ioctl_tiocsctty(launch.stdout).map_err(at(SpawnStage::Pty))?;
    }
    Ok(())
}

/// Sets a limit, or as much of it as may be set: the client's hard limit may be above ours.
fn set_limit(limit: &Rlimit) -> Result<(), Failure> {
    let mut wanted = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: both pointers are to valid rlimit values; an unknown resource number only fails.
    let done = unsafe {
        if libc::setrlimit(limit.resource as _, &raw const wanted) == 0 {
            true
        } else {
            let mut current = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(limit.resource as _, &raw mut current) == 0 && {
                wanted.rlim_max = wanted.rlim_max.min(current.rlim_max);
                wanted.rlim_cur = wanted.rlim_cur.min(wanted.rlim_max);
                libc::setrlimit(limit.resource as _, &raw const wanted) == 0
            }
        }
    };
    if done { Ok(()) } else { Err(Failure { stage: SpawnStage::Limit, errno: libc::EPERM }) }
}

/// Tries the candidates as `execvp` does. Returns the error number that says most; as in a shell, a directory of
/// `PATH` that may not be searched says nothing.
fn execute(launch: &Launch<'_>, prepared: &Prepared) -> i32 {
    let mut answer = libc::ENOENT;
    let is_path = launch.argv.first().is_some_and(|name| name.as_bytes().contains(&b'/'));
    for path in &launch.candidates {
        // SAFETY: the lists end in null and point to strings that live in `launch`.
        unsafe { libc::execve(path.as_ptr(), prepared.argv.as_ptr(), prepared.env.as_ptr()) };
        match last_errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES if is_path || rustix::fs::stat(path.as_c_str()).is_ok() => {
                answer = libc::EACCES;
            }
            libc::EACCES => {}
            libc::ENOEXEC => {
                // A script without `#!`: shells and execvp give it to sh, so people expect it to work.
                prepared.script[1].set(path.as_ptr());
                // SAFETY: as above; the shell's list ends in the null of `argv`, and a cell is what it holds.
                unsafe {
                    let script = prepared.script.as_ptr().cast::<*const c_char>();
                    libc::execve(SHELL.as_ptr(), script, prepared.env.as_ptr());
                }
                return last_errno();
            }
            errno => return errno,
        }
    }
    answer
}

fn last_errno() -> i32 {
    // SAFETY: the location is this thread's own and always valid.
    unsafe { *libc::__errno_location() }
}
