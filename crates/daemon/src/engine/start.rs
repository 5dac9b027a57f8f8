//! From "this attempt has a seat" to a start message with a locked owner file in it.
//!
//! Owns what a start is made of: launch parameters (few in memory, the rest in the store), captured
//! environments, the cgroup's path, supervisors to hand it to. Never decides that something starts.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meanwhile_core::spec::{Command, EnvProfile, Stdin};
use meanwhile_core::{AttemptToken, LoadedTask, Now, TaskId, TaskSpec};
use meanwhile_host::cgroup::Subtree;
use meanwhile_host::dir::{Dir, DirError, DirErrorKind};
use meanwhile_host::env_store::EnvStore;
use meanwhile_host::environment::{Environment, Prepared, Profile, Recipe};
use meanwhile_host::home::{Home, HomePaths};
use meanwhile_host::spawn_supervisor::{SupervisorStarter, socket_name};
use meanwhile_store::Identity;
use meanwhile_supervisor::owner::{Owner, OwnerHeader};
use meanwhile_supervisor::wire::{
    self, Init, PtySize, Rlimit, StartSpec, ToSupervisor, Token, WireError,
};

use super::Engine;
use super::fleet::{Job, MemberKey, Who};
use super::postpone::Want;
use crate::hidden;

/// Launch parameters kept in memory: enough for a burst of starts, the store has the rest.
const SPECS_KEPT: usize = 256;
/// Launch parameters read from the store at once when a task's own are not in memory: a long queue starts in the order
/// of its submission, mostly.
const SPECS_AT_ONCE: usize = 64;
/// How long a supervisor without a task stays for the next one, in milliseconds.
const IDLE_MS: u32 = 10_000;
/// Tasks after which a supervisor is replaced, so that what it may have leaked is given back.
const MAX_TASKS: u32 = 1_000;
/// Captured environments are deleted when nothing has been unfinished for this long.
const ENV_SWEEP: Duration = Duration::from_secs(120);
/// In a task's directory: the name of the environment that a later retry brought.
const ENV_NAME: &str = "env";

/// What starts are made of.
#[derive(Debug)]
pub struct Starter {
    inputs: StarterInputs,
    envs: EnvStore,
    run_dir: Dir,
    specs: HashMap<TaskId, Arc<TaskSpec>>,
    /// The environment used last: a batch shares one.
    last_env: Option<LastEnv>,
    /// Starts handed to a supervisor that had been idle (it may just be leaving), with their timeout.
    reused: HashMap<AttemptToken, Option<Duration>>,
    /// Starts handed to a supervisor made for them, until they settle, with their timeout.
    fresh: HashMap<AttemptToken, Option<Duration>>,
    /// Attempts whose supervisor stays with what they left behind.
    staying: HashSet<AttemptToken>,
}

/// An environment that was made, and from what.
#[derive(Debug)]
struct LastEnv {
    captured: Option<String>,
    profile: EnvProfile,
    set: Vec<(Vec<u8>, Vec<u8>)>,
    keep: Vec<Vec<u8>>,
    prepared: Prepared,
    /// What its secrets are known by, if it has any.
    prints: Option<String>,
}

/// Who is to take a start.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taker {
    /// An idle supervisor, else a new one.
    IdleFirst,
    /// A new one: an idle one was asked and did not take it.
    New,
}

/// What a starter is told once.
#[derive(Debug)]
pub struct StarterInputs {
    /// Where everything is.
    pub paths: HomePaths,
    /// Makes supervisor processes; what it borrows lives as long as the daemon's process.
    pub spawner: SupervisorStarter<'static>,
    /// Where tasks get a cgroup of their own, if anywhere.
    pub cgroups: Option<Subtree>,
    /// This machine, namespace and boot.
    pub identity: Identity,
    /// The boot id as owner files hold it.
    pub boot_id: [u8; 16],
    /// What supervisors are told when they are met; each gets its own socket name.
    pub init: Init,
    /// The path of our executable, for `MEANWHILE_BIN`.
    pub bin: Vec<u8>,
}

impl Starter {
    /// A starter with nothing in memory.
    #[must_use]
    pub fn new(inputs: StarterInputs, envs: EnvStore, run_dir: Dir) -> Self {
        Self {
            inputs,
            envs,
            run_dir,
            specs: HashMap::new(),
            last_env: None,
            reused: HashMap::new(),
            fresh: HashMap::new(),
            staying: HashSet::new(),
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.inputs.identity
    }

    pub(super) fn boot_id(&self) -> &[u8; 16] {
        &self.inputs.boot_id
    }

    /// The cgroup that an attempt is given now, if any.
    pub(super) fn cgroup_of(&self, job: Job) -> Option<PathBuf> {
        self.inputs.cgroups.as_ref().map(|c| c.task(job.task, job.attempt))
    }

    pub(super) fn run_dir(&self) -> &Dir {
        &self.run_dir
    }

    /// The first message to a supervisor that listens under this name.
    pub(super) fn init(&self, socket_name: &str) -> ToSupervisor {
        let init = Init { socket_name: socket_name.into(), ..self.inputs.init.clone() };
        ToSupervisor::Init(Init { idle_ms: IDLE_MS, max_tasks: MAX_TASKS, ..init })
    }

    /// The same for one that is not to leave for want of a task. It may be said at any time, as may the first.
    pub(super) fn init_guard(&self, socket_name: &str) -> ToSupervisor {
        match self.init(socket_name) {
            ToSupervisor::Init(init) => ToSupervisor::Init(Init { idle_ms: u32::MAX, ..init }),
            other => other,
        }
    }

    /// How many more launch parameters may be kept.
    pub(super) fn room_for_specs(&self) -> usize {
        SPECS_KEPT.saturating_sub(self.specs.len())
    }

    pub(super) fn keep_specs(&mut self, specs: Vec<(TaskId, Box<TaskSpec>)>) {
        self.specs.extend(specs.into_iter().map(|(id, spec)| (id, Arc::from(spec))));
    }

    pub(super) fn spec(&self, task: TaskId) -> Option<Arc<TaskSpec>> {
        self.specs.get(&task).cloned()
    }

    pub(super) fn drop_spec(&mut self, task: TaskId) {
        self.specs.remove(&task);
    }

    /// Whether the attempt was handed to a supervisor that had been idle before.
    pub(super) fn was_reused(&self, token: AttemptToken) -> bool {
        self.reused.contains_key(&token)
    }

    /// The running time changed while the start was in flight.
    pub(super) fn set_timeout(&mut self, token: AttemptToken, timeout: Option<Duration>) {
        for starts in [&mut self.reused, &mut self.fresh] {
            if let Some(of_start) = starts.get_mut(&token) {
                *of_start = timeout;
            }
        }
    }

    /// The running time of a start in flight.
    pub(super) fn timeout(&self, token: AttemptToken) -> Option<Duration> {
        *self.reused.get(&token).or_else(|| self.fresh.get(&token))?
    }

    pub(super) fn is_fresh(&self, token: AttemptToken) -> bool {
        self.fresh.contains_key(&token)
    }

    /// The attempt's start is no longer in question.
    pub(super) fn settled(&mut self, token: AttemptToken) {
        self.reused.remove(&token);
        self.fresh.remove(&token);
    }

    /// Its supervisor stays with what the task left behind and takes no other task.
    pub(super) fn stays(&mut self, token: AttemptToken) {
        self.staying.insert(token);
    }

    pub(super) fn take_stays(&mut self, token: AttemptToken) -> bool {
        self.staying.remove(&token)
    }

    /// From its next attempt on, a task gets this captured environment.
    pub(super) fn replace_env(&self, home: &Home, task: TaskId, hash: &str) -> io::Result<()> {
        use std::io::Write;
        let dir = home
            .state
            .subdir("tasks")
            .and_then(|tasks| tasks.subdir(&task.to_string()))
            .map_err(|e| io::Error::other(e.to_string()))?;
        dir.remove_file(ENV_NAME)?;
        meanwhile_faultpoint::fault_point!("retry.env-removed");
        let mut file = dir.create_new_file(ENV_NAME)?;
        file.write_all(hash.as_bytes())?;
        meanwhile_faultpoint::fault_point!("retry.env-written");
        file.sync_data()
    }

    /// Deletes captured environments that none of these tasks needs.
    pub(super) fn sweep_envs(&self, unfinished: &[LoadedTask]) -> io::Result<()> {
        let mut needed: HashSet<String> =
            unfinished.iter().filter_map(|t| t.spec.env.captured.clone()).collect();
        for task in unfinished.iter().filter(|t| t.attempt > 1) {
            needed.extend(later_env(&self.inputs.paths, task.id)?);
        }
        self.envs.keep_only(|hash| needed.contains(&hash.to_string()))
    }

    fn environment(&mut self, job: Job, spec: &TaskSpec) -> io::Result<Vec<Vec<u8>>> {
        // Only a task that somebody tried again can have another environment than at its launch.
        let later = if job.attempt > 1 { later_env(&self.inputs.paths, job.task)? } else { None };
        let hash = later.or_else(|| spec.env.captured.clone());
        let last = self.last_env.take().filter(|last| {
            last.captured == hash
                && last.profile == spec.env.profile
                && last.set == spec.env.set
                && last.keep == spec.env.keep
        });
        let last = match last {
            Some(last) => last,
            None => self.prepare_env(hash, spec)?,
        };
        let tmpdir = bytes(&self.inputs.paths.attempt_tmp(job.task, job.attempt));
        let entries = last.prepared.of_attempt(job.task, job.attempt, Some(&tmpdir));
        self.last_env = Some(last);
        Ok(entries)
    }

    fn prepare_env(&self, hash: Option<String>, spec: &TaskSpec) -> io::Result<LastEnv> {
        let captured = match &hash {
            None => Environment::new(),
            Some(hash) => {
                let parsed = hash.parse().map_err(|_| {
                    io::Error::new(io::ErrorKind::InvalidData, "no environment has that name")
                })?;
                self.envs.get(parsed)?
            }
        };
        let home = self.inputs.paths.explicit.then(|| bytes(&self.inputs.paths.state));
        let recipe = Recipe {
            captured: &captured,
            profile: match spec.env.profile {
                EnvProfile::Agent => Profile::Agent,
                EnvProfile::Ci => Profile::Ci,
                EnvProfile::Inherit => Profile::Inherit,
            },
            keep: &spec.env.keep,
            explicit: &spec.env.set,
            bin: &self.inputs.bin,
            home: home.as_deref(),
        };
        Ok(LastEnv {
            prepared: Prepared::new(&recipe),
            prints: hidden::prints(&captured, &spec.env.set),
            captured: hash,
            profile: spec.env.profile,
            set: spec.env.set.clone(),
            keep: spec.env.keep.clone(),
        })
    }

    /// What the secrets of the last environment are known by.
    fn prints(&self) -> Option<&str> {
        self.last_env.as_ref()?.prints.as_deref()
    }

    /// Everything a supervisor must know.
    fn start_spec(
        &mut self,
        job: Job,
        spec: &TaskSpec,
        timeout: Option<Duration>,
        log_cap: u64,
    ) -> io::Result<StartSpec> {
        let argv = match &spec.command {
            Command::Argv(argv) => argv.clone(),
            Command::Shell(line) => vec![b"/bin/sh".to_vec(), b"-c".to_vec(), line.clone()],
        };
        let task = wire::TaskId(job.task.to_ascii());
        let mut start =
            StartSpec::new(Token(job.token.0), task, job.attempt, argv, spec.cwd.clone());
        start.env = self.environment(job, spec)?;
        start.umask = spec.process.umask;
        let limit = |&(resource, soft, hard): &(u32, u64, u64)| Rlimit { resource, soft, hard };
        start.rlimits = spec.process.rlimits.iter().map(limit).collect();
        start.stdin = match &spec.stdin {
            Stdin::Null => wire::Stdin::Null,
            Stdin::File(path) => wire::Stdin::Path(path.clone()),
            Stdin::Spooled => {
                let path = self.inputs.paths.state.join("stdin").join(job.task.to_string());
                wire::Stdin::Spool(bytes(&path))
            }
        };
        start.pty = spec.pty.map(|(cols, rows)| PtySize { cols, rows });
        start.timeout_ms = timeout.map(millis);
        start.idle_timeout_ms = spec.timing.idle_timeout.map(millis);
        start.grace_ms = millis(spec.timing.grace);
        start.log_cap = spec.limits.max_log.unwrap_or(log_cap);
        start.cgroup = self.inputs.cgroups.as_ref().map(|c| bytes(&c.task(job.task, job.attempt)));
        start.memory_max = spec.limits.memory;
        start.pids_max = spec.limits.pids;
        start.cpus = spec.limits.cpus;
        start.nice = spec.limits.nice;
        start.tmpdir = Some(bytes(&self.inputs.paths.attempt_tmp(job.task, job.attempt)));
        start.keep_tmp = spec.keep_tmp;
        start.keep_leaked = spec.keep_leaked;
        start.hold_stdin = spec.pty.is_some();
        Ok(start)
    }
}

impl Engine {
    /// Deletes the captured environments once nothing has been unfinished for a while; the while saves
    /// a burst of single commands from writing theirs again and again.
    pub(super) fn sweep_envs(&mut self, now: Now) {
        if self.core.unfinished() > 0 {
            self.env_sweep_at = None;
        } else if self.env_sweep_at.is_some_and(|at| at <= now.boot) {
            self.env_sweep_at = None;
            // Whoever holds the gate is about to submit a task with an environment just written.
            let swept = self.env_gate.try_write().map(|_gate| self.starter.sweep_envs(&[]));
            if let Ok(Err(error)) = swept {
                tracing::warn!(%error, "captured environments could not be deleted");
            }
        }
    }

    /// The last unfinished task may just have ended.
    pub(super) fn plan_env_sweep(&mut self, now: Now) {
        if self.core.unfinished() == 0 {
            self.env_sweep_at.get_or_insert(now.boot.after(ENV_SWEEP));
        }
    }

    /// Hands an attempt to a supervisor: an idle one, else a new one.
    pub(super) fn start(&mut self, job: Job, timeout: Option<Duration>) {
        self.try_start(job, timeout, Taker::IdleFirst);
    }

    /// Hands an attempt that an idle supervisor did not take to a new one.
    pub(super) fn start_fresh(&mut self, job: Job) {
        let timeout = self.starter.reused.remove(&job.token).flatten();
        self.try_start(job, timeout, Taker::New);
    }

    fn try_start(&mut self, job: Job, timeout: Option<Duration>, taker: Taker) {
        if let Err((errno, what)) = self.prepare_start(job, timeout, taker) {
            tracing::error!(task = %job.task, errno, what, "a start could not be prepared");
            match Want::of(errno) {
                Some(want) => self.postpone(job, timeout, want, (errno, what)),
                None => self.cannot_prepare(job, errno, what),
            }
        }
    }

    fn prepare_start(
        &mut self,
        job: Job,
        timeout: Option<Duration>,
        taker: Taker,
    ) -> Result<(), (i32, String)> {
        meanwhile_faultpoint::fault_point!("start.before");
        let spec =
            self.spec_to_start(job.task).ok_or((0, "its launch parameters are gone".to_owned()))?;
        let start = self
            .starter
            .start_spec(job, &spec, timeout, self.settings.log_cap)
            .map_err(io_error("read its environment"))?;
        let dir = self
            .home
            .attempt(job.task, job.attempt)
            .map_err(|e| (dir_errno(&e), format!("make its directory: {e}")))?;
        meanwhile_faultpoint::fault_point!("start.directory-made");
        if let Some(prints) = self.starter.prints() {
            hidden::write(&dir, prints).map_err(io_error("keep what must not be shown"))?;
        }
        let idle = match taker {
            Taker::IdleFirst => self.fleet.take_idle(),
            Taker::New => None,
        };
        let key = match idle {
            Some(key) => key,
            None => self.new_supervisor().map_err(io_error("start a supervisor"))?,
        };
        meanwhile_faultpoint::fault_point!("start.supervisor-ready");
        if let Err(error) = self.hand_over(key, job, &start, &dir) {
            self.fleet.give_back(key);
            return Err(error);
        }
        if idle.is_some() {
            self.starter.reused.insert(job.token, timeout);
        } else {
            self.starter.fresh.insert(job.token, timeout);
        }
        meanwhile_faultpoint::fault_point!("start.queued");
        self.starter.drop_spec(job.task);
        Ok(())
    }

    /// What is not in memory is read with what will be wanted next.
    fn spec_to_start(&mut self, task: TaskId) -> Option<Arc<TaskSpec>> {
        let spec = self.spec(task)?;
        if self.starter.spec(task).is_none() && self.starter.room_for_specs() >= SPECS_AT_ONCE {
            match self.store.queued_after(task, SPECS_AT_ONCE) {
                Ok(specs) => self.starter.keep_specs(specs),
                // They are asked for again, one by one.
                Err(error) => tracing::error!(%error, "launch parameters cannot be read"),
            }
        }
        Some(spec)
    }

    fn hand_over(
        &mut self,
        key: MemberKey,
        job: Job,
        start: &StartSpec,
        dir: &Dir,
    ) -> Result<(), (i32, String)> {
        let who = self.fleet.who(key).expect("it was just given or made");
        let header = OwnerHeader {
            token: Token(job.token.0),
            boot_id: self.starter.inputs.boot_id,
            pid_namespace: self.starter.inputs.identity.pid_namespace,
            pid: who.pid,
            start_time: who.start_time,
            cgroup: start.cgroup.clone(),
            protocol: who.protocol,
            socket_name: who.socket_name.clone(),
        };
        let owner = Owner::create(dir, &header)
            .map_err(|errno| (errno.raw_os_error(), format!("claim its owner file: {errno}")))?;
        meanwhile_faultpoint::fault_point!("start.claimed");
        let dir = dir.as_fd().try_clone_to_owned().map_err(io_error("share its directory"))?;
        self.fleet.start(key, job, start, owner.into_fd(), dir).map_err(|error| match &error {
            WireError::Io(errno) => (errno.raw_os_error(), error.to_string()),
            _ => (0, error.to_string()),
        })
    }

    pub(super) fn new_supervisor(&mut self) -> io::Result<MemberKey> {
        let started = self.starter.inputs.spawner.start()?;
        let name = socket_name(started.identity);
        let who = Who {
            pid: started.identity.pid,
            start_time: started.identity.start_time,
            socket_name: name.clone().into_bytes(),
            protocol: meanwhile_supervisor::limits::PROTOCOL,
        };
        let init = self.starter.init(&name);
        self.fleet
            .add(started.socket, who, Some(started.pidfd), &init)
            .map_err(|e| io::Error::other(e.to_string()))
    }
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> (i32, String) {
    move |e| (e.raw_os_error().unwrap_or(0), format!("{what}: {e}"))
}

fn dir_errno(error: &DirError) -> i32 {
    match &error.kind {
        DirErrorKind::Io(error) => error.raw_os_error().unwrap_or(0),
        _ => 0,
    }
}

/// The environment a task was given when somebody tried it again.
fn later_env(paths: &HomePaths, task: TaskId) -> io::Result<Option<String>> {
    let path = paths.state.join("tasks").join(task.to_string()).join(ENV_NAME);
    match std::fs::read_to_string(path) {
        Ok(hash) => Ok(Some(hash)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn bytes(path: &std::path::Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}
