//! The cgroup v2 subtree in which tasks are kept apart, where there is one that we may write.
//!
//! ```text
//!   <base>/meanwhile-<home hash>/         no process of its own, controllers enabled for children
//!       daemon/                           the daemon and its supervisors, never a task's
//!       t-<id>-<attempt>/                 one attempt, made by its supervisor
//! ```
//!
//! Owns: finding the base, the names below it, and reading who is where. Every way to have no subtree
//! is a [`NoCgroup`] with its reason, for `doctor`; tasks then run without one. Never kills anything
//! but through [`kill`], which it is told to call.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use meanwhile_core::TaskId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::environment::Environment;
use crate::proc;
use crate::systemd_scope::{self, ScopeError};

const LEAF: &str = "daemon";
/// How often it is made anew when somebody removes it: each of those who leave does so once.
const ENTER_TRIES: u32 = 8;
/// Where systemd starts the daemon inside of our unit (`DelegateSubgroup=`): the unit's own cgroup
/// stays without processes, so that controllers can be enabled in it and restarts still work.
pub(crate) const UNIT_SUBGROUP: &str = "meanwhile-daemon";
const HOME_PREFIX: &str = "meanwhile-";
const TASK_PREFIX: &str = "t-";
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Present on a system that systemd runs.
const SYSTEMD_MARK: &str = "/run/systemd/system";

/// The setting `isolation.cgroup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupMode {
    /// Use one where possible.
    Auto,
    /// Never.
    Off,
}

/// What finding a subtree depends on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The setting.
    pub mode: CgroupMode,
    /// See [`crate::home::HomePaths::hash`].
    pub home_hash: &'a str,
    /// The daemon's environment, by which its user manager is reached.
    pub environment: &'a Environment,
}

/// How cgroup v2 is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Alone, with all controllers.
    Unified,
    /// Beside version 1, usually without controllers.
    Hybrid,
}

/// Whose the base is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The cgroup we were started in, which we may write.
    Own,
    /// One that systemd delegated to our unit, which starts us below it.
    Delegated,
    /// One that systemd delegated to our unit, whose main process it starts in it directly (before
    /// version 254). Controllers stay off there: it could not start a daemon in it again.
    DelegatedWhole,
    /// A transient scope that we asked for.
    Scope(String),
    /// The subtree of an earlier daemon of this home, inside which we were started.
    Inherited,
}

/// Which limits the kernel can enforce for tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// `memory.max`.
    pub memory: bool,
    /// `pids.max`.
    pub pids: bool,
    /// `cpu.max`.
    pub cpu: bool,
}

/// A subtree of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// Its directory, absolute.
    path: PathBuf,
    /// How version 2 is mounted.
    pub layout: Layout,
    /// Whose the base is.
    pub origin: Origin,
    /// What is enabled for tasks.
    pub controllers: Controllers,
    /// Whether a whole cgroup can be killed at once (Linux 5.14).
    pub has_kill: bool,
}

/// Why there is no subtree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCgroup {
    /// `isolation.cgroup` is off.
    SwitchedOff,
    /// cgroup v2 is not mounted, or we cannot see our own place in it.
    NotMounted,
    /// Our cgroup is not ours to write, and there is no systemd to ask.
    NotWritable(PathBuf),
    /// Our cgroup is not ours to write, and systemd gave us no other.
    NotDelegated(PathBuf, ScopeError),
    /// Something failed on the way.
    Failed {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
}

/// Finds or makes our subtree and moves this process into its leaf. For the daemon, at its start.
///
/// # Errors
/// The reason there is none; the daemon goes on without.
pub fn set_up(request: &Request<'_>) -> Result<Subtree, NoCgroup> {
    if request.mode == CgroupMode::Off {
        return Err(NoCgroup::SwitchedOff);
    }
    let mount = Mount::find().ok_or(NoCgroup::NotMounted)?;
    let own = own_directory(&mount)?;
    let home_name = format!("{HOME_PREFIX}{}", request.home_hash);
    let (path, origin) = match up_to_component(&own, &home_name) {
        Some(path) => (path, Origin::Inherited),
        None => {
            let (base, origin) = find_base(request, &mount, own)?;
            (base.join(home_name), origin)
        }
    };
    let leaf = enter_leaf(&path)?;
    if origin != Origin::DelegatedWhole {
        enable_controllers(path.parent().expect("it was joined to the base"));
    }
    enable_controllers(&path);
    let controllers = enabled_controllers(&path);
    let has_kill = leaf.join("cgroup.kill").exists();
    Ok(Subtree { path, layout: mount.layout, origin, controllers, has_kill })
}

/// Makes the subtree and its leaf, and moves this process there.
fn enter_leaf(subtree: &Path) -> Result<PathBuf, NoCgroup> {
    let leaf = subtree.join(LEAF);
    let procs = leaf.join("cgroup.procs");
    for _ in 0..ENTER_TRIES {
        match make(subtree).and_then(|()| make(&leaf)) {
            // The last of an earlier daemon's supervisors removes them at this moment.
            Err(NoCgroup::Failed { .. }) if !subtree.exists() => continue,
            made => made?,
        }
        match fs::write(&procs, "0") {
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(failed(&procs, &error)),
            Ok(()) => return Ok(leaf),
        }
    }
    Err(failed(&procs, &io::Error::from(io::ErrorKind::NotFound)))
}

/// What [`set_up`] would find for a daemon started from here, without making or moving anything.
/// For `doctor`, when no daemon runs that could tell.
///
/// # Errors
/// The reason there would be none.
pub fn probe(request: &Request<'_>) -> Result<Prospect, NoCgroup> {
    if request.mode == CgroupMode::Off {
        return Err(NoCgroup::SwitchedOff);
    }
    let mount = Mount::find().ok_or(NoCgroup::NotMounted)?;
    let own = own_directory(&mount)?;
    let home_name = format!("{HOME_PREFIX}{}", request.home_hash);
    if let Some(path) = up_to_component(&own, &home_name) {
        return Ok(Prospect::At(path, Origin::Inherited));
    }
    match by_right(&own, Path::new(SYSTEMD_MARK)) {
        ByRight::Build(base, origin) => Ok(Prospect::At(base, origin)),
        ByRight::NotWritable => Err(NoCgroup::NotWritable(own)),
        ByRight::Ask { writable } => match systemd_scope::can_ask(request.environment) {
            Ok(()) => Ok(Prospect::ByScope),
            Err(_) if writable => Ok(Prospect::At(own, Origin::Own)),
            Err(why) => Err(NoCgroup::NotDelegated(own, why)),
        },
    }
}

/// What a daemon would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// A place to build.
    At(PathBuf, Origin),
    /// A manager to ask for one.
    ByScope,
}

impl Subtree {
    #[cfg(test)]
    pub(crate) fn for_tests(path: PathBuf, controllers: Controllers, has_kill: bool) -> Self {
        Self { path, layout: Layout::Unified, origin: Origin::Own, controllers, has_kill }
    }

    /// The subtree's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The leaf of the daemon and the supervisors.
    #[must_use]
    pub fn leaf(&self) -> PathBuf {
        self.path.join(LEAF)
    }

    /// The directory of one attempt, which its supervisor makes.
    #[must_use]
    pub fn task(&self, task: TaskId, attempt: u32) -> PathBuf {
        self.path.join(format!("{TASK_PREFIX}{task}-{attempt}"))
    }

    /// The attempts that have a cgroup here, empty ones included.
    #[must_use]
    pub fn tasks(&self) -> Vec<(TaskId, u32)> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        entries.flatten().filter_map(|e| parse_task(e.file_name().to_str()?)).collect()
    }
}

/// Which attempt a cgroup path (of `/proc/PID/cgroup`) belongs to, for a home.
///
/// Only the names count, not the base: after a restart in another scope, supervisors of the earlier
/// one still run where they were.
#[must_use]
pub fn task_of_path(cgroup: &Path, home_hash: &str) -> Option<(TaskId, u32)> {
    let home = format!("{HOME_PREFIX}{home_hash}");
    let mut parts = cgroup.components();
    parts.find(|part| part.as_os_str() == home.as_str())?;
    parse_task(parts.next()?.as_os_str().to_str()?)
}

/// The processes in a cgroup and below it.
#[must_use]
pub fn procs(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    // A process of another pid namespace is shown as 0.
    let mut pids: Vec<u32> =
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect();
    for child in children(directory) {
        pids.extend(procs(&child));
    }
    pids
}

/// Whether no process is left in a cgroup and below it; a cgroup that is gone is empty.
///
/// # Errors
/// When its state cannot be read.
pub fn is_empty(directory: &Path) -> io::Result<bool> {
    match fs::read_to_string(directory.join("cgroup.events")) {
        Ok(events) => Ok(parse_is_empty(&events)),
        Err(e) if is_gone(&e) => Ok(true),
        Err(e) => Err(e),
    }
}

/// Kills every process in a cgroup and below it, those forked meanwhile included.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] where the kernel has no `cgroup.kill`, or the cgroup is gone.
pub fn kill(directory: &Path) -> io::Result<()> {
    // Opened without creating: a missing file must not be made in some other directory.
    let mut file = fs::OpenOptions::new().write(true).open(directory.join("cgroup.kill"))?;
    io::Write::write_all(&mut file, b"1")
}

/// Waits until a cgroup is empty; whether it is.
///
/// # Errors
/// When its state cannot be read.
pub fn wait_until_empty(directory: &Path, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    let events = match fs::File::open(directory.join("cgroup.events")) {
        Ok(file) => file,
        Err(e) if is_gone(&e) => return Ok(true),
        Err(e) => return Err(e),
    };
    loop {
        // Read through the polled descriptor: that is what makes the next change news.
        let mut text = [0; 256];
        let length = match std::os::unix::fs::FileExt::read_at(&events, &mut text, 0) {
            Ok(length) => length,
            Err(e) if is_gone(&e) => return Ok(true),
            Err(e) => return Err(e),
        };
        if parse_is_empty(&String::from_utf8_lossy(&text[..length])) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec::try_from(left).expect("less than the patience, which fits");
        let mut changed = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
        match poll(&mut changed, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Removes a cgroup and those below it, if no process is left there; whether it is gone.
pub fn remove_empty(directory: &Path) -> bool {
    for child in children(directory) {
        remove_empty(&child);
    }
    match fs::remove_dir(directory) {
        Ok(()) => true,
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}

impl NoCgroup {
    /// What to do to have one.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::SwitchedOff => "meanwhile config set isolation.cgroup auto",
            Self::NotMounted => "mount cgroup2 at /sys/fs/cgroup, or boot without version 1",
            Self::NotWritable(_) => "run in a cgroup that your user may write (delegation)",
            Self::NotDelegated(..) => "meanwhile daemon install, so that systemd delegates one",
            Self::Failed { .. } => "see the reason; tasks are still kept by their process tree",
        }
    }
}

impl fmt::Display for NoCgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchedOff => write!(f, "isolation.cgroup is off"),
            Self::NotMounted => write!(f, "no cgroup v2 hierarchy is visible"),
            Self::NotWritable(path) => write!(f, "{} is not ours to write", path.display()),
            Self::NotDelegated(path, why) => {
                write!(
                    f,
                    "{} is not ours to write and systemd gave no scope: {why}",
                    path.display()
                )
            }
            Self::Failed { path, error } => write!(f, "failed to use {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for NoCgroup {}

/// Where cgroup v2 is mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// Which cgroup is at the mount point: not `/` where a part was mounted into a container.
    root: PathBuf,
    layout: Layout,
}

impl Mount {
    fn find() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").ok()?)
    }

    fn parse(mountinfo: &str) -> Option<Self> {
        let mounts = || {
            mountinfo.lines().filter_map(|line| {
                let (mount, rest) = line.split_once(" - ")?;
                let mut fields = mount.split(' ').skip(3);
                Some((fields.next()?, fields.next()?, rest.split(' ').next()?))
            })
        };
        let layout = match mounts().any(|(_, _, kind)| kind == "cgroup") {
            true => Layout::Hybrid,
            false => Layout::Unified,
        };
        // The whole tree is preferred to a part of it that is mounted elsewhere as well.
        let (root, point, _) = mounts()
            .filter(|(_, _, kind)| *kind == "cgroup2")
            .min_by_key(|(root, _, _)| *root != "/")?;
        Some(Self { point: PathBuf::from(point), root: PathBuf::from(root), layout })
    }

    /// The directory of a cgroup path; `None` for one that lies outside of what is mounted.
    fn directory(&self, cgroup: &Path) -> Option<PathBuf> {
        if cgroup.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        Some(match cgroup.strip_prefix(&self.root).ok()? {
            below if below.as_os_str().is_empty() => self.point.clone(),
            below => self.point.join(below),
        })
    }
}

fn own_directory(mount: &Mount) -> Result<PathBuf, NoCgroup> {
    proc::cgroup(std::process::id())
        .and_then(|cgroup| mount.directory(&cgroup))
        .filter(|directory| directory.join("cgroup.procs").exists())
        .ok_or(NoCgroup::NotMounted)
}

/// The cgroup to build in: our own if it is ours by right, else a scope of systemd's, else our own
/// if we happen to be able to write it.
fn find_base(
    request: &Request<'_>,
    mount: &Mount,
    own: PathBuf,
) -> Result<(PathBuf, Origin), NoCgroup> {
    match by_right(&own, Path::new(SYSTEMD_MARK)) {
        ByRight::Build(base, origin) => Ok((base, origin)),
        ByRight::NotWritable => Err(NoCgroup::NotWritable(own)),
        ByRight::Ask { writable } => {
            let home_name = format!("{HOME_PREFIX}{}", request.home_hash);
            let unit = format!("{home_name}.scope");
            let leaf = format!("/{home_name}/{LEAF}");
            match systemd_scope::enter(&unit, &leaf, request.environment) {
                Ok(()) => {
                    let scope = own_directory(mount)?;
                    let base = up_to_component(&scope, &unit).unwrap_or(scope);
                    Ok((base, Origin::Scope(unit)))
                }
                Err(_) if writable => Ok((own, Origin::Own)),
                Err(why) => Err(NoCgroup::NotDelegated(own, why)),
            }
        }
    }
}

/// What our own cgroup allows without asking anybody.
#[derive(Debug, PartialEq, Eq)]
enum ByRight {
    Build(PathBuf, Origin),
    /// systemd is here and did not delegate it to us.
    Ask {
        writable: bool,
    },
    NotWritable,
}

fn by_right(own: &Path, systemd_mark: &Path) -> ByRight {
    let writable = may_write(own);
    if !systemd_mark.is_dir() {
        return match writable {
            true => ByRight::Build(own.to_path_buf(), Origin::Own),
            false => ByRight::NotWritable,
        };
    }
    let unit = own.parent().filter(|_| own.file_name().is_some_and(|name| name == UNIT_SUBGROUP));
    if let Some(unit) = unit.filter(|unit| may_write(unit) && is_delegated(unit)) {
        return ByRight::Build(unit.to_path_buf(), Origin::Delegated);
    }
    if writable && is_delegated(own) {
        return ByRight::Build(own.to_path_buf(), Origin::DelegatedWhole);
    }
    ByRight::Ask { writable }
}

fn may_write(directory: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let may = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    may(directory) && may(&directory.join("cgroup.procs"))
}

/// systemd marks the cgroups it delegates, so that nobody has to guess.
fn is_delegated(directory: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0_u8; 8];
        rustix::fs::getxattr(directory, *name, &mut value).is_ok_and(|n| &value[..n] == b"1")
    })
}

/// `path` cut after its component `name`.
fn up_to_component(path: &Path, name: &str) -> Option<PathBuf> {
    path.ancestors().find(|p| p.file_name().is_some_and(|n| n == name)).map(Path::to_path_buf)
}

fn make(directory: &Path) -> Result<(), NoCgroup> {
    match fs::create_dir(directory) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Err(NoCgroup::NotWritable(directory.to_path_buf()))
        }
        Err(e) => Err(failed(directory, &e)),
    }
}

fn failed(path: &Path, error: &io::Error) -> NoCgroup {
    NoCgroup::Failed { path: path.to_path_buf(), error: error.to_string() }
}

/// Enables what can be enabled, one by one: a cgroup that holds other processes, or that was given
/// without controllers, refuses some or all, which shows in [`enabled_controllers`].
fn enable_controllers(directory: &Path) {
    for name in CONTROLLERS {
        let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{name}"));
    }
}

fn enabled_controllers(directory: &Path) -> Controllers {
    let text = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
    let [memory, pids, cpu] =
        CONTROLLERS.map(|name| text.split_ascii_whitespace().any(|w| w == name));
    Controllers { memory, pids, cpu }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_dir = |e: &fs::DirEntry| e.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_dir).map(|e| e.path()).collect()
}

fn parse_task(name: &str) -> Option<(TaskId, u32)> {
    let (id, attempt) = name.strip_prefix(TASK_PREFIX)?.split_once('-')?;
    Some((id.parse().ok()?, attempt.parse().ok()?))
}

fn parse_is_empty(events: &str) -> bool {
    events.lines().any(|line| line == "populated 0")
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
pub(crate) use tests::TestSubtree;

#[cfg(test)]
mod tests;
