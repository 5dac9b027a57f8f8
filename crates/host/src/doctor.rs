//! What this machine lets us promise, fact by fact, for `meanwhile doctor`.
//!
//! Owns the list of facts, what each weakens and what to do about it. Only reads; works with and
//! without a running daemon. Prints nothing: the command does, in its own format.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource};

use crate::cgroup::{Controllers, NoCgroup, Origin, Prospect, Subtree};
use crate::clock;
use crate::dir::Dir;
use crate::logind::{self, Logind};
use crate::machine::{self, FileSystem, free_bytes};

/// Under this much free space a warning: a few full logs of 64 MiB fill it.
const LITTLE_SPACE: u64 = 1024 * 1024 * 1024;
/// Under this much the next task may end it.
const NO_SPACE: u64 = 100 * 1024 * 1024;
/// Descriptors for a few hundred tasks: each costs the daemon a socket and a pidfd.
const ENOUGH_DESCRIPTORS: u64 = 1024;
/// 2025-01-01: this program is younger.
const OLDEST_PLAUSIBLE_MS: i64 = 1_735_689_600_000;

/// How good a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Something is done in a weaker way.
    Weaker,
    /// A promise does not hold here.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its short name, stable: programs may look for it.
    pub name: &'static str,
    /// How good it is.
    pub status: Status,
    /// What was found.
    pub what: String,
    /// The promise that it weakens; `None` when nothing is weakened.
    pub promise: Option<&'static str>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What is known about cgroups: from the running daemon, or what one would find.
#[derive(Clone, Copy, Debug)]
pub enum CgroupFacts<'a> {
    /// The daemon's own answer.
    Daemon(&'a Result<Subtree, NoCgroup>),
    /// [`crate::cgroup::probe`]'s.
    Prospect(&'a Result<Prospect, NoCgroup>),
}

/// What to look at.
#[derive(Debug)]
pub struct Examination<'a> {
    /// Cgroups.
    pub cgroup: CgroupFacts<'a>,
    /// The state directory; `None` when there is none yet.
    pub state: Option<&'a Dir>,
    /// The name of the user, for lingering.
    pub user: Option<&'a str>,
    /// The cgroup the daemon is, or would be, in (of `/proc/PID/cgroup`).
    pub daemon_cgroup: Option<&'a Path>,
}

/// Looks at everything, in the order in which it is to be shown.
#[must_use]
pub fn examine(examination: &Examination<'_>) -> Vec<Fact> {
    let mut facts = cgroup_facts(examination.cgroup);
    facts.push(logout(&Logout::read(examination)));
    if let Some(state) = examination.state {
        facts.push(home_disk(machine::file_system(state).ok()));
        facts.push(writable(try_to_write(state)));
        facts.push(space(free_bytes(state).ok()));
    }
    facts.extend([pidfds(), subreaper(), waiting(), descriptors(), wall_clock(clock::wall().0)]);
    facts
}

impl Fact {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, what: what.into(), promise: None, hint: None }
    }

    fn new(
        (name, status): (&'static str, Status),
        what: impl Into<String>,
        promise: &'static str,
        hint: impl Into<String>,
    ) -> Self {
        let (what, hint) = (what.into(), Some(hint.into()));
        Self { name, status, what, promise: Some(promise), hint }
    }
}

const LEAVES_NOTHING: &str = "after a cancel no process of the task is alive";

fn cgroup_facts(found: CgroupFacts<'_>) -> Vec<Fact> {
    let none = |why: &NoCgroup| {
        let what = format!("tasks are kept by their process tree: {why}");
        vec![Fact::new(("cgroup", Status::Weaker), what, LEAVES_NOTHING, why.hint())]
    };
    match found {
        CgroupFacts::Daemon(Err(why)) | CgroupFacts::Prospect(Err(why)) => none(why),
        CgroupFacts::Prospect(Ok(Prospect::ByScope)) => {
            vec![Fact::ok("cgroup", "a scope will be asked for from systemd")]
        }
        CgroupFacts::Prospect(Ok(Prospect::At(base, origin))) => {
            let what = format!("one per task, below {} ({})", base.display(), whose(origin));
            vec![Fact::ok("cgroup", what)]
        }
        CgroupFacts::Daemon(Ok(subtree)) => {
            let at = subtree.path().display();
            let what = format!("one per task, in {at} ({})", whose(&subtree.origin));
            vec![Fact::ok("cgroup", what), kill_fact(subtree.has_kill), controllers(subtree)]
        }
    }
}

fn whose(origin: &Origin) -> String {
    match origin {
        Origin::Own => "our own cgroup".into(),
        Origin::Delegated | Origin::DelegatedWhole => "delegated to our unit".into(),
        Origin::Scope(unit) => format!("the scope {unit}"),
        Origin::Inherited => "of this home's earlier daemon".into(),
    }
}

fn kill_fact(has_kill: bool) -> Fact {
    if has_kill {
        return Fact::ok("cgroup.kill", "a whole task is killed at once");
    }
    let what = "this kernel has none: processes are killed one by one until none is left";
    let hint = "Linux 5.14 or newer has it";
    Fact::new(("cgroup.kill", Status::Weaker), what, "a fork bomb cannot outrun its cancel", hint)
}

fn controllers(subtree: &Subtree) -> Fact {
    let Controllers { memory, pids, cpu } = subtree.controllers;
    let all = [("memory", memory), ("pids", pids), ("cpu", cpu)];
    let names = |wanted| {
        let names = all.iter().filter(|(_, on)| *on == wanted).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    if memory && pids && cpu {
        return Fact::ok("controllers", "limits are enforced by the kernel: memory, pids, cpu");
    }
    let what = format!(
        "missing: {}; --memory and --pids are sampled then, --cpus is done by affinity",
        names(false)
    );
    let hint = match subtree.origin {
        Origin::DelegatedWhole => "systemd 254 or newer can start the daemon below its unit",
        _ => "run the daemon where these controllers are delegated: meanwhile daemon install",
    };
    Fact::new(("controllers", Status::Weaker), what, "limits hold at every instant", hint)
}

/// What the end of the user's last login does to the daemon and its tasks.
#[derive(Debug)]
struct Logout {
    systemd: bool,
    is_root: bool,
    user: Option<String>,
    lingers: bool,
    logind: Logind,
    cgroup: Option<PathBuf>,
}

impl Logout {
    fn read(examination: &Examination<'_>) -> Self {
        let user = examination.user.map(str::to_owned);
        Self {
            systemd: Path::new("/run/systemd/system").is_dir(),
            is_root: rustix::process::geteuid().is_root(),
            lingers: user.as_deref().is_some_and(logind::lingers),
            user,
            logind: Logind::read(),
            cgroup: examination.daemon_cgroup.map(Path::to_path_buf),
        }
    }

    fn is_below(&self, what: impl Fn(&str) -> bool) -> bool {
        let parts = self.cgroup.iter().flat_map(|path| path.components());
        parts.filter_map(|part| part.as_os_str().to_str()).any(what)
    }
}

fn logout(facts: &Logout) -> Fact {
    const SURVIVES: &str = "tasks run on after you log out";
    const NAME: &str = "logout";
    if !facts.systemd {
        return Fact::ok(NAME, "no systemd here that would end your processes");
    }
    let enable = format!("loginctl enable-linger {}", facts.user.as_deref().unwrap_or_default());
    let in_manager = facts.is_below(|part| part.starts_with("user@"));
    if in_manager && !facts.lingers {
        let what = "your systemd manager ends with your last login, and every task with it";
        return Fact::new((NAME, Status::Bad), what, SURVIVES, enable.trim_end());
    }
    let in_session =
        facts.is_below(|part| part.starts_with("session-") && part.ends_with(".scope"));
    if in_session && facts.logind.kills(facts.user.as_deref(), facts.is_root) {
        let what = "logind ends every process of a session with it (KillUserProcesses)";
        let hint = format!("meanwhile daemon install, then {}", enable.trim_end());
        return Fact::new((NAME, Status::Bad), what, SURVIVES, hint);
    }
    if in_manager {
        return Fact::ok(NAME, "your systemd manager stays: lingering is enabled");
    }
    Fact::ok(NAME, "nothing ends your processes at logout")
}

fn home_disk(found: Option<FileSystem>) -> Fact {
    const NAME: &str = "home";
    let hint = "choose a --home on a local disk";
    match found {
        Some(FileSystem::Local) => Fact::ok(NAME, "on a local disk"),
        Some(FileSystem::Memory) => {
            let what = "in memory (tmpfs): it is gone after a restart, and logs use up memory";
            Fact::new((NAME, Status::Weaker), what, "a result is never lost", hint)
        }
        Some(FileSystem::Network(name)) => {
            let what = format!("on a network file system ({name}): locks may not hold there");
            Fact::new((NAME, Status::Bad), what, "one daemon, and a store that is never torn", hint)
        }
        None => {
            let what = "its file system cannot be looked at";
            Fact::new((NAME, Status::Weaker), what, "a result is never lost", hint)
        }
    }
}

/// A file without a name: nothing of it is ever seen. After an error in it a file system may refuse writes
/// without calling itself read-only.
fn try_to_write(state: &Dir) -> Result<(), Errno> {
    use rustix::fs::{AtFlags, Mode, OFlags, accessat, openat};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(state, ".", flags, Mode::RUSR | Mode::WUSR) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            accessat(state, ".", rustix::fs::Access::WRITE_OK, AtFlags::EACCESS)
        }
        other => other.map(drop),
    }
}

fn writable(tried: Result<(), Errno>) -> Fact {
    const NAME: &str = "writable";
    let promise = "new work is accepted, and ends are recorded";
    match tried {
        Ok(()) => Fact::ok(NAME, "the home can be written"),
        Err(Errno::ROFS) => {
            let what = "its file system is read-only, or became so after an error";
            let hint = "dmesg says which; repair and mount it again, then any command goes on";
            Fact::new((NAME, Status::Bad), what, promise, hint)
        }
        // What there is too little of is told by `disk`.
        Err(Errno::NOSPC | Errno::DQUOT) => {
            Fact::ok(NAME, "the home can be written, if it had space")
        }
        Err(errno) => {
            let hint = "the home, and what is above it, must be yours";
            Fact::new(
                (NAME, Status::Bad),
                format!("the home cannot be written: {errno}"),
                promise,
                hint,
            )
        }
    }
}

fn space(free: Option<u64>) -> Fact {
    const NAME: &str = "disk";
    const MIB: u64 = 1024 * 1024;
    let promise = "logs are kept whole up to their cap";
    let hint = "meanwhile clean, or free some space";
    match free {
        None => Fact::new((NAME, Status::Weaker), "its free space is not known", promise, hint),
        Some(free) => {
            let what = format!("{} MiB free", free / MIB);
            match free {
                ..NO_SPACE => Fact::new((NAME, Status::Bad), what, promise, hint),
                NO_SPACE..LITTLE_SPACE => Fact::new((NAME, Status::Weaker), what, promise, hint),
                _ => Fact::ok(NAME, what),
            }
        }
    }
}

fn pidfds() -> Fact {
    let own = Pid::from_raw(std::process::id().cast_signed()).expect("nobody is process 0");
    match rustix::process::pidfd_open(own, PidfdFlags::empty()) {
        Ok(_) => Fact::ok("pidfd", "processes are signalled without mistake"),
        Err(e) => Fact::new(
            ("pidfd", Status::Bad),
            format!("pidfd_open: {e}"),
            "nothing is ever signalled on a number alone",
            "Linux 5.3 or newer, and a sandbox that allows pidfd_open",
        ),
    }
}

fn subreaper() -> Fact {
    match rustix::process::child_subreaper() {
        Ok(_) => Fact::ok("subreaper", "orphans of a task come back to its supervisor"),
        Err(e) => Fact::new(
            ("subreaper", Status::Bad),
            format!("PR_GET_CHILD_SUBREAPER: {e}"),
            LEAVES_NOTHING,
            "run where prctl is allowed",
        ),
    }
}

fn waiting() -> Fact {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
    let scope = scope.and_then(|text| text.trim().parse().ok());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    judge_waiting(Path::new("/proc/self/syscall").exists(), scope, &mounts)
}

fn judge_waiting(has_syscall: bool, ptrace_scope: Option<u32>, mounts: &str) -> Fact {
    const NAME: &str = "waiting";
    let weaker = |what: &str, hint: &str| {
        let promise = "a task that waits for input is found";
        let what = format!("{what}: it is guessed from what the task prints");
        Fact::new((NAME, Status::Weaker), what, promise, hint)
    };
    let hides = |line: &str| {
        line.contains(" - proc ")
            && ["hidepid=4", "hidepid=ptraceable"].iter().any(|o| line.contains(o))
    };
    match ptrace_scope {
        _ if !has_syscall => weaker("this kernel has no /proc/PID/syscall", "none"),
        // 1 allows it to ancestors, which supervisors are of their tasks.
        Some(2..) => weaker("ptrace is for administrators", "sysctl kernel.yama.ptrace_scope=1"),
        _ if mounts.lines().any(hides) => {
            weaker("/proc hides processes", "mount it without hidepid")
        }
        _ => Fact::ok(NAME, "the kernel tells whether a task reads its input"),
    }
}

fn descriptors() -> Fact {
    // No limit at all is enough.
    let limit = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if limit >= ENOUGH_DESCRIPTORS {
        return Fact::ok("descriptors", "enough open files are allowed");
    }
    let what = format!("at most {limit} open files, two for each running task");
    let hint = "raise the hard limit: ulimit -Hn";
    Fact::new(("descriptors", Status::Weaker), what, "hundreds of tasks run at once", hint)
}

fn wall_clock(now_ms: i64) -> Fact {
    if now_ms >= OLDEST_PLAUSIBLE_MS {
        let suspended = clock::suspended_ms() / 1000;
        return Fact::ok(
            "clock",
            format!("plausible; suspended for {suspended} s since the start"),
        );
    }
    let promise = "retention and reset times follow the calendar";
    let what = "the wall clock is set before this program was written";
    Fact::new(("clock", Status::Bad), what, promise, "set the clock")
}

/// The name of the user we run as, by `/etc/passwd`; `None` for one that is kept elsewhere.
#[must_use]
pub fn own_user_name() -> Option<String> {
    user_name(&fs::read("/etc/passwd").ok()?, rustix::process::geteuid().as_raw())
}

fn user_name(passwd: &[u8], uid: u32) -> Option<String> {
    let mut lines = passwd.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, found) = (fields.next()?, fields.next()?, fields.next()?);
        (found.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests;
