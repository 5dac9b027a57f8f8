//! Many clients and none: everybody who waits is answered once, nobody holds a pipe open, nested waits
//! do not block each other, and a daemon that nobody asks does nothing at all.
//!
//! Owns the crowds of clients. Measures the idle daemon by the kernel's own counters.

use std::time::{Duration, Instant};

use meanwhile_testkit::{Bell, DEADLINE, Process, TestHome, until};
use rustix::process::Signal;
use serde_json::json;

#[track_caller]
fn heard(bell: &mut Bell) -> Process {
    let pid = bell.wait(DEADLINE).parse().expect("the task rang with its pid");
    Process::of(pid).expect("the task that rang lives")
}

/// `meanwhile run … | cat` ends while the task runs: neither the task, nor its supervisor, nor the daemon
/// that this very command started, holds the pipe.
#[test]
fn the_reader_of_a_pipe_sees_the_end_of_run_at_once() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let script =
        format!("'{}' run --shell \"{}\" 2>&1 | cat", home.binary().display(), gate.shell());
    let piped = home.invoke(["-c", &script]).program("/bin/sh").run();
    let id = piped.ok();
    assert_eq!(home.status(&id)["ended_at"], json!(null), "it runs on");
    gate.open();
    assert_eq!(home.wait(&id)["state"], "completed");
    home.finish();
}

#[test]
fn a_hundred_waiting_clients_are_answered_once_each() {
    const CLIENTS: u64 = 100;
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&format!("{}; exit 4", gate.shell()));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| home.invoke(["--json", "wait", &id]).start()).collect();
    until("all clients to wait", DEADLINE, || {
        (home.json(["daemon", "status"])["waiters"] == CLIENTS).then_some(())
    });
    gate.open();
    for client in clients {
        let ran = client.wait(DEADLINE);
        assert_eq!(ran.code(), 1, "{}", ran.complaint());
        let answers: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&ran.stdout)
            .into_iter()
            .map(|answer| answer.expect("an answer is JSON"))
            .collect();
        assert_eq!(answers.len(), 1);
        assert_eq!((&answers[0]["id"], &answers[0]["exit_code"]), (&json!(id), &json!(4)));
    }
    assert_eq!(home.json(["daemon", "status"])["waiters"], 0);
    home.finish();
}

/// A wait may come in the very moment of the end, or of another's cancel: it tells what is true then.
#[test]
fn a_wait_that_meets_the_end_tells_the_truth() {
    let home = TestHome::new();
    for _ in 0..60 {
        let id = home.launch(["true"]);
        let early = home.invoke(["wait", &id]).start();
        let late = home.invoke(["wait", &id]).start();
        early.wait(DEADLINE).expect(0);
        late.wait(DEADLINE).expect(0);
    }
    home.finish();
}

/// A client that is killed while it waits takes nothing along.
#[test]
fn a_task_outlives_the_client_that_launched_it_and_waits() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let line = format!("{}; {}; exit 4", bell.shell("$MEANWHILE_TASK"), gate.shell());
    let client = home.invoke(["run", "--wait", "--shell", &line]).start();
    let id = bell.wait(DEADLINE);
    client.signal(Signal::KILL);
    assert_eq!(client.wait(DEADLINE).code(), 137);
    gate.open();
    assert_eq!(home.wait(&id)["exit_code"], 4);
    home.finish();
}

/// Waiters do not notice that the daemon was killed and came back.
#[test]
fn waiting_clients_outlive_the_daemon() {
    let home = TestHome::new();
    let mut gate = home.gate("gate");
    let id = home.launch_shell(&format!("{}; exit 4", gate.shell()));
    let clients: Vec<_> = (0..10).map(|_| home.invoke(["wait", &id]).start()).collect();
    until("all clients to wait", DEADLINE, || {
        (home.json(["daemon", "status"])["waiters"] == 10).then_some(())
    });
    home.kill_daemon();
    until("all clients to wait again", DEADLINE, || {
        let status = home.cli(["--json", "daemon", "status"]);
        (status.code() == 0 && status.json()["waiters"] == 10).then_some(())
    });
    gate.open();
    for client in clients {
        assert_eq!(client.wait(DEADLINE).code(), 1);
    }
    home.finish();
}

/// Three levels in a lane of one: each waits for the next and lends its seat, so that all get done. The
/// journal shows that never two of them did something at once.
#[test]
fn nested_waits_on_a_full_lane_get_done() {
    let home = TestHome::builder().config("lanes.one.limit = 1").build();
    let journal = home.path("journal");
    let script = home.path("level.sh");
    let level = format!(
        r#"n=$1
echo "begin $n" >> '{journal}'
if [ $n -lt 3 ]; then
  echo "end $n" >> '{journal}'
  '{binary}' run --lane one --wait -- sh '{script}' $((n+1)) || exit $?
  echo "begin $n" >> '{journal}'
fi
echo "end $n" >> '{journal}'
exit 0
"#,
        journal = journal.display(),
        binary = home.binary().display(),
        script = script.display(),
    );
    std::fs::write(&script, level).expect("a file can be written");
    let script = script.to_str().expect("our own path is text");
    // A rival in the same lane, which must not take the seat that is lent.
    let outer = home.launch_with(["--lane", "one"], ["sh", script, "1"]);
    let rival = home.launch_shell_with(
        ["--lane", "one"],
        &format!("echo 'begin 9' >> '{0}'; echo 'end 9' >> '{0}'", journal.display()),
    );
    let task = home.wait(&outer);
    assert_eq!(task["state"], "completed", "{task:#}\n{}", home.output(&outer));
    assert_eq!(home.wait(&rival)["state"], "completed");
    let text = std::fs::read_to_string(&journal).expect("the journal was written");
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.chunks(2) {
        let [begin, end] = pair else { panic!("a beginning without end: {text}") };
        assert_eq!(begin.replace("begin", "end"), *end, "two at once:\n{text}");
    }
    let order: Vec<&str> = lines.iter().step_by(2).map(|line| &line[6..]).collect();
    assert_eq!(order, ["1", "2", "3", "2", "1", "9"], "{text}");
    home.finish();
}

/// A fourth level is refused, by the rule's name.
#[test]
fn a_fourth_level_of_tasks_is_refused() {
    let home = TestHome::new();
    let script = home.path("level.sh");
    let level = format!(
        "[ $1 -gt 4 ] && exit 99\n'{}' run --wait -- sh '{}' $(($1 + 1)) 2>&1\nexit $?\n",
        home.binary().display(),
        script.display(),
    );
    std::fs::write(&script, level).expect("a file can be written");
    let script = script.to_str().expect("our own path is text");
    let outer = home.launch(["sh", script, "1"]);
    home.wait(&outer);
    let all = home.json(["list", "--limit", "100"]);
    let all = all.as_array().expect("a list is an array");
    assert_eq!(all.len(), 3, "three levels and no more: {all:#?}");
    let deepest = all
        .iter()
        .find(|task| task["children"] == json!([]))
        .expect("the deepest one launched nothing");
    let said = home.output(deepest["id"].as_str().expect("an id is a string"));
    assert!(said.contains("limits.depth"), "{said}");
    home.finish();
}

/// Demands that a process is not woken up once in ten seconds, by the kernel's own count. The connection of the last
/// client is still to be closed when it has its answer (four or five wake-ups, measured in ten daemons on a busy machine
/// within 100 ms, and none in the 34 s after): two quiet seconds show that this is over.
#[track_caller]
fn check_idle(process: &Process) {
    const QUIET: Duration = Duration::from_secs(2);
    const WINDOW: Duration = Duration::from_secs(10);
    let mut before = process.wake_ups();
    let give_up = Instant::now() + WINDOW;
    loop {
        // sleep: two seconds without a wake-up are what is waited for
        std::thread::sleep(QUIET);
        let now = process.wake_ups();
        if now == before {
            break;
        }
        assert!(Instant::now() < give_up, "it does not come to rest");
        before = now;
    }
    // sleep: the length of the window is what is measured here
    std::thread::sleep(WINDOW);
    assert_eq!(process.wake_ups() - before, 0, "wake-ups in ten seconds");
}

#[test]
fn an_idle_daemon_does_not_wake_up() {
    let home = TestHome::new();
    let done = home.launch(["true"]);
    home.wait(&done);
    // Without tasks its supervisors would go after 10 s and be noticed; they are not what is measured.
    home.cli(["daemon", "stop"]).ok();
    home.cli(["daemon", "start"]).ok();
    let daemon = home.daemon().expect("it was started");
    check_idle(&daemon);
    home.finish();
}

/// With a task that does nothing, a task that is queued and a client that waits, there is still nothing to
/// do for the daemon.
#[test]
fn a_daemon_whose_tasks_are_quiet_does_not_wake_up() {
    let home = TestHome::builder().config("lanes.commands.limit = 1").build();
    let mut bell = home.bell("bell");
    let running = home.launch_shell(&format!("{}; exec sleep 1000", bell.shell("$$")));
    let queued = home.launch(["true"]);
    heard(&mut bell);
    let waiter = home.invoke(["wait", &queued]).start();
    until("the client to wait", DEADLINE, || {
        (home.json(["daemon", "status"])["waiters"] == 1).then_some(())
    });
    let daemon = home.daemon().expect("it was started by the first task");
    check_idle(&daemon);
    home.cli(["cancel", &running]).ok();
    waiter.wait(DEADLINE).expect(0);
    home.finish();
}
