//! Made-up tasks and facts to fill stores with.

use std::time::Duration;

use meanwhile_core::cause::{Actor, Cause};
use meanwhile_core::event::{End, Exit, RunFigures};
use meanwhile_core::spec::{
    Command, Condition, Dependency, EnvProfile, EnvSpec, Placement, ProcessContext, Readiness,
    ResourceLimits, RetryPolicy, Stdin, TaskSpec, Timing,
};
use meanwhile_core::time::Due;
use meanwhile_core::{
    AttemptToken, Boot, Event, Fact, GroupName, LaneName, Now, SessionId, State, TaskId, Wall,
};
use meanwhile_store::{Batch, Committed, Store};

/// A moment in 2026.
pub(super) const T0: i64 = 1_790_000_000_000;

/// The `n`th made-up id, scattered over the whole range as random ones are.
pub(super) fn id(n: u64) -> TaskId {
    TaskId::from_random(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7)
}

pub(super) const fn at(seconds: i64) -> Wall {
    Wall(T0 + seconds * 1000)
}

pub(super) const fn now(seconds: i64) -> Now {
    Now { wall: at(seconds), boot: Boot(5_000_000 + (seconds * 1000).unsigned_abs()) }
}

/// A command without any option.
pub fn plain() -> TaskSpec {
    TaskSpec {
        name: None,
        command: Command::Argv(vec![b"true".to_vec()]),
        cwd: b"/src".to_vec(),
        labels: Vec::new(),
        env: EnvSpec { from: "client".into(), ..EnvSpec::default() },
        process: ProcessContext { umask: 0o022, rlimits: Vec::new() },
        stdin: Stdin::Null,
        pty: None,
        limits: ResourceLimits::default(),
        timing: Timing { timeout: None, idle_timeout: None, grace: Duration::from_secs(10) },
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

/// A task that uses every field.
pub(super) fn with_everything() -> TaskSpec {
    TaskSpec {
        name: Some("größtes \"build\"\n".into()),
        command: Command::Argv(vec![b"/bin/sh".to_vec(), b"-c".to_vec(), vec![], vec![0xff, 0xc3]]),
        cwd: b"/a/\xf0\x28/b".to_vec(),
        labels: vec![("k".into(), "v".into()), ("k".into(), "w".into()), ("ü".into(), "".into())],
        env: EnvSpec {
            captured: Some("0123abcd".into()),
            set: vec![(b"A".to_vec(), b"b=c".to_vec()), (b"\xfe".to_vec(), vec![])],
            keep: vec![b"PAGER".to_vec(), b"\xfd".to_vec()],
            profile: EnvProfile::Ci,
            from: "session".into(),
        },
        process: ProcessContext {
            umask: 0o077,
            rlimits: vec![(7, 1024, u64::MAX), (0, u64::MAX - 1, u64::MAX)],
        },
        stdin: Stdin::File(b"/tmp/\xff".to_vec()),
        pty: Some((80, 24)),
        limits: ResourceLimits {
            max_log: Some(1 << 40),
            memory: Some(u64::MAX),
            cpus: Some(3),
            pids: Some(0),
            nice: Some(-5),
        },
        timing: Timing {
            timeout: Some(Duration::new(3600, 1)),
            idle_timeout: Some(Duration::from_millis(1)),
            grace: Duration::ZERO,
        },
        retry: RetryPolicy {
            retries: 100,
            backoff: Duration::from_millis(1500),
            on_codes: vec![0, -1, 255],
        },
        after: [Condition::Ok, Condition::Any, Condition::Fail]
            .into_iter()
            .zip(900..)
            .map(|(condition, n)| Dependency { task: id(n), condition })
            .collect(),
        delay: Some(Duration::from_nanos(1)),
        ready: Some(Readiness::Pattern("^ready \\d+$".into())),
        service: true,
        artifacts: vec!["**/*.xml".into()],
        keep_tmp: true,
        keep_leaked: true,
        idempotent: true,
        idempotency_key: Some("once".into()),
        extra: vec![("notify".into(), "each".into()), ("notify".into(), "".into())],
    }
}

/// A person's place in the usual lane.
pub(super) fn place() -> Placement {
    Placement {
        session: SessionId::user(),
        group: None,
        lane: LaneName::new("commands"),
        priority: 0,
        ancestors: Vec::new(),
        over_limit: false,
        by_person: true,
    }
}

/// A place that uses every field.
pub(super) fn place_with_everything() -> Placement {
    Placement {
        session: SessionId::new("claude:1 ü"),
        group: Some(GroupName::new("batch 7")),
        lane: LaneName::new("anthropic/opus"),
        priority: -3,
        ancestors: vec![id(801), id(802)],
        over_limit: true,
        by_person: false,
    }
}

pub(super) fn event(task: TaskId, attempt: u32, at: Wall, fact: Fact) -> Event {
    Event { at, task, attempt, fact }
}

pub(super) fn submit_as(task: TaskId, at: Wall, spec: TaskSpec, placement: Placement) -> Event {
    let (spec, placement) = (Box::new(spec), Box::new(placement));
    let order = at.0.unsigned_abs();
    event(task, 1, at, Fact::Submitted { spec, placement, order, not_before: None })
}

pub(super) fn submit(task: TaskId, at: Wall) -> Event {
    submit_as(task, at, plain(), place())
}

pub(super) fn token(n: u8) -> AttemptToken {
    AttemptToken([n; 16])
}

pub(super) fn starting(task: TaskId, attempt: u32, at: Wall) -> Event {
    event(task, attempt, at, Fact::Starting { token: token(u8::try_from(attempt).unwrap()) })
}

pub(super) fn started(task: TaskId, attempt: u32, when: Wall) -> Event {
    let deadline = Some(when.after(Duration::from_secs(300)));
    event(task, attempt, when, Fact::Started { pid: 4711, supervisor_pid: 4710, deadline })
}

/// What a run of this long was measured to be.
pub(super) fn figures(ended_at: Wall, ran_for: Duration) -> RunFigures {
    RunFigures {
        started_at: Wall(ended_at.0 - i64::try_from(ran_for.as_millis()).unwrap()),
        ended_at,
        ran_for,
        cpu: Duration::from_nanos(123_456_789),
        max_rss: 3 << 20,
        log_bytes: 1000,
        dropped_bytes: 0,
        leaked: 0,
        leaked_names: Vec::new(),
    }
}

pub(super) fn ended(task: TaskId, attempt: u32, at: Wall, end: End) -> Event {
    event(task, attempt, at, Fact::Ended { end: Box::new(end), notice: None })
}

/// The end of a run with this exit code.
pub(super) fn exit(at: Wall, code: i32) -> End {
    End {
        state: if code == 0 { State::Completed } else { State::Failed },
        cause: Cause::Exit { code },
        exit: Some(Exit::Code(code)),
        run: Some(figures(at, Duration::from_secs(1))),
        seat_kept: false,
    }
}

pub(super) fn retried(task: TaskId, attempt: u32, at: Wall, by: Option<Actor>) -> Event {
    let fact = Fact::Retried { order: 9, not_before: None, by, retries_used: 1, lost_retries: 2 };
    event(task, attempt, at, fact)
}

pub(super) fn due(boot: u64, wall: Wall) -> Due {
    Due { boot: Boot(boot), wall }
}

/// A life from the submission to an exit with this code, a second per step.
pub(super) fn life(task: TaskId, from: i64, code: i32) -> Vec<Event> {
    vec![
        submit(task, at(from)),
        starting(task, 1, at(from + 1)),
        started(task, 1, at(from + 2)),
        ended(task, 1, at(from + 3), exit(at(from + 3), code)),
    ]
}

/// Commits facts and nothing else.
pub(super) fn commit(store: &mut dyn Store, events: &[Event]) -> Committed {
    let batch = Batch { now: now(0), events, ..Batch::default() };
    store.commit(&batch).expect("the store takes the facts")
}
