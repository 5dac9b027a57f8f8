//! A daemon when one is needed: found, or started.
//!
//! For clients. Owns the way from "nobody listens" to "it listens" and the words for why not; starting
//! a process is `host::daemon_start`'s.

use meanwhile_api::{ApiError, ErrorCode, ExitCode};
use meanwhile_host::caller;
use meanwhile_host::daemon_start::{self, StartRequest};
use meanwhile_host::environment::Environment;
use meanwhile_host::home::{Home, HomePaths};
use meanwhile_host::spawn_supervisor::Executable;

/// Starts the daemon of a home unless it runs, and returns when it listens.
///
/// # Errors
/// Why there is none, in the daemon's own words where it had some.
pub fn ensure(paths: HomePaths, environment: &Environment) -> Result<(), ApiError> {
    let home = Home::open_or_create(paths)
        .map_err(|e| ApiError::new(ErrorCode::Store, e.to_string()).hint(e.hint()))?;
    let unreachable = |text: String| ApiError::new(ErrorCode::Unreachable, text);
    let executable = Executable::own()
        .map_err(|e| unreachable(format!("start a daemon: open our own executable: {e}")))?;
    let home_hash = home.paths.hash(rustix::process::getuid().as_raw());
    let request = StartRequest {
        executable: &executable,
        home: &home,
        environment,
        inside: &caller::inside(&home, &home_hash),
        patience: daemon_start::PATIENCE,
    };
    daemon_start::start(&request).map(|_| ()).map_err(|error| {
        let exit = ExitCode::from_code(error.exit_code());
        // The daemon's own words may have hints of their own, a line each.
        let text = error.to_string();
        let mut lines = text.lines();
        let message = lines.next().unwrap_or("start a daemon").to_owned();
        let hints = lines.map(|line| line.strip_prefix("hint: ").unwrap_or(line).to_owned());
        let own = error.hint().map(str::to_owned);
        hints.chain(own).fold(unreachable(message).exit(exit), ApiError::hint)
    })
}
