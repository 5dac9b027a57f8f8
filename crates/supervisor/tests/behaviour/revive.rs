//! How a lost daemon comes back.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use meanwhile_supervisor::exit::{EndWhy, TreeState};
use meanwhile_supervisor::process::{Identity, descendants, is_alive, start_time, stat};
use meanwhile_supervisor::wire::{DaemonResult, FromSupervisor, ToSupervisor};

use crate::rig::{Rig, cgroup_root, exit_code, hear, wait_for};

/// What the probe wrote down about itself as a daemon; it ends when this is dropped.
struct Daemon {
    path: PathBuf,
    single: HashMap<String, String>,
    many: Vec<(String, String)>,
}

impl Daemon {
    fn wait(rig: &Rig) -> Self {
        let path = rig.path("facts");
        wait_for("a daemon", || path.exists());
        let text = std::fs::read_to_string(&path).unwrap();
        let many: Vec<(String, String)> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Self { path, single: many.iter().cloned().collect(), many }
    }

    fn pid(&self) -> u32 {
        self.single["pid"].parse().unwrap()
    }

    fn all(&self, key: &str) -> Vec<&str> {
        self.many.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let pid = self.pid();
        // Its parent is this test's process, which has to read its status.
        wait_for("the daemon's end", || stat(pid).is_none_or(|stat| stat.state == 'Z'));
    }
}

#[test]
fn a_lost_daemon_is_started_anew_clean_and_outside_of_the_task() {
    let root = cgroup_root();
    let leaf = root.map(|root| root.join(format!("mw-leaf-{}", std::process::id())));
    if let Some(leaf) = &leaf {
        std::fs::create_dir(leaf).unwrap();
    }
    let mut rig = Rig::with(|init| {
        init.daemon_cgroup = leaf.as_ref().map(|leaf| leaf.to_str().unwrap().into());
    });
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 8");
    rig.run(&spec);
    rig.die();
    let daemon = Daemon::wait(&rig);
    let supervisor = stat(rig.supervisor.id()).unwrap();
    assert_eq!(daemon.single["ppid"], supervisor.ppid.to_string(), "a sibling, not a child");
    assert_eq!(daemon.single["sid"], daemon.single["pid"], "a session of its own");
    assert_eq!(daemon.single["umask"], "0077");
    assert_eq!(daemon.single["cwd"], "/");
    assert_eq!(daemon.single["blocked"], "0000000000000000");
    // The Rust runtime of the probe itself ignores SIGPIPE (bit 12), nothing else may be ignored.
    assert_eq!(daemon.single["ignored"], "0000000000001000");
    assert_eq!(daemon.all("env"), ["PATH=/usr/bin:/bin", "ALLOWED=yes"]);
    for fd in daemon.all("fd") {
        let (number, target) = fd.split_once(' ').unwrap();
        match number {
            "0" | "1" | "2" => assert_eq!(target, "/dev/null"),
            // Its own lock and the listing it made of these.
            _ => assert!(target.ends_with("daemon.lock") || target.contains("/fd"), "{fd}"),
        }
    }
    if let Some(leaf) = &leaf {
        assert!(daemon.single["cgroup"].ends_with(leaf.file_name().unwrap().to_str().unwrap()));
    }
    // The task's end does not touch it.
    rig.daemon = rig.connect();
    let init = rig.init();
    rig.tell(&ToSupervisor::Init(init));
    rig.stop(&spec, 0);
    rig.end();
    let identity = Identity { pid: daemon.pid(), start_time: start_time(daemon.pid()).unwrap() };
    assert!(is_alive(identity));
    drop(daemon);
    if let Some(leaf) = &leaf {
        // The probe may still be a zombie of this test, which a cgroup does not count.
        wait_for("the empty leaf", || std::fs::remove_dir(leaf).is_ok());
    }
}

#[test]
fn no_second_daemon_is_started_while_one_holds_the_lock() {
    let mut rig = Rig::new();
    let lock = File::create(rig.path("daemon.lock")).unwrap();
    lock.lock().unwrap();
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done");
    rig.run(&spec);
    let mut client = rig.connect();
    client.tell(&ToSupervisor::StartDaemon);
    client.flush().unwrap();
    let result = loop {
        if let FromSupervisor::DaemonStarted { result } = hear(&mut client).unwrap() {
            break result;
        }
    };
    assert_eq!(result, DaemonResult::Alive);
    assert!(!rig.path("facts").exists());
    assert!(descendants(rig.supervisor.id()).iter().all(|member| member.comm != "supervise-probe"));
}

#[test]
fn a_daemon_that_stops_on_purpose_is_not_started_again() {
    let mut rig = Rig::new();
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 1");
    rig.run(&spec);
    rig.tell(&ToSupervisor::DaemonStopping);
    // Its answer shows that the mark was read before the connection goes.
    rig.tell(&ToSupervisor::Report);
    rig.hear_until(|message| matches!(message, FromSupervisor::Hello { .. }).then_some(()));
    rig.die();
    // sleep: what must not happen has no event; this is longer than the first pause and its spread.
    std::thread::sleep(std::time::Duration::from_millis(1600));
    assert!(!rig.path("facts").exists());
    rig.daemon = rig.connect();
    let init = rig.init();
    rig.tell(&ToSupervisor::Init(init));
    // The second greeting shows that the first words were read: an end before that is nobody's to hear, and is on file.
    rig.tell(&ToSupervisor::Report);
    for _ in 0..2 {
        rig.hear_until(|message| matches!(message, FromSupervisor::Hello { .. }).then_some(()));
    }
    std::fs::write(rig.path("go"), "").unwrap();
    let record = rig.end();
    assert_eq!((exit_code(&record), record.why), (Some(1), EndWhy::Exited));
}

#[test]
fn a_client_inside_a_task_gets_a_daemon_that_survives_the_tasks_cancel() {
    let mut rig = Rig::new();
    let spec = rig.spec("exec sleep 60");
    rig.run(&spec);
    let mut client = rig.connect();
    client.tell(&ToSupervisor::StartDaemon);
    client.flush().unwrap();
    let result = loop {
        if let FromSupervisor::DaemonStarted { result } = hear(&mut client).unwrap() {
            break result;
        }
    };
    assert_eq!(result, DaemonResult::Started);
    let daemon = Daemon::wait(&rig);
    let identity = Identity { pid: daemon.pid(), start_time: start_time(daemon.pid()).unwrap() };
    rig.stop(&spec, 0);
    rig.end();
    assert!(is_alive(identity));
    assert!(!descendants(rig.supervisor.id()).iter().any(|m| m.identity == identity));
}

/// It knows nothing of a queue; that its daemon left its name in the lock says that it was killed.
#[test]
fn an_idle_supervisor_that_was_asked_to_stay_brings_a_killed_daemon_back() {
    let mut rig = Rig::with(|init| init.idle_ms = u32::MAX);
    std::fs::write(rig.path("daemon.lock"), "1 1\n/socket\n").unwrap();
    // Its answer shows that it has read the request.
    rig.tell(&ToSupervisor::Report);
    rig.hear_until(|message| matches!(message, FromSupervisor::Hello { .. }).then_some(()));
    rig.die();
    drop(Daemon::wait(&rig));
}

/// A daemon that came meanwhile need not know of this supervisor, nor tell it that it stops: the emptied lock says so.
#[test]
fn an_idle_supervisor_that_missed_the_stop_leaves_and_brings_nobody_back() {
    let mut rig = Rig::with(|init| init.idle_ms = u32::MAX);
    std::fs::write(rig.path("daemon.lock"), "").unwrap();
    rig.tell(&ToSupervisor::Report);
    rig.hear_until(|message| matches!(message, FromSupervisor::Hello { .. }).then_some(()));
    rig.die();
    assert_eq!(rig.wait_gone(), Some(0));
    assert!(!rig.path("facts").exists() && !rig.path("facts.new").exists());
    let held = File::open(rig.path("daemon.lock")).unwrap();
    held.try_lock().expect("no daemon was started");
}

/// When the turn to start one is kept while a daemon lives that does not come here, nobody can take it when that daemon
/// dies.
#[test]
fn a_supervisor_that_a_living_daemon_does_not_come_to_keeps_nobody_from_reviving() {
    let mut rig = Rig::new();
    let lock = File::create(rig.path("daemon.lock")).unwrap();
    lock.lock().unwrap();
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done");
    rig.run(&spec);
    rig.die();
    let turn = rig.path("run/revive.lock");
    wait_for("its first try", || turn.exists());
    let turn = File::open(turn).unwrap();
    wait_for("the turn to be free", || turn.try_lock().is_ok());
    assert!(!rig.path("facts").exists());
}

#[test]
fn kept_leftovers_that_are_recorded_need_no_daemon() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("sleep 60 & exit 0");
    spec.keep_leaked = true;
    rig.start(&spec);
    assert_eq!(rig.end().tree, TreeState::Kept);
    // Its answer shows that the receipt was read before the connection goes.
    rig.tell(&ToSupervisor::Report);
    rig.hear_until(|message| matches!(message, FromSupervisor::Hello { .. }).then_some(()));
    rig.die();
    // sleep: what must not happen has no event; this is longer than the first pause and its spread.
    std::thread::sleep(std::time::Duration::from_millis(1600));
    assert!(!rig.path("facts").exists() && !rig.path("run/revive.lock").exists());
    rig.daemon = rig.connect();
    let init = rig.init();
    rig.tell(&ToSupervisor::Init(init));
    rig.stop(&spec, 0);
    rig.hear_until(|message| (message == FromSupervisor::Idle).then_some(()));
}
