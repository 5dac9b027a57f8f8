//! The environment that a client sends along.
//!
//! Owns the check of its names and values and the way into the owner-only file. Never shows a value.

use meanwhile_api::caller::CallerContext;
use meanwhile_api::{ApiError, ErrorCode, OsText};
use meanwhile_host::env_store::{EnvStore, LARGEST};
use meanwhile_host::environment::Environment;

/// The client's environment.
///
/// # Errors
/// When a name cannot be one, or all of it is larger than any program could be given.
pub fn read(caller: &CallerContext) -> Result<Environment, ApiError> {
    let mut environment = Environment::new();
    let mut bytes = 0;
    for (name, value) in &caller.env {
        check(name, value)?;
        bytes += name.len() + value.len() + 2;
        environment.set(name.as_bytes(), value.as_bytes());
    }
    if bytes > LARGEST {
        return Err(ApiError::new(
            ErrorCode::CannotStart,
            format!("environment has {bytes} bytes, more than a program can be given"),
        )
        .hint("unset what is not needed"));
    }
    Ok(environment)
}

/// A variable's name and value.
pub(super) fn check(name: &OsText, value: &OsText) -> Result<(), ApiError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.as_bytes().contains(&b'=') {
        "has a `=`"
    } else if name.as_bytes().contains(&0) || value.as_bytes().contains(&0) {
        "or value has a NUL byte"
    } else {
        return Ok(());
    };
    let shown: String =
        name.to_string_lossy().chars().filter(|c| !c.is_control()).take(60).collect();
    Err(ApiError::new(ErrorCode::Usage, format!("name of the variable `{shown}` {problem}"))
        .hint("for example --env RUST_LOG=debug"))
}

/// Keeps an environment on disk and names it.
///
/// # Errors
/// When the disk does not take it.
pub fn keep(envs: &EnvStore, environment: &Environment) -> Result<String, ApiError> {
    envs.put(environment).map(|hash| hash.to_string()).map_err(|error| {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let code = if full { ErrorCode::DiskFull } else { ErrorCode::Store };
        ApiError::new(code, format!("environment cannot be kept: {error}"))
            .hint("check the space and the mode of the directory env in the home")
    })
}
