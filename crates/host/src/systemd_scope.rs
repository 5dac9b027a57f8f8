//! Asking systemd for a scope of our own, with delegation, and being moved into it.
//!
//! Owns the two calls to the manager (`busctl` speaks D-Bus for us) and the wait for the move. Used
//! where our cgroup is not ours to write: a login by ssh, a terminal. For a user it is the user's
//! manager, for root the system's.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::{proc, program};

/// How long the manager may take to answer, and then to move us. Past it the daemon starts without
/// a scope rather than late.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often we look whether we have been moved: nothing tells us.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Why there is no scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeError {
    /// There is no `busctl`.
    NoBusctl,
    /// The user has no manager running, or we cannot reach it.
    NoManager,
    /// The manager said no.
    Refused(String),
    /// The manager said yes and nothing happened.
    NotMoved,
}

/// Moves this process into the scope `unit`, which is made, or joined if it exists: at its cgroup
/// `leaf` then, because a cgroup whose controllers are enabled takes no processes.
///
/// # Errors
/// The reason we are still where we were.
pub fn enter(unit: &str, leaf: &str, environment: &Environment) -> Result<(), ScopeError> {
    let manager = Manager::find(environment)?;
    let pid = std::process::id().to_string();
    match manager.call(&start_arguments(unit, &pid)) {
        Ok(()) => {}
        // Supervisors of an earlier daemon live in it: join them.
        Err(ScopeError::Refused(text)) if text.contains("already") => {
            manager.call(&attach_arguments(unit, leaf, &pid))?;
        }
        Err(why) => return Err(why),
    }
    wait_until_moved(unit)
}

/// Whether there is a manager to ask.
///
/// # Errors
/// The reason there is none.
pub fn can_ask(environment: &Environment) -> Result<(), ScopeError> {
    Manager::find(environment).map(|_| ())
}

struct Manager {
    busctl: PathBuf,
    environment: Environment,
    which: &'static str,
}

impl Manager {
    fn find(environment: &Environment) -> Result<Self, ScopeError> {
        let path = environment.get("PATH");
        let busctl =
            program::resolve(b"busctl", path, Path::new("/")).map_err(|_| ScopeError::NoBusctl)?;
        let mut environment = environment.clone();
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            return Ok(Self { busctl, environment, which: "--system" });
        }
        if environment.get("XDG_RUNTIME_DIR").is_none() {
            environment.set("XDG_RUNTIME_DIR", format!("/run/user/{}", uid.as_raw()));
        }
        let runtime = environment.get("XDG_RUNTIME_DIR").expect("set above");
        if !Path::new(OsStr::from_bytes(runtime)).join("systemd").is_dir() {
            return Err(ScopeError::NoManager);
        }
        Ok(Self { busctl, environment, which: "--user" })
    }

    fn call(&self, arguments: &[&str]) -> Result<(), ScopeError> {
        let variables =
            self.environment.iter().map(|(k, v)| (OsStr::from_bytes(k), OsStr::from_bytes(v)));
        let output = Command::new(&self.busctl)
            .args([self.which, "--quiet", "--no-pager"])
            .arg(format!("--timeout={}", PATIENCE.as_secs()))
            .args(["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"])
            .arg("org.freedesktop.systemd1.Manager")
            .args(arguments)
            .env_clear()
            .envs(variables)
            .stdin(Stdio::null())
            .output();
        judge(output)
    }
}

fn judge(output: std::io::Result<Output>) -> Result<(), ScopeError> {
    let output = output.map_err(|e| ScopeError::Refused(e.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().next().unwrap_or("no reason given").trim().to_owned();
    match line.contains("Failed to connect") || line.contains("connect to bus") {
        true => Err(ScopeError::NoManager),
        false => Err(ScopeError::Refused(line)),
    }
}

/// `StartTransientUnit(name, mode, properties, auxiliary units)`.
fn start_arguments<'a>(unit: &'a str, pid: &'a str) -> Vec<&'a str> {
    [
        ["StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "4"].as_slice(),
        &["Description", "s", "Meanwhile background tasks"],
        &["Delegate", "b", "true"],
        &["PIDs", "au", "1", pid],
        // An ended scope leaves nothing behind that would keep its name.
        &["CollectMode", "s", "inactive-or-failed"],
        &["0"],
    ]
    .concat()
}

/// `AttachProcessesToUnit(name, sub-cgroup, pids)`.
fn attach_arguments<'a>(unit: &'a str, leaf: &'a str, pid: &'a str) -> [&'a str; 6] {
    ["AttachProcessesToUnit", "ssau", unit, leaf, "1", pid]
}

fn wait_until_moved(unit: &str) -> Result<(), ScopeError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let here = proc::cgroup(std::process::id());
        let is_moved = |path: &Path| path.components().any(|part| part.as_os_str() == unit);
        if here.is_some_and(|path| is_moved(&path)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ScopeError::NotMoved);
        }
        // sleep: the manager answers before it has moved us, and nothing tells when it has.
        std::thread::sleep(LOOK_EVERY);
    }
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBusctl => write!(f, "busctl is not installed"),
            Self::NoManager => write!(f, "no user manager can be reached"),
            Self::Refused(text) => write!(f, "{text}"),
            Self::NotMoved => write!(f, "the manager made a scope and did not move us into it"),
        }
    }
}

impl std::error::Error for ScopeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_asked_for_with_delegation_and_with_our_pid() {
        let line = start_arguments("meanwhile-x.scope", "42").join(" ");
        assert_eq!(
            line,
            "StartTransientUnit ssa(sv)a(sa(sv)) meanwhile-x.scope fail 4 \
             Description s Meanwhile background tasks Delegate b true PIDs au 1 42 \
             CollectMode s inactive-or-failed 0"
        );
    }

    #[test]
    fn without_busctl_there_is_no_scope_and_a_reason() {
        let empty = tempfile::tempdir().unwrap();
        let mut environment = Environment::new();
        environment.set("PATH", empty.path().as_os_str().as_bytes());
        assert_eq!(
            enter("meanwhile-x.scope", "/x/daemon", &environment),
            Err(ScopeError::NoBusctl)
        );
    }

    #[test]
    fn a_refusal_is_told_in_the_managers_own_words() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let busctl = base.path().join("busctl");
        std::fs::create_dir(base.path().join("systemd")).unwrap();
        let script = "#!/bin/sh\necho 'Call failed: no such policy' >&2\nexit 1\n";
        std::fs::write(&busctl, script).unwrap();
        std::fs::set_permissions(&busctl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut environment = Environment::new();
        environment.set("PATH", base.path().as_os_str().as_bytes());
        environment.set("XDG_RUNTIME_DIR", base.path().as_os_str().as_bytes());
        let refused = enter("meanwhile-x.scope", "/x/daemon", &environment).unwrap_err();
        assert_eq!(refused, ScopeError::Refused("Call failed: no such policy".into()));
    }
}
