//! The cgroups that test runs are placed in.
//!
//! Owns one directory below our own cgroup per run (`meanwhile-test-<pid>…`), and removes it with
//! everything in it at the end. Never touches a cgroup it did not make, and never enables a
//! controller anywhere but in its own directory.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use super::mode::Isolation;

/// Where the test processes of one mode are put. Removed, with what is left inside, when dropped.
pub(super) struct Place {
    /// The parent of one cgroup per test process; `None` where no cgroup may be made at all.
    pub(super) base: Option<PathBuf>,
    made: Vec<PathBuf>,
}

/// How the cgroups of a run begin; the pid of its xtask follows.
const PREFIX: &str = "meanwhile-test-";

/// Ends what runs left that were killed before they could tidy up: their xtask is no more.
pub(super) fn sweep_dead_runs() {
    let Ok(own) = own_cgroup() else { return };
    for directory in children(&own) {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        if pid.is_some_and(|pid: u32| !is_xtask(pid)) {
            drop(Place { base: None, made: vec![directory] });
        }
    }
}

fn is_xtask(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "xtask")
}

/// Makes the place that `isolation` needs, or says why this machine cannot offer it.
pub(super) fn place(isolation: Isolation) -> Result<Place, String> {
    let own = own_cgroup();
    if isolation == Isolation::Off {
        // The product is told to use none; ours, where possible, only helps to find leftovers.
        let base = own.ok().and_then(|own| nested(&own, isolation).ok());
        return Ok(base.unwrap_or(Place { base: None, made: Vec::new() }));
    }
    let place = nested(&own?, isolation)?;
    if isolation == Isolation::Controllers {
        enable_controllers(&place)?;
    }
    Ok(place)
}

/// `<own>/meanwhile-test-<pid>-<isolation>/runs`: two levels, so that the inner one has exactly the
/// controllers that the outer one was told to pass on (none, until told).
fn nested(own: &Path, isolation: Isolation) -> Result<Place, String> {
    // Modes are prepared per user, so the name has a counter as well.
    let outer = (0..100)
        .map(|n| own.join(format!("{PREFIX}{}-{}-{n}", std::process::id(), isolation.word())))
        .find(|path| !path.exists())
        .ok_or_else(|| format!("no free cgroup name below {}", own.display()))?;
    let inner = outer.join("runs");
    for path in [&outer, &inner] {
        fs::create_dir(path)
            .map_err(|error| format!("cannot make a cgroup below {}: {error}", own.display()))?;
    }
    Ok(Place { base: Some(inner.clone()), made: vec![inner, outer] })
}

fn enable_controllers(place: &Place) -> Result<(), String> {
    let [inner, outer] = place.made.as_slice() else {
        return Err("no cgroup to enable controllers in".to_owned());
    };
    let offered = fs::read_to_string(outer.join("cgroup.controllers")).unwrap_or_default();
    if !["memory", "pids"].iter().all(|wanted| offered.split_whitespace().any(|c| c == *wanted)) {
        let offered = if offered.trim().is_empty() { "none" } else { offered.trim() };
        return Err(format!(
            "cgroup v2 offers no memory and pids controllers here (offered: {offered}); \
             common on hybrid cgroup layouts and in containers"
        ));
    }
    for directory in [outer, inner] {
        fs::write(directory.join("cgroup.subtree_control"), "+memory +pids")
            .map_err(|error| format!("cannot enable controllers: {error}"))?;
    }
    Ok(())
}

/// The directory of the cgroup v2 that this process is in.
fn own_cgroup() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount_point(&mounts).ok_or("no cgroup v2 is mounted")?;
    let member = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = member
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or("this process is in no cgroup v2")?;
    Ok(Path::new(&mount).join(path.trim_start_matches('/')))
}

fn mount_point(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let kind = after.split(' ').next()?;
        (kind == "cgroup2").then(|| before.split(' ').nth(4).map(str::to_owned))?
    })
}

/// Makes the cgroup of one test process, gives it to `uid`, and moves this process inside.
///
/// Answers the name of the cgroup.
pub(super) fn enter(
    base: &Path,
    with_controllers: bool,
    uid: Option<u32>,
) -> std::io::Result<String> {
    let own = make_new(base)?;
    // Controllers reach the children of a cgroup only while it holds no process itself: there the
    // test gets a leaf, and testkit makes a sibling for each daemon it starts.
    let member = if with_controllers { own.join("test") } else { own.clone() };
    if with_controllers {
        fs::create_dir(&member)?;
    }
    mark_delegated(&own);
    mark_delegated(&member);
    fs::write(member.join("cgroup.procs"), std::process::id().to_string())?;
    if let Some(uid) = uid {
        for directory in [&own, &member] {
            for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(directory.join(file), Some(uid), Some(uid))?;
            }
        }
    }
    Ok(own.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// A cgroup that did not exist. Pids are reused within a run on machines with few of them, so our
/// pid alone is no name.
fn make_new(base: &Path) -> std::io::Result<PathBuf> {
    let mut count = 0;
    loop {
        let path = base.join(format!("r-{}-{count}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => count += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Says, in systemd's way, that a cgroup belongs to whoever runs in it. Without the mark the product
/// would ask a running systemd for a scope of its own, and leave the place that was made for it.
fn mark_delegated(directory: &Path) {
    for name in ["user.delegate", "trusted.delegate"] {
        // An old kernel has no attributes on cgroups; the place then serves all the same.
        let _ = rustix::fs::setxattr(directory, name, b"1", rustix::fs::XattrFlags::empty());
    }
}

/// Every process below `directory`.
pub(super) fn members(directory: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(directory.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for child in children(directory) {
        found.extend(members(&child));
    }
    found
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(outer) = self.made.last() else { return };
        let _ = fs::write(outer.join("cgroup.kill"), "1");
        // A killed process leaves its cgroup when it is reaped, which is soon but not at once.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !members(outer).is_empty() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        remove_tree(outer);
    }
}

fn remove_tree(directory: &Path) {
    for child in children(directory) {
        remove_tree(&child);
    }
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_mount_is_found_on_hybrid_layouts_too() {
        let hybrid = "31 25 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n\
                      32 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(mount_point(hybrid).as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point("32 25 0:28 / /x rw - cgroup cgroup rw,memory\n"), None);
    }
}
