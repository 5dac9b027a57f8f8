//! New tasks as people write them by hand in `--from` files: they mean what they say, or are refused by name.

use std::collections::BTreeMap;

use meanwhile_api::submit::{After, Condition, NewTask, Stdin, Work};
use meanwhile_api::{ErrorCode, ExitCode, OsText, Size, Span, TaskId};
use serde_json::{Value, json};

#[test]
fn a_plain_entry_is_small_on_the_wire() {
    let entry = NewTask { command: vec![OsText::from("true")], ..NewTask::default() };
    assert_eq!(serde_json::to_string(&entry).unwrap(), r#"{"command":["true"]}"#);
}

#[test]
fn a_batch_of_ten_thousand_and_a_megabyte_argument_fit() {
    let entry = |bytes| NewTask { command: vec!["x".repeat(bytes).into()], ..NewTask::default() };
    let size = |entry: NewTask| serde_json::to_vec(&entry).unwrap().len();
    assert!(10_000 * size(entry(1_000)) < meanwhile_api::limits::BODY_BYTES_MAX);
    assert!(100 * size(entry(1 << 20)) < meanwhile_api::limits::BODY_BYTES_MAX);
}

#[test]
fn of_a_batch_that_is_too_large_only_as_much_is_kept_as_shows_it() {
    use meanwhile_api::limits::BATCH_TASKS_MAX;
    use meanwhile_api::submit::SubmitRequest;
    let read = |entries: usize| {
        let tasks = vec!["{}"; entries].join(",");
        let caller = r#"{"cwd":"/","env":[],"umask":18}"#;
        let body = format!(r#"{{"tasks":[{tasks}],"caller":{caller}}}"#);
        serde_json::from_str::<SubmitRequest>(&body).map(|request| request.tasks.len()).unwrap()
    };
    assert_eq!(read(3), 3);
    assert_eq!(read(BATCH_TASKS_MAX), BATCH_TASKS_MAX);
    assert_eq!(read(3 * BATCH_TASKS_MAX), BATCH_TASKS_MAX + 1);
}

#[test]
fn entries_written_by_hand_mean_what_they_say() {
    let read = |value: Value| serde_json::from_value::<NewTask>(value).unwrap();
    let entry = read(json!({
        "shell": "make", "label": "area=backend", "env": { "A": "1" }, "retry-on": "1, 75",
        "after": "build:any", "idle-timeout": "1m", "timeout": 0, "memory": "1GiB",
        "stdin": "in.txt", "artifact": "*.log", "ready-port": 80,
    }));
    assert_eq!(entry.labels, BTreeMap::from([("area".to_owned(), "backend".to_owned())]));
    assert_eq!(entry.env, [(OsText::from("A"), OsText::from("1"))]);
    assert_eq!(entry.retry_on, [1, 75]);
    assert_eq!(entry.after, [After { id: TaskId::from("build"), condition: Condition::Any }]);
    assert_eq!(entry.idle_timeout, Some(Span::from_secs(60)));
    assert_eq!(entry.timeout, Some(Span::ZERO));
    assert_eq!(entry.memory, Some(Size::from_bytes(1 << 30)));
    assert_eq!(entry.stdin, Stdin::File(OsText::from("in.txt")));
    assert_eq!(entry.artifacts, ["*.log"]);
    assert_eq!(entry.ready_port, Some(80));
    let same = read(json!({
        "shell": "make", "labels": ["area=backend"], "env": ["A=1"], "retry_on": [1, 75],
        "after": [{ "id": "build", "condition": "any" }], "idle_timeout": "60s", "timeout": "0",
        "memory": 1_073_741_824, "stdin": { "file": "in.txt" }, "artifacts": ["*.log"],
        "ready_port": 80,
    }));
    assert_eq!(same, entry);
}

#[test]
fn a_bad_entry_is_refused_by_name() {
    for (entry, named) in [
        (json!({ "comand": ["x"] }), "comand"),
        (json!({ "timeout": "5 minutes" }), "5 minutes"),
        (json!({ "timeout": 30 }), "30"),
        (json!({ "memory": "1gb" }), "1gb"),
        (json!({ "label": "novalue" }), "novalue"),
        (json!({ "env": "=x" }), "=x"),
        (json!({ "after": "a:never" }), "a:never"),
        (json!({ "retry_on": "one" }), "one"),
        (json!({ "on_waiting": "panic" }), "panic"),
        (json!({ "stdin": "-" }), "-"),
    ] {
        let error = serde_json::from_value::<NewTask>(entry).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_task_runs_exactly_one_thing() {
    let command = |words: &[&str]| NewTask {
        command: words.iter().map(|word| OsText::from(*word)).collect(),
        ..NewTask::default()
    };
    let shell = |line: &str| NewTask { shell: Some(OsText::from(line)), ..NewTask::default() };
    assert!(matches!(command(&["true"]).work(), Ok(Work::Command([_]))));
    assert!(matches!(shell("a | b").work(), Ok(Work::Shell(_))));
    let both = NewTask { shell: Some(OsText::from("x")), ..command(&["y"]) };
    for bad in [NewTask::default(), command(&[""]), shell(" \n"), both] {
        let error = bad.work().unwrap_err();
        assert_eq!((error.code, error.exit), (ErrorCode::Usage, ExitCode::Usage));
        assert!(!error.hint.is_empty());
    }
}
