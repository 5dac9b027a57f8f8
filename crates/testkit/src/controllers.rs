//! A daemon in a cgroup that can have controllers.
//!
//! The kernel passes controllers on from a cgroup only while no process is directly inside it. A
//! daemon that is started on demand begins in the cgroup of its caller, the test, and so never has
//! any. In the mode `controllers` a home therefore starts its daemon right away, in a cgroup that
//! nobody else is in. Owns these cgroups; the test run removes them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{DEADLINE, TestHome, wait_for_file};

/// Starts `meanwhile daemon run` for this home in a cgroup of its own, and waits until it listens.
#[track_caller]
pub(crate) fn start_daemon(home: &TestHome) {
    let place = make_place();
    let log = std::fs::File::create(home.root().join("daemon.out")).expect("a file can be made");
    let errors = log.try_clone().expect("a descriptor can be copied");
    let mut child = Command::new("sh")
        .args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\""])
        .arg(&place)
        .arg(home.binary())
        .args(["daemon", "run"])
        .env_clear()
        .envs(home.environment())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .expect("sh starts");
    let pid = child.id().to_string();
    // Whoever kills the daemon wants it gone, not a zombie of ours.
    std::thread::spawn(move || child.wait());
    let lock = home.state().join("daemon.lock");
    wait_for_file(&lock, DEADLINE, |bytes| {
        String::from_utf8_lossy(bytes).split_whitespace().next() == Some(&pid)
    });
    home.cli(["daemon", "start"]).ok();
}

/// A sibling of the test's own cgroup, with controllers for those below it.
fn make_place() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let own = own_cgroup().expect("the run put this test into a cgroup");
    let parent = own.parent().expect("the run put this test into a leaf").to_owned();
    std::fs::write(parent.join("cgroup.subtree_control"), "+memory +pids")
        .expect("the run chose a place that has these controllers");
    let name = format!("d-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let place = parent.join(name);
    std::fs::create_dir(&place).expect("the run gave us this cgroup");
    for name in ["user.delegate", "trusted.delegate"] {
        // See the runner of the test command: best effort, for machines that systemd runs.
        let _ = rustix::fs::setxattr(&place, name, b"1", rustix::fs::XattrFlags::empty());
    }
    place
}

/// The directory of the cgroup v2 this process is in.
pub(crate) fn own_cgroup() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == "cgroup2").then(|| before.split(' ').nth(4))?
    })?;
    let member = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = member.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(mount).join(path.trim_start_matches('/')))
}
