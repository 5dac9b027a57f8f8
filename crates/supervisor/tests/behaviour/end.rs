//! How a task ends: by itself, by its deadlines, by request.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use meanwhile_supervisor::exit::{EndWhy, TreeState};
use meanwhile_supervisor::process::{Identity, is_alive, start_time};
use meanwhile_supervisor::wire::{FromSupervisor, Phase, StartSpec, StopWhy, ToSupervisor, Token};

use crate::rig::{Rig, assert_dead, cgroup_root, exit_code, exit_signal, wait_for, written_pid};

#[test]
fn a_polite_task_ends_at_sigterm_with_its_own_exit_code() {
    let mut rig = Rig::new();
    let spec = rig.spec("trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.01; done");
    rig.run(&spec);
    wait_for("the trap", || rig.log(1).contains("ready"));
    rig.stop(&spec, 10_000);
    let record = rig.end();
    assert_eq!(record.why, EndWhy::Stopped(StopWhy::Cancel));
    assert_eq!(exit_code(&record), Some(4), "the true exit code stands beside the reason");
    assert!(rig.log(1).ends_with("bye\n"));
}

#[test]
fn a_task_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
    let mut rig = Rig::new();
    let spec = rig.spec("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    rig.run(&spec);
    wait_for("the trap", || rig.log(1).contains("ready"));
    let asked = Instant::now();
    rig.stop(&spec, 300);
    let record = rig.end();
    let took = asked.elapsed();
    assert_eq!(exit_signal(&record), Some(libc::SIGKILL));
    assert_eq!(record.why, EndWhy::Stopped(StopWhy::Cancel));
    assert!(took >= Duration::from_millis(300), "the grace is kept: {took:?}");
    assert!(took < Duration::from_secs(5), "and not much more: {took:?}");
}

#[test]
fn a_stopped_process_hears_the_stop() {
    let mut rig = Rig::new();
    let spec = rig.spec("kill -STOP $$; echo never");
    let pid = rig.run(&spec);
    wait_for("the stop", || {
        meanwhile_supervisor::process::stat(pid).is_some_and(|stat| stat.state == 'T')
    });
    rig.stop(&spec, 20_000);
    assert_eq!(exit_signal(&rig.end()), Some(libc::SIGTERM));
}

/// The tree of the promise: a child that left the session, the group, the environment and its parent.
const ESCAPE: &str = "trap '' TERM; \
    (setsid env -i /bin/sh -c 'trap \"\" TERM HUP; echo $$ >escaped; while :; do sleep 0.01; done' &) ; \
    while :; do sleep 0.01; done";

#[test]
fn a_stop_leaves_no_descendant_that_called_setsid() {
    let mut rig = Rig::new();
    let spec = rig.spec(ESCAPE);
    let pid = rig.run(&spec);
    let escaped = written_pid(&rig.path("escaped"));
    let main = Identity { pid, start_time: start_time(pid).unwrap() };
    assert!(is_alive(escaped) && is_alive(main));
    rig.stop(&spec, 50);
    let record = rig.end();
    assert_eq!(record.tree, TreeState::Empty);
    assert_dead(escaped);
    assert_dead(main);
}

#[test]
fn a_cgroup_of_its_own_is_entered_killed_and_removed_or_its_lack_is_told() {
    let mut rig = Rig::new();
    let mut spec = rig.spec(ESCAPE);
    let root = cgroup_root();
    let path = root.clone().unwrap_or_else(|| rig.path("no-such-parent"));
    let path = path.join(format!("mw-test-{}", std::process::id()));
    spec.cgroup = Some(path.as_os_str().as_bytes().to_vec());
    rig.start(&spec);
    let in_cgroup = rig.hear_until(|message| match message {
        FromSupervisor::Started { in_cgroup, .. } => Some(in_cgroup),
        _ => None,
    });
    assert_eq!(in_cgroup, root.is_some());
    let escaped = written_pid(&rig.path("escaped"));
    if in_cgroup {
        let procs = std::fs::read_to_string(path.join("cgroup.procs")).unwrap();
        assert!(procs.lines().any(|line| line == escaped.pid.to_string()), "{procs}");
    }
    rig.stop(&spec, 50);
    assert_eq!(rig.end().tree, TreeState::Empty);
    assert_dead(escaped);
    assert!(!path.exists());
}

#[test]
fn a_fork_bomb_is_gone_two_seconds_after_its_stop() {
    let mut rig = Rig::new();
    // Bounded, in case the promise is broken: each of the processes forks once more until the count is full.
    let spec = rig.spec(
        "trap '' TERM; bomb() { i=$(($1-1)); test $i -gt 0 && { bomb $i & bomb $i & }; \
         while :; do sleep 0.05; done; }; bomb 6 & echo up; wait",
    );
    rig.run(&spec);
    wait_for("the bomb", || rig.log(1).contains("up"));
    let asked = Instant::now();
    rig.stop(&spec, 0);
    assert_eq!(rig.end().tree, TreeState::Empty);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn a_stop_for_another_token_is_ignored() {
    let mut rig = Rig::new();
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 6");
    rig.run(&spec);
    let other = Token([9; 16]);
    rig.tell(&ToSupervisor::Stop { token: other, why: StopWhy::Cancel, grace_ms: 0 });
    rig.tell(&ToSupervisor::Report);
    let phase = rig.hear_until(|message| match message {
        FromSupervisor::Hello { current, .. } => current.map(|current| current.phase),
        _ => None,
    });
    assert_eq!(phase, Phase::Running);
    std::fs::write(rig.path("go"), "").unwrap();
    let record = rig.end();
    assert_eq!((exit_code(&record), record.why), (Some(6), EndWhy::Exited));
}

#[test]
fn the_timeout_holds_without_a_daemon_and_may_be_extended() {
    let mut rig = Rig::with(|init| init.exe = b"/bin/true".to_vec());
    let mut spec = rig.spec("exec sleep 60");
    spec.timeout_ms = Some(100);
    rig.run(&spec);
    rig.die();
    wait_for("the exit record", || rig.owner(1).exit.is_some());
    rig.daemon = rig.connect();
    let init = rig.init();
    rig.tell(&ToSupervisor::Init(init));
    let record = rig.end();
    assert_eq!(record.why, EndWhy::TimedOut { after_ms: 100 });
    assert_eq!(exit_signal(&record), Some(libc::SIGTERM));
    assert!((100..5000).contains(&record.run_ms), "{}", record.run_ms);

    let mut spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 1");
    spec.timeout_ms = Some(500);
    let started = Instant::now();
    rig.run(&spec);
    rig.tell(&ToSupervisor::Extend { token: spec.token, timeout_ms: None });
    wait_for("the old deadline", || started.elapsed() > Duration::from_millis(700));
    std::fs::write(rig.path("go"), "").unwrap();
    assert_eq!(rig.end().why, EndWhy::Exited);
}

#[test]
fn silence_is_counted_from_the_last_output() {
    let mut rig = Rig::new();
    let mut spec = rig.spec("for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done; sleep 60");
    spec.idle_timeout_ms = Some(400);
    rig.start(&spec);
    let record = rig.end();
    assert_eq!(record.why, EndWhy::IdleTimedOut { after_ms: 400 });
    assert_eq!(rig.log(1), "1\n2\n3\n4\n5\n6\n");
    assert!(record.run_ms >= 900, "six lines and the silence: {}", record.run_ms);
}

#[test]
fn leftovers_are_named_ended_and_do_not_hold_the_end_up() {
    let mut rig = Rig::new();
    // It keeps the pipe open and ignores SIGTERM, so it costs the leak time and its grace.
    let spec = rig.spec(
        "sh -c 'trap \"\" TERM; echo $$ >left; while :; do sleep 0.01; done' & \
        while ! test -s left; do sleep 0.01; done; exit 9",
    );
    rig.start(&spec);
    let record = rig.end();
    assert_eq!((exit_code(&record), record.why), (Some(9), EndWhy::Exited));
    assert!(record.leaked.count >= 1, "{:?}", record.leaked);
    let left = std::fs::read_to_string(rig.path("left")).unwrap();
    assert!(record.leaked.named.iter().any(|p| p.pid.to_string() == left.trim() && p.comm == "sh"));
    assert_eq!(record.tree, TreeState::Empty);
    assert!(record.run_ms < 1000, "the task's time ends with its main process: {}", record.run_ms);
}

/// A task that was started and leaves a process behind, which is to be kept; its pid is in `left`.
fn leaves_one_behind() -> (Rig, StartSpec) {
    let mut rig = Rig::new();
    let mut spec = rig.spec(
        "sh -c 'echo $$ >left; exec sleep 60' & \
        while ! test -s left; do sleep 0.01; done",
    );
    spec.keep_leaked = true;
    rig.start(&spec);
    (rig, spec)
}

#[test]
fn kept_leftovers_live_on_and_their_supervisor_stays_with_them() {
    let (mut rig, spec) = leaves_one_behind();
    let record = rig.end();
    assert_eq!((exit_code(&record), record.tree), (Some(0), TreeState::Kept));
    let left = written_pid(&rig.path("left"));
    assert!(is_alive(left));
    rig.tell(&ToSupervisor::Report);
    let phase = rig.hear_until(|message| match message {
        FromSupervisor::Hello { current, .. } => current.map(|current| current.phase),
        _ => None,
    });
    assert_eq!(phase, Phase::Kept);
    // A later cancel still reaches them.
    rig.stop(&spec, 1000);
    rig.hear_until(|message| (message == FromSupervisor::Idle).then_some(()));
    assert_dead(left);
}

/// It recorded the end and died before it said so: the next one has nothing to ask, and does not come.
#[test]
fn a_supervisor_whose_kept_leftovers_are_gone_leaves_without_a_word_of_the_daemon() {
    let (mut rig, _spec) = leaves_one_behind();
    assert_eq!(rig.hear_end().tree, TreeState::Kept);
    let left = written_pid(&rig.path("left"));
    meanwhile_supervisor::process::signal(left, rustix::process::Signal::KILL).unwrap();
    wait_for("the supervisor to have reaped it", || !is_alive(left));
    // The daemon that came after has stopped.
    std::fs::write(rig.path("daemon.lock"), "").unwrap();
    rig.die();
    assert_eq!(rig.wait_gone(), Some(0));
}

#[test]
fn a_quick_leftover_is_no_leak() {
    let mut rig = Rig::new();
    let record = rig.run_to_end("(sleep 0.05; echo late) & exit 0");
    assert_eq!((record.leaked.count, record.tree), (0, TreeState::Empty));
    assert_eq!(rig.log(1), "late\n", "what it wrote is kept");
}

#[test]
fn a_task_dies_with_its_supervisor() {
    let mut rig = Rig::new();
    let spec = rig.spec("exec sleep 60");
    let pid = rig.run(&spec);
    let main = Identity { pid, start_time: start_time(pid).unwrap() };
    rig.supervisor.kill().unwrap();
    rig.supervisor.wait().unwrap();
    wait_for("the task's end", || !is_alive(main));
    let view = rig.owner(1);
    assert!(view.started.is_some() && view.exit.is_none(), "the file says lost, not ended");
    assert_eq!(view.main.map(|m| m.pid), Some(pid));
}

#[test]
fn a_signal_to_the_supervisor_does_not_end_its_task() {
    let mut rig = Rig::new();
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 2");
    rig.run(&spec);
    let pid = rustix::process::Pid::from_child(&rig.supervisor);
    for signal in [
        rustix::process::Signal::TERM,
        rustix::process::Signal::HUP,
        rustix::process::Signal::INT,
        rustix::process::Signal::PIPE,
    ] {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    std::fs::write(rig.path("go"), "").unwrap();
    assert_eq!(exit_code(&rig.end()), Some(2));
}

#[test]
fn the_private_directory_is_there_for_the_task_and_gone_after_it() {
    let mut rig = Rig::new();
    let tmp = rig.path("tmp");
    let mut spec = rig.spec("stat -c %a tmp; mkdir -p tmp/a/b; ln -s / tmp/root; chmod 0 tmp/a");
    spec.tmpdir = Some(tmp.as_os_str().as_bytes().to_vec());
    rig.start(&spec);
    assert_eq!(exit_code(&rig.end()), Some(0));
    assert_eq!(rig.log(1), "700\n");
    assert!(!tmp.exists());
    let mut spec = rig.spec("touch tmp/kept");
    spec.tmpdir = Some(tmp.as_os_str().as_bytes().to_vec());
    spec.keep_tmp = true;
    rig.start(&spec);
    rig.end();
    assert!(tmp.join("kept").exists());
}

#[test]
fn a_task_that_still_waits_for_its_fifo_can_be_stopped_politely() {
    let mut rig = Rig::new();
    let fifo = rig.path("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut spec = rig.spec("echo never");
    spec.stdin = meanwhile_supervisor::wire::Stdin::Path(fifo.as_os_str().as_bytes().to_vec());
    rig.start(&spec);
    wait_for("the child", || {
        rig.owner(1).main.and_then(|main| meanwhile_supervisor::process::stat(main.pid)).is_some()
    });
    rig.stop(&spec, 60_000);
    let record = rig.end();
    assert_eq!(exit_signal(&record), Some(libc::SIGTERM));
    assert_eq!(record.why, EndWhy::Stopped(StopWhy::Cancel));
    assert_eq!(rig.log(1), "");
}

#[test]
fn a_stream_held_open_from_outside_does_not_hold_the_end_up() {
    let mut rig = Rig::new();
    let spec = rig.spec("exec sleep 60");
    let pid = rig.run(&spec);
    let path = format!("/proc/{pid}/fd/1");
    let held = std::fs::File::options().write(true).open(path).unwrap();
    let asked = Instant::now();
    rig.stop(&spec, 60_000);
    assert_eq!(exit_signal(&rig.end()), Some(libc::SIGTERM));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(held);
}

#[test]
fn the_true_status_is_on_file_before_the_leftovers_are_gone() {
    let mut rig = Rig::new();
    let spec = rig.spec(
        "sh -c 'trap \"\" TERM; echo $$ >left; while :; do sleep 0.01; done' & \
         while ! test -s left; do sleep 0.01; done; exit 9",
    );
    rig.start(&spec);
    wait_for("a record", || rig.owner(1).exit.is_some());
    rig.supervisor.kill().unwrap();
    rig.supervisor.wait().unwrap();
    let record = rig.owner(1).exit.unwrap();
    assert_eq!((exit_code(&record), record.tree), (Some(9), TreeState::Pending));
    // Nobody is left who would end it but this test.
    let left = written_pid(&rig.path("left"));
    meanwhile_supervisor::process::signal(left, rustix::process::Signal::KILL).unwrap();
}

/// Not only before they are gone: before they are asked to go, so that a supervisor that is killed in between takes no
/// known status along.
#[test]
fn the_true_status_is_on_file_before_the_leftovers_are_asked_to_end() {
    use std::os::unix::fs::MetadataExt;
    let mut rig = Rig::new();
    let spec = rig.spec(
        "sh -c 'trap \"echo asked >asked; while ! test -e go; do sleep 0.01; done; exit\" TERM; echo $$ >left; while :; do sleep 0.01; done' & \
         while ! test -s left; do sleep 0.01; done; exit 9",
    );
    rig.start(&spec);
    let changed = |path: std::path::PathBuf| {
        let about = std::fs::metadata(path).unwrap();
        i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec())
    };
    let owner = rig.dir(1).join("owner");
    let mut pending = None;
    wait_for("the first record", || {
        let time = changed(owner.clone());
        let tree = rig.owner(1).exit.map(|record| record.tree);
        assert_ne!(tree, Some(TreeState::Empty), "it was never pending");
        // The same time before and after the look: nothing was written in between.
        pending =
            (tree == Some(TreeState::Pending) && changed(owner.clone()) == time).then_some(time);
        pending.is_some()
    });
    let asked = rig.path("asked");
    wait_for("the leftover to be asked", || asked.exists());
    let between = changed(asked) - pending.unwrap();
    assert!(between > 100_000_000, "{between} ns between the record and the request");
    std::fs::write(rig.path("go"), "").unwrap();
    assert_eq!(exit_code(&rig.end()), Some(9));
}

#[test]
fn a_supervisor_that_was_asked_to_end_does_so_after_its_task() {
    let mut rig = Rig::new();
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 2");
    rig.run(&spec);
    let pid = rustix::process::Pid::from_child(&rig.supervisor);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    std::fs::write(rig.path("go"), "").unwrap();
    assert_eq!(exit_code(&rig.end()), Some(2));
    assert_eq!(rig.wait_gone(), Some(0));
}
