//! What several tests of the SQLite store begin with.

use meanwhile_core::spec::{Command as TaskCommand, Placement, TaskSpec};
use meanwhile_core::{Event, Fact, LaneName, SessionId, TaskId, Wall};
use meanwhile_testkit::conformance::plain;

/// A submission of the `n`th task, with a command of this many bytes.
pub(crate) fn submission(n: u64, bytes: usize) -> Event {
    let command = TaskCommand::Argv(vec![b"echo".to_vec(), vec![b'x'; bytes]]);
    let spec = TaskSpec { command, ..plain() };
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
