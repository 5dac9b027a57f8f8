//! What several tests of the SQLite store begin with.

use meanwhile_core::spec::{
    Command as TaskCommand, EnvSpec, Placement, ProcessContext, ResourceLimits, RetryPolicy, Stdin,
    TaskSpec, Timing,
};
use meanwhile_core::{Event, Fact, LaneName, SessionId, TaskId, Wall};

/// A submission of the `n`th task, with a command of this many bytes.
pub(crate) fn submission(n: u64, bytes: usize) -> Event {
    let spec = TaskSpec {
        name: None,
        command: TaskCommand::Argv(vec![b"echo".to_vec(), vec![b'x'; bytes]]),
        cwd: b"/".to_vec(),
        labels: Vec::new(),
        env: EnvSpec { from: "client".into(), ..EnvSpec::default() },
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
    let (spec, placement) = (Box::new(spec), Box::new(placement));
    let fact = Fact::Submitted { spec, placement, order: n, not_before: None };
    Event { at: Wall(1_790_000_000_000), task: TaskId::from_random(n * 7919), attempt: 1, fact }
}
