//! Promises of submission.

use std::time::{Duration, Instant};

use meanwhile_api::caller::{CallerContext, TerminalSize};
use meanwhile_api::submit::{After, Condition, Detail, Inherit, Stdin as WireStdin};
use meanwhile_api::{OsText, Size, Span};
use meanwhile_core::spec::{Command, Readiness, Stdin};
use meanwhile_store::{Identity, MemoryStore};
use serde_json::json;

use super::*;

fn caller(cwd: &std::path::Path) -> CallerContext {
    CallerContext {
        cwd: OsText::from(cwd),
        env: vec![(OsText::from("PATH"), OsText::from("/usr/bin:/bin"))],
        umask: 0o022,
        rlimits: Vec::new(),
        terminal: Some(TerminalSize { columns: 100, rows: 30 }),
    }
}

fn person() -> Launcher {
    Launcher {
        session: SessionId::user(),
        ancestors: Vec::new(),
        is_person: true,
        only_session: None,
        env_from: "caller",
    }
}

fn agent() -> Launcher {
    let session = SessionId::new("s1");
    Launcher {
        session: session.clone(),
        ancestors: Vec::new(),
        is_person: false,
        only_session: Some(session),
        env_from: "caller",
    }
}

fn store() -> MemoryStore {
    let identity = Identity { machine: "m".into(), pid_namespace: 1, boot: "b".into() };
    MemoryStore::new(identity)
}

fn batch(tasks: Vec<NewTask>, launcher: &Launcher) -> Result<Batch, ApiError> {
    let dir = tempfile::tempdir().unwrap();
    let request = SubmitRequest {
        tasks,
        caller: caller(dir.path()),
        inherit: Inherit::Caller,
        detail: Detail::Ids,
    };
    let environment = captured::read(&request.caller).unwrap();
    prepare(&mut store(), &request, &environment, launcher, &Settings::default())
}

fn one(task: NewTask, launcher: &Launcher) -> Result<PreparedTask, ApiError> {
    batch(vec![task], launcher).map(|mut batch| batch.tasks.remove(0))
}

fn task(entry: serde_json::Value) -> NewTask {
    serde_json::from_value(entry).unwrap()
}

fn run() -> NewTask {
    task(json!({ "command": ["true"] }))
}

#[test]
fn the_defaults_are_those_of_a_person_at_a_shell() {
    let prepared = one(run(), &person()).unwrap();
    let (spec, placement) = (prepared.spec, prepared.placement);
    assert_eq!(spec.command, Command::Argv(vec![b"true".to_vec()]));
    assert_eq!((placement.lane.as_str(), placement.session.as_str()), ("commands", "user"));
    assert_eq!((spec.timing.timeout, spec.timing.idle_timeout), (None, None));
    assert_eq!(spec.timing.grace, Duration::from_secs(10));
    assert_eq!(spec.retry.backoff, Duration::from_secs(1));
    assert_eq!((spec.stdin, spec.pty, spec.process.umask), (Stdin::Null, None, 0o022));
    assert!(placement.by_person && !placement.over_limit);
}

#[test]
fn an_agents_command_has_a_running_time_and_a_service_has_none() {
    let timeout =
        |entry, launcher: &Launcher| one(task(entry), launcher).unwrap().spec.timing.timeout;
    let s = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(timeout(json!({ "command": ["true"] }), &agent()), s(300));
    assert_eq!(timeout(json!({ "command": ["true"], "timeout": "0" }), &agent()), None);
    assert_eq!(timeout(json!({ "command": ["true"], "timeout": "5s" }), &person()), s(5));
    let service = task(json!({ "command": ["true"], "ready": "listening" }));
    let prepared = one(service, &agent()).unwrap();
    assert_eq!((prepared.spec.timing.timeout, prepared.spec.service), (None, true));
    assert_eq!(prepared.placement.lane.as_str(), "services");
    assert_eq!(prepared.spec.ready, Some(Readiness::Pattern("listening".into())));
}

#[test]
fn what_certainly_cannot_start_is_refused_with_the_exit_code_of_a_shell() {
    let check = |entry, exit: u8| {
        let error = one(task(entry), &person()).unwrap_err();
        assert_eq!(error.code, ErrorCode::CannotStart, "{error:?}");
        assert_eq!(error.details["run_wait_exit"], exit, "{error:?}");
    };
    check(json!({ "command": ["no-such-program-anywhere"] }), 127);
    check(json!({ "command": ["/"] }), 126);
    check(json!({ "command": ["/etc/passwd"] }), 126);
    check(json!({ "command": ["true"], "cwd": "/no/such/dir" }), 1);
    check(json!({ "shell": "true", "cwd": "missing" }), 1);
    check(json!({ "command": ["true"], "env": { "PATH": "/no/such/dir" } }), 127);
    check(json!({ "command": ["true", "x".repeat(1 << 20)] }), 126);
}

#[test]
fn what_another_task_may_still_make_is_not_refused() {
    let tasks = vec![
        task(json!({ "name": "build", "shell": "make tool" })),
        task(json!({ "command": ["./tool"], "cwd": "made", "after": "build" })),
    ];
    let prepared = batch(tasks, &person()).unwrap().tasks;
    assert_eq!(prepared[1].spec.after[0].task, prepared[0].id);
}

#[test]
fn nonsense_is_a_usage_error_that_names_it() {
    let check = |entry: serde_json::Value, part: &str| {
        let mut whole = json!({ "command": ["true"] });
        whole.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        let error = one(task(whole), &person()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Usage, "{error:?}");
        assert!(error.message.contains(part), "{part}: {}", error.message);
        assert!(!error.hint.is_empty(), "{error:?}");
    };
    check(json!({ "name": "two\nlines" }), "name of the task");
    check(json!({ "name": " " }), "is empty");
    check(json!({ "group": "x".repeat(201) }), "name of the group");
    check(json!({ "lane": "" }), "name of the lane");
    check(json!({ "labels": { "a=b": "c" } }), "label `a=b`");
    check(json!({ "labels": { "a": "b\u{7}" } }), "label `a`");
    check(json!({ "retries": 101 }), "101 retries");
    check(json!({ "retry_on": [0], "retries": 1 }), "0 is not an exit code");
    check(json!({ "ready": "(" }), "`(` is not a regular expression");
    check(json!({ "ready": "x", "ready_port": 80 }), "both");
    check(json!({ "ready_port": 0 }), "0 is not a port");
    check(json!({ "artifacts": ["../secret"] }), "below the working directory");
    check(json!({ "artifacts": ["a[", "b"] }), "`a[` is not a glob");
    // The nesting of braces is read by recursion.
    let nested = "{".repeat(50_000) + &"}".repeat(50_000);
    check(json!({ "artifacts": [nested] }), "100000 bytes");
    check(json!({ "memory": 0 }), "--memory");
    check(json!({ "max_log": 0 }), "--max-log");
    check(json!({ "pids": 0 }), "--pids");
    check(json!({ "cpus": -1.0 }), "-1 is not a number");
    check(json!({ "nice": 20 }), "20 is not a niceness");
    check(json!({ "notify": "often" }), "`often`");
    check(json!({ "keep_env": ["A=B"] }), "`A=B`");
    check(json!({ "env": [["A", "b\u{0}"]] }), "NUL");
    check(json!({ "command": ["true", "a\u{0}"] }), "NUL");
    check(json!({ "stdin": { "spooled": "../../etc/passwd" } }), "token");
    check(json!({ "pty": true, "stdin": "/dev/null" }), "terminal");
    check(json!({ "command": [] }), "without a command");
}

#[test]
fn what_this_machine_cannot_hold_a_task_to_is_refused() {
    let error = one(task(json!({ "command": ["true"], "cpus": 1.5 })), &person()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    let limits = one(
        NewTask { cpus: Some(2.0), memory: Some(Size::from_bytes(1 << 20)), ..run() },
        &person(),
    )
    .unwrap()
    .spec
    .limits
    .clone();
    assert_eq!((limits.cpus, limits.memory), (Some(2), Some(1 << 20)));
}

#[test]
fn going_over_a_limit_is_for_people() {
    let over = NewTask { over_limit: true, ..run() };
    assert!(one(over.clone(), &person()).unwrap().placement.over_limit);
    let error = one(over, &agent()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Forbidden);
}

#[test]
fn a_task_of_a_task_has_its_ancestors_unless_it_is_detached() {
    let above = vec![TaskId::from_random(1), TaskId::from_random(2)];
    let launcher = Launcher { ancestors: above.clone(), ..agent() };
    assert_eq!(one(run(), &launcher).unwrap().placement.ancestors, above);
    let detached = one(NewTask { detach: true, ..run() }, &launcher).unwrap();
    assert!(detached.placement.ancestors.is_empty());
    assert_eq!(detached.placement.session.as_str(), "s1");
}

#[test]
fn paths_are_absolute_and_the_standard_input_is_the_callers() {
    let entry = json!({ "command": ["true"], "cwd": "/", "stdin": "in.txt", "timeout": "1s" });
    let spec = one(task(entry), &person()).unwrap().spec;
    assert_eq!(spec.cwd, b"/");
    match spec.stdin {
        Stdin::File(path) => {
            assert!(path.starts_with(b"/") && path.ends_with(b"/in.txt") && path.len() > 7)
        }
        other => panic!("{other:?}"),
    }
    let terminal = one(NewTask { pty: true, ..run() }, &person()).unwrap().spec;
    assert_eq!(terminal.pty, Some((100, 30)));
}

#[test]
fn dependencies_are_found_by_name_in_the_batch_wherever_they_stand() {
    let tasks = vec![
        task(json!({ "command": ["true"], "after": ["second:any", "second"] })),
        task(json!({ "command": ["true"], "name": "second" })),
    ];
    let prepared = batch(tasks, &person()).unwrap().tasks;
    let after = &prepared[0].spec.after;
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|d| d.task == prepared[1].id));
    assert_eq!(after[0].condition.name(), "any");
    let twice = vec![
        NewTask { name: Some("x".into()), ..run() },
        NewTask { name: Some("x".into()), ..run() },
        NewTask { after: vec![After { id: "x".into(), condition: Condition::Ok }], ..run() },
    ];
    assert_eq!(batch(twice, &person()).unwrap_err().code, ErrorCode::Ambiguous);
}

#[test]
fn an_unknown_dependency_is_3_and_a_malformed_one_is_2() {
    let check = |id: &str, code| {
        let after = vec![After { id: id.into(), condition: Condition::Ok }];
        let error = one(NewTask { after, ..run() }, &person()).unwrap_err();
        assert_eq!(error.code, code, "{id}");
    };
    check("zzzzzzzzzz", ErrorCode::NoSuchTask);
    check("zzzz", ErrorCode::NoSuchTask);
    check("../../etc", ErrorCode::Usage);
    check("", ErrorCode::Usage);
}

#[test]
fn one_bad_entry_refuses_the_batch_and_is_named() {
    let tasks = vec![run(), run(), NewTask { name: Some(String::new()), ..run() }];
    let error = batch(tasks, &person()).unwrap_err();
    assert!(error.message.starts_with("line 3: "), "{}", error.message);
    assert_eq!((&error.details["line"], &error.details["index"]), (&json!(3), &json!(2)));
    assert_eq!(batch(Vec::new(), &person()).unwrap_err().code, ErrorCode::Usage);
}

#[test]
fn an_environment_that_cannot_be_is_refused_and_its_values_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut caller = caller(dir.path());
    caller.env.push((OsText::from("SECRET=X"), OsText::from("hunter2")));
    let error = captured::read(&caller).unwrap_err();
    assert!(error.message.contains("SECRET=X") && !format!("{error:?}").contains("hunter2"));
}

#[test]
fn ten_thousand_entries_share_their_checks() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = (0..10_000)
        .map(|n| NewTask {
            command: vec![
                OsText::from("sh"),
                OsText::from("-c"),
                OsText::from(format!("exit {n}")),
            ],
            timeout: Some(Span::from_secs(5)),
            stdin: WireStdin::None,
            ..NewTask::default()
        })
        .collect();
    let request = SubmitRequest {
        tasks,
        caller: caller(dir.path()),
        inherit: Inherit::Caller,
        detail: Detail::Ids,
    };
    let environment = captured::read(&request.caller).unwrap();
    let start = Instant::now();
    let batch =
        prepare(&mut store(), &request, &environment, &person(), &Settings::default()).unwrap();
    assert_eq!(batch.tasks.len(), 10_000);
    // Without sharing it is ten thousand searches of PATH; the bound is loose for slow machines.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_pattern_is_read_once_in_a_batch_and_a_batch_has_not_very_many() {
    // Each reading of this one takes milliseconds, and everybody waits meanwhile.
    let service = task(json!({ "shell": "serve", "ready": "\\w{10}ready" }));
    let begun = Instant::now();
    assert_eq!(batch(vec![service; 20_000], &person()).unwrap().tasks.len(), 20_000);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let service = |n: usize| task(json!({ "shell": "serve", "ready": format!("ready {n}") }));
    assert!(batch((0..1_000).map(service).collect(), &person()).is_ok());
    let error = batch((0..1_001).map(service).collect(), &person()).unwrap_err();
    assert!(error.code == ErrorCode::Limit && !error.hint.is_empty(), "{error:?}");
}
