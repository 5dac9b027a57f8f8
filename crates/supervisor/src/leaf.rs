//! The cgroup that the daemon and its supervisors live in, and its end: the last of them to leave removes it.
//!
//! ```text
//!   <base>/meanwhile-<home hash>/daemon/      each of us, until it leaves
//! ```
//!
//! A process cannot remove the cgroup it is in, so each moves up before it ends, and tries; who comes last succeeds.
//! Owns nothing. Touches only directories of these names, and none that holds a process or a task's cgroup.

use std::fs;
use std::io;
use std::path::Path;

const LEAF: &str = "daemon";
const HOME_PREFIX: &str = "meanwhile-";
/// What the subtree was given, by which a cgroup with children may hold no process.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Leaves the leaf `<base>/meanwhile-<home hash>/daemon`, for a process that ends. Removes it and its parent if nobody
/// else is there. What does not work leaves empty directories, which the next daemon uses.
pub fn leave(leaf: &Path) {
    let (Some(subtree), Some(name)) = (leaf.parent(), leaf.file_name()) else { return };
    let ours = subtree
        .file_name()
        .is_some_and(|n| n.as_encoded_bytes().starts_with(HOME_PREFIX.as_bytes()));
    let (true, true, Some(base)) = (ours, name == LEAF, subtree.parent()) else { return };
    if is_in(leaf) && move_to(base).is_err() {
        // A base with controllers holds no process. They are given back when this is the last one of all.
        if !is_alone(leaf, subtree) {
            return;
        }
        give_controllers_back(subtree);
        give_controllers_back(base);
        if move_to(base).is_err() {
            return;
        }
    }
    if fs::remove_dir(leaf).is_ok() {
        let _ = fs::remove_dir(subtree);
    }
}

fn is_in(leaf: &Path) -> bool {
    let own = std::process::id().to_string();
    members(leaf).is_ok_and(|members| members.lines().any(|pid| pid == own))
}

fn members(cgroup: &Path) -> io::Result<String> {
    fs::read_to_string(cgroup.join("cgroup.procs"))
}

fn move_to(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
}

/// Whether nobody else is in the leaf, and nothing beside it.
fn is_alone(leaf: &Path, subtree: &Path) -> bool {
    let alone = members(leaf).is_ok_and(|members| members.lines().count() == 1);
    let Ok(entries) = fs::read_dir(subtree) else { return false };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    alone && entries.flatten().filter(is_dir).count() == 1
}

/// Where others below still use them, the kernel refuses.
fn give_controllers_back(cgroup: &Path) {
    for name in CONTROLLERS {
        let _ = fs::write(cgroup.join("cgroup.subtree_control"), format!("-{name}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_that_are_named_as_ours_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let check = |path: &str, removed: bool| {
            let leaf = base.path().join(path);
            fs::create_dir_all(&leaf).unwrap();
            leave(&leaf);
            assert_eq!(!leaf.exists(), removed, "{path}");
            assert_eq!(!leaf.parent().unwrap().exists(), removed, "{path}");
        };
        check("meanwhile-12ab/daemon", true);
        check("meanwhile-12ab/leaf", false);
        check("other/daemon", false);
        // A task's cgroup beside it.
        fs::create_dir_all(base.path().join("meanwhile-34cd/t-x-1")).unwrap();
        let leaf = base.path().join("meanwhile-34cd/daemon");
        fs::create_dir(&leaf).unwrap();
        leave(&leaf);
        assert!(!leaf.exists() && base.path().join("meanwhile-34cd/t-x-1").exists());
    }
}
