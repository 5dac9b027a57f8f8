//! Evidence from real processes: this test's own, its children, and where it can be had a cgroup.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use meanwhile_supervisor::owner::OwnerHeader;
use meanwhile_supervisor::wire::Token;

use super::*;
use crate::cgroup::TestSubtree;
use crate::dir::Dir;
use crate::home::test_home as home;
use crate::rerun;

fn attempt() -> Attempt {
    Attempt { task: TaskId::from_random(99), number: 2 }
}

fn own_peer() -> (UnixStream, Peer) {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let peer = Peer::of(&ours).unwrap();
    (ours, peer)
}

struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    fn peer(&self) -> Peer {
        let pid = Some(self.0.id());
        let uid = rustix::process::geteuid().as_raw();
        Peer { pid, uid, gid: 0, pidfd: None }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const NOBODY: &dyn Fn(Identity) -> Option<Attempt> = &|_| None;

#[test]
fn the_kernel_says_who_connected() {
    let (_socket, peer) = own_peer();
    assert_eq!(peer.pid, Some(std::process::id()));
    assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    let process = proc::own_identity().unwrap();
    assert_eq!(identify(&peer, "none", NOBODY), Caller::Outside { process });
    let not_a_socket = std::fs::File::open("/dev/null").unwrap();
    assert!(Peer::of(&not_a_socket).is_err());
}

#[test]
fn a_caller_below_a_live_supervisor_is_in_its_task() {
    let own = proc::own_identity().unwrap();
    let task_of = |process: Identity| (process == own).then(attempt);
    let child = Sleeper::start();
    let process = proc::identity(child.0.id()).unwrap();
    let expected = Caller::InTask { attempt: attempt(), evidence: Evidence::Ancestry, process };
    assert_eq!(identify(&child.peer(), "none", &task_of), expected);
    // The supervisor itself is not inside of what it runs.
    let (_socket, peer) = own_peer();
    assert_eq!(identify(&peer, "none", &task_of), Caller::Outside { process: own });
}

#[test]
fn another_users_process_and_one_that_cannot_be_seen_are_neither_inside_nor_outside() {
    let (_socket, mut peer) = own_peer();
    peer.uid += 1;
    assert_eq!(identify(&peer, "none", NOBODY), Caller::Foreign { uid: peer.uid });
    peer.uid -= 1;
    peer.pid = None;
    assert_eq!(identify(&peer, "none", NOBODY), Caller::Unseen);
}

/// We are in a pid namespace below the caller's: the caller sees us, we do not see it.
#[test]
fn a_caller_of_another_pid_namespace_cannot_be_seen() {
    if !rerun::is_again() {
        let base = tempfile::tempdir().unwrap();
        let dir = Dir::open(base.path(), &[]).unwrap();
        let Some(namespace) = rerun::unshare("--pid") else { return };
        let wrapper = [&namespace[..], &["--mount-proc"]].concat();
        let name = "caller::tests::a_caller_of_another_pid_namespace_cannot_be_seen";
        let listener = dir.bind_socket("x").unwrap();
        let rerun = rerun::start(name, &wrapper, &[("PLACE", base.path())]);
        let soon = Timespec { tv_sec: 30, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&soon)).unwrap();
        assert_eq!(ready, 1, "the other side never connected");
        let (mut stream, _) = listener.accept().unwrap();
        let peer = Peer::of(&stream).unwrap();
        assert!(matches!(identify(&peer, "none", NOBODY), Caller::Outside { .. }));
        io::Write::write_all(&mut stream, b"!").unwrap();
        return rerun.check();
    }
    let place = std::env::var_os("PLACE").unwrap();
    let dir = Dir::open(place.as_ref(), &[]).unwrap();
    let stream = dir.connect_socket("x", std::time::Duration::from_secs(5)).unwrap();
    // What a listening peer is known by is who called listen(2).
    let peer = Peer::of(&stream).unwrap();
    assert_eq!(peer.pid, None);
    assert_eq!(identify(&peer, "none", NOBODY), Caller::Unseen);
    io::Read::read_exact(&mut &stream, &mut [0]).unwrap();
}

#[test]
fn a_caller_that_is_gone_is_not_mistaken_for_what_has_its_number() {
    let mut child = Sleeper::start();
    let peer = Peer {
        pidfd: rustix::process::pidfd_open(
            rustix::process::Pid::from_child(&child.0),
            rustix::process::PidfdFlags::empty(),
        )
        .ok(),
        // A number that is certainly taken, by another.
        pid: Some(std::process::id()),
        ..child.peer()
    };
    assert!(matches!(identify(&peer, "none", NOBODY), Caller::Outside { .. }), "while it lives");
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert_eq!(identify(&peer, "none", NOBODY), Caller::Unseen);
    assert_eq!(identify(&child.peer(), "none", NOBODY), Caller::Unseen);
}

#[test]
fn a_process_outside_of_tasks_knows_it() {
    let (_base, home) = home();
    assert_eq!(inside(&home, "none"), Inside::NoTask);
}

#[test]
fn a_process_finds_the_supervisor_among_its_ancestors() {
    let (_base, home) = home();
    // Our parent stands in for a supervisor: what counts is that a socket has its name.
    let parent = proc::ancestry(std::process::id())[1];
    let _listener = home.run().unwrap().bind_socket(&socket_name(parent)).unwrap();
    let expected = Inside::Task { socket_name: socket_name(parent), supervisor: parent };
    assert_eq!(inside(&home, "none"), expected);
}

#[test]
fn the_owner_file_of_an_attempt_leads_to_its_live_supervisor_only() {
    let (_base, home) = home();
    assert_eq!(supervisor_of(&home, attempt()), None);
    let own = proc::own_identity().unwrap();
    let header = |start_time| OwnerHeader {
        token: Token([1; 16]),
        boot_id: [0; 16],
        pid_namespace: 0,
        pid: own.pid,
        start_time,
        cgroup: None,
        protocol: 1,
        socket_name: b"x.sock".to_vec(),
    };
    let directory = home.attempt(attempt().task, attempt().number).unwrap();
    drop(Owner::create(&directory, &header(own.start_time)).unwrap());
    assert_eq!(supervisor_of(&home, attempt()), Some(("x.sock".into(), own)));
    drop(Owner::create(&directory, &header(own.start_time + 1)).unwrap());
    assert_eq!(supervisor_of(&home, attempt()), None);
}

/// Where no cgroup is to be had there is nothing to show.
#[test]
fn a_caller_in_a_tasks_cgroup_is_in_that_task_whoever_its_ancestors_are() {
    let Some(subtree) = TestSubtree::enter("caller") else { return };
    let Attempt { task, number } = attempt();
    let directory = subtree.task(task, number);
    std::fs::create_dir(&directory).unwrap();
    let child = Sleeper::start();
    std::fs::write(directory.join("cgroup.procs"), child.0.id().to_string()).unwrap();
    let process = proc::identity(child.0.id()).unwrap();
    let expected = Caller::InTask { attempt: attempt(), evidence: Evidence::Cgroup, process };
    let impostor = |_: Identity| Some(Attempt { task, number: 7 });
    assert_eq!(identify(&child.peer(), subtree.hash(), &impostor), expected);

    drop(child);
    let patience = std::time::Duration::from_secs(30);
    assert!(cgroup::wait_until_empty(&directory, patience).unwrap());
}
