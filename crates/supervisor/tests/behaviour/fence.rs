//! The fence around a start, and what a daemon that comes back finds.

use std::fs::File;

use meanwhile_supervisor::exit::EndWhy;
use meanwhile_supervisor::owner::{Lock, Owner};
use meanwhile_supervisor::wire::{FromSupervisor, Init, Phase, RefusedWhy, ToSupervisor};

use crate::rig::{Gone, Rig, exit_code, hear, wait_for};

fn lock(rig: &Rig, attempt: u32) -> Lock {
    Owner::open(File::open(rig.dir(attempt)).unwrap()).unwrap().try_lock().unwrap()
}

#[test]
fn the_lock_is_held_from_the_start_until_the_end_is_recorded() {
    let mut rig = Rig::new();
    let spec = rig.spec("exec sleep 60");
    rig.start(&spec);
    assert_eq!(lock(&rig, 1), Lock::Held, "in flight");
    rig.hear_until(|message| matches!(message, FromSupervisor::Started { .. }).then_some(()));
    assert_eq!(lock(&rig, 1), Lock::Held, "running");
    rig.stop(&spec, 1000);
    let record = rig.hear_end();
    assert_eq!(lock(&rig, 1), Lock::Held, "ended, not recorded");
    rig.tell(&ToSupervisor::Recorded { token: record.token });
    assert_eq!(rig.hear(), Ok(FromSupervisor::Idle));
    assert_eq!(lock(&rig, 1), Lock::Taken, "recorded");
}

#[test]
fn a_start_that_nobody_reads_frees_the_lock_and_leaves_no_mark() {
    let mut rig = Rig::new();
    rig.supervisor.kill().unwrap();
    rig.supervisor.wait().unwrap();
    let spec = rig.spec("true");
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    // A claim needs a live supervisor's start time; this test's own process stands in.
    let path = rig.dir(1);
    std::fs::create_dir(&path).unwrap();
    let dir = File::open(&path).unwrap();
    let header = meanwhile_supervisor::owner::OwnerHeader {
        token: spec.token,
        boot_id: [0; 16],
        pid_namespace: 0,
        pid: std::process::id(),
        start_time: 0,
        cgroup: None,
        protocol: 1,
        socket_name: Vec::new(),
    };
    let owner = Owner::create(&dir, &header).unwrap();
    let mut daemon = meanwhile_supervisor::wire::Connection::new(ours).unwrap();
    daemon.queue_start(&spec, owner.into_fd(), dir.into()).unwrap();
    daemon.flush().unwrap();
    drop(daemon);
    assert_eq!(lock(&rig, 1), Lock::Held, "the daemon is gone, the message is not");
    drop(theirs);
    assert_eq!(lock(&rig, 1), Lock::Taken);
    assert_eq!(rig.owner(1).started, None);
}

#[test]
fn a_start_that_arrived_whole_runs_though_its_daemon_is_gone() {
    let mut rig = Rig::with(|init| init.exe = b"/bin/true".to_vec());
    let marker = rig.path("ran");
    let spec = rig.spec("touch ran; exec sleep 60");
    let (owner, dir) = rig.claim(&spec);
    rig.daemon.queue_start(&spec, owner, dir).unwrap();
    rig.daemon.flush().unwrap();
    rig.die();
    wait_for("the task", || marker.exists());
    assert!(rig.owner(1).started.is_some());
}

#[test]
fn an_attempt_that_has_started_is_never_started_again() {
    let mut rig = Rig::new();
    let spec = rig.spec("echo once");
    rig.start(&spec);
    rig.end();
    assert_eq!(rig.hear(), Ok(FromSupervisor::Idle));
    let owner = Owner::open(File::open(rig.dir(1)).unwrap()).unwrap();
    assert_eq!(owner.try_lock(), Ok(Lock::Taken));
    let dir = File::open(rig.dir(1)).unwrap();
    rig.daemon.queue_start(&spec, owner.into_fd(), dir.into()).unwrap();
    rig.daemon.flush().unwrap();
    assert_eq!(rig.hear_refused(), RefusedWhy::Malformed);
    assert_eq!(rig.log(1), "once\n");
    assert_eq!(lock(&rig, 1), Lock::Taken);
}

/// A start that comes with the file of another attempt, or with a descriptor that does not hold the lock, is not for us.
#[test]
fn a_start_without_the_lock_on_its_own_file_is_refused() {
    let mut rig = Rig::new();
    let (one, other) = (rig.spec("echo never"), rig.spec("echo never"));
    let (owner, dir) = rig.claim(&one);
    rig.daemon.queue_start(&other, owner, dir).unwrap();
    rig.daemon.flush().unwrap();
    assert_eq!(rig.hear_refused(), RefusedWhy::Malformed);
    let third = rig.spec("echo never");
    let (_held, dir) = rig.claim(&third);
    let unlocked = Owner::open(File::open(rig.dir(3)).unwrap()).unwrap();
    rig.daemon.queue_start(&third, unlocked.into_fd(), dir).unwrap();
    rig.daemon.flush().unwrap();
    assert_eq!(rig.hear_refused(), RefusedWhy::OwnerFile);
    assert!((1..=3).all(|attempt| !rig.dir(attempt).join("output.log").exists()));
}

#[test]
fn there_are_never_two_tasks_in_one_supervisor() {
    let mut rig = Rig::new();
    let first = rig.spec("exec sleep 60");
    rig.run(&first);
    let second = rig.spec("true");
    rig.start(&second);
    assert_eq!(rig.hear_refused(), RefusedWhy::Busy);
    assert_eq!(lock(&rig, 2), Lock::Taken, "a refused start is free again");
    assert_eq!(rig.owner(2).started, None);
    rig.stop(&first, 1000);
    // Ended but not recorded is not free either.
    rig.hear_end();
    rig.start(&second);
    assert_eq!(rig.hear_refused(), RefusedWhy::Busy);
    rig.tell(&ToSupervisor::Recorded { token: first.token });
    rig.start(&second);
    assert_eq!(exit_code(&rig.end()), Some(0));
}

#[test]
fn a_new_daemon_is_told_of_the_running_task_and_hears_its_true_end() {
    let mut rig = Rig::with(|init| init.exe = b"/bin/true".to_vec());
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 3");
    let pid = rig.run(&spec);
    rig.die();
    let mut daemon = rig.connect();
    let Ok(FromSupervisor::Hello { current: Some(current), .. }) = hear(&mut daemon) else {
        panic!("a supervisor greets with its task");
    };
    assert_eq!((current.token, current.phase), (spec.token, Phase::Running));
    assert_eq!(current.main.map(|(pid, _)| pid), Some(pid));
    daemon.tell(&ToSupervisor::Init(rig.init()));
    daemon.flush().unwrap();
    rig.daemon = daemon;
    std::fs::write(rig.path("go"), "").unwrap();
    let record = rig.end();
    assert_eq!((exit_code(&record), record.why), (Some(3), EndWhy::Exited));
}

#[test]
fn an_end_nobody_recorded_is_told_to_every_new_daemon_until_one_records_it() {
    let mut rig = Rig::with(|init| init.exe = b"/bin/true".to_vec());
    let record = {
        let spec = rig.spec("exit 5");
        rig.start(&spec);
        rig.hear_end()
    };
    for _ in 0..2 {
        rig.die();
        rig.daemon = rig.connect();
        let init = rig.init();
        rig.tell(&ToSupervisor::Init(init));
        assert_eq!(rig.hear_end(), record);
    }
    rig.tell(&ToSupervisor::Recorded { token: record.token });
    assert_eq!(rig.hear(), Ok(FromSupervisor::Idle));
}

#[test]
fn a_supervisor_serves_task_after_task_and_leaves_after_its_share() {
    let mut rig = Rig::with(|init| init.max_tasks = 3);
    for code in 0..3 {
        assert_eq!(exit_code(&rig.run_to_end(&format!("exit {code}"))), Some(code));
    }
    assert_eq!(rig.hear(), Err(Gone));
    assert_eq!(rig.wait_gone(), Some(0));
    assert!(!rig.path("run/nonce.sock").exists(), "its socket goes with it");
}

#[test]
fn an_idle_supervisor_leaves_when_its_time_is_over_its_daemon_stops_or_dies_or_a_signal_asks() {
    let mut rig = Rig::with(|init| init.idle_ms = 30);
    assert_eq!(rig.wait_gone(), Some(0));
    let mut rig = Rig::new();
    rig.tell(&ToSupervisor::DaemonStopping);
    assert_eq!(rig.wait_gone(), Some(0));
    let mut rig = Rig::new();
    rig.die();
    assert_eq!(rig.wait_gone(), Some(0));
    let mut rig = Rig::new();
    let pid = rustix::process::Pid::from_child(&rig.supervisor);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(rig.wait_gone(), Some(0));
}

/// The daemon keeps one for as long as work waits.
#[test]
fn a_supervisor_that_was_asked_to_stay_goes_when_it_is_let_go() {
    let mut rig = Rig::with(|init| init.idle_ms = u32::MAX);
    let init = rig.init();
    rig.tell(&ToSupervisor::Init(Init { idle_ms: 1, ..init }));
    assert_eq!(rig.wait_gone(), Some(0));
}

#[test]
fn a_supervisor_whose_daemon_stopped_leaves_when_its_end_is_on_file() {
    let mut rig = Rig::new();
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 7");
    rig.run(&spec);
    rig.tell(&ToSupervisor::DaemonStopping);
    rig.tell(&ToSupervisor::Report);
    rig.hear_until(|message| matches!(message, FromSupervisor::Hello { .. }).then_some(()));
    rig.die();
    std::fs::write(rig.path("go"), "").unwrap();
    assert_eq!(rig.wait_gone(), Some(0));
    assert_eq!(lock(&rig, 1), Lock::Taken);
    assert_eq!(rig.owner(1).exit.as_ref().and_then(exit_code), Some(7));
}

#[test]
fn a_supervisor_whose_home_is_gone_leaves_after_its_task() {
    let mut rig = Rig::new();
    let outside = tempfile::tempdir().unwrap();
    let mut spec = rig.spec("while ! test -e go; do sleep 0.01; done");
    spec.cwd = outside.path().to_str().unwrap().into();
    rig.run(&spec);
    std::fs::remove_dir_all(rig.home.path()).unwrap();
    rig.die();
    std::fs::write(outside.path().join("go"), "").unwrap();
    assert_eq!(rig.wait_gone(), Some(0));
}

#[test]
fn silent_connections_do_not_keep_a_daemon_out() {
    let mut rig = Rig::with(|init| init.exe = b"/bin/true".to_vec());
    let spec = rig.spec("exec sleep 60");
    rig.run(&spec);
    rig.die();
    let silent: Vec<_> = (0..40).map(|_| rig.connect()).collect();
    rig.daemon = rig.connect();
    let init = rig.init();
    rig.tell(&ToSupervisor::Init(init));
    rig.stop(&spec, 1000);
    assert_eq!(rig.end().token, spec.token);
    drop(silent);
}

#[test]
fn a_peer_that_talks_nonsense_is_cut_off_and_nobody_else() {
    let mut rig = Rig::new();
    let spec = rig.spec("while ! test -e go; do sleep 0.01; done; exit 4");
    rig.run(&spec);
    let socket = std::os::unix::net::UnixStream::connect(rig.path("run/nonce.sock")).unwrap();
    std::io::Write::write_all(&mut &socket, &[0xff; 64]).unwrap();
    let mut rest = Vec::new();
    // The greeting, then the end.
    std::io::Read::read_to_end(&mut &socket, &mut rest).unwrap();
    // A client is not the daemon: what it says about the task is not heard.
    let mut client = rig.connect();
    client.tell(&ToSupervisor::Stop {
        token: spec.token,
        why: meanwhile_supervisor::wire::StopWhy::Cancel,
        grace_ms: 0,
    });
    client.tell(&ToSupervisor::Report);
    client.flush().unwrap();
    for _ in 0..2 {
        let Ok(FromSupervisor::Hello { current: Some(current), .. }) = hear(&mut client) else {
            panic!("a greeting and a report");
        };
        assert_eq!(current.phase, Phase::Running);
    }
    std::fs::write(rig.path("go"), "").unwrap();
    assert_eq!(exit_code(&rig.end()), Some(4));
}
