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

/// Runs the other program that the arguments ask for, if they do.
pub(crate) fn other_program(_arguments: &[OsString]) -> Option<ExitCode> {
    None
}

/// A client of the daemon of this home.
pub(crate) fn client(
    globals: &Globals,
    session: Option<SessionClaim>,
    _without: WithoutDaemon,
) -> Result<Client, ApiError> {
    let options = Options { session, ..Options::new(state(globals)?.join("daemon.sock")) };
    Ok(Client::new(options))
}

/// Runs the daemon in this process until it is stopped.
pub(crate) fn run_daemon(_globals: &Globals) -> Result<u8, ApiError> {
    Err(ApiError::new(ErrorCode::Unsupported, "run the daemon: not built yet"))
}

/// Writes the systemd unit; where it is and what to type next.
pub(crate) fn install_daemon(_globals: &Globals) -> Result<(PathBuf, Vec<String>), ApiError> {
    Err(ApiError::new(ErrorCode::Unsupported, "install the daemon: not built yet"))
}

/// The configuration file of this home.
pub(crate) fn config_path(globals: &Globals) -> Result<PathBuf, ApiError> {
    Ok(state(globals)?.join("config.toml"))
}

fn state(globals: &Globals) -> Result<PathBuf, ApiError> {
    let named = globals.home.clone().or_else(|| std::env::var_os("MEANWHILE_HOME"));
    named
        .map(PathBuf::from)
        .ok_or_else(|| ApiError::new(ErrorCode::Usage, "use an unnamed home: not built yet"))
}
