//! The daemon's process from its first line to its last.
//!
//! ```text
//!   lock ── settings ── store ── cgroup ── socket ── recover ── READY ── loop … ── remove socket, unlock
//! ```
//!
//! Owns that order: nothing is touched before the lock is held, and nobody is told "ready" before the
//! socket listens. A daemon that finds another one running is no error.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use meanwhile_api::{ApiError, ErrorCode, ExitCode};
use meanwhile_host::cgroup::{self, CgroupMode};
use meanwhile_host::daemon_start::{
    Readiness, daemon_arguments, forget_last_words, leave_last_words,
};
use meanwhile_host::environment::{Environment, daemon_environment};
use meanwhile_host::home::{Home, HomePaths, SOCKET};
use meanwhile_host::lock::{DaemonLock, LockError};
use meanwhile_host::machine::{FileSystem, Machine, file_system};
use meanwhile_host::spawn_supervisor::{Executable, SupervisorStarter};
use meanwhile_store::{Identity, Reader as _, SqliteStore, StoreError};
use meanwhile_supervisor::wire::Init;
use tokio::sync::watch;

use crate::engine::refusals::store_error;
use crate::engine::{Ending, Engine, Parts, Starter, StarterInputs};
use crate::letters::{Bell, Postbox};
use crate::sessions;
use crate::settings::{self, Isolation, Settings};

/// Files of a store and of logs may grow to this at least, 128 MiB: a log's default cap, twice.
const SHORTEST_FILES: u64 = 128 << 20;

/// What a daemon is started with.
#[derive(Debug)]
pub struct RunOptions {
    /// Where everything is.
    pub paths: HomePaths,
    /// The environment of this process.
    pub environment: Environment,
    /// Told once when clients can be served, or why not.
    pub readiness: Readiness,
    /// Started by a client or a supervisor, not by hand or by systemd: what it inherited is shed.
    pub on_demand: bool,
}

/// How a daemon ended.
#[derive(Debug)]
pub enum Ran {
    /// It served, and was asked to end.
    Stopped,
    /// Another daemon of this home runs.
    AlreadyRunning,
}

/// Runs the daemon of a home until it is asked to stop.
///
/// # Errors
/// Whatever keeps it from starting or going on, with hints and an exit code.
pub fn run(options: RunOptions) -> Result<Ran, ApiError> {
    let RunOptions { paths, environment, readiness, on_demand } = options;
    meanwhile_host::allocator::give_memory_back();
    let mut readiness = Some(readiness);
    let served = serve(paths.clone(), environment, &mut readiness, on_demand);
    if let Err(error) = &served {
        tracing::error!(%error, "the daemon ends");
        if let Ok(home) = Home::open_or_create(paths) {
            leave_last_words(&home.state, error.exit.code(), &words(error));
        }
        if let Some(readiness) = readiness {
            readiness.failed(error.exit.code(), &words(error));
        }
    }
    served
}

/// An error as people read it: the message, then a line per hint.
fn words(error: &ApiError) -> String {
    let hints = error.hint.iter().map(|hint| format!("\nhint: {hint}"));
    std::iter::once(error.message.clone()).chain(hints).collect()
}

/// Says so, and lets go of what only the start needed.
fn is_ready(readiness: &mut Option<Readiness>) {
    readiness.take().into_iter().for_each(Readiness::ready);
    // Where it cannot, more memory is taken and nothing else.
    let _taken = meanwhile_host::text::let_go();
}

fn serve(
    paths: HomePaths,
    environment: Environment,
    readiness: &mut Option<Readiness>,
    on_demand: bool,
) -> Result<Ran, ApiError> {
    if on_demand {
        meanwhile_host::settle::settle();
    }
    refuse_short_files()?;
    // First of all: later the file may have been replaced by an upgrade.
    let executable = Executable::own().map_err(|e| cannot("open our own executable", &e))?;
    let home = Home::open_or_create(paths.clone())
        .map_err(|e| ApiError::new(ErrorCode::Store, e.to_string()).hint(e.hint()))?;
    let socket_path = home.socket.path().join(SOCKET);
    let lock = match DaemonLock::acquire(&home.state, &socket_path) {
        Ok(lock) => lock,
        Err(LockError::Held(_)) => {
            readiness.take().into_iter().for_each(Readiness::already_running);
            return Ok(Ran::AlreadyRunning);
        }
        Err(LockError::Io(e)) => return Err(cannot("take the lock of the home", &e)),
    };
    meanwhile_faultpoint::fault_point!("daemon.locked");
    let settings = settings::load(&paths.config).map_err(|e| {
        ApiError::new(ErrorCode::Usage, e.to_string())
            .hint(e.hint())
            .hint(format!("edit {}", paths.config.display()))
    })?;
    let logs = home.logs().map_err(|e| ApiError::new(ErrorCode::Store, e.to_string()))?;
    crate::daemon_log::init(logs, settings.log_level);
    log_panics();
    log_start(&paths);
    refuse_network_home(&home, &settings)?;
    let machine = Machine::read().map_err(|e| cannot("find out which machine this is", &e))?;
    let (store, sessions, known) = open_store(&paths, &machine)?;
    meanwhile_faultpoint::fault_point!("daemon.store-open");
    let cgroups = cgroups(&paths, &environment, &settings);
    let leaf = cgroups.as_ref().ok().map(cgroup::Subtree::leaf);
    let listener = lock
        .bind_socket(&home.socket, SOCKET)
        .map_err(|e| cannot(&format!("listen on {}", socket_path.display()), &e))?;

    meanwhile_faultpoint::fault_point!("daemon.listens");
    let home = Arc::new(home);
    let bell = Arc::new(Bell::new().map_err(|e| cannot("make an eventfd", &e.into()))?);
    let (postbox, letters) = Postbox::new(Arc::clone(&bell));
    let (committed, committed_seen) = watch::channel(0);
    let settings = Arc::new(settings);
    let env_gate = Arc::default();
    let server = crate::http::start(
        listener,
        crate::http::ContextInputs {
            postbox: postbox.clone(),
            home: Arc::clone(&home),
            settings: Arc::new(RwLock::new(Arc::clone(&settings))),
            committed: committed_seen,
            sessions: known,
            cgroups: cgroups.clone(),
            env_gate: Arc::clone(&env_gate),
        },
    )
    .map_err(|e| cannot("start the server", &e))?;
    let starter = starter(&home, &paths, executable, &environment, cgroups.ok(), &machine)?;
    let engine = Engine::new(Parts {
        home: Arc::clone(&home),
        store: Box::new(store),
        settings,
        letters,
        postbox,
        bell,
        committed,
        sessions,
        readiness: server.readiness(),
        starter,
        env_gate,
    });
    let ending = match engine {
        Ok(engine) => {
            forget_last_words(&home.state);
            is_ready(readiness);
            meanwhile_faultpoint::fault_point!("daemon.ready");
            engine.run()
        }
        Err(ending) => ending,
    };
    tracing::info!(?ending, "daemon ends");
    meanwhile_faultpoint::fault_point!("daemon.ending");
    let _gone_already = home.socket.remove_file(SOCKET);
    meanwhile_faultpoint::fault_point!("daemon.socket-removed");
    server.finish();
    if matches!(ending, Ending::Stopped | Ending::HandedOver)
        && let Err(error) = SqliteStore::merge_log(&paths.database())
    {
        tracing::warn!(%error, "the write-ahead log stays");
    }
    meanwhile_faultpoint::fault_point!("daemon.merged");
    let_go(lock, ending, leaf.as_deref())
}

/// The lock's end says whether the daemon is to be missed. One that is not leaves no cgroup behind.
fn let_go(
    lock: DaemonLock,
    ending: Ending,
    leaf: Option<&std::path::Path>,
) -> Result<Ran, ApiError> {
    let error = match ending {
        Ending::Stopped => {
            leaf.into_iter().for_each(meanwhile_supervisor::leaf::leave);
            return Ok(Ran::Stopped);
        }
        // Until the newer one has written its name over ours, an idle supervisor must not take this for a stop: the
        // newer one may not come, or die before it has written.
        Ending::HandedOver => {
            lock.leave_as_if_killed();
            return Ok(Ran::Stopped);
        }
        Ending::Store(error) => store_error(&error),
        Ending::System(what, error) => cannot(what, &error),
    };
    // The queue is to go on once the reason is gone: supervisors bring the next daemon, ever less often.
    lock.leave_as_if_killed();
    Err(error)
}

fn log_start(paths: &HomePaths) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        home = %paths.state.display(),
        "daemon starts"
    );
}

/// Standard error of a daemon is /dev/null: what goes wrong for good is written to the log.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!(panic = %info, "a bug ends the daemon");
        usual(info);
    }));
}

/// The store, and what it knows of sessions.
fn open_store(
    paths: &HomePaths,
    machine: &Machine,
) -> Result<(SqliteStore, sessions::Publisher, sessions::Known), ApiError> {
    let failed = |error: StoreError| store_error(&error);
    let mut store = SqliteStore::open(&paths.database(), &identity(machine)).map_err(failed)?;
    let known = store.sessions().map_err(failed)?;
    let known = sessions::from_text(known.as_deref(), &machine.boot);
    let (publisher, known) = watch::channel(Arc::new(known));
    Ok((store, publisher, known))
}

/// The machine in the store's words.
#[must_use]
pub fn identity(machine: &Machine) -> Identity {
    Identity {
        machine: machine.id.clone(),
        pid_namespace: machine.pid_namespace,
        boot: machine.boot.clone(),
    }
}

/// The kernel would end us in the middle of a write, without a word.
fn refuse_short_files() -> Result<(), ApiError> {
    match meanwhile_host::settle::file_size_limit() {
        Some(limit) if limit < SHORTEST_FILES => Err(ApiError::new(
            ErrorCode::Store,
            format!("keep a store in files of at most {limit} bytes (ulimit -f)"),
        )
        .hint("start the daemon where files may grow: meanwhile daemon start")),
        Some(_) | None => Ok(()),
    }
}

fn refuse_network_home(home: &Home, settings: &Settings) -> Result<(), ApiError> {
    match file_system(&home.state) {
        Ok(FileSystem::Network(kind)) if !settings.network_store => Err(ApiError::new(
            ErrorCode::Store,
            format!("keep a store on {kind}: locks cannot be trusted there"),
        )
        .hint("use a local directory: --home DIR or MEANWHILE_HOME")
        .hint("or accept the risk: meanwhile config set store.network true")),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn cgroups(
    paths: &HomePaths,
    environment: &Environment,
    settings: &Settings,
) -> Result<cgroup::Subtree, cgroup::NoCgroup> {
    let mode = match settings.cgroup {
        Isolation::Auto => CgroupMode::Auto,
        Isolation::Off => CgroupMode::Off,
    };
    let home_hash = paths.hash(rustix::process::getuid().as_raw());
    let found = cgroup::set_up(&cgroup::Request { mode, home_hash: &home_hash, environment });
    match &found {
        Ok(subtree) => tracing::info!(path = %subtree.path().display(), "tasks get cgroups"),
        Err(reason) => tracing::warn!(%reason, "tasks get no cgroups"),
    }
    found
}

fn starter(
    home: &Home,
    paths: &HomePaths,
    executable: Executable,
    environment: &Environment,
    cgroups: Option<cgroup::Subtree>,
    machine: &Machine,
) -> Result<Starter, ApiError> {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = |path: &std::path::Path| path.as_os_str().as_bytes().to_vec();
    let dir = |opened: Result<_, meanwhile_host::dir::DirError>| {
        opened.map_err(|e| ApiError::new(ErrorCode::Store, e.to_string()).hint(e.hint()))
    };
    let bin: PathBuf = executable.path().to_owned();
    // Both live exactly as long as the process: leaking them says so.
    let executable: &'static Executable = Box::leak(Box::new(executable));
    let run: &'static _ = Box::leak(Box::new(dir(home.run())?));
    let environment = daemon_environment(environment);
    let init = Init {
        home: bytes(&paths.state),
        exe: bytes(&bin),
        daemon_args: daemon_arguments(paths).into_iter().map(OsString::into_vec).collect(),
        daemon_env: environment.entries(),
        daemon_cgroup: cgroups.as_ref().map(|c| bytes(&c.leaf())),
        ..Init::default()
    };
    let boot_id =
        meanwhile_supervisor::process::boot_id().map_err(|e| cannot("read the boot id", &e))?;
    let inputs = StarterInputs {
        paths: paths.clone(),
        spawner: SupervisorStarter::new(executable, run, &environment),
        cgroups,
        identity: identity(machine),
        boot_id,
        init,
        bin: bytes(&bin),
    };
    let envs = meanwhile_host::env_store::EnvStore::new(dir(home.env())?);
    Ok(Starter::new(inputs, envs, dir(home.run())?))
}

fn cannot(what: &str, error: &std::io::Error) -> ApiError {
    ApiError::new(ErrorCode::Internal, format!("{what}: {error}"))
        .exit(ExitCode::StoreUnusable)
        .hint("meanwhile doctor looks for the reason")
}
