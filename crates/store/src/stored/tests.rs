//! The written forms, word for word: what one release wrote, every later one reads.

use std::time::Duration;

use meanwhile_core::TaskId;
use meanwhile_core::cause::{Actor, Cause};
use meanwhile_core::event::{End, Exit, Fact, Stop};
use meanwhile_core::notice::{Notify, Part, Scope};
use meanwhile_core::spec::{
    Command, Condition, Dependency, EnvProfile, EnvSpec, Placement, ProcessContext, Readiness,
    ResourceLimits, RetryPolicy, Stdin, TaskSpec, Timing,
};
use meanwhile_core::{GroupName, LaneName, Notice, SessionId, State, Wall};

use super::launch::{self, Origin};
use super::log::{from_data, logged, to_data};

fn plain() -> (TaskSpec, Placement) {
    let spec = TaskSpec {
        name: None,
        command: Command::Argv(vec![b"true".to_vec()]),
        cwd: b"/src".to_vec(),
        labels: Vec::new(),
        env: EnvSpec { from: "client".into(), ..EnvSpec::default() },
        process: ProcessContext { umask: 0o022, rlimits: Vec::new() },
        stdin: Stdin::Null,
        pty: None,
        limits: ResourceLimits::default(),
        timing: Timing { grace: Duration::from_secs(10), ..Timing::default() },
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
    };
    let placement = Placement {
        session: SessionId::user(),
        group: None,
        lane: LaneName::new("commands"),
        priority: 0,
        ancestors: Vec::new(),
        over_limit: false,
        by_person: true,
    };
    (spec, placement)
}

fn with_everything() -> (TaskSpec, Placement) {
    let task = TaskId::from_random;
    let spec = TaskSpec {
        name: Some("n".into()),
        command: Command::Shell(b"a \xff".to_vec()),
        cwd: b"/c".to_vec(),
        labels: vec![("k".into(), "v".into())],
        env: EnvSpec {
            captured: Some("f".into()),
            set: vec![(b"A".to_vec(), b"b".to_vec())],
            keep: vec![b"K".to_vec()],
            profile: EnvProfile::Ci,
            from: "session".into(),
        },
        process: ProcessContext { umask: 0o077, rlimits: vec![(7, 1, u64::MAX)] },
        stdin: Stdin::File(b"/i".to_vec()),
        pty: Some((80, 24)),
        limits: ResourceLimits {
            max_log: Some(1),
            memory: Some(2),
            cpus: Some(3),
            pids: Some(4),
            nice: Some(-5),
        },
        timing: Timing {
            timeout: Some(Duration::from_nanos(6)),
            idle_timeout: Some(Duration::from_nanos(7)),
            grace: Duration::from_nanos(8),
        },
        retry: RetryPolicy { retries: 9, backoff: Duration::from_nanos(10), on_codes: vec![-1] },
        after: vec![
            Dependency { task: task(1), condition: Condition::Ok },
            Dependency { task: task(2), condition: Condition::Any },
            Dependency { task: task(3), condition: Condition::Fail },
        ],
        delay: Some(Duration::from_nanos(11)),
        ready: Some(Readiness::Port(80)),
        service: true,
        artifacts: vec!["*".into()],
        keep_tmp: true,
        keep_leaked: true,
        idempotent: true,
        idempotency_key: Some("i".into()),
        extra: vec![("x".into(), "y".into())],
    };
    let placement = Placement {
        session: SessionId::new("s"),
        group: Some(GroupName::new("g")),
        lane: LaneName::new("l"),
        priority: 1,
        ancestors: vec![task(4), task(5)],
        over_limit: true,
        by_person: false,
    };
    (spec, placement)
}

fn check_launch((spec, placement): (TaskSpec, Placement), json: &str) {
    assert_eq!(launch::to_json(&spec, &placement), json);
    let Placement { ancestors, over_limit, by_person, .. } = placement;
    let read = launch::from_json(json);
    assert_eq!(read, Ok((spec, Origin { ancestors, over_limit, by_person })));
}

#[test]
fn launches_are_written_as_the_first_release_wrote_them() {
    check_launch(
        plain(),
        concat!(
            r#"{"v":1,"spec":{"command":{"argv":["true"]},"cwd":"/src","#,
            r#""env":{"profile":"agent","from":"client"},"process":{"umask":18},"#,
            r#""timing":{"grace_ns":10000000000}},"by_person":true}"#
        ),
    );
    check_launch(
        with_everything(),
        concat!(
            r#"{"v":1,"spec":{"name":"n","command":{"shell":{"b64":"YSD/"}},"cwd":"/c","#,
            r#""labels":[["k","v"]],"env":{"captured":"f","set":[["A","b"]],"keep":["K"],"#,
            r#""profile":"ci","from":"session"},"#,
            r#""process":{"umask":63,"rlimits":[[7,1,18446744073709551615]]},"#,
            r#""stdin":{"file":"/i"},"pty":[80,24],"#,
            r#""limits":{"max_log":1,"memory":2,"cpus":3,"pids":4,"nice":-5},"#,
            r#""timing":{"timeout_ns":6,"idle_timeout_ns":7,"grace_ns":8},"#,
            r#""retry":{"retries":9,"backoff_ns":10,"on_codes":[-1]},"#,
            r#""after":[{"task":"0000000001","condition":"ok"},"#,
            r#"{"task":"0000000002","condition":"any"},{"task":"0000000003","condition":"fail"}],"#,
            r#""delay_ns":11,"ready":{"port":80},"service":true,"artifacts":["*"],"#,
            r#""keep_tmp":true,"keep_leaked":true,"idempotent":true,"idempotency_key":"i","#,
            r#""extra":[["x","y"]]},"ancestors":["0000000004","0000000005"],"over_limit":true}"#
        ),
    );
}

#[test]
fn a_launch_with_something_unknown_is_damage() {
    let (spec, placement) = plain();
    let json = launch::to_json(&spec, &placement);
    for (from, to) in [
        (r#""v":1"#, r#""v":2"#),
        (r#""v":1"#, r#""w":1"#),
        (r#""cwd""#, r#""cwe""#),
        (r#""umask":18"#, r#""umask":18,"new":1"#),
        (r#""agent""#, r#""agents""#),
        (r#""grace_ns":10000000000"#, r#""grace_ns":-1"#),
    ] {
        let changed = json.replace(from, to);
        assert_ne!(changed, json, "{from} is in it");
        assert!(launch::from_json(&changed).is_err(), "{changed}");
    }
}

fn notice() -> Notice {
    let scope = Scope { session: SessionId::new("s"), part: Part::Rest };
    Notice { scope, notify: Notify::AllDone }
}

#[test]
fn log_entries_are_written_as_the_first_release_wrote_them() {
    let (spec, placement) = plain();
    let by = Actor::Person;
    let end = |state, cause, exit, seat_kept| Fact::Ended {
        end: Box::new(End { state, cause, exit, run: None, seat_kept }),
        notice: None,
    };
    let retried =
        |by| Fact::Retried { order: 1, not_before: None, by, retries_used: 1, lost_retries: 0 };
    for (fact, kind, data) in [
        (
            Fact::Submitted {
                spec: Box::new(spec),
                placement: Box::new(placement),
                order: 1,
                not_before: None,
            },
            "submitted",
            None,
        ),
        (Fact::Starting { token: meanwhile_core::AttemptToken([1; 16]) }, "starting", None),
        (
            Fact::Started { pid: 2, supervisor_pid: 1, deadline: None },
            "started",
            Some(r#"{"pid":2,"supervisor_pid":1}"#),
        ),
        (Fact::Ready { how: "x".into() }, "ready", Some(r#"{"how":"x"}"#)),
        (
            Fact::Extended { timeout: None, deadline: Some(Wall(5)), by: by.clone() },
            "extended",
            Some(r#"{"timeout_ns":null,"deadline_ms":5,"by":"person"}"#),
        ),
        (
            Fact::StopRequested { stop: Stop::Cancel { by: by.clone() } },
            "stop_requested",
            Some(r#"{"kind":"cancel","by":"person"}"#),
        ),
        (
            end(State::Failed, Cause::Exit { code: 3 }, Some(Exit::Code(3)), true),
            "ended",
            Some(
                r#"{"state":"failed","cause":"{\"kind\":\"exit\",\"code\":3}","code":3,"seat_kept":true}"#,
            ),
        ),
        (
            end(State::Interrupted, Cause::Lost, Some(Exit::Signal(9)), false),
            "ended",
            Some(r#"{"state":"interrupted","cause":"{\"kind\":\"lost\"}","signal":9}"#),
        ),
        (Fact::Requeued { crashes: 2 }, "requeued", Some(r#"{"crashes":2}"#)),
        (retried(None), "retried", None),
        (retried(Some(by)), "reopened", Some(r#"{"by":"person"}"#)),
        (
            Fact::DeadlineNear { deadline: Wall(7), notice: Box::new(notice()) },
            "deadline_near",
            Some(r#"{"deadline_ms":7}"#),
        ),
        (Fact::Rebound { session: SessionId::new("s") }, "rebound", Some(r#"{"session":"s"}"#)),
        (Fact::Emptied, "emptied", None),
        (Fact::Refused { what: "x".into() }, "refused", Some(r#"{"what":"x"}"#)),
        (Fact::Forgotten, "forgotten", None),
    ] {
        assert_eq!((fact.name(), to_data(&fact).as_deref()), (kind, data));
        assert_eq!(from_data(kind, data), Ok(logged(&fact)), "{kind}");
    }
    assert!(from_data("began", None).is_err());
    assert!(from_data("started", None).is_err());
    assert!(from_data("ready", Some("{")).is_err());
}
