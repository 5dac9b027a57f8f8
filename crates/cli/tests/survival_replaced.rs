//! One daemon goes, another comes: by `stop`, by SIGTERM, by an upgrade, from inside a task. Running
//! tasks do not notice, and the next daemon knows their true end.
//!
//! Owns no state beyond the homes. Whether a daemon may come back by itself is part of each promise:
//! after a stop it may not, after anything else it must.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use meanwhile_testkit::{Bell, DEADLINE, Gate, Process, TestHome, mode, until};
use rustix::process::Signal;
use serde_json::json;

/// A task held at a gate, that has said so.
struct Held {
    id: String,
    gate: Gate,
    main: Process,
}

impl Held {
    #[track_caller]
    fn launch(home: &TestHome, name: &str, then: &str) -> Self {
        let gate = home.gate(&format!("{name}.gate"));
        let mut bell = home.bell(&format!("{name}.bell"));
        let line = format!("echo before; {}; {}; {then}", bell.shell("$$"), gate.shell());
        let id = home.launch_shell(&line);
        Self { id, gate, main: heard(&mut bell) }
    }
}

#[track_caller]
fn heard(bell: &mut Bell) -> Process {
    let pid = bell.wait(DEADLINE).parse().expect("the task rang with its pid");
    Process::of(pid).expect("the task that rang lives")
}

/// The supervisor of a task that runs. That it started is committed a moment later, with whatever comes
/// next, so it is asked for more than once.
#[track_caller]
fn supervisor(home: &TestHome, id: &str) -> Process {
    let pid = until("the task's supervisor to be known", DEADLINE, || {
        home.status(id)["supervisor_pid"].as_u64()
    });
    Process::of(u32::try_from(pid).expect("pids are small")).expect("the supervisor lives")
}

#[test]
fn a_stop_leaves_tasks_running_and_a_start_adopts_them() {
    let home = TestHome::new();
    let mut early = Held::launch(&home, "early", "echo after; exit 3");
    let mut late = Held::launch(&home, "late", "echo after; exit 4");
    let daemon = home.daemon().expect("the daemon was started by the first task");
    let supervisor = supervisor(&home, &early.id);

    home.cli(["daemon", "stop"]).ok();
    daemon.wait_end(DEADLINE);
    assert!(early.main.is_alive() && late.main.is_alive());
    home.cli(["daemon", "status"]).expect(5);

    // One ends while nobody is there to hear it. Its supervisor goes then: it has nothing to do, and
    // after a stop it must not bring the daemon back.
    early.gate.open();
    supervisor.wait_end(DEADLINE);
    assert!(home.daemon().is_none(), "a stopped daemon came back uncalled");

    home.cli(["daemon", "start"]).ok();
    late.gate.open();
    for (held, code) in [(&early, 3), (&late, 4)] {
        let task = home.wait(&held.id);
        assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(code)));
        assert_eq!(task["attempt"], 1);
        assert_eq!(home.output(&held.id), "before\nafter");
    }
    home.finish();
}

#[test]
fn sigterm_ends_the_daemon_and_no_task() {
    let home = TestHome::new();
    let mut held = Held::launch(&home, "held", "echo after; exit 5");
    let daemon = home.daemon().expect("the daemon was started by the first task");
    daemon.signal(Signal::TERM);
    daemon.wait_end(DEADLINE);
    assert!(held.main.is_alive());
    held.gate.open();
    let task = home.wait(&held.id);
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(5)));
    assert_eq!(home.output(&held.id), "before\nafter");
    assert_ne!(home.daemon().map(|new| new.pid()), Some(daemon.pid()));
    home.finish();
}

#[test]
fn stop_with_cancel_all_ends_every_task_and_everybody() {
    let home = TestHome::builder().config("lanes.commands.limit = 2").build();
    let held: Vec<Held> =
        ["one", "two"].iter().map(|name| Held::launch(&home, name, "exit 0")).collect();
    let queued = home.launch(["true"]);
    let daemon = home.daemon().expect("the daemon was started by the first task");
    home.cli(["daemon", "stop", "--cancel-all"]).ok();
    assert!(held.iter().all(|held| !held.main.is_alive()), "stop came back before the tasks' end");
    daemon.wait_end(DEADLINE);
    until("the supervisors to end", DEADLINE, || home.processes().is_empty().then_some(()));

    home.cli(["daemon", "start"]).ok();
    for id in held.iter().map(|held| &held.id).chain([&queued]) {
        assert_eq!(home.status(id)["state"], "cancelled");
    }
    home.finish();
}

/// Where the daemon of a home says that its tasks get cgroups.
fn subtree(home: &TestHome) -> PathBuf {
    let log = fs::read_to_string(home.state().join("logs/daemon.log")).expect("it has a log");
    let mut paths = log.lines().filter_map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        (entry["message"] == "tasks get cgroups")
            .then(|| PathBuf::from(entry["path"].as_str().unwrap_or_default()))
    });
    paths.next_back().expect("it has said so")
}

/// The last of daemon and supervisors takes the cgroups of the home with it, whoever that is.
#[test]
fn no_cgroup_is_left_when_the_last_of_us_has_gone() {
    if !mode::has_cgroup() {
        return mode::not_here("no cgroup that can be written");
    }
    let home = TestHome::new();
    let mut held = Held::launch(&home, "held", "exit 0");
    let subtree = subtree(&home);
    assert!(subtree.join("daemon").is_dir(), "{}", subtree.display());
    let supervisor = supervisor(&home, &held.id);
    home.cli(["daemon", "stop"]).ok();
    assert!(subtree.is_dir(), "a task runs in it");
    held.gate.open();
    supervisor.wait_end(DEADLINE);
    let gone = || (!subtree.exists()).then_some(());
    until("the supervisor to have taken the cgroups along", DEADLINE, gone);

    // The next daemon makes them anew, and the last to go is the daemon or an idle supervisor.
    let after = home.launch(["true"]);
    assert_eq!(home.wait(&after)["state"], "completed");
    assert!(subtree.is_dir());
    home.cli(["daemon", "stop"]).ok();
    until("the daemon or a supervisor to have taken the cgroups along", DEADLINE, gone);
    home.finish();
}

/// The new daemon was started by a client inside the task; the task's cancel kills all that is in the
/// task and not the daemon.
#[test]
fn a_daemon_started_from_inside_a_task_survives_the_cancel_of_the_task() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let script = format!(
        "read -r pid _ < '{lock}'; kill -9 $pid; '{binary}' run --wait -- true; {ring}; exec sleep 1000",
        lock = home.state().join("daemon.lock").display(),
        binary = home.binary().display(),
        ring = bell.shell("$$ $?"),
    );
    let outer = home.launch_shell(&script);
    let line = bell.wait(DEADLINE);
    let (pid, code) = line.split_once(' ').expect("the task rang with two numbers");
    assert_eq!(code, "0", "the command inside the task: {}", home.output(&outer));
    let main = Process::of(pid.parse().expect("a pid is a number")).expect("the task lives");
    let daemon = home.daemon().expect("the command inside the task came back with a daemon");

    home.cli(["cancel", &outer]).ok();
    assert!(!main.is_alive());
    assert!(daemon.is_alive(), "the cancel took the daemon along");
    assert_eq!(home.status(&outer)["state"], "cancelled");
    assert_eq!(home.daemon().map(|now| now.pid()), Some(daemon.pid()), "it was the same all along");
    let inner = home.output(&outer).lines().next().expect("the task printed an id").to_owned();
    assert_eq!(home.status(&inner)["state"], "completed");
    home.finish();
}

/// Inside a task the supervisor starts the daemon, and no pipe leads from it to the command.
#[test]
fn a_command_inside_a_task_is_told_why_no_daemon_comes() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let socket = home.state().join("daemon.sock");
    let script = format!(
        "read -r pid _ < '{lock}'; kill -9 $pid; rm '{socket}'; mkdir '{socket}'; \
         '{binary}' run -- true; {ring}; exec sleep 1000",
        lock = home.state().join("daemon.lock").display(),
        socket = socket.display(),
        binary = home.binary().display(),
        ring = bell.shell("$?"),
    );
    let begun = std::time::Instant::now();
    let id = home.launch_shell(&script);
    assert_eq!(bell.wait(DEADLINE), "6");
    assert!(begun.elapsed() < std::time::Duration::from_secs(8), "only the time told it");
    fs::remove_dir(&socket).expect("the directory is there and empty");
    let said = home.output(&id);
    assert!(said.contains("is in the way and is not a socket"), "{said}");
    home.cli(["cancel", &id]).ok();
    home.finish();
}

/// The file on disk is another one while tasks run: the supervisors in memory go on, and the daemon
/// they bring back is of the new file.
#[test]
fn an_upgrade_of_the_binary_is_picked_up_and_adopts_what_runs() {
    let home = TestHome::new();
    // Where the mode starts a daemon with the home, this one takes its place.
    home.cli(["daemon", "stop"]);
    let installed = home.root().join("meanwhile");
    install(&home, &installed);
    let old = fs::metadata(&installed).expect("it was just installed").ino();
    home.invoke(["daemon", "start"]).program(&installed).run().ok();
    let mut held = Held::launch(&home, "held", "echo after; exit 6");
    let before = home.daemon().expect("it was started");
    assert_eq!(inode_of(before.pid()), old);

    install(&home, &installed);
    let new = fs::metadata(&installed).expect("it was just installed").ino();
    assert_ne!(old, new);
    let killed = home.kill_daemon();
    let after = home.wait_for_other_daemon(killed);
    assert_eq!(inode_of(after.pid()), new, "the daemon that came back is the new program");
    let other = home.launch(["true"]);
    held.gate.open();
    let task = home.wait(&held.id);
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(6)));
    assert_eq!(home.output(&held.id), "before\nafter");
    assert_eq!(home.wait(&other)["state"], "completed");
    home.finish();
}

/// As package managers do it: another file, then a rename over the old one.
fn install(home: &TestHome, at: &PathBuf) {
    let fresh = at.with_extension("new");
    fs::copy(home.binary(), &fresh).expect("the binary can be copied");
    fs::rename(&fresh, at).expect("the copy can be moved");
}

fn inode_of(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/exe")).expect("our own process can be looked at").ino()
}

#[test]
fn a_stale_socket_is_replaced() {
    if mode::isolation() == mode::Isolation::Controllers {
        return mode::not_here("the home's daemon is started by hand before the test begins");
    }
    let home = TestHome::new();
    let path = home.state().join("daemon.sock");
    // A socket nobody listens on any more.
    drop(UnixListener::bind(&path).expect("a socket can be made"));
    assert!(path.exists());
    let id = home.launch(["true"]);
    assert_eq!(home.wait(&id)["state"], "completed");
    // And one of a daemon that was killed before any supervisor was there to bring it back.
    home.cli(["daemon", "stop"]).ok();
    home.cli(["daemon", "start"]).ok();
    home.kill_daemon();
    assert!(path.exists(), "a killed daemon removes nothing");
    let id = home.launch(["true"]);
    assert_eq!(home.wait(&id)["state"], "completed");
    home.finish();
}

#[test]
fn a_hundred_first_commands_at_once_get_one_daemon() {
    let home = TestHome::builder().config("lanes.commands.limit = 4").build();
    let clients: Vec<_> = (0..100).map(|_| home.invoke(["run", "--", "true"]).start()).collect();
    let mut ids: Vec<String> =
        clients.into_iter().map(|client| client.wait(DEADLINE).ok()).collect();
    let daemon = home.daemon().expect("they started one").pid();
    let waited = home.invoke(["wait"].into_iter().chain(ids.iter().map(String::as_str))).run();
    waited.expect(0);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100, "every client got an id of its own");
    // A second one would either live beside the first or have been in its place for a while.
    assert_eq!(home.daemon().map(|now| now.pid()), Some(daemon));
    let log = fs::read_to_string(home.state().join("logs/daemon.log")).expect("it has a log");
    assert_eq!(log.matches("daemon starts").count(), 1, "{log}");
    home.finish();
}
