//! Where everything of one Meanwhile home lives, and the opened directories of it.
//!
//! Owns the layout: state, configuration, socket, and the names below them. Resolving takes the
//! flag and the environment's values as arguments and touches no disk, so that every process of
//! one home comes to the same answer. Never falls back to a shared temporary directory.
//!
//! ```text
//! --home DIR / MEANWHILE_HOME      everything directly below DIR
//! otherwise    state               $XDG_STATE_HOME/meanwhile       (~/.local/state/meanwhile)
//!              config.toml         $XDG_CONFIG_HOME/meanwhile      (~/.config/meanwhile)
//!              daemon.sock         $XDG_RUNTIME_DIR/meanwhile      (else the state directory)
//! ```

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use meanwhile_core::TaskId;

use crate::dir::{Dir, DirError};

/// The store.
pub const DATABASE: &str = "meanwhile.db";
/// The single-instance lock.
pub const LOCK: &str = "daemon.lock";
/// The daemon's socket.
pub const SOCKET: &str = "daemon.sock";
/// Space kept for the moment the disk is full.
pub const RESERVE: &str = "reserve";
/// The daemon's own log, below `logs`.
pub const DAEMON_LOG: &str = "daemon.log";

const CONFIG: &str = "config.toml";
const NAME: &str = "meanwhile";
/// Names that show that a directory is already a home of ours.
const OURS: &[&str] = &[DATABASE, LOCK, SOCKET];

/// What the paths are made from, read by the caller from its arguments and environment.
#[derive(Clone, Copy, Debug)]
pub struct HomeInputs<'a> {
    /// `--home`.
    pub flag: Option<&'a OsStr>,
    /// `MEANWHILE_HOME`.
    pub meanwhile_home: Option<&'a OsStr>,
    /// `HOME`.
    pub home: Option<&'a OsStr>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<&'a OsStr>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<&'a OsStr>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<&'a OsStr>,
    /// The current directory, for a relative `--home`.
    pub cwd: &'a Path,
}

/// Where one home's things are. Absolute, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomePaths {
    /// The state directory.
    pub state: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The directory the socket is in, if not the state directory: the runtime directory it is
    /// made in.
    runtime: Option<PathBuf>,
    /// Whether it was named (`--home`), so that other processes must be told the same.
    pub explicit: bool,
}

/// Why there is no answer to where the home is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeError {
    /// Neither named nor derivable: `HOME` is missing or not absolute.
    Unknown,
    /// `--home` or `MEANWHILE_HOME` is empty.
    Empty,
}

/// The opened directories of a home.
#[derive(Debug)]
pub struct Home {
    /// Where everything is.
    pub paths: HomePaths,
    /// The state directory.
    pub state: Dir,
    /// The directory of the socket.
    pub socket: Dir,
}

impl HomePaths {
    /// The paths that these inputs mean.
    ///
    /// # Errors
    /// When no home is named and `HOME` does not say one.
    pub fn resolve(inputs: &HomeInputs<'_>) -> Result<Self, HomeError> {
        if let Some(named) = inputs.flag.or(inputs.meanwhile_home) {
            if named.is_empty() {
                return Err(HomeError::Empty);
            }
            let state = absolute(inputs.cwd, Path::new(named));
            let config = state.join(CONFIG);
            return Ok(Self { state, config, runtime: None, explicit: true });
        }
        // The specification: a value that is not absolute is to be ignored.
        let absolute_value =
            |value: Option<&OsStr>| value.map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute_value(inputs.home);
        let below_home = |tail: &str| home.as_ref().map(|h| h.join(tail)).ok_or(HomeError::Unknown);
        let state = match absolute_value(inputs.xdg_state_home) {
            Some(dir) => dir,
            None => below_home(".local/state")?,
        };
        let config = match absolute_value(inputs.xdg_config_home) {
            Some(dir) => dir,
            None => below_home(".config")?,
        };
        Ok(Self {
            state: state.join(NAME),
            config: config.join(NAME).join(CONFIG),
            runtime: absolute_value(inputs.xdg_runtime_dir),
            explicit: false,
        })
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state.join(DATABASE)
    }

    /// Everything of one attempt of a task.
    #[must_use]
    pub fn attempt(&self, task: TaskId, attempt: u32) -> PathBuf {
        self.state.join("tasks").join(task.to_string()).join(attempt.to_string())
    }

    /// The private temporary directory of one attempt.
    #[must_use]
    pub fn attempt_tmp(&self, task: TaskId, attempt: u32) -> PathBuf {
        self.state.join("tmp").join(format!("{task}.{attempt}"))
    }

    /// Where the socket of a daemon of this home is, as this process sees it. A process with
    /// another runtime directory may see another: the lock file says where it really listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket_dir().join(SOCKET)
    }

    /// A short name of this home for a user, for cgroups and units: 16 hexadecimal digits, the same
    /// for the same uid and directory, however its path is spelled.
    #[must_use]
    pub fn hash(&self, uid: u32) -> String {
        let real = self.state.canonicalize();
        let mut hash = Fnv64::new();
        hash.add(&uid.to_le_bytes());
        hash.add(real.as_ref().unwrap_or(&self.state).as_os_str().as_bytes());
        format!("{:016x}", hash.0)
    }

    fn socket_dir(&self) -> PathBuf {
        match &self.runtime {
            Some(runtime) if is_own_directory(runtime) => runtime.join(NAME),
            _ => self.state.clone(),
        }
    }
}

impl Home {
    /// Opens the home, making what is missing.
    ///
    /// # Errors
    /// When one of its directories is not private, not ours, or cannot be made.
    pub fn open_or_create(paths: HomePaths) -> Result<Self, DirError> {
        let state = Dir::open_or_create(&paths.state, OURS)?;
        let socket = Dir::open_or_create(&paths.socket_dir(), OURS)?;
        // Supervisors make what is below these, and expect them to be there.
        for name in ["tasks", "tmp", "run"] {
            state.subdir(name)?;
        }
        Ok(Self { paths, state, socket })
    }

    /// Opens the home if it is there; for readers, which make nothing.
    ///
    /// # Errors
    /// When it is missing or not private.
    pub fn open(paths: HomePaths) -> Result<Self, DirError> {
        let state = Dir::open(&paths.state, OURS)?;
        // Without a daemon there may be no socket directory; the state directory then stands in.
        let socket = match Dir::open(&paths.socket_dir(), OURS) {
            Ok(dir) => dir,
            Err(_) => Dir::open(&paths.state, OURS)?,
        };
        Ok(Self { paths, state, socket })
    }

    /// The directory of the supervisors' sockets.
    ///
    /// # Errors
    /// When it cannot be made or is not private.
    pub fn run(&self) -> Result<Dir, DirError> {
        self.state.subdir("run")
    }

    /// The directory of captured environments.
    ///
    /// # Errors
    /// When it cannot be made or is not private.
    pub fn env(&self) -> Result<Dir, DirError> {
        self.state.subdir("env")
    }

    /// The directory of environments that agents have recorded for the launches of their sessions.
    ///
    /// # Errors
    /// When it cannot be made or is not private.
    pub fn session_env(&self) -> Result<Dir, DirError> {
        self.state.subdir("session-env")
    }

    /// The directory of spooled standard inputs.
    ///
    /// # Errors
    /// When it cannot be made or is not private.
    pub fn stdin(&self) -> Result<Dir, DirError> {
        self.state.subdir("stdin")
    }

    /// The directory of the daemon's own logs.
    ///
    /// # Errors
    /// When it cannot be made or is not private.
    pub fn logs(&self) -> Result<Dir, DirError> {
        self.state.subdir("logs")
    }

    /// The directory of one attempt, `tasks/<id>/<attempt>`.
    ///
    /// # Errors
    /// When it cannot be made or is not private.
    pub fn attempt(&self, task: TaskId, attempt: u32) -> Result<Dir, DirError> {
        self.state.usual_subdir("tasks")?.subdir(&task.to_string())?.subdir(&attempt.to_string())
    }

    /// The directory of one attempt, if it is there and private; makes nothing.
    #[must_use]
    pub fn existing_attempt(&self, task: TaskId, attempt: u32) -> Option<Dir> {
        Dir::open(&self.paths.attempt(task, attempt), &[]).ok()
    }

    /// The directory of the supervisors' sockets, if it is there and private; makes nothing.
    #[must_use]
    pub fn existing_run(&self) -> Option<Dir> {
        Dir::open(&self.paths.state.join("run"), &[]).ok()
    }

    /// The private temporary directory of one attempt, `tmp/<id>.<attempt>`.
    ///
    /// # Errors
    /// When it cannot be made or is not private.
    pub fn attempt_tmp(&self, task: TaskId, attempt: u32) -> Result<Dir, DirError> {
        self.state.subdir("tmp")?.subdir(&format!("{task}.{attempt}"))
    }
}

impl HomeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown => "set HOME, or name a directory: --home DIR",
            Self::Empty => "name a directory: --home DIR",
        }
    }
}

impl fmt::Display for HomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "find the home directory: HOME is not set to an absolute path",
            Self::Empty => "use an empty path as the home",
        })
    }
}

impl std::error::Error for HomeError {}

/// FNV-1a, 64 bits: a name for a path, no secret and no proof of equality.
pub(crate) struct Fnv64(pub(crate) u64);

impl Fnv64 {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The specification wants the runtime directory to be the user's own. With `su` and `sudo` the
/// variable may name another user's, in which nothing of ours may be left.
fn is_own_directory(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid().as_raw();
    path.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own)
}

/// `path` seen from `cwd`, without `.` and trailing slashes, so that `--home .` and its full path
/// are the same home. `..` stays: behind a symbolic link it means something only the kernel knows.
fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    cwd.join(path).components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

/// A home of its own for one test.
#[cfg(test)]
pub(crate) fn test_home() -> (tempfile::TempDir, Home) {
    let base = tempfile::tempdir().expect("a temporary directory");
    let inputs = HomeInputs {
        flag: Some(base.path().as_os_str()),
        meanwhile_home: None,
        home: None,
        xdg_state_home: None,
        xdg_config_home: None,
        xdg_runtime_dir: None,
        cwd: base.path(),
    };
    let paths = HomePaths::resolve(&inputs).expect("it is named");
    let home = Home::open_or_create(paths).expect("it is ours");
    (base, home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs<'a>(pairs: &[(&str, &'a str)]) -> HomeInputs<'a> {
        let value = |name: &str| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsStr::new(*value))
        };
        HomeInputs {
            flag: value("--home"),
            meanwhile_home: value("MEANWHILE_HOME"),
            home: value("HOME"),
            xdg_state_home: value("XDG_STATE_HOME"),
            xdg_config_home: value("XDG_CONFIG_HOME"),
            xdg_runtime_dir: value("XDG_RUNTIME_DIR"),
            cwd: Path::new("/cwd"),
        }
    }

    fn check(pairs: &[(&str, &str)], state: &str, config: &str) {
        let paths = HomePaths::resolve(&inputs(pairs)).expect("resolves");
        assert_eq!(paths.state, Path::new(state), "{pairs:?}");
        assert_eq!(paths.config, Path::new(config), "{pairs:?}");
    }

    #[test]
    fn the_home_is_where_the_layout_says() {
        check(
            &[("--home", "/h"), ("MEANWHILE_HOME", "/m"), ("HOME", "/u")],
            "/h",
            "/h/config.toml",
        );
        check(&[("MEANWHILE_HOME", "/m"), ("XDG_STATE_HOME", "/s")], "/m", "/m/config.toml");
        check(&[("--home", "./rel/")], "/cwd/rel", "/cwd/rel/config.toml");
        check(&[("HOME", "/u")], "/u/.local/state/meanwhile", "/u/.config/meanwhile/config.toml");
        check(
            &[("XDG_STATE_HOME", "/s"), ("XDG_CONFIG_HOME", "/c")],
            "/s/meanwhile",
            "/c/meanwhile/config.toml",
        );
        check(
            &[("HOME", "/u"), ("XDG_STATE_HOME", "relative"), ("XDG_CONFIG_HOME", "")],
            "/u/.local/state/meanwhile",
            "/u/.config/meanwhile/config.toml",
        );
    }

    #[test]
    fn without_any_home_it_says_so() {
        let error = |pairs: &[(&str, &str)]| HomePaths::resolve(&inputs(pairs)).unwrap_err();
        assert_eq!(error(&[]), HomeError::Unknown);
        assert_eq!(error(&[("HOME", "relative")]), HomeError::Unknown);
        assert_eq!(error(&[("--home", "")]), HomeError::Empty);
    }

    #[test]
    fn the_socket_lies_in_the_runtime_directory_only_if_there_is_one() {
        let runtime = tempfile::tempdir().unwrap();
        let dir = runtime.path().to_str().unwrap();
        let at = |pairs: &[(&str, &str)]| HomePaths::resolve(&inputs(pairs)).unwrap().socket();
        assert_eq!(
            at(&[("HOME", "/u"), ("XDG_RUNTIME_DIR", dir)]),
            runtime.path().join("meanwhile/daemon.sock")
        );
        assert_eq!(
            at(&[("HOME", "/u"), ("XDG_RUNTIME_DIR", "/no/such/dir")]),
            Path::new("/u/.local/state/meanwhile/daemon.sock")
        );
        assert_eq!(at(&[("--home", "/h"), ("XDG_RUNTIME_DIR", dir)]), Path::new("/h/daemon.sock"));
    }

    #[test]
    fn a_new_home_is_closed_to_others_at_every_level() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("a/b/home");
        let text = state.to_str().unwrap();
        let paths = HomePaths::resolve(&inputs(&[("--home", text)])).unwrap();
        let home = Home::open_or_create(paths.clone()).unwrap();
        let task = TaskId::from_random(7);
        home.attempt(task, 1).unwrap();
        home.attempt_tmp(task, 1).unwrap();
        for path in [paths.attempt(task, 1), paths.attempt_tmp(task, 1), state.join("tasks"), state]
        {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn the_hash_tells_homes_and_users_apart() {
        let at = |dir: &str| HomePaths::resolve(&inputs(&[("--home", dir)])).unwrap();
        assert_eq!(at("/a").hash(1), at("/a/").hash(1));
        assert_ne!(at("/a").hash(1), at("/b").hash(1));
        assert_ne!(at("/a").hash(1), at("/a").hash(2));
        assert_eq!(at("/a").hash(1).len(), 16);
        let base = tempfile::tempdir().unwrap();
        let real = base.path().join("real");
        std::fs::create_dir_all(real.join("home")).unwrap();
        std::os::unix::fs::symlink(&real, base.path().join("link")).unwrap();
        let spelled = |name| at(base.path().join(name).to_str().unwrap()).hash(1);
        assert_eq!(spelled("link/home"), spelled("real/home"));
    }
}
