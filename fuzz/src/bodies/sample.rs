//! A small store as a home has it after a while: what foreign bytes are then aimed at.
//!
//! Three tasks: one queued behind another, one that has ended with everything measured, one that was
//! tried again. Owns their launches, which are also seeds of the fuzzer.

use std::path::Path;
use std::time::Duration;

use meanwhile_core::cause::{Actor, Cause};
use meanwhile_core::event::{End, Event, Exit, Fact, RunFigures, Stop};
use meanwhile_core::notice::{Notify, Part, Scope};
use meanwhile_core::spec::Placement;
use meanwhile_core::{
    AttemptToken, GroupName, LaneName, Notice, Now, SessionId, State, TaskId, Wall,
};
use meanwhile_store::{Batch, Identity, SqliteStore, Store, fuzzing};

/// The ids, in the order of submission.
pub(super) const TASKS: [u64; 3] = [0x1_2345_6789_abcd, 0x2_2345_6789_abcd, 0x3_0000_0000_0001];

const PLAIN: &str = r#"{"v":1,"spec":{"command":{"argv":["true"]},"cwd":"/","env":{"profile":"agent","from":"client"},"process":{"umask":18},"timing":{"grace_ns":10000000000}},"by_person":true}"#;
const FULL: &str = r#"{"v":1,"spec":{"name":"build","command":{"shell":{"b64":"YSD/"}},"cwd":"/c","labels":[["k","v"]],"env":{"captured":"f","set":[["A","b"]],"keep":["K"],"profile":"ci","from":"session"},"process":{"umask":63,"rlimits":[[7,1,18446744073709551615]]},"stdin":{"file":"/i"},"pty":[80,24],"limits":{"max_log":1,"memory":2,"cpus":3,"pids":4,"nice":-5},"timing":{"timeout_ns":6,"idle_timeout_ns":7,"grace_ns":8},"retry":{"retries":9,"backoff_ns":10,"on_codes":[-1]},"delay_ns":11,"ready":{"port":80},"service":true,"artifacts":["*"],"keep_tmp":true,"keep_leaked":true,"idempotent":true,"idempotency_key":"i","extra":[["x","y"]]},"over_limit":true}"#;

pub(super) fn identity() -> Identity {
    Identity { machine: "m".into(), pid_namespace: 1, boot: "b".into() }
}

/// Makes the store in a file that is not there yet.
pub(super) fn fill(path: &Path) -> SqliteStore {
    let mut store = SqliteStore::open(path, &identity()).expect("a store can be made");
    let events = events();
    let batch = Batch {
        events: &events,
        now: Now { wall: Wall(3_000), ..Now::default() },
        ..Batch::default()
    };
    store.commit(&batch).expect("these facts follow each other");
    store
}

fn events() -> Vec<Event> {
    let [queued, ended, again] = TASKS.map(TaskId::from_random);
    let mut events = Vec::new();
    let mut add = |task, attempt, fact| {
        let at = Wall(1_000 + events.len() as i64);
        events.push(Event { at, task, attempt, fact });
    };
    for (order, (task, launch)) in (1..).zip([(queued, PLAIN), (ended, FULL), (again, PLAIN)]) {
        let (spec, placement) =
            fuzzing::launch_from_text(launch, &columns()).expect("a launch of ours");
        let (spec, placement) = (Box::new(spec), Box::new(placement));
        add(task, 1, Fact::Submitted { spec, placement, order, not_before: None });
    }
    for task in [ended, again] {
        add(task, 1, Fact::Starting { token: AttemptToken([1; 16]) });
        add(task, 1, Fact::Started { pid: 11, supervisor_pid: 10, deadline: Some(Wall(9_000)) });
    }
    add(ended, 1, Fact::Ready { how: "port 80".into() });
    let timeout = Some(Duration::from_secs(7));
    add(ended, 1, Fact::Extended { timeout, deadline: None, by: Actor::Person });
    add(again, 1, Fact::StopRequested { stop: Stop::Cancel { by: Actor::Task(ended) } });
    add(ended, 1, end(State::Completed, Cause::Exit { code: 0 }));
    add(again, 1, end(State::Failed, Cause::Exit { code: 3 }));
    let by = Some(Actor::Session(SessionId::new("s")));
    let retried =
        Fact::Retried { order: 9, not_before: None, by, retries_used: 0, lost_retries: 0 };
    add(again, 2, retried);
    events
}

fn columns() -> Placement {
    Placement {
        session: SessionId::user(),
        group: Some(GroupName::new("g")),
        lane: LaneName::new("commands"),
        priority: 0,
        ancestors: Vec::new(),
        over_limit: false,
        by_person: false,
    }
}

fn end(state: State, cause: Cause) -> Fact {
    let code = i32::from(state == State::Failed) * 3;
    let run = RunFigures {
        ran_for: Duration::from_millis(20),
        max_rss: 1 << 20,
        log_bytes: 30,
        leaked: 1,
        leaked_names: vec!["sleep".into()],
        ..RunFigures::default()
    };
    let exit = Some(Exit::Code(code));
    let end = Box::new(End { state, cause, exit, run: Some(run), seat_kept: false });
    let scope = Scope { session: SessionId::user(), part: Part::Rest };
    Fact::Ended { end, notice: Some(Box::new(Notice { scope, notify: Notify::AllDone })) }
}
