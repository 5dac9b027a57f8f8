//! The other programs in this binary, and where the daemon is.
//!
//! What it is for: `supervise` and `daemon run` are started by this same file, before any runtime exists; the client
//! needs the daemon's socket, a way to start it and a way to read its store without it. What it owns: being the only
//! file of this crate that names the daemon and the supervisor. What it never does: anything else.

use std::ffi::OsString;
use std::path::PathBuf;

use meanwhile_api::client::{Client, Options};
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::inbox::Route;
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_daemon::front::{self, Surroundings};
use meanwhile_daemon::offline::Offline;
pub(crate) use meanwhile_daemon::routes::{Standing, Tried};
use meanwhile_daemon::run::Ran;

use crate::cli::Globals;

/// What a client does where no daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithoutDaemon {
    /// Starts one.
    Start,
    /// Reads the store itself, and starts one for what cannot be read.
    ReadStore,
    /// Gives up.
    Fail,
}

/// How `daemon run` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DaemonRan {
    /// It served, and was asked to stop.
    Stopped,
    /// Another one serves this home.
    AlreadyRunning,
}

/// Becomes a supervisor, if that is what the arguments ask for. No thread and no runtime may exist yet.
pub(crate) fn become_supervisor(arguments: &[OsString]) {
    if arguments.get(1).is_some_and(|word| word == "supervise") {
        meanwhile_supervisor::supervise_main(arguments[2..].iter().cloned());
    }
}

/// A client of the daemon of this home, whose answers are shown by the command line.
pub(crate) fn client(
    globals: &Globals,
    session: Option<SessionClaim>,
    without: WithoutDaemon,
) -> Result<Client, ApiError> {
    client_of(globals, session, without, Some(Route::Cli))
}

/// A client of the daemon of this home, whose answers are shown by this way, or by none.
pub(crate) fn client_of(
    globals: &Globals,
    session: Option<SessionClaim>,
    without: WithoutDaemon,
    shows: Option<Route>,
) -> Result<Client, ApiError> {
    let paths = surroundings(globals).paths()?;
    let mut options = Options::new(paths.socket());
    let of_home = paths.clone();
    options.elsewhere = Some(Box::new(move || front::socket_elsewhere(&of_home)));
    if without != WithoutDaemon::Fail {
        let globals = globals.clone();
        options.start = Some(Box::new(move || front::start_daemon(&surroundings(&globals))));
        let of_home = paths.clone();
        options.may_replace = Some(Box::new(move || front::may_replace_daemon(&of_home)));
    }
    if without == WithoutDaemon::ReadStore {
        let offline = Offline { paths, claim: session.clone() };
        options.offline = Some(Box::new(move |request| offline.answer(request)));
    }
    Ok(Client::new(Options { session, shows, ..options }))
}

/// Runs the daemon in this process until it is stopped.
pub(crate) fn run_daemon(globals: &Globals, ready_fd: Option<i32>) -> Result<DaemonRan, ApiError> {
    front::run_daemon(&surroundings(globals), ready_fd).map(|ran| match ran {
        Ran::Stopped => DaemonRan::Stopped,
        Ran::AlreadyRunning => DaemonRan::AlreadyRunning,
    })
}

/// Writes the systemd unit; where it is and what to type next.
pub(crate) fn install_daemon(globals: &Globals) -> Result<(PathBuf, Vec<String>), ApiError> {
    let program = std::env::current_exe().map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("find our own executable: {error}"))
    })?;
    front::install_daemon(&surroundings(globals), &program)
}

/// The configuration file of this home.
pub(crate) fn config_path(globals: &Globals) -> Result<PathBuf, ApiError> {
    Ok(surroundings(globals).paths()?.config)
}

/// Where this home keeps what it must not lose.
pub(crate) fn state_directory(globals: &Globals) -> Result<PathBuf, ApiError> {
    Ok(surroundings(globals).paths()?.state)
}

/// How long each process of this user runs that was started under this name.
pub(crate) fn ages(program: &str) -> Vec<std::time::Duration> {
    front::ages(program)
}

/// Delivers what is due by other routes, in this process.
pub(crate) fn deliver(
    globals: &Globals,
    after: u64,
    report_fd: Option<i32>,
) -> Result<(), ApiError> {
    front::deliver(&surroundings(globals), after, report_fd)
}

/// Tries the other routes that are set, from this process.
pub(crate) fn try_routes(globals: &Globals, only: Option<&str>) -> Result<Vec<Tried>, ApiError> {
    front::try_routes(&surroundings(globals), only)
}

/// How the other routes are that are set.
pub(crate) fn standing_of_routes(globals: &Globals) -> Result<Vec<Standing>, ApiError> {
    front::standing_of_routes(&surroundings(globals))
}

/// The arguments of the processes that led to this one, the nearest first.
pub(crate) fn callers() -> Vec<Vec<Vec<u8>>> {
    front::callers()
}

/// Says whether the process that has started this one is there, and not about to end.
pub(crate) fn starter_is_there() -> std::sync::Arc<dyn Fn() -> bool + Send + Sync> {
    let starter = front::starter();
    std::sync::Arc::new(move || front::is_going_on(starter))
}

/// Which of these agents is the nearest of the processes that led to this one.
pub(crate) fn nearest_agent(names: &[&str]) -> Option<usize> {
    front::nearest_agent(names)
}

/// What this process was started with.
fn surroundings(globals: &Globals) -> Surroundings {
    Surroundings {
        flag: globals.home.clone(),
        environment: std::env::vars_os().collect(),
        cwd: std::env::current_dir().ok(),
    }
}
