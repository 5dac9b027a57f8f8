//! The other programs in this binary, and where the daemon is.
//!
//! What it is for: `supervise` and `daemon run` are started by this same file, before any runtime exists; the client
//! needs the daemon's socket, a way to start it and a way to read its store without it. What it owns: being the only
//! file of this crate that names the daemon and the supervisor. What it never does: anything else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use meanwhile_api::client::{Client, Options};
use meanwhile_api::headers::SessionClaim;
use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_daemon::front::{self, Surroundings};
use meanwhile_daemon::offline;

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

/// Runs the other program that the arguments ask for, if they do. Before any thread: a supervisor's task dies with
/// the thread that started it.
pub(crate) fn other_program(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments.get(1) {
        Some(word) if word == "supervise" => {
            meanwhile_supervisor::supervise_main(arguments.iter().skip(2).cloned())
        }
        Some(_) | None => None,
    }
}

/// A client of the daemon of this home.
pub(crate) fn client(
    globals: &Globals,
    session: Option<SessionClaim>,
    without: WithoutDaemon,
) -> Result<Client, ApiError> {
    let surroundings = surroundings(globals)?;
    let paths = surroundings.paths()?;
    let mut options = Options { session, ..Options::new(paths.socket()) };
    if without == WithoutDaemon::ReadStore {
        options.offline = Some(Box::new(move |request| offline::answer(&paths, request)));
    }
    if without != WithoutDaemon::Fail {
        options.start = Some(Box::new(move || front::start_daemon(&surroundings)));
    }
    Ok(Client::new(options))
}

/// Runs the daemon in this process until it is stopped. `ready_fd`: where whoever started it listens.
pub(crate) fn run_daemon(globals: &Globals, ready_fd: Option<i32>) -> Result<u8, ApiError> {
    front::run_daemon(&surroundings(globals)?, ready_fd).map(|_| 0)
}

/// Writes the systemd unit; where it is and what to type next.
pub(crate) fn install_daemon(globals: &Globals) -> Result<(PathBuf, Vec<String>), ApiError> {
    let program = std::env::current_exe().map_err(|e| {
        ApiError::new(ErrorCode::Internal, format!("find our own executable: {e}"))
    })?;
    front::install_daemon(&surroundings(globals)?, &program)
}

/// The configuration file of this home.
pub(crate) fn config_path(globals: &Globals) -> Result<PathBuf, ApiError> {
    Ok(surroundings(globals)?.paths()?.config)
}

fn surroundings(globals: &Globals) -> Result<Surroundings, ApiError> {
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let flag = globals.home.clone().map(Into::into);
    Ok(Surroundings { flag, environment: std::env::vars_os().collect(), cwd })
}
