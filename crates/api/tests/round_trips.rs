//! Every shape of the wire survives JSON and query strings, bytes that are not UTF-8 included.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use meanwhile_api::caller::{CallerContext, Rlimit, TerminalSize};
use meanwhile_api::cause::Cause;
use meanwhile_api::change::{
    CancelReply, CancelRequest, CompleteRequest, ExtendRequest, RetryRequest,
};
use meanwhile_api::config::{ConfigEntry, ConfigQuery, ConfigReply, ConfigSet, ConfigSource};
use meanwhile_api::daemon::{DaemonStatus, StopReply, StopRequest, StoreStatus};
use meanwhile_api::event::{Event, EventsQuery};
use meanwhile_api::lanes::{Lane, LanesReply, Paused};
use meanwhile_api::list::{ListQuery, ListReply, StatusQuery, StatusReply, SummaryReply};
use meanwhile_api::output::{Gap, OutputQuery, OutputReply};
use meanwhile_api::query::Query;
use meanwhile_api::select::Select;
use meanwhile_api::submit::{
    Accepted, After, Condition, Detail, EnvProfile, Inherit, NewTask, OnWaiting, Stdin, StdinReply,
    SubmitReply, SubmitRequest,
};
use meanwhile_api::task::{
    Attempt, Autonomy, Certainty, Held, Leaked, LeakedProcess, Limit, Limits, LogInfo, Outcome,
    Progress, Question, Ready, State, Stuck, Task, TaskKind, Waiting, WaitingFor,
};
use meanwhile_api::upkeep::{
    Check, CleanReply, CleanRequest, DoctorReply, Health, PruneReply, Pruned,
};
use meanwhile_api::version::SUPPORTED;
use meanwhile_api::wait::{Until, Verdict, WaitReply, WaitRequest};
use meanwhile_api::{OsText, Size, Span, TaskId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NOT_UTF8: &[u8] = b"caf\xe9 \xff";

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let json = serde_json::to_string(&value).unwrap();
    let back: T = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(back, value, "{json}");
}

fn check_query<T: Query + PartialEq + Debug>(query: T) {
    let text = query.to_query();
    assert_eq!(T::from_query(&text).unwrap(), query, "{text}");
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn odd() -> OsText {
    OsText::from(NOT_UTF8)
}

fn causes() -> Vec<Cause> {
    let text = || "text".to_owned();
    vec![
        Cause::Exit { code: 3 },
        Cause::Signal { name: "SIGKILL".to_owned() },
        Cause::Timeout { after: 300_000 },
        Cause::IdleTimeout { after: 1 },
        Cause::Stalled { after: 2 },
        Cause::SpawnError { message: text(), exit_code: 127 },
        Cause::Oom,
        Cause::LogFull,
        Cause::Lost,
        Cause::Reboot,
        Cause::Dependency { task: TaskId::from("0123456789") },
        Cause::EmptyResult,
        Cause::AgentError { message: text(), retryable: true },
        Cause::PermissionDenied { what: text() },
        Cause::Loop { tool: text(), count: 20 },
        Cause::Budget { limit: text(), used: text() },
        Cause::Poison { crashes: 3 },
        Cause::Unkillable,
        Cause::CancelledBy { who: text() },
        Cause::Reported { by: text(), message: None },
    ]
}

/// A task with nothing but what every task has.
fn bare_task() -> Task {
    Task {
        id: TaskId::from("0123456789"),
        kind: TaskKind::Command,
        name: None,
        session: "user".to_owned(),
        group: None,
        labels: BTreeMap::new(),
        lane: "commands".to_owned(),
        priority: 0,
        state: State::Queued,
        cause: None,
        exit_code: None,
        signal: None,
        created_at: at(0),
        started_at: None,
        ended_at: None,
        duration_ms: None,
        attempt: 1,
        attempts: Vec::new(),
        command: vec![OsText::from("true")],
        cwd: OsText::from("/"),
        queue_position: None,
        log: None,
        progress: None,
        result: None,
        outcome: None,
        usage: None,
        questions: None,
        ready: None,
        waiting: None,
        stuck: None,
        deadline: None,
        waiting_for: None,
        role: None,
        driver: None,
        model: None,
        autonomy: None,
        enforced_by: None,
        activity: None,
        parent: None,
        children: Vec::new(),
        env_from: None,
        pid: None,
        supervisor_pid: None,
        leaked: None,
        limits: None,
    }
}

/// A task with every fact there is.
fn full_task() -> Task {
    let text = || "text".to_owned();
    let log = LogInfo { path: odd(), bytes: 9, dropped_bytes: 1 };
    Task {
        name: Some(text()),
        group: Some(text()),
        labels: BTreeMap::from([(text(), text())]),
        priority: -3,
        state: State::Failed,
        cause: Some(Cause::Exit { code: 1 }),
        exit_code: Some(1),
        signal: Some("SIGTERM".to_owned()),
        started_at: Some(at(1)),
        ended_at: Some(at(2)),
        duration_ms: Some(1),
        attempts: vec![Attempt {
            number: 1,
            state: State::Failed,
            cause: Some(Cause::Lost),
            driver: Some(text()),
            model: Some(text()),
            session: Some(text()),
            started_at: Some(at(1)),
            ended_at: Some(at(2)),
            exit_code: Some(1),
            signal: None,
            duration_ms: Some(1),
            log: Some(log.clone()),
        }],
        command: vec![OsText::from("printf"), odd(), OsText::from("a\0b".as_bytes())],
        cwd: odd(),
        queue_position: Some(2),
        log: Some(log),
        progress: Some(Progress { percent: 12.5, message: Some(text()), at: at(1) }),
        result: Some(text()),
        outcome: Some(Outcome::Failure),
        usage: Some(json!({ "tokens": 3 })),
        questions: Some(vec![Question {
            id: text(),
            task: TaskId::from("0123456789"),
            text: text(),
            asked_at: at(1),
            answer: None,
        }]),
        ready: Some(Ready { at: at(1), how: text() }),
        waiting: Some(Waiting {
            certainty: Certainty::Likely,
            prompt: Some(text()),
            secret: true,
            since: at(1),
        }),
        stuck: Some(Stuck { since: at(1), evidence: text() }),
        deadline: Some(at(3)),
        waiting_for: Some(WaitingFor {
            text: text(),
            setting: Some("lanes.commands.limit".to_owned()),
            tasks: vec![TaskId::from("abcdefghjk")],
            until: Some(at(4)),
        }),
        role: Some(text()),
        driver: Some(text()),
        model: Some(text()),
        autonomy: Some(Autonomy::Medium),
        enforced_by: Some(text()),
        activity: Some(json!({ "doing": "thinking" })),
        parent: Some(TaskId::from("abcdefghjk")),
        children: vec![TaskId::from("mnpqrstvwx")],
        env_from: Some(text()),
        pid: Some(1),
        supervisor_pid: Some(2),
        leaked: Some(Leaked {
            count: 1,
            processes: vec![LeakedProcess { pid: 3, command: odd() }],
            kept: true,
        }),
        limits: Some(Limits {
            memory: Some(Limit { value: 1 << 30, held: Held::Sampled }),
            cpus: Some(Limit { value: 1.5, held: Held::Enforced }),
            pids: None,
            nice: Some(5),
        }),
        ..bare_task()
    }
}

fn caller() -> CallerContext {
    CallerContext {
        cwd: odd(),
        env: vec![(OsText::from("PATH"), OsText::from("/bin")), (odd(), odd())],
        umask: 0o022,
        rlimits: vec![Rlimit { resource: 7, soft: Some(1024), hard: None }],
        terminal: Some(TerminalSize { columns: 80, rows: 24 }),
    }
}

/// A new task with every option given.
fn full_new_task() -> NewTask {
    let text = || "text".to_owned();
    NewTask {
        command: vec![OsText::from("make"), odd()],
        shell: None,
        name: Some(text()),
        cwd: Some(odd()),
        env: vec![(OsText::from("K"), odd())],
        keep_env: vec![text()],
        group: Some(text()),
        labels: BTreeMap::from([(text(), text())]),
        lane: Some(text()),
        priority: 7,
        timeout: Some(Span::ZERO),
        idle_timeout: Some(Span::from_secs(90)),
        kill_after: Some(Span::from_ms(1_500)),
        retries: 2,
        backoff: Some(Span::from_secs(5)),
        retry_on: vec![1, 75],
        after: vec![After { id: TaskId::from("build"), condition: Condition::Any }],
        delay: Some(Span::from_secs(1)),
        pty: true,
        stdin: Stdin::Spooled(text()),
        max_log: Some(Size::from_bytes(64 << 20)),
        memory: Some(Size::from_bytes(1_000)),
        cpus: Some(0.5),
        pids: Some(10),
        nice: Some(-5),
        ready: Some(text()),
        ready_port: Some(8080),
        service: true,
        artifacts: vec!["*.log".to_owned()],
        keep_tmp: true,
        keep_leaked: true,
        idempotency_key: Some(text()),
        idempotent: true,
        env_profile: Some(EnvProfile::Ci),
        notify: Some(text()),
        turn: Some(text()),
        notify_on: Some(text()),
        on_waiting: Some(OnWaiting::Kill),
        detach: true,
        force: true,
        over_limit: true,
    }
}

fn lane() -> Lane {
    Lane {
        name: "commands".to_owned(),
        limit: None,
        setting: "lanes.commands.limit".to_owned(),
        running: 1,
        queued: 2,
        holders: vec![TaskId::from("0123456789")],
        waiting: Vec::new(),
        paused: Some(Paused { until: None, reason: "by hand".to_owned() }),
    }
}

#[test]
fn tasks_and_their_causes_survive() {
    check(bare_task());
    check(full_task());
    causes().into_iter().for_each(check);
    check(SubmitReply {
        accepted: vec![Accepted { id: TaskId::from("a"), existing: true, deadline: Some(at(5)) }],
        tasks: vec![full_task()],
        warnings: vec!["w".to_owned()],
    });
    check(ListReply { tasks: vec![full_task(), bare_task()], total: 9 });
    check(SummaryReply { total: 1, states: BTreeMap::from([("queued".to_owned(), 1)]) });
    check(StatusReply { tasks: vec![bare_task()] });
}

#[test]
fn requests_survive_with_bytes_that_are_not_utf8() {
    check(SubmitRequest {
        tasks: vec![full_new_task(), NewTask::default()],
        caller: caller(),
        inherit: Inherit::Session,
        detail: Detail::Ids,
    });
    check(RetryRequest { caller: caller() });
    for select in [
        Select::Ids(vec![TaskId::from("a")]),
        Select::Group("g".to_owned()),
        Select::Session("s".to_owned()),
        Select::Own,
        Select::Everything,
    ] {
        check(CancelRequest { select: select.clone(), wait: false, cascade: true });
        check(WaitRequest { select, any: true, until: Until::Ready, timeout: Some(Span::ZERO) });
    }
    check(CompleteRequest { failed: true, message: Some("m".to_owned()) });
    check(ExtendRequest { by: Span::from_secs(60) });
    check(CleanRequest { older_than: Some(Span::from_secs(1)) });
    check(ConfigSet { key: "k".to_owned(), value: None });
    check(StopRequest { cancel_all: true, hand_over: false });
}

#[test]
fn replies_survive() {
    check(StdinReply { token: "t".to_owned(), bytes: 3 });
    check(CancelReply { tasks: vec![bare_task()], already_ended: vec![TaskId::from("a")] });
    check(WaitReply { verdict: Verdict::TimedOut, tasks: Vec::new() });
    check(OutputReply {
        text: odd(),
        next_cursor: 9,
        bytes: 9,
        dropped_bytes: 2,
        gaps: vec![Gap { at: 1, from: 2, to: 4 }],
        truncated: true,
        attempt: 1,
        state: State::Running,
        ended: false,
    });
    check(LanesReply { lanes: vec![lane()] });
    check(PruneReply { done: vec![Pruned { task: None, text: "t".to_owned() }] });
    check(CleanReply { tasks: 1, bytes: 2 });
    let (name, text) = ("store".to_owned(), "fine".to_owned());
    check(DoctorReply {
        checks: vec![Check { name, health: Health::Warning, text, hint: vec![] }],
    });
    check(ConfigReply {
        path: odd(),
        entries: vec![ConfigEntry {
            key: "k".to_owned(),
            value: json!(3),
            default: json!(5),
            source: ConfigSource::File,
            restart_needed: false,
            help: "h".to_owned(),
        }],
    });
    check(DaemonStatus {
        pid: 1,
        version: "0".to_owned(),
        uptime_ms: 2,
        started_at: at(1),
        home: odd(),
        socket: odd(),
        log: odd(),
        lanes: vec![lane()],
        protocol: SUPPORTED,
        store: StoreStatus { path: odd(), bytes: 1, schema: 1, last_event: 3 },
        tasks: SummaryReply::default(),
        supervisors: 0,
        waiters: 0,
        refusing: None,
    });
    check(StopReply { pid: 1, still_running: 2, cancelled: 0 });
    check(Event {
        seq: 1,
        at: at(1),
        kind: "ended".to_owned(),
        task: None,
        session: None,
        attempt: None,
        data: Value::Null,
    });
}

#[test]
fn queries_survive_their_query_string() {
    check_query(ListQuery::default());
    check_query(ListQuery {
        state: State::ALL.to_vec(),
        kind: Some(TaskKind::Agent),
        lane: Some("a/b c".to_owned()),
        group: Some("g&h=i".to_owned()),
        session: Some("größe".to_owned()),
        label: vec!["k=v".to_owned(), "k2".to_owned()],
        name: Some("n+m".to_owned()),
        id: vec![TaskId::from("a"), TaskId::from("b")],
        since: Some(at(1_000)),
        limit: Some(5),
        any_session: true,
    });
    check_query(StatusQuery { id: vec![TaskId::from("a name")] });
    check_query(OutputQuery {
        attempt: Some(2),
        head: Some(1),
        tail: Some(2),
        grep: Some("^a.*[b&]$".to_owned()),
        since: Some(0),
        max_bytes: Some(10),
        stream: Some("stderr".to_owned()),
        raw: true,
        follow: true,
        redact: true,
    });
    check_query(ConfigQuery { key: Some("lanes.\"a b\".limit".to_owned()) });
    check_query(EventsQuery {
        since: Some(4),
        kind: vec!["ended".to_owned()],
        task: Some(TaskId::from("a")),
        session: Some("s".to_owned()),
        any_session: true,
    });
}

#[test]
fn absent_facts_of_a_task_are_null_and_every_name_is_there() {
    let task = serde_json::to_value(bare_task()).unwrap();
    let names = "id kind name session group labels lane priority state cause exit_code signal \
        created_at started_at ended_at duration_ms attempt attempts command cwd queue_position log \
        progress result outcome usage questions ready waiting stuck deadline waiting_for role driver \
        model autonomy enforced_by activity parent children env_from pid supervisor_pid leaked limits";
    for name in names.split_whitespace() {
        assert!(task.get(name).is_some(), "{name} is missing");
    }
    assert_eq!(task["cause"], Value::Null);
    assert_eq!(task["created_at"], "1970-01-01T00:00:00.000Z");
}

#[test]
fn a_cause_is_an_object_with_its_kind() {
    assert_eq!(serde_json::to_value(Cause::Oom).unwrap(), json!({ "kind": "oom" }));
    let timeout = serde_json::to_value(Cause::Timeout { after: 5 }).unwrap();
    assert_eq!(timeout, json!({ "kind": "timeout", "after": 5 }));
    let newer: Cause = serde_json::from_value(json!({ "kind": "meteor", "size": 3 })).unwrap();
    assert_eq!(newer, Cause::Unknown);
}

#[test]
fn a_newer_daemon_may_add_fields_to_a_task() {
    let mut task = serde_json::to_value(bare_task()).unwrap();
    task["from_the_future"] = json!(1);
    assert_eq!(serde_json::from_value::<Task>(task).unwrap(), bare_task());
}

#[test]
fn debug_output_of_a_caller_hides_its_environment() {
    let mut caller = caller();
    caller.env.push((OsText::from("API_KEY"), OsText::from("sentinel-secret")));
    assert!(!format!("{caller:?}").contains("sentinel-secret"));
}
