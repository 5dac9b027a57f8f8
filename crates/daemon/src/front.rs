//! What the program's hidden entries need of this crate, in one place: paths, running, starting,
//! installing.
//!
//! Owns nothing; it keeps the command line from depending on the rooms below.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_host::caller::{self, Inside};
use meanwhile_host::daemon_start::Readiness;
use meanwhile_host::environment::Environment;
use meanwhile_host::home::{Home, HomeInputs, HomePaths};
use meanwhile_host::proc::Identity;
use meanwhile_host::{lock, systemd_unit};

use crate::routes::{self, CourierOptions, Standing, Tried};
use crate::run::{Ran, RunOptions};
use crate::settings::{self, RouteSettings};

/// What a process was started with, as far as it says where its home is.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// `--home`.
    pub flag: Option<OsString>,
    /// The process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The current directory, if it is still there; it matters to a relative `--home` alone.
    pub cwd: Option<PathBuf>,
}

impl Surroundings {
    /// Where the home is.
    ///
    /// # Errors
    /// When no home is named and `HOME` does not say one, or it is named relative to a directory that is gone.
    pub fn paths(&self) -> Result<HomePaths, ApiError> {
        let named = self.flag.as_deref().or_else(|| self.variable("MEANWHILE_HOME"));
        let cwd = match (&self.cwd, named.map(Path::new)) {
            (Some(cwd), _) => cwd.as_path(),
            (None, Some(relative)) if relative.is_relative() => {
                let text = format!("find the home directory {}", relative.display());
                return Err(ApiError::new(
                    ErrorCode::Store,
                    format!("{text}: the current directory is gone"),
                )
                .hint("name it from the root: --home /DIR"));
            }
            (None, _) => Path::new("/"),
        };
        let inputs = HomeInputs {
            flag: self.flag.as_deref(),
            meanwhile_home: self.variable("MEANWHILE_HOME"),
            home: self.variable("HOME"),
            xdg_state_home: self.variable("XDG_STATE_HOME"),
            xdg_config_home: self.variable("XDG_CONFIG_HOME"),
            xdg_runtime_dir: self.variable("XDG_RUNTIME_DIR"),
            cwd,
        };
        HomePaths::resolve(&inputs)
            .map_err(|e| ApiError::new(ErrorCode::Store, e.to_string()).hint(e.hint()))
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.environment.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    fn environment(&self) -> Environment {
        use std::os::unix::ffi::OsStrExt;
        let mut environment = Environment::new();
        for (name, value) in &self.environment {
            environment.set(name.as_bytes(), value.as_bytes());
        }
        environment
    }
}

/// Runs the daemon here until it is asked to stop. `ready_fd`: where whoever started it listens.
///
/// # Errors
/// Whatever keeps it from starting or going on.
pub fn run_daemon(surroundings: &Surroundings, ready_fd: Option<i32>) -> Result<Ran, ApiError> {
    let readiness = match ready_fd {
        None => Readiness::nobody(),
        Some(fd) => Readiness::inherited(fd)
            .map_err(|e| ApiError::new(ErrorCode::Usage, format!("use descriptor {fd}: {e}")))?,
    };
    let (paths, environment) = (surroundings.paths()?, surroundings.environment());
    crate::run::run(RunOptions { paths, environment, readiness, on_demand: ready_fd.is_some() })
}

/// Delivers what is due by other routes, for the daemon that listens on `report_fd`.
///
/// # Errors
/// When no home is named, or there is no such descriptor.
pub fn deliver(
    surroundings: &Surroundings,
    after: u64,
    report_fd: Option<i32>,
) -> Result<(), ApiError> {
    let paths = surroundings.paths()?;
    let report = report_fd
        .map(|fd| {
            meanwhile_host::courier::report_to(fd)
                .map_err(|e| ApiError::new(ErrorCode::Usage, format!("use descriptor {fd}: {e}")))
        })
        .transpose()?;
    routes::deliver(CourierOptions { paths, after, report });
    Ok(())
}

/// Tries the other routes that are set, from this process.
///
/// # Errors
/// When the settings cannot be read.
pub fn try_routes(surroundings: &Surroundings, only: Option<&str>) -> Result<Vec<Tried>, ApiError> {
    let paths = surroundings.paths()?;
    Ok(routes::try_all(&route_settings(&paths)?, &paths, only))
}

/// How the other routes are that are set.
///
/// # Errors
/// When the settings cannot be read.
pub fn standing_of_routes(surroundings: &Surroundings) -> Result<Vec<Standing>, ApiError> {
    let paths = surroundings.paths()?;
    let settings = route_settings(&paths)?;
    // Nothing was ever due where there is no home yet.
    let Ok(home) = Home::open(paths) else { return Ok(Vec::new()) };
    Ok(routes::standing(&home.state, &settings))
}

fn route_settings(paths: &HomePaths) -> Result<RouteSettings, ApiError> {
    let settings = settings::load(&paths.config)
        .map_err(|error| ApiError::new(ErrorCode::Usage, error.to_string()).hint(error.hint()))?;
    Ok(settings.routes)
}

/// Starts the daemon unless it runs, and returns when it listens.
///
/// # Errors
/// Why there is none.
pub fn start_daemon(surroundings: &Surroundings) -> Result<(), ApiError> {
    crate::launch::ensure(surroundings.paths()?, &surroundings.environment())
}

/// Where the daemon of this home listens, when that is not where this process looks first: it may have been started with
/// another runtime directory. It wrote that into its lock file.
#[must_use]
pub fn socket_elsewhere(paths: &HomePaths) -> Option<PathBuf> {
    let home = Home::open(paths.clone()).ok()?;
    let holder = lock::holder(&home.state).ok()??;
    (holder.socket != paths.socket()).then_some(holder.socket)
}

/// Whether this process may replace an older daemon by one of its own program. Inside a task it may not: the task's
/// supervisor would start the program that it was started from, which is the older one again.
#[must_use]
pub fn may_replace_daemon(paths: &HomePaths) -> bool {
    let Ok(home) = Home::open(paths.clone()) else { return false };
    let home_hash = paths.hash(rustix::process::getuid().as_raw());
    matches!(caller::inside(&home, &home_hash), Inside::NoTask)
}

/// Writes the systemd user unit; where it is, and what to type next.
///
/// # Errors
/// When there is no place for it or it cannot be written.
pub fn install_daemon(
    surroundings: &Surroundings,
    program: &Path,
) -> Result<(PathBuf, Vec<String>), ApiError> {
    let failed = |text: String| ApiError::new(ErrorCode::Internal, text);
    let path = systemd_unit::unit_path(
        surroundings.variable("HOME"),
        surroundings.variable("XDG_CONFIG_HOME"),
    )
    .ok_or_else(|| failed("find a place for the unit: HOME is not set".into()))?;
    let paths = surroundings.paths()?;
    let home = paths.explicit.then_some(paths.state.as_path());
    let text = systemd_unit::unit_text(program, home);
    let write = || {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        std::fs::write(&path, text)
    };
    write().map_err(|e| failed(format!("write {}: {e}", path.display())))?;
    let user = surroundings.variable("USER").and_then(OsStr::to_str);
    Ok((path, systemd_unit::next_commands(user)))
}

/// How long each process of this user runs that was started under this name.
#[must_use]
pub fn ages(program: &str) -> Vec<std::time::Duration> {
    meanwhile_host::running::ages(program)
}

/// The process that has started this one; none where it cannot be seen.
#[must_use]
pub fn starter() -> Option<Identity> {
    meanwhile_host::proc::identity(std::os::unix::process::parent_id())
}

/// Whether that process is there, and not about to end. One that cannot be seen is.
#[must_use]
pub fn is_going_on(starter: Option<Identity>) -> bool {
    starter.is_none_or(|starter| !meanwhile_host::proc::is_ending(starter))
}

/// Which of these agents has started this process, the nearest first; none if none is among those that led to it.
#[must_use]
pub fn nearest_agent(names: &[&str]) -> Option<usize> {
    let led = callers();
    let mut led = led.iter().filter(|words| !meanwhile_host::proc::is_shell_with_a_line(words));
    led.find_map(|words| names.iter().position(|name| meanwhile_host::proc::is_named(words, name)))
}

/// The arguments of the processes that led to this one, the nearest first: an agent that calls a hook is among them.
#[must_use]
pub fn callers() -> Vec<Vec<Vec<u8>>> {
    let mut ancestry = meanwhile_host::proc::ancestry(std::process::id());
    ancestry.retain(|process| process.pid != std::process::id());
    ancestry.into_iter().map(|process| meanwhile_host::proc::arguments(process.pid)).collect()
}
