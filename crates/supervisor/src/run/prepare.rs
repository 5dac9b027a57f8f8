//! From a start spec to a running child: streams, terminal, directories, cgroup, the launch itself.
//!
//! Owns the order of these steps and the stage each failure is reported under. Never waits.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::CpuSet;

use crate::exit::{SpawnError, SpawnStage};
use crate::limits::WHAT_MAX;
use crate::log::Stream;
use crate::wire::{PtySize, StartSpec, Stdin};

use super::cgroup::{Cgroup, Enforced};
use super::input::{EndBy, Input};
use super::output::{Output, open_pipe, open_terminal};
use super::slow_mounts::SlowMounts;
use super::spawn::{ChildStdin, Launch, Spawned, spawn};
use super::tmpdir::Spare;

/// How much likelier the memory killer shall take a task than its supervisor.
const OOM_SCORE_ABOVE: i32 = 100;
/// The highest score there is (proc_pid_oom_score_adj(5)).
const OOM_SCORE_MAX: i32 = 1000;

/// Where programs are looked for when the environment has no `PATH` (what `execvp` does).
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";

/// What is the same for every task of this supervisor.
#[derive(Debug)]
pub(super) struct Base {
    null: OwnedFd,
    /// What goes into the task's `/proc/self/oom_score_adj`.
    oom_score: Vec<u8>,
    mounts: SlowMounts,
    /// Where temporary directories come from and go to.
    pub(super) tmpdir: Rc<Spare>,
}

impl Base {
    pub(super) fn new(null: OwnedFd) -> Self {
        let ours = std::fs::read_to_string("/proc/self/oom_score_adj").ok();
        let ours: i32 = ours.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let oom_score = (ours + OOM_SCORE_ABOVE).min(OOM_SCORE_MAX).to_string().into_bytes();
        Self { null, oom_score, mounts: SlowMounts::read(), tmpdir: Rc::default() }
    }
}

/// A forked child with everything that was made for it.
pub(super) struct Prepared {
    pub(super) spawned: Spawned,
    pub(super) outputs: Vec<Output>,
    pub(super) input: Option<Input>,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) enforced: Enforced,
    /// Remarks for the daemon's log.
    pub(super) notes: Vec<String>,
}

/// The ends the child gets.
struct ChildEnds {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Prepares and forks. What was made on the way to a failure is undone.
pub(super) fn start(spec: &StartSpec, dir: &OwnedFd, base: &Base) -> Result<Prepared, SpawnError> {
    let argv = strings(&spec.argv, SpawnStage::Exec)?;
    let env = strings(&spec.env, SpawnStage::Exec)?;
    let cwd = string(&spec.cwd, SpawnStage::Cwd)?;
    let Some(program) = spec.argv.first().filter(|program| !program.is_empty()) else {
        return Err(error(SpawnStage::Exec, Errno::NOENT, b"(no program)"));
    };
    let candidates = candidates(program, &spec.env)?;
    if let Some(path) = &spec.tmpdir {
        base.tmpdir.create(path).map_err(|errno| error(SpawnStage::Tmpdir, errno, path))?;
    }
    let (ends, outputs, input) = match spec.pty {
        Some(size) => terminal(spec, dir, size)?,
        None => pipes(spec, dir)?,
    };
    let stdin = match (&ends.stdin, &spec.stdin) {
        (Some(end), _) => ChildStdin::Fd(end.as_fd()),
        (None, Stdin::Null) => ChildStdin::Fd(base.null.as_fd()),
        (None, Stdin::Path(path) | Stdin::Spool(path)) => {
            ChildStdin::Path(string(path, SpawnStage::Stdin)?)
        }
    };
    let mut notes = Vec::new();
    let cgroup = make_cgroup(spec, &mut notes);
    let enforced = cgroup
        .as_ref()
        .map_or_else(Enforced::default, |cgroup| cgroup.limit(spec.memory_max, spec.pids_max));
    let opens_stdin = matches!(stdin, ChildStdin::Path(_));
    let may_wait = opens_stdin || base.mounts.may_wait(&spec.cwd, &candidates);
    let launch = Launch {
        candidates,
        argv,
        env,
        cwd,
        stdin,
        stdout: ends.stdout.as_fd(),
        stderr: ends.stderr.as_fd(),
        terminal: spec.pty.is_some(),
        umask: spec.umask,
        rlimits: &spec.rlimits,
        nice: spec.nice,
        affinity: spec.cpus.and_then(|cpus| affinity(cpus, spec.token.0[0])),
        oom_score: &base.oom_score,
        cgroup: cgroup.as_ref().map(Cgroup::dir),
        may_wait,
    };
    meanwhile_faultpoint::fault_point!("attempt.before-fork");
    let spawned = match spawn(&launch) {
        Ok(spawned) => spawned,
        Err(cause) => {
            let _ = cgroup.map(Cgroup::remove);
            let errno = Errno::from_io_error(&cause).unwrap_or(Errno::AGAIN);
            return Err(error(SpawnStage::Fork, errno, program));
        }
    };
    Ok(Prepared { spawned, outputs, input, cgroup, enforced, notes })
}

/// Whether a start failed because the machine has no room at this moment, before anything of the task existed. What a
/// path of the task's own answers is the task's.
pub(super) fn is_shortage(error: &SpawnError) -> bool {
    let ours = match error.stage {
        SpawnStage::Fork
        | SpawnStage::Log
        | SpawnStage::Pty
        | SpawnStage::Tmpdir
        | SpawnStage::Stdin => true,
        SpawnStage::Cwd
        | SpawnStage::Cgroup
        | SpawnStage::Limit
        | SpawnStage::Exec
        | SpawnStage::Other(_) => false,
    };
    let short =
        [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    ours && short.iter().any(|errno| errno.raw_os_error() == error.errno)
}

/// What a failure in the child was about.
pub(super) fn child_error(spec: &StartSpec, stage: SpawnStage, errno: i32) -> SpawnError {
    let what: &[u8] = match (stage, &spec.stdin) {
        (SpawnStage::Cwd, _) => &spec.cwd,
        (SpawnStage::Stdin, Stdin::Path(path) | Stdin::Spool(path)) => path,
        _ => spec.argv.first().map_or(b"", Vec::as_slice),
    };
    SpawnError { errno, stage, what: shown(what) }
}

fn pipes(
    spec: &StartSpec,
    dir: &OwnedFd,
) -> Result<(ChildEnds, Vec<Output>, Option<Input>), SpawnError> {
    let log = |errno| error(SpawnStage::Log, errno, Stream::Output.head_name().as_bytes());
    let (output, stderr) = open_pipe(dir, Stream::Output, spec.log_cap).map_err(log)?;
    let mut outputs = vec![output];
    let stdout = if spec.split_streams {
        let (output, stdout) = open_pipe(dir, Stream::Stdout, spec.log_cap).map_err(log)?;
        outputs.push(output);
        stdout
    } else {
        rustix::io::fcntl_dupfd_cloexec(&stderr, 3).map_err(log)?
    };
    let (stdin, input) = if spec.hold_stdin {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .and_then(|(read, write)| {
                rustix::io::ioctl_fionbio(&write, true).map(|()| (read, write))
            })
            .map_err(|errno| error(SpawnStage::Stdin, errno, b"pipe"))?;
        (Some(read), Some(Input::new(write, EndBy::Closing)))
    } else {
        (None, None)
    };
    Ok((ChildEnds { stdin, stdout, stderr }, outputs, input))
}

/// The child gets the terminal three times, we keep its master for both directions.
fn terminal(
    spec: &StartSpec,
    dir: &OwnedFd,
    size: PtySize,
) -> Result<(ChildEnds, Vec<Output>, Option<Input>), SpawnError> {
    let open = || -> Result<_, Errno> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let side = open_other_side(&master)?;
        let size = Winsize { ws_col: size.cols, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&side, size)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let dup = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
        let sink = dup(&master)?;
        let ends = ChildEnds { stdin: Some(dup(&side)?), stdout: dup(&side)?, stderr: side };
        Ok((ends, master, sink))
    };
    let (ends, master, sink) =
        open().map_err(|errno| error(SpawnStage::Pty, errno, b"/dev/ptmx"))?;
    let output = open_terminal(dir, master, spec.log_cap)
        .map_err(|errno| error(SpawnStage::Log, errno, Stream::Output.head_name().as_bytes()))?;
    Ok((ends, vec![output], Some(Input::new(sink, EndBy::Key))))
}

fn open_other_side(master: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags).or_else(|_| {
        // Kernels before 4.13, and sandboxes: by name.
        let name = rustix::pty::ptsname(master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(name, flags, Mode::empty())
    })
}

/// Without a cgroup the task runs as well: its descendants are then found by walking.
fn make_cgroup(spec: &StartSpec, notes: &mut Vec<String>) -> Option<Cgroup> {
    let path = spec.cgroup.as_ref()?;
    match Cgroup::create(path) {
        Ok(cgroup) => Some(cgroup),
        Err(errno) => {
            notes.push(format!("no cgroup for {}.{}: {errno}", spec.task, spec.attempt));
            None
        }
    }
}

/// As many of the processors we may use, from another first one for each task, so that small tasks do not
/// share one processor while the others idle.
fn affinity(cpus: u32, seed: u8) -> Option<CpuSet> {
    let ours = rustix::thread::sched_getaffinity(None).ok()?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| ours.is_set(*cpu)).collect();
    let wanted = usize::try_from(cpus.max(1)).ok()?;
    if wanted >= allowed.len() {
        return None;
    }
    let mut set = CpuSet::new();
    for index in 0..wanted {
        set.set(allowed[(usize::from(seed) + index) % allowed.len()]);
    }
    Some(set)
}

/// A name with a slash is a path; any other is looked up in the task's own `PATH`.
fn candidates(program: &[u8], env: &[Vec<u8>]) -> Result<Vec<CString>, SpawnError> {
    if program.contains(&b'/') {
        return Ok(vec![string(program, SpawnStage::Exec)?]);
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix(b"PATH="));
    path.unwrap_or(DEFAULT_PATH)
        .split(|byte| *byte == b':')
        .map(|dir| {
            // An empty entry is the working directory.
            let dir = if dir.is_empty() { b".".as_slice() } else { dir };
            string(&[dir, b"/", program].concat(), SpawnStage::Exec)
        })
        .collect()
}

fn strings(values: &[Vec<u8>], stage: SpawnStage) -> Result<Vec<CString>, SpawnError> {
    values.iter().map(|value| string(value, stage)).collect()
}

/// The system's strings cannot hold a zero byte.
fn string(value: &[u8], stage: SpawnStage) -> Result<CString, SpawnError> {
    CString::new(value).map_err(|_| error(stage, Errno::INVAL, value))
}

fn error(stage: SpawnStage, errno: Errno, what: &[u8]) -> SpawnError {
    SpawnError { errno: errno.raw_os_error(), stage, what: shown(what) }
}

fn shown(what: &[u8]) -> String {
    String::from_utf8_lossy(&what[..what.len().min(WHAT_MAX)]).into_owned()
}
