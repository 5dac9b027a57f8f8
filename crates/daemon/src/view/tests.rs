//! Promises of the task object.

use std::path::Path;
use std::time::Duration;

use meanwhile_core::cause::{Actor, Cause, SpawnStage};
use meanwhile_core::event::RunFigures;
use meanwhile_core::machine::Why;
use meanwhile_core::spec::{
    EnvSpec, Placement, ProcessContext, RetryPolicy, Stdin, TaskSpec, Timing,
};
use meanwhile_core::time::{Boot, Due};
use meanwhile_core::{AttemptToken, LaneName, SessionId};
use meanwhile_host::home::{HomeInputs, HomePaths};

use super::*;

/// The paths of a home.
pub(crate) fn paths(base: &Path) -> HomePaths {
    let inputs = HomeInputs {
        flag: Some(base.as_os_str()),
        meanwhile_home: None,
        home: None,
        xdg_state_home: None,
        xdg_config_home: None,
        xdg_runtime_dir: None,
        cwd: Path::new("/"),
    };
    HomePaths::resolve(&inputs).unwrap()
}

/// A home that is there.
pub(crate) fn home(base: &Path) -> Home {
    Home::open_or_create(paths(base)).unwrap()
}

/// A plain queued task.
pub(crate) fn record(bits: u64) -> TaskRecord {
    TaskRecord {
        id: TaskId::from_random(bits),
        spec: spec(),
        placement: Placement {
            session: SessionId::user(),
            group: None,
            lane: LaneName::new("commands"),
            priority: 0,
            ancestors: Vec::new(),
            over_limit: false,
            by_person: true,
        },
        created_at: Wall(1_000),
        state: State::Queued,
        order: 1,
        not_before: None,
        stop: None,
        seat_kept: false,
        retries_used: 0,
        lost_retries: 0,
        children: Vec::new(),
        attempts: vec![attempt(1, State::Queued)],
    }
}

fn spec() -> TaskSpec {
    TaskSpec {
        name: None,
        command: Command::Argv(vec![b"true".to_vec()]),
        cwd: b"/".to_vec(),
        labels: Vec::new(),
        env: EnvSpec { from: "caller".into(), ..EnvSpec::default() },
        process: ProcessContext::default(),
        stdin: Stdin::Null,
        pty: None,
        limits: ResourceLimits::default(),
        timing: Timing::default(),
        retry: RetryPolicy::default(),
        after: Vec::new(),
        delay: None,
        ready: None,
        service: false,
        artifacts: Vec::new(),
        keep_tmp: false,
        keep_leaked: false,
        idempotent: false,
        idempotency_key: None,
        extra: Vec::new(),
    }
}

/// An attempt of which nothing is known yet.
pub(crate) fn attempt(number: u32, state: State) -> AttemptRecord {
    AttemptRecord {
        number,
        state,
        queued_at: Wall(1_000),
        cause: None,
        exit: None,
        token: None,
        pid: None,
        supervisor_pid: None,
        started_at: None,
        ended_at: None,
        deadline: None,
        extended: None,
        ready: None,
        crashes: 0,
        run: None,
    }
}

const HELD: LimitsHeld = LimitsHeld { memory: Held::Sampled, pids: Held::Sampled };

fn shown(record: &TaskRecord, live: Option<&TaskView>) -> Task {
    let base = tempfile::tempdir().unwrap();
    let home = home(base.path());
    Viewer { home: &home, held: HELD, now: Wall(10_000) }.task(record, live)
}

fn live(why: Why) -> TaskView {
    TaskView {
        state: State::Queued,
        attempt: 1,
        token: None,
        queue_position: Some(2),
        why: Some(why),
        stopping: false,
    }
}

#[test]
fn a_queued_task_says_who_is_in_its_way_and_which_setting_changes_it() {
    let holders: Vec<TaskId> = (1..=3).map(TaskId::from_random).collect();
    let why = Why::LaneFull { lane: LaneName::new("commands"), limit: 3, holders: holders.clone() };
    let task = shown(&record(9), Some(&live(why)));
    let waiting = task.waiting_for.unwrap();
    assert_eq!(
        waiting.text,
        format!("3 of 3 in `commands`: {}, {}, {}", holders[0], holders[1], holders[2])
    );
    assert_eq!(waiting.setting.as_deref(), Some("lanes.commands.limit"));
    assert_eq!(waiting.tasks.len(), 3);
    assert_eq!(task.queue_position, Some(2));
    assert_eq!((task.log, task.pid, task.outcome), (None, None, None));
}

#[test]
fn a_long_list_of_holders_is_cut_in_the_text_alone() {
    let holders: Vec<TaskId> = (1..=8).map(TaskId::from_random).collect();
    let lane = LaneName::new("anthropic/opus 4");
    let text = waiting_for(&Why::LaneFull { lane, limit: 8, holders });
    assert!(text.text.ends_with("and 3 more"), "{}", text.text);
    assert_eq!(text.tasks.len(), 8);
    assert_eq!(text.setting.as_deref(), Some("lanes.\"anthropic/opus 4\".limit"));
}

#[test]
fn a_delay_says_until_when() {
    let due = Due { boot: Boot(1), wall: Wall(60_000) };
    let waiting = waiting_for(&Why::Until { due, backoff: true });
    assert_eq!(waiting.until, Some(Timestamp::from_unix_ms(60_000)));
    assert!(waiting.text.contains("1970-01-01T00:01:00.000Z"), "{}", waiting.text);
}

#[test]
fn an_ended_task_has_its_exit_and_figures_and_no_live_facts() {
    let mut record = record(1);
    record.state = State::Failed;
    record.attempts = vec![AttemptRecord {
        cause: Some(Cause::Signal { number: 15 }),
        exit: Some(Exit::Signal(15)),
        token: Some(AttemptToken([1; 16])),
        pid: Some(7),
        supervisor_pid: Some(6),
        started_at: Some(Wall(2_000)),
        ended_at: Some(Wall(5_000)),
        deadline: Some(Wall(99_000)),
        run: Some(RunFigures {
            ran_for: Duration::from_millis(2_990),
            log_bytes: 10,
            dropped_bytes: 4,
            leaked: 2,
            leaked_names: vec!["sleep (60) (99)".into()],
            ..RunFigures::default()
        }),
        ..attempt(1, State::Failed)
    }];
    let task = shown(&record, None);
    assert_eq!((task.exit_code, task.signal.as_deref()), (None, Some("SIGTERM")));
    assert_eq!(task.duration_ms, Some(2_990));
    assert_eq!((task.pid, task.supervisor_pid, task.deadline), (None, None, None));
    assert_eq!(task.outcome, Some(api::Outcome::Failure));
    let log = task.log.unwrap();
    assert_eq!((log.bytes, log.dropped_bytes), (10, 4));
    assert!(log.path.to_string_lossy().ends_with("/1/output.log"));
    let leaked = task.leaked.unwrap();
    assert_eq!((leaked.count, leaked.processes[0].pid), (2, 99));
    assert_eq!(leaked.processes[0].command.as_str(), Some("sleep (60)"));
}

#[test]
fn a_running_task_shows_its_processes_its_deadline_and_the_log_as_it_grows() {
    let base = tempfile::tempdir().unwrap();
    let home = home(base.path());
    let mut record = record(1);
    record.state = State::Running;
    record.attempts = vec![AttemptRecord {
        token: Some(AttemptToken([1; 16])),
        pid: Some(7),
        supervisor_pid: Some(6),
        started_at: Some(Wall(4_000)),
        deadline: Some(Wall(99_000)),
        ..attempt(1, State::Running)
    }];
    home.attempt(record.id, 1).unwrap();
    std::fs::write(home.paths.attempt(record.id, 1).join("output.log"), "12345").unwrap();
    let task = Viewer { home: &home, held: HELD, now: Wall(10_000) }.task(&record, None);
    assert_eq!((task.pid, task.supervisor_pid), (Some(7), Some(6)));
    assert_eq!(task.duration_ms, Some(6_000));
    assert_eq!(task.deadline, Some(Timestamp::from_unix_ms(99_000)));
    assert_eq!(task.log.unwrap().bytes, 5);
}

#[test]
fn the_answer_to_a_launch_carries_the_deadline_once_there_is_one() {
    let mut record = record(1);
    record.spec.timing.timeout = Some(Duration::from_secs(300));
    assert_eq!(shown(&record, None).deadline, None, "a queued task has none yet");
    record.state = State::Starting;
    assert_eq!(shown(&record, None).deadline, Some(Timestamp::from_unix_ms(310_000)));
}

#[test]
fn what_could_not_start_says_what_a_shell_would_exit_with() {
    let check = |stage, errno: rustix::io::Errno, code| {
        let why = Cause::SpawnError { stage, errno: errno.raw_os_error(), what: "run x".into() };
        match cause(&why) {
            meanwhile_api::cause::Cause::SpawnError { message, exit_code } => {
                assert_eq!(exit_code, code);
                assert!(
                    message.starts_with("run x: ") && !message.contains("os error"),
                    "{message}"
                );
            }
            other => panic!("{other:?}"),
        }
    };
    check(SpawnStage::Exec, rustix::io::Errno::NOENT, 127);
    check(SpawnStage::Exec, rustix::io::Errno::ACCESS, 126);
    check(SpawnStage::Cwd, rustix::io::Errno::NOENT, 1);
}

#[test]
fn signals_have_the_names_people_know() {
    for (number, name) in [(1, "SIGHUP"), (9, "SIGKILL"), (15, "SIGTERM"), (31, "SIGSYS")] {
        assert_eq!(signal_name(number), name);
    }
    assert_eq!(signal_name(35), "SIGRTMIN+1");
    assert_eq!(signal_name(0), "signal 0");
}

#[test]
fn who_cancelled_is_said_in_plain_words() {
    let who = |actor: Actor| match cause(&Cause::CancelledBy { who: actor }) {
        meanwhile_api::cause::Cause::CancelledBy { who } => who,
        other => panic!("{other:?}"),
    };
    assert_eq!(who(Actor::Person), "user");
    assert_eq!(who(Actor::Rule("prune")), "prune");
    assert_eq!(who(Actor::from_text("rule prune")), "prune");
    assert_eq!(who(Actor::Session(SessionId::new("s1"))), "s1");
}
