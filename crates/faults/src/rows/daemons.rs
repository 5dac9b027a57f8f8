//! Rows 9 to 12: a daemon that stands still, one that is asked to go, one that dies again and again, and
//! two at once.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use meanwhile_testkit::{DEADLINE, Dice, Process, TestHome, mode, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::tally::Count;
use crate::work::{End, Work};
use crate::{Load, Modes, Promise, Row, Seen, Stage};

pub(super) const ROWS: &[Row] = &[
    Row {
        number: 9,
        name: "daemon-stopped",
        title: "SIGSTOP daemon for 30 s, then CONT",
        expected: "no false end, deadlines kept by supervisors; clients are refused with a clear error",
        modes: Modes::Once,
        slow: false,
        stage: "SIGSTOP and SIGCONT by pidfd; meanwhile one task works, one ends, one passes its \
                deadline, one client waits and two more come",
        run: stopped,
    },
    Row {
        number: 10,
        name: "daemon-terminated",
        title: "SIGTERM daemon, next one is another file (upgrade)",
        expected: "tasks run on; the new program adopts them",
        modes: Modes::Every,
        slow: false,
        stage: "the binary is replaced by rename, as package managers do, while 10 tasks run; then \
                SIGTERM",
        run: terminated,
    },
    Row {
        number: 11,
        name: "crash-loop",
        title: "daemon crash loop, 20 deaths in 10 s",
        expected: "nothing lost, nothing twice; supervisors that bring it back do so ever more slowly",
        modes: Modes::Every,
        slow: false,
        stage: "kill -9 within 500 ms of each start, clients starting the next; then 12 s of deaths \
                without any client, counting how often supervisors start one",
        run: crash_loop,
    },
    Row {
        number: 12,
        name: "two-daemons",
        title: "two daemons started at once, 100 times, over a stale socket",
        expected: "exactly one serves, the other exits 0 and says that one runs; the socket is replaced",
        modes: Modes::Once,
        slow: false,
        stage: "two `daemon run` at the same moment; then kill -9 of the one that serves, whose socket \
                stays for the next round",
        run: two_daemons,
    },
];

fn stopped(stage: &mut Stage) -> Seen {
    const STILL: Duration = Duration::from_secs(30);
    let home = TestHome::builder().config("lanes.commands.limit = 10").build();
    let mut load = Load::new(&home, &[("commands", 10)]);
    let works = Work { parts: 70, nap: Duration::from_millis(500), bytes: 7000, ..Work::short(0) };
    let ends =
        Work { parts: 10, nap: Duration::from_millis(300), end: End::Exit(7), ..Work::short(1) };
    let busy = load.launch(&home, works, &["--idle-timeout", "5s"], Promise::TrueEnd);
    load.launch(&home, ends, &[], Promise::TrueEnd);
    let late = home.launch_with(["--timeout", "10s"], ["sleep", &home.marker()]);
    let waiter = home.invoke(["wait", &busy]).start();
    until("the client to wait", DEADLINE, || {
        (home.json(["daemon", "status"])["waiters"] == 1).then_some(())
    });
    // sleep: a client looks once, a second after it began to wait, whether anybody is there; one that has
    // looked is to notice nothing at all
    std::thread::sleep(Duration::from_millis(2500));
    let daemon = home.daemon().expect("it runs");
    daemon.signal(Signal::STOP);
    let since = Instant::now();
    let began = Instant::now();
    let refused = home.invoke(["run", "--", "true"]).deadline(STILL).run();
    let took = began.elapsed();
    let said = refused.complaint();
    stage.demand(refused.code() == 5, format!("a submission exited {}: {said}", refused.code()));
    stage.demand(
        said.contains(&daemon.pid().to_string()),
        format!("the daemon is not named: {said}"),
    );
    stage.demand(took < Duration::from_secs(12), format!("the refusal took {took:?}"));
    let listed = home.cli(["list"]);
    // sleep: the length of the standstill is the fault
    std::thread::sleep(STILL.saturating_sub(since.elapsed()));
    daemon.signal(Signal::CONT);
    let task = home.wait(&late);
    let cause = &task["cause"];
    let ran = task["duration_ms"].as_u64().unwrap_or_default();
    stage.demand(*cause == json!({"kind": "timeout", "after": 10_000}), format!("told as {cause}"));
    stage.demand(
        (10_000..11_000).contains(&ran),
        format!("its deadline of 10 s came after {ran} ms"),
    );
    waiter.wait(DEADLINE).expect(0);
    load.wait(&home);
    stage.check(&home, &load);
    stage.demand(home.daemon().is_some_and(|now| now.pid() == daemon.pid()), "another daemon");
    let after: Value = home.json(["list"]);
    let ghosts = after.as_array().map_or(0, Vec::len);
    // A refused submission may have been left in the socket: then it was accepted when the daemon woke.
    stage.demand(ghosts == 3 || ghosts == 4, format!("{ghosts} tasks are listed"));
    home.finish();
    Seen::pass(format!(
        "a submission exited 5 after {:.1} s, naming the daemon; `list` exited {}; the busy task and its \
         waiting client were not disturbed, a deadline of 10 s was kept after {ran} ms; the submission \
         that was given up {}",
        took.as_secs_f64(),
        listed.code(),
        if ghosts == 3 { "left nothing" } else { "was accepted when the daemon went on" }
    ))
}

fn terminated(stage: &mut Stage) -> Seen {
    const TASKS: u64 = 10;
    let home = TestHome::builder().config(&format!("lanes.commands.limit = {TASKS}")).build();
    let installed = home.root().join("meanwhile");
    let install = || {
        let fresh = installed.with_extension("new");
        fs::copy(home.binary(), &fresh).expect("the binary can be copied");
        fs::rename(&fresh, &installed).expect("the copy can be moved");
    };
    install();
    home.cli(["daemon", "stop"]);
    home.invoke(["daemon", "start"]).program(&installed).run().ok();
    let mut load = Load::new(&home, &[("commands", 10)]);
    let works: Vec<Work> = (0..TASKS)
        .map(|number| Work {
            parts: 15,
            bytes: 30_000,
            nap: Duration::from_millis(100),
            end: if number % 2 == 0 { End::Exit(0) } else { End::Exit(9) },
            ..Work::short(number)
        })
        .collect();
    load.submit(&home, &works, &json!({}), Promise::TrueEnd);
    load.wait_begun(10);
    let old = home.daemon().expect("it runs");
    install();
    old.signal(Signal::TERM);
    old.wait_end(DEADLINE);
    let alive = load.alive().len();
    home.invoke(["daemon", "start"]).program(&installed).run().ok();
    let new = home.daemon().expect("it was started");
    let inode = |path: &PathBuf| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).map(|about| about.ino()).ok()
    };
    let running = PathBuf::from(format!("/proc/{}/exe", new.pid()));
    let same = inode(&running) == inode(&installed);
    stage.demand(same, "the daemon that came is not the new file");
    stage.demand(alive == 10, format!("{alive} of 10 tasks ran on"));
    load.wait(&home);
    stage.check(&home, &load);
    home.finish();
    Seen::pass(format!("{alive} of 10 ran on; adopted by the new file; 10 true ends"))
}

fn crash_loop(stage: &mut Stage) -> Seen {
    const TASKS: u64 = 60;
    const DEATHS: usize = 20;
    let mut dice = Dice::new();
    let home = TestHome::builder().config("lanes.commands.limit = 4").build();
    let mut load = Load::new(&home, &[("commands", 4)]);
    let works: Vec<Work> = (0..TASKS)
        .map(|number| Work {
            bytes: 5000,
            parts: 3,
            nap: Duration::from_millis(dice.number(50..200)),
            ..Work::short(number)
        })
        .collect();
    load.submit(&home, &works, &json!({}), Promise::TrueEnd);
    let began = Instant::now();
    let mut clients = Vec::new();
    let mut deaths = 0;
    while deaths < DEATHS {
        clients.push(home.invoke(["daemon", "start"]).start());
        // sleep: no state is waited for; the moment of the kill is what is random here
        std::thread::sleep(Duration::from_millis(dice.number(50..500)));
        if let Some(daemon) = home.daemon() {
            daemon.kill();
            deaths += 1;
        }
    }
    let took = began.elapsed();
    stage.count(Count::DaemonKills, deaths);
    for client in clients {
        client.wait(DEADLINE);
    }
    home.cli(["daemon", "start"]).ok();
    load.wait(&home);
    stage.check(&home, &load);
    home.finish();
    let alone = revivals(stage);
    Seen::pass(format!(
        "{deaths} deaths in {:.1} s: {TASKS} tasks ran once, with true ends; without clients supervisors \
         started {} daemons in 12 s, after {} s",
        took.as_secs_f64(),
        alone.len(),
        alone
            .iter()
            .map(|after| format!("{:.1}", after.as_secs_f64()))
            .collect::<Vec<_>>()
            .join(", ")
    ))
}

/// Kills every daemon that a supervisor brings back, for a while; answers when each came.
///
/// In a home of its own, with one supervisor: each has its own pace.
fn revivals(stage: &mut Stage) -> Vec<Duration> {
    const WATCHED: Duration = Duration::from_secs(12);
    let home = TestHome::new();
    let gate = home.gate("gate");
    let id = home.launch_shell(&gate.shell());
    until("the task to run", DEADLINE, || (home.status(&id)["state"] == "running").then_some(()));
    let began = Instant::now();
    let mut last = home.kill_daemon();
    let mut came = Vec::new();
    while began.elapsed() < WATCHED {
        if let Some(daemon) = home.daemon().filter(|daemon| daemon.pid() != last) {
            came.push(began.elapsed());
            daemon.kill();
            last = daemon.pid();
        }
        // sleep: a daemon that somebody else starts announces itself to nobody
        std::thread::sleep(Duration::from_millis(5));
    }
    stage.count(Count::DaemonKills, came.len() + 1);
    // After 1, 3 and 7 s and not before 15; the start itself takes its time. A daemon that came as far as its supervisor
    // and died then does not make the pauses short again.
    stage.demand((2..=3).contains(&came.len()), format!("supervisors started one after {came:?}"));
    home.cli(["daemon", "start"]).ok();
    home.cli(["cancel", &id]).ok();
    home.finish();
    came
}

fn two_daemons(stage: &mut Stage) -> Seen {
    const ROUNDS: u32 = 100;
    if mode::isolation() == mode::Isolation::Controllers {
        return Seen::not_here(
            "there a home's daemon is started in a cgroup of its own, one at a time",
        );
    }
    let home = TestHome::new();
    let socket = home.state().join("daemon.sock");
    let (mut served, mut stale) = (0, 0);
    for round in 0..ROUNDS {
        let mut two =
            [home.invoke(["daemon", "run"]).start(), home.invoke(["daemon", "run"]).start()];
        let loser = until("one of two to step back", DEADLINE, || {
            two.iter_mut().position(|one| !one.is_running())
        });
        let [one, other] = two;
        let (lost, won) = if loser == 0 { (one, other) } else { (other, one) };
        let said = lost.wait(DEADLINE);
        let text = said.text() + &said.complaint();
        stage.demand(
            said.code() == 0 && text.contains("already"),
            format!("round {round}: the other exited {} and said {text}", said.code()),
        );
        until("the socket to be served", DEADLINE, || UnixStream::connect(&socket).ok());
        let holder = home.daemon().map(|daemon| daemon.pid());
        stage
            .demand(holder == Some(won.pid()), format!("round {round}: {holder:?} holds the lock"));
        served += u32::from(home.cli(["daemon", "status"]).code() == 0);
        Process::of(won.pid()).expect("it serves").kill();
        won.wait(DEADLINE);
        stale += u32::from(socket.exists());
    }
    stage.count(Count::DaemonKills, ROUNDS as usize);
    stage.demand(served == ROUNDS, format!("{served} of {ROUNDS} answered"));
    home.cli(["daemon", "start"]).ok();
    home.finish();
    Seen::pass(format!(
        "{ROUNDS} rounds: one served each time, the other exited 0; {stale} stale sockets replaced"
    ))
}
