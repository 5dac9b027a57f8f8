//! The modes of a test run: who runs the tests, and which cgroups they find.
//!
//! Owns the list of modes, the judgement whether this machine can offer each, and the scratch
//! directories tests work in. Changes nothing on the machine that outlives the run: the
//! unprivileged user is a free uid, not an account.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::cgroup::{self, Place};
use crate::Outcome;

/// Where free uids are looked for. Below the ranges that systemd hands out dynamically (61184 and
/// up) and above those that distributions give to people.
const FREE_UIDS: std::ops::Range<u32> = 47_100..47_900;

/// Who runs the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    Root,
    Unprivileged,
}

/// What the tests find as their cgroup.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// A writable cgroup v2 subtree that has the memory and pids controllers.
    Controllers,
    /// A writable cgroup v2 subtree without any controller (hybrid hosts, containers).
    Cgroup,
    /// `isolation.cgroup = off`: the supervisor's descendant walk does the work.
    Off,
}

impl Isolation {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Controllers => "controllers",
            Self::Cgroup => "cgroup",
            Self::Off => "off",
        }
    }
}

/// One mode, and whether it can be had here.
pub(super) struct Mode {
    pub(super) user: User,
    pub(super) isolation: Isolation,
    /// True for one mode per user: there the packages that never see a cgroup run too.
    pub(super) covers_everything: bool,
    pub(super) available: Result<Place, String>,
}

impl Mode {
    pub(super) fn name(&self) -> String {
        let user = match self.user {
            User::Root => "root",
            User::Unprivileged => "user",
        };
        format!("{user}/{}", self.isolation.word())
    }
}

/// Every mode of the matrix, in the order of the report.
pub(super) fn all(scratch: &Scratch) -> Vec<Mode> {
    let mut modes = Vec::new();
    for user in [User::Root, User::Unprivileged] {
        for isolation in [Isolation::Controllers, Isolation::Cgroup, Isolation::Off] {
            let available = match (user, scratch.we_are_root) {
                (User::Root, false) => Err("this command does not run as root".to_owned()),
                _ => cgroup::place(isolation),
            };
            let covers_everything = isolation == Isolation::Off;
            modes.push(Mode { user, isolation, covers_everything, available });
        }
    }
    modes
}

/// Directories for the tests: below the system's temporary directory, removed at the end.
pub(super) struct Scratch {
    directory: tempfile::TempDir,
    pub(super) we_are_root: bool,
    free_uid: u32,
    /// Every process of the run carries this in its environment, so that leftovers are found.
    pub(super) nonce: String,
}

impl Scratch {
    pub(super) fn new() -> Outcome<Self> {
        let directory = tempfile::Builder::new()
            .prefix("meanwhile-test-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .map_err(|error| format!("cannot make a scratch directory: {error}"))?;
        let we_are_root = fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0);
        let free_uid = if we_are_root { find_free_uid()? } else { 0 };
        let mut nonce = directory.path().file_name().map_or_else(
            || "meanwhile-test".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        let _ = write!(nonce, "-{}", std::process::id());
        Ok(Self { directory, we_are_root, free_uid, nonce })
    }

    /// The uid that tests of `user` run under, when it is not our own.
    pub(super) fn switch_to(&self, user: User) -> Option<u32> {
        (user == User::Unprivileged && self.we_are_root).then_some(self.free_uid)
    }

    /// A directory for one mode, owned by the one who runs its tests.
    pub(super) fn for_mode(&self, mode: &Mode) -> Outcome<PathBuf> {
        let directory = self.directory.path().join(mode.name().replace('/', "-"));
        let fail = |error| format!("cannot prepare {}: {error}", directory.display());
        // As on any machine: everybody may pass, and may use the temporary directory. Some tests of
        // the mode `root` are about a second user.
        for (name, bits) in [("", 0o755), ("home", 0o700), ("tmp", 0o1777), ("bin", 0o755)] {
            let path = directory.join(name);
            fs::create_dir(&path).map_err(fail)?;
            if let Some(uid) = self.switch_to(mode.user) {
                chown(&path, Some(uid), Some(uid)).map_err(fail)?;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).map_err(fail)?;
        }
        Ok(directory)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        open_directories(self.directory.path());
    }
}

/// Tests close directories to see what happens; closed ones cannot be removed by their owner.
fn open_directories(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_directories(&entry.path());
        }
    }
}

/// A uid that has no account, no process, and is mapped in this user namespace.
fn find_free_uid() -> Outcome<u32> {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let taken_by_account = |uid: u32| {
        accounts.lines().any(|line| line.split(':').nth(2) == Some(uid.to_string().as_str()))
    };
    let mut running = Vec::new();
    for entry in fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?.flatten() {
        if let Ok(about) = entry.metadata() {
            running.push(about.uid());
        }
    }
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    FREE_UIDS
        .chain(1000..FREE_UIDS.start)
        .find(|uid| is_mapped(&map, *uid) && !taken_by_account(*uid) && !running.contains(uid))
        .ok_or_else(|| "no free uid to run the unprivileged tests under".to_owned())
}

fn is_mapped(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        matches!(numbers[..], [inside, _, count] if (inside..inside + count).contains(&uid.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_a_test_closed_does_not_stay() {
        let scratch = Scratch::new().expect("a scratch directory can be made");
        let path = scratch.directory.path().to_owned();
        let closed = path.join("closed");
        fs::create_dir_all(closed.join("inner")).expect("directories can be made");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("it is ours");
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn a_uid_outside_the_namespace_map_is_never_chosen() {
        let container = "         0     100000      65536\n";
        assert!(is_mapped(container, 47_100));
        assert!(!is_mapped(container, 70_000));
        assert!(!is_mapped("", 0));
    }
}
