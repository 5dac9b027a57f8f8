//! Supervisors killed, supervisors stopped, a machine restarted, a pid that belongs to somebody else by
//! now: never a false success, never a signal to a stranger, and the seat is free afterwards.
//!
//! Owns the strangers it starts. A process is signalled by the test only if the test started it or it
//! belongs to the test's home.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use meanwhile_testkit::{Bell, DEADLINE, Process, TestHome, marked, mode, until, wait_for_file};
use rustix::process::{Resource, Signal, getrlimit};
use serde_json::{Value, json};

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
fn a_task_whose_supervisor_was_killed_is_interrupted_and_leaves_nothing() {
    let home = TestHome::builder().config("lanes.commands.limit = 1").build();
    let mut bell = home.bell("bell");
    let nap = home.marker();
    // In its own session, and where a cgroup can find it, without its environment too.
    let bare = if mode::has_cgroup() { "env -i" } else { "env" };
    let line = format!(
        "setsid {bare} sh -c 'sleep {nap} & sleep {nap}' & {}; exec sleep {nap}",
        bell.shell("$$")
    );
    let lost = home.launch_shell(&line);
    let next = home.launch(["true"]);
    let main = heard(&mut bell);
    let daemon = home.daemon().expect("it was started by the first task").pid();
    supervisor(&home, &lost).kill();

    let task = home.wait(&lost);
    assert_eq!((&task["state"], &task["cause"]), (&json!("interrupted"), &json!({"kind": "lost"})));
    assert_eq!((&task["exit_code"], &task["outcome"]), (&Value::Null, &json!("failure")));
    assert!(!main.is_alive());
    assert_eq!(marked(&nap), Vec::<u32>::new(), "processes of an ended task are alive");
    assert_eq!(home.wait(&next)["state"], "completed", "the seat was freed");
    assert_eq!(home.daemon().map(|now| now.pid()), Some(daemon), "the daemon did not notice");
    home.finish();
}

/// The main process has ended, its status is on file, and a leftover that hears no SIGTERM lives when the supervisor is
/// killed. The end is told as it was, and not before the leftover is gone.
#[test]
fn an_end_on_file_is_told_once_its_leftovers_are_gone() {
    // Where the record of the main process's end begins in an owner file: zeroes until it is written.
    const PENDING: std::ops::Range<usize> = 1280..1284;
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let nap = home.marker();
    let line = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep {nap}; done' & {}; exit 4",
        bell.path().display(),
        gate.shell()
    );
    let id = home.launch_shell(&line);
    let leftover = heard(&mut bell);
    let lost = supervisor(&home, &id);
    gate.open();
    let owner = home.state().join("tasks").join(&id).join("1/owner");
    wait_for_file(&owner, DEADLINE, |bytes| bytes.get(PENDING).is_some_and(|part| part != [0; 4]));
    lost.kill();

    let task = home.wait(&id);
    assert_eq!(marked(&nap), Vec::<u32>::new(), "told before it was true");
    assert!(!leftover.is_alive());
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(4)), "{task:#}");
    home.finish();
}

#[test]
fn daemon_and_all_supervisors_killed_at_once_leave_the_queue_whole() {
    let home = TestHome::builder().config("lanes.commands.limit = 2").build();
    let mut bell = home.bell("bell");
    let nap = home.marker();
    let line = format!("{}; exec sleep {nap}", bell.shell("$$"));
    let lost: Vec<String> = (0..2).map(|_| home.launch_shell(&line)).collect();
    let queued: Vec<String> = (0..3).map(|_| home.launch(["true"])).collect();
    let mains = [heard(&mut bell), heard(&mut bell)];
    let supervisors: Vec<Process> = lost.iter().map(|id| supervisor(&home, id)).collect();
    // Stopped first: else one of them could have the time to bring the daemon back.
    supervisors.iter().for_each(|one| assert!(one.signal(Signal::STOP)));
    home.kill_daemon();
    supervisors.iter().for_each(Process::kill);

    for id in &queued {
        assert_eq!(home.wait(id)["state"], "completed");
    }
    for id in &lost {
        assert_eq!(home.wait(id)["cause"], json!({"kind": "lost"}));
    }
    assert!(mains.iter().all(|main| !main.is_alive()));
    assert_eq!(marked(&nap), Vec::<u32>::new());
    home.finish();
}

/// A stopped supervisor can say nothing. Nobody else may suffer, neither now nor after a restart of the
/// daemon, and when it goes on the true end is recorded.
#[test]
fn a_stopped_supervisor_holds_up_nobody_else() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let line = format!("{}; {}; echo after; exit 9", bell.shell("$$"), gate.shell());
    let id = home.launch_shell(&line);
    let main = heard(&mut bell);
    let stopped = supervisor(&home, &id);
    stopped.signal(Signal::STOP);

    let other = home.launch(["true"]);
    assert_eq!(home.wait(&other)["state"], "completed");
    home.kill_daemon();
    let other = home.launch(["true"]);
    assert_eq!(home.wait(&other)["state"], "completed");
    assert_eq!(home.status(&id)["state"], "running");

    gate.open();
    main.wait_end(DEADLINE);
    assert_eq!(home.status(&id)["state"], "running", "nobody has said that it ended");
    stopped.signal(Signal::CONT);
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("failed"), &json!(9)));
    assert_eq!(home.output(&id), "after");
    home.finish();
}

/// A cancel of a task whose supervisor is stopped is kept until it can be carried out.
#[test]
fn a_cancel_reaches_a_supervisor_that_was_stopped() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let id = home.launch_shell(&format!("{}; exec sleep 1000", bell.shell("$$")));
    let main = heard(&mut bell);
    let stopped = supervisor(&home, &id);
    stopped.signal(Signal::STOP);
    home.cli(["cancel", "--no-wait", &id]).ok();
    assert!(main.is_alive());
    stopped.signal(Signal::CONT);
    assert_eq!(home.wait(&id)["state"], "cancelled");
    assert!(!main.is_alive());
    home.finish();
}

/// A machine that has no room for another process at this moment is no fault of the task.
#[test]
fn a_task_for_which_there_is_no_process_waits_says_so_and_runs_when_there_is() {
    // The kernel counts no processes of root: another user then.
    let home = match mode::is_root() {
        true => TestHome::builder().uid(meanwhile_testkit::free_uid()).build(),
        false => TestHome::new(),
    };
    let mut bell = home.bell("bell");
    let mut gate = home.gate("gate");
    let first = home.launch_shell(&format!("{}; {}", bell.shell("$$"), gate.shell()));
    heard(&mut bell);
    let supervisor = supervisor(&home, &first);
    let processes = |limit: &str| {
        let (pid, limit) = (supervisor.pid().to_string(), format!("--nproc={limit}:"));
        home.invoke(["--pid", &pid, &limit]).program("/usr/bin/prlimit").run().ok();
    };
    processes("0");
    gate.open();
    home.wait(&first);

    let id = home.launch(["true"]);
    let task = until("the task to say what it waits for", DEADLINE, || {
        let task = home.status(&id);
        task["waiting_for"]["text"].is_string().then_some(task)
    });
    assert_eq!(task["state"], "starting", "{task:#}");
    let text = task["waiting_for"]["text"].as_str().expect("it was one a moment ago");
    assert!(text.contains("no room for another process"), "{text}");
    let usual = getrlimit(Resource::Nproc).maximum;
    processes(&usual.map_or("unlimited".to_owned(), |limit| limit.to_string()));
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["attempt"]), (&json!("completed"), &json!(1)), "{task:#}");
    assert_eq!(task["attempts"].as_array().map(Vec::len), Some(1), "{task:#}");
    home.finish();
}

/// Starts a client that sees another boot id; a daemon that it starts sees it too.
fn after_a_reboot<'a>(home: &'a TestHome, arguments: &[&str]) -> meanwhile_testkit::Invocation<'a> {
    const OTHER: &str = "01234567-89ab-4cde-8f01-23456789abcd\n";
    let file = home.root().join("boot_id");
    fs::write(&file, OTHER).expect("a file can be written");
    let mount =
        format!("mount --bind '{}' /proc/sys/kernel/random/boot_id && exec \"$@\"", file.display());
    home.invoke(arguments.iter().copied()).wrapped(["unshare", "-m", "sh", "-c", &mount, "sh"])
}

/// True where a private mount namespace may be made.
fn can_mount() -> bool {
    mode::is_root()
        && Command::new("unshare")
            .args(["-m", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

#[test]
fn after_a_reboot_what_ran_is_interrupted_and_what_was_queued_runs() {
    if !can_mount() {
        return mode::not_here("a bind mount over the boot id needs root");
    }
    let home = TestHome::builder().config("lanes.commands.limit = 1").build();
    let mut bell = home.bell("bell");
    let ended = home.launch_shell("exit 3");
    assert_eq!(home.wait(&ended)["exit_code"], 3);
    let running = home.launch_shell(&format!("{}; exec sleep 1000", bell.shell("$$")));
    let queued = home.launch(["true"]);
    let main = heard(&mut bell);
    let pid = main.pid();
    // What a power cut leaves: no process, and files.
    let supervisor = supervisor(&home, &running);
    supervisor.signal(Signal::STOP);
    home.kill_daemon();
    supervisor.kill();
    main.wait_end(DEADLINE);
    // On the next boot the same pid may be anybody's.
    let stranger = stranger_with(pid);

    after_a_reboot(&home, &["daemon", "start"]).run().ok();
    let task = home.wait(&running);
    assert_eq!(
        (&task["state"], &task["cause"]),
        (&json!("interrupted"), &json!({"kind": "reboot"}))
    );
    assert_eq!(home.wait(&queued)["state"], "completed");
    assert_eq!(home.status(&ended)["exit_code"], 3, "what had ended stays as it was");
    if let Some(mut stranger) = stranger {
        stranger.expect_untouched();
    }
    home.finish();
}

/// A process of the test's own that has a pid which somebody else had.
struct Stranger {
    child: Child,
}

impl Stranger {
    #[track_caller]
    fn expect_untouched(&mut self) {
        let ended = self.child.try_wait().expect("our child can be asked");
        assert!(ended.is_none(), "a stranger was signalled: {ended:?}");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a process that gets this free pid. The kernel gives out the number after the last one; on a
/// busy machine others may take it first, so it is tried more than once. `None`: nobody may set it.
fn stranger_with(pid: u32) -> Option<Stranger> {
    let last = Path::new("/proc/sys/kernel/ns_last_pid");
    for _ in 0..500 {
        fs::write(last, (pid - 1).to_string()).ok()?;
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep starts");
        let stranger = Stranger { child };
        if stranger.child.id() == pid {
            return Some(stranger);
        }
    }
    None
}

/// The main process and the supervisor are gone, and both of their pids are other programs' now. What
/// looks after the remains and what reaches for the supervisor must see that.
#[test]
fn a_process_that_got_the_pid_of_a_task_is_never_signalled() {
    let home = TestHome::new();
    let mut bell = home.bell("bell");
    let id = home.launch_shell(&format!("{}; exec sleep 1000", bell.shell("$$")));
    let main = heard(&mut bell);
    let supervisor = supervisor(&home, &id);
    supervisor.signal(Signal::STOP);
    home.kill_daemon();
    supervisor.kill();
    main.wait_end(DEADLINE);
    let free = |pid: u32| {
        until("a pid to be free", DEADLINE, || {
            (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        })
    };
    free(main.pid());
    free(supervisor.pid());
    let strangers: Option<Vec<Stranger>> =
        [main.pid(), supervisor.pid()].into_iter().map(stranger_with).collect();
    let Some(mut strangers) = strangers else {
        return mode::not_here("only root may choose the pid of a new process");
    };

    let other = home.launch(["true"]);
    assert_eq!(home.wait(&other)["state"], "completed");
    let task = home.wait(&id);
    assert_eq!((&task["state"], &task["cause"]), (&json!("interrupted"), &json!({"kind": "lost"})));
    // An ended task is left as it is; whoever asks again must not reach the stranger either.
    home.invoke(["cancel", &id]).deadline(Duration::from_secs(20)).run().ok();
    strangers.iter_mut().for_each(Stranger::expect_untouched);
    home.finish();
}
