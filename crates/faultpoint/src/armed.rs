//! What a place does in a test build: counts the pass and, when it is the armed one, kills the process.
//!
//! ```text
//!   $MEANWHILE_FAULTS/armed             "commit.before.started 2": the second pass there is the last
//!   $MEANWHILE_FAULTS/passes/<name>     a byte per pass, of all processes together
//!   $MEANWHILE_FAULTS/killed            who was killed where: "<pid> <role> <name> <pass>"
//! ```
//!
//! The environment and files are reached from here because nobody could pass them in: a place is in the middle
//! of anything, in crates that know of neither. Daemons and supervisors only: a client may die as it likes.

use std::fs::OpenOptions;
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::process::{Signal, getpid, kill_process};

/// Names the directory.
const VARIABLE: &str = "MEANWHILE_FAULTS";

struct Setting {
    directory: PathBuf,
    role: &'static str,
    armed: Option<(String, u64)>,
}

/// Whether an environment variable is for us and has to reach daemons and supervisors.
#[must_use]
pub fn is_our_variable(name: &[u8]) -> bool {
    name == VARIABLE.as_bytes()
}

/// A place per part of something.
pub fn pass_each<N: AsRef<str>>(name: &str, each: impl IntoIterator<Item = N>) {
    for part in each {
        pass(&format!("{name}.{}", part.as_ref().replace(' ', "-")));
    }
}

/// A place.
pub fn pass(name: &str) {
    static SETTING: OnceLock<Option<Setting>> = OnceLock::new();
    let Some(setting) = SETTING.get_or_init(read) else { return };
    // A test that cannot count would say that it covers what it does not.
    let count = setting.count(name).expect("the directory of a test's fault points takes a byte");
    if setting.armed.as_ref().is_some_and(|(armed, k)| armed == name && *k == count) {
        setting.die(name, count);
    }
}

fn read() -> Option<Setting> {
    let directory = PathBuf::from(std::env::var_os(VARIABLE)?);
    let words: Vec<String> =
        std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let is = |word: &str| words.iter().skip(1).any(|one| one == word);
    let role = match (is("supervise"), is("daemon") && is("run")) {
        (true, _) => "supervisor",
        (false, true) => "daemon",
        (false, false) => return None,
    };
    let armed = std::fs::read_to_string(directory.join("armed")).ok().and_then(|text| {
        let (name, k) = text.trim().split_once(' ')?;
        Some((name.to_owned(), k.parse().ok()?))
    });
    Some(Setting { directory, role, armed })
}

impl Setting {
    /// The number of this pass: an append is atomic, and the position after it is its own.
    fn count(&self, name: &str) -> std::io::Result<u64> {
        let path = self.directory.join("passes").join(name);
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all(b".")?;
        file.stream_position()
    }

    fn die(&self, name: &str, count: u64) -> ! {
        let line = format!("{} {} {name} {count}\n", getpid().as_raw_nonzero(), self.role);
        let path = self.directory.join("killed");
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the directory of a test's fault points takes a line");
        let _delivered_before_it_returns = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
