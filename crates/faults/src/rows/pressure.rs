//! Rows 44 and 45: a process without descriptors, and a door at which everybody misbehaves.
//!
//! Owns the connections it opens. What another user may do is tried as another user (root only).

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, TestHome, free_uid, mode, until};
use serde_json::json;

use crate::staging::succeeds;
use crate::work::Work;
use crate::{Load, Modes, Promise, Row, Samples, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 44,
        name: "no-descriptors",
        title: "a daemon with 64 descriptors and 200 connections; one that may start no more processes",
        expected: "the accept loop survives, later calls are answered, starts wait for room and are not failed",
        modes: Modes::Every,
        slow: false,
        stage: "prlimit --nofile=64 (and, unprivileged, --nproc) around `daemon run`; 200 idle connections held open",
        run: no_descriptors,
    },
    Row {
        number: 45,
        name: "bad-clients",
        title: "garbage, huge and slow frames, 1,000 idle connections, another user, secrets",
        expected: "each is cut off or answered by itself, others do not notice, another user gets nothing, no secret \
                   is logged or stored",
        modes: Modes::Once,
        slow: false,
        stage: "raw connections to the socket; a second uid by setuid; the home is searched for the secret's bytes",
        run: bad_clients,
    },
];

fn connect(home: &TestHome) -> Option<UnixStream> {
    let stream = UnixStream::connect(home.state().join("daemon.sock")).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    Some(stream)
}

fn no_descriptors(stage: &mut Stage) -> Seen {
    if !succeeds("prlimit", &["--version"]) {
        return Seen::not_here("prlimit(1) is not installed");
    }
    let home = TestHome::builder().config("lanes.commands.limit = 20").build();
    home.cli(["daemon", "stop"]);
    let limited = home.invoke(["daemon", "run"]).wrapped(["prlimit", "--nofile=64:64"]).start();
    until("the daemon", DEADLINE, || (home.cli(["daemon", "status"]).code() == 0).then_some(()));
    let daemon = home.daemon().expect("it listens");
    let held: Vec<UnixStream> = (0..200).filter_map(|_| connect(&home)).collect();
    let count = held.len();
    stage.demand(daemon.is_alive(), "the daemon died of connections");
    // While all are taken, a call may have to wait or be told; it may not hang for ever.
    let began = Instant::now();
    let ran = home.cli(["list"]);
    let in_between = (ran.code(), began.elapsed());
    stage.demand(
        [0, 5].contains(&in_between.0),
        format!("list: {} {}", ran.code(), ran.complaint()),
    );
    drop(held);
    let mut load = Load::new(&home, &[("commands", 20)]);
    let works: Vec<Work> =
        (0..20).map(|n| Work { nap: Duration::from_millis(300), ..Work::short(n) }).collect();
    load.submit(&home, &works, &json!({}), Promise::TrueEnd);
    load.wait(&home);
    stage.check(&home, &load);
    stage.demand(daemon.is_alive(), "the daemon died of starts");
    let log = std::fs::read_to_string(home.state().join("logs/daemon.log")).unwrap_or_default();
    let told = log.contains("no connection can be accepted");
    home.cli(["daemon", "stop", "--cancel-all"]).ok();
    let _ended = limited.wait(DEADLINE);
    let processes = no_processes(stage);
    Seen::pass(format!(
        "{count} connections at 64 descriptors: `list` answered {} after {} ms, told in the log: {told}; 20 tasks over \
         20 seats afterwards, true ends; {processes}",
        in_between.0,
        in_between.1.as_millis()
    ))
}

/// An unprivileged daemon that may start next to no processes: starts wait.
fn no_processes(stage: &mut Stage) -> String {
    if mode::is_root() {
        return "root has no limit of processes".to_owned();
    }
    let home = TestHome::builder().config("lanes.commands.limit = 20").build();
    home.cli(["daemon", "stop"]);
    let threads =
        |pid: u32| std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let limited = home.invoke(["daemon", "run"]).start();
    until("the daemon", DEADLINE, || (home.cli(["daemon", "status"]).code() == 0).then_some(()));
    let daemon = home.daemon().expect("it listens");
    // All threads of this user count; the daemon gets room for a handful more.
    let ours = user_threads();
    let most = format!("--nproc={0}:{0}", ours + 6);
    let pid = format!("--pid={}", daemon.pid());
    if !succeeds("prlimit", &[&pid, &most]) {
        home.finish();
        return "the limit of processes could not be set".to_owned();
    }
    let mut load = Load::new(&home, &[("commands", 20)]);
    let works: Vec<Work> =
        (0..20).map(|n| Work { nap: Duration::from_millis(200), ..Work::short(n) }).collect();
    load.submit(&home, &works, &json!({}), Promise::TrueEnd);
    load.wait(&home);
    stage.check(&home, &load);
    let count = threads(daemon.pid());
    home.cli(["daemon", "stop", "--cancel-all"]).ok();
    let _ended = limited.wait(DEADLINE);
    format!(
        "20 tasks with room for 6 more processes, all run in turn ({count} threads of the daemon)"
    )
}

fn user_threads() -> usize {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::getuid().as_raw();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.metadata().is_ok_and(|about| about.uid() == own))
        .map(|entry| std::fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count))
        .sum()
}

/// Whether a small call is answered, and how fast.
fn answered(home: &TestHome, samples: &mut Samples) {
    let began = Instant::now();
    home.cli(["list"]).ok();
    samples.add(began.elapsed());
}

fn bad_clients(stage: &mut Stage) -> Seen {
    const SECRET: &str = "hunter2-0f9d3c71";
    let home = TestHome::new();
    let line = home.invoke(["run", "--", "true"]).env("API_TOKEN", SECRET).run().ok();
    home.wait(&line);
    let daemon = home.daemon().expect("it runs");
    let mut beside = Samples::default();
    let bad: [&[u8]; 6] = [
        b"\0\0\0\0\xff\xff\xff\xff",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\xff\xff\xff\xff",
    ];
    let mut statuses = Vec::new();
    for bytes in bad {
        let mut stream = connect(&home).expect("it listens");
        let _cut_off_early = stream.write_all(bytes);
        let _no_more = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _cut_off = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        statuses.push(text.split(' ').nth(1).unwrap_or("closed").to_owned());
        answered(&home, &mut beside);
    }
    let good = statuses.iter().all(|status| status == "closed" || status.starts_with('4'));
    stage.demand(good, format!("answers to garbage: {statuses:?}"));
    let huge = huge_header(&home);
    let slow = slow_header(&home, &mut beside);
    stage.demand(slow < Duration::from_secs(15), format!("half a header was waited for {slow:?}"));
    let idle: Vec<UnixStream> = (0..1000).filter_map(|_| connect(&home)).collect();
    for _ in 0..20 {
        answered(&home, &mut beside);
    }
    let held = idle.len();
    drop(idle);
    let other = other_user(stage, &home);
    let found = secret_in(home.state(), SECRET.as_bytes());
    stage.demand(found.is_empty(), format!("a secret of the environment is in {found:?}"));
    stage.demand(daemon.is_alive(), "the daemon died of it");
    stage.figure("list beside bad clients", beside.clone());
    home.finish();
    Seen::pass(format!(
        "garbage: {}; a header of 1 MB: {huge}; half a header cut off after {} ms; {held} idle connections; list \
         beside all that {}; another user: {other}; the secret is nowhere but in the environment's file",
        statuses.join(" "),
        slow.as_millis(),
        beside.words()
    ))
}

fn huge_header(home: &TestHome) -> String {
    let mut stream = connect(home).expect("it listens");
    let _cut_off_early = stream.write_all(b"GET /v1/tasks HTTP/1.1\r\nHost: x\r\nX: ");
    let _cut_off_early = stream.write_all(&vec![b'x'; 1 << 20]);
    let mut answer = Vec::new();
    let _cut_off = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ').nth(1).unwrap_or("closed").to_owned()
}

/// How long a connection with half a header lives.
fn slow_header(home: &TestHome, beside: &mut Samples) -> Duration {
    let mut stream = connect(home).expect("it listens");
    stream.write_all(b"GET /v1/tasks HTTP/1.1\r\nHos").expect("it takes some bytes");
    let began = Instant::now();
    answered(home, beside);
    let mut answer = Vec::new();
    let _cut_off = stream.read_to_end(&mut answer);
    began.elapsed()
}

fn other_user(stage: &mut Stage, home: &TestHome) -> String {
    if !mode::is_root() {
        return "not tried (needs root)".to_owned();
    }
    use std::os::unix::fs::PermissionsExt;
    let ran = home.invoke(["list"]).uid(free_uid()).cwd("/").run();
    stage.demand(
        (4..=6).contains(&ran.code()),
        format!("another user: {} {}", ran.code(), ran.text()),
    );
    // Even with every door open: the daemon looks at who is there.
    for path in [home.root(), &home.root().join("state"), home.state()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("root may");
    }
    let socket = home.state().join("daemon.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).expect("root may");
    let again = home.invoke(["list"]).uid(free_uid()).cwd("/").run();
    stage.demand((4..=6).contains(&again.code()), format!("through open doors: {}", again.code()));
    for path in [home.root(), &home.root().join("state"), home.state()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("root may");
    }
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).expect("root may");
    format!("exit {} and, with open modes, {}", ran.code(), again.code())
}

/// Files that hold these bytes, but for those of environments, which are there for it.
fn secret_in(directory: &std::path::Path, secret: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("env") {
                found.extend(secret_in(&path, secret));
            }
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        if bytes.windows(secret.len()).any(|part| part == secret) {
            found.push(path.display().to_string());
        }
    }
    found
}
