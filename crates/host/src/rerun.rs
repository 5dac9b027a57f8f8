//! Running one test of this program again under other circumstances: without privileges, or in other
//! namespaces. For tests only; owns the command line of that second run.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A second run, and the copy of the program that it executes.
pub(crate) struct Rerun {
    child: Child,
    _program: tempfile::TempDir,
}

/// Starts the test of this name again, wrapped in another command, with these variables set. The test
/// itself tells by [`is_again`] which of the two runs it is.
pub(crate) fn start(test: &str, wrapper: &[&str], variables: &[(&str, &Path)]) -> Rerun {
    use std::os::unix::fs::PermissionsExt;
    let base = tempfile::tempdir().expect("a temporary directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(base.path(), open).expect("it is ours");
    // A copy, because the build directory may be closed to other users.
    let copy = base.path().join("again");
    let own = std::env::current_exe().expect("a test has a program");
    std::fs::copy(own, &copy).expect("copy the test program");
    let mut words = wrapper.iter().map(Path::new).chain([copy.as_path()]);
    let mut command = Command::new(words.next().expect("the program at least"));
    command.args(words).args(["--exact", test, "--nocapture"]);
    command.env("AGAIN", "1").env("TMPDIR", "/tmp").envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Rerun { child: command.spawn().expect("the wrapper is installed"), _program: base }
}

impl Rerun {
    /// Waits for its end; panics unless the test passed.
    pub(crate) fn check(self) {
        let output = self.child.wait_with_output().expect("it is our child");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}

pub(crate) fn is_again() -> bool {
    std::env::var_os("AGAIN").is_some()
}

/// The words that make a command run as nobody; none for a user who has no privileges anyway.
pub(crate) fn as_nobody() -> &'static [&'static str] {
    let nobody = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if rustix::process::geteuid().is_root() { nobody } else { &[] }
}

/// The words that begin a command in a new namespace of this kind (`--mount`, `--pid`); `None`, and
/// said, where the system lets this user make none.
pub(crate) fn unshare(kind: &str) -> Option<Vec<&str>> {
    let mut words = vec!["unshare"];
    if !rustix::process::geteuid().is_root() {
        words.push("--map-root-user");
    }
    words.extend(["--fork", kind]);
    let probe = Command::new(words[0]).args(&words[1..]).arg("true").output();
    if probe.as_ref().is_ok_and(|output| output.status.success()) {
        return Some(words);
    }
    eprintln!("NOT SHOWN HERE: no namespace of {kind} can be made: {probe:?}");
    None
}
