//! Promises about what each fact makes of a task.

use std::time::Duration;

use meanwhile_core::cause::{Actor, Cause, SpawnStage};
use meanwhile_core::event::{End, Exit, RunFigures, Stop};
use meanwhile_core::spec::{Command, Condition, Dependency, Stdin};
use meanwhile_core::{Event, Fact, SessionId, State, TaskId, TaskSpec};
use meanwhile_store::{AttemptRecord, Extension, Logged, ReadyRecord, Store, TaskRecord};

use super::Harness;
use super::samples::{
    at, commit, due, ended, event, exit, figures, id, life, place, place_with_everything, plain,
    retried, started, starting, submit, submit_as, token, with_everything,
};

pub(super) fn every_part_of_a_launch_reads_back_as_it_was_given(harness: &dyn Harness) {
    let (spec, placement) = (with_everything(), place_with_everything());
    let not_before = Some(due(77, at(88)));
    let fact = Fact::Submitted {
        spec: Box::new(spec.clone()),
        placement: Box::new(placement.clone()),
        order: 1 << 60,
        not_before,
    };
    let mut store = harness.open();
    commit(&mut *store, &[event(id(1), 1, at(5), fact)]);
    let expected = TaskRecord {
        id: id(1),
        spec: spec.clone(),
        placement,
        created_at: at(5),
        state: State::Queued,
        order: 1 << 60,
        not_before,
        stop: None,
        retries_used: 0,
        lost_retries: 0,
        seat_kept: false,
        children: Vec::new(),
        attempts: vec![fresh(1, 5)],
    };
    assert_eq!(harness.reader().task(id(1)), Ok(Some(expected)));
    assert_eq!(store.spec(id(1)), Ok(Some(spec)));
    assert_eq!(store.spec(id(2)), Ok(None));
}

pub(super) fn what_is_queued_next_is_told_in_the_order_of_submission(harness: &dyn Harness) {
    let mut store = harness.open();
    let named = |n: u64| TaskSpec { name: Some(format!("task {n}")), ..plain() };
    // Ids are random: their order says nothing.
    let order = [5, 2, 9, 1, 7];
    for n in order {
        commit(&mut *store, &[submit_as(id(n), at(0), named(n), place())]);
    }
    commit(&mut *store, &[starting(id(9), 1, at(1))]);
    let mut next = |after: u64, n: usize| -> Vec<u64> {
        let found = store.queued_after(id(after), n).unwrap();
        let number = |task: TaskId| (0..20).find(|n| id(*n) == task).unwrap();
        for (task, spec) in &found {
            assert_eq!(**spec, named(number(*task)));
        }
        found.into_iter().map(|(task, _)| number(task)).collect()
    };
    assert_eq!(next(5, 10), [2, 1, 7], "one is no longer queued");
    assert_eq!(next(9, 10), [1, 7], "from one that is no longer queued");
    assert_eq!(next(5, 2), [2, 1]);
    assert_eq!(next(7, 10), [0; 0]);
    assert_eq!(next(3, 10), [0; 0], "nobody knows that one");
}

pub(super) fn bytes_that_are_no_text_and_megabytes_of_arguments_survive(harness: &dyn Harness) {
    let long: Vec<u8> = (0..2_000_000u32).map(|n| n.to_le_bytes()[0].max(1)).collect();
    let mut commands = vec![
        Command::Shell(b"printf '\xff\\n'".to_vec()),
        Command::Argv(vec![b"x".to_vec(), long]),
        Command::Argv(vec![vec![b'y'; 100]; 10_000]),
    ];
    let mut store = harness.open();
    for (n, command) in (1..).zip(&mut commands) {
        let mut spec = plain();
        spec.command = command.clone();
        spec.stdin = Stdin::Spooled;
        commit(&mut *store, &[submit_as(id(n), at(0), spec.clone(), place())]);
        assert!(store.spec(id(n)) == Ok(Some(spec)), "launch {n} did not read back");
    }
}

fn fresh(number: u32, queued_at: i64) -> AttemptRecord {
    AttemptRecord {
        number,
        state: State::Queued,
        queued_at: at(queued_at),
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

/// Commits one fact and gives the task as it is then.
fn after(store: &mut dyn Store, fact: Event) -> TaskRecord {
    let task = fact.task;
    commit(store, &[fact]);
    store.task(task).expect("it reads").expect("it is kept")
}

pub(super) fn a_life_reads_back_step_by_step(harness: &dyn Harness) {
    let (mut store, task) = (harness.open(), id(1));
    assert_eq!(after(&mut *store, submit(task, at(0))).attempts, [fresh(1, 0)]);

    let mut expected =
        AttemptRecord { state: State::Starting, token: Some(token(1)), ..fresh(1, 0) };
    let record = after(&mut *store, starting(task, 1, at(1)));
    assert_eq!((record.state, record.attempts), (State::Starting, vec![expected.clone()]));

    expected.state = State::Running;
    (expected.pid, expected.supervisor_pid) = (Some(4711), Some(4710));
    (expected.started_at, expected.deadline) = (Some(at(2)), Some(at(302)));
    let record = after(&mut *store, started(task, 1, at(2)));
    assert_eq!((record.state, record.attempts), (State::Running, vec![expected.clone()]));

    let how = "Listening on \u{1b}[1m:80".to_owned();
    expected.ready = Some(ReadyRecord { at: at(3), how: how.clone() });
    let record = after(&mut *store, event(task, 1, at(3), Fact::Ready { how }));
    assert_eq!(record.attempts, vec![expected.clone()]);

    let by = Actor::Session(SessionId::new("s 1"));
    let stop = Stop::Report { by, failed: true, message: "enough\n".into() };
    let record =
        after(&mut *store, event(task, 1, at(4), Fact::StopRequested { stop: stop.clone() }));
    assert_eq!((record.stop, record.attempts), (Some(stop), vec![expected.clone()]));

    let run = RunFigures {
        leaked: 2,
        leaked_names: vec!["sleep".into(), "a\"b".into()],
        dropped_bytes: 17,
        ..figures(at(6), Duration::new(3, 999_999_999))
    };
    let end = End {
        state: State::Failed,
        cause: Cause::Signal { number: 11 },
        exit: Some(Exit::Signal(11)),
        run: Some(run.clone()),
        seat_kept: false,
    };
    expected.state = State::Failed;
    (expected.cause, expected.exit) = (Some(Cause::Signal { number: 11 }), Some(Exit::Signal(11)));
    (expected.started_at, expected.ended_at) = (Some(run.started_at), Some(at(6)));
    expected.run = Some(run);
    let record = after(&mut *store, ended(task, 1, at(7), end));
    assert_eq!((record.state, record.stop), (State::Failed, None));
    assert_eq!(record.attempts, [expected]);
}

pub(super) fn a_requeued_attempt_keeps_its_number_and_its_extension(harness: &dyn Harness) {
    let (mut store, task) = (harness.open(), id(1));
    let timeout = Some(Duration::from_secs(9));
    let extended = Fact::Extended { timeout, deadline: None, by: Actor::Task(id(3)) };
    let delayed = Fact::Submitted {
        spec: Box::new(plain()),
        placement: Box::new(place()),
        order: 4,
        not_before: Some(due(1, at(1))),
    };
    commit(
        &mut *store,
        &[
            event(task, 1, at(0), delayed),
            event(task, 1, at(1), extended),
            starting(task, 1, at(2)),
            started(task, 1, at(3)),
            event(task, 1, at(3), Fact::Ready { how: "x".into() }),
        ],
    );
    let record = after(&mut *store, event(task, 1, at(4), Fact::Requeued { crashes: 3 }));
    assert_eq!((record.state, record.order), (State::Queued, 4));
    assert_eq!(record.not_before, None, "its delay is over");
    let extended = Some(Extension { timeout, by: Actor::Task(id(3)) });
    assert_eq!(record.attempts, [AttemptRecord { crashes: 3, extended, ..fresh(1, 0) }]);
}

pub(super) fn a_retry_starts_anew_and_leaves_the_old_attempt_readable(harness: &dyn Harness) {
    let (mut store, task) = (harness.open(), id(1));
    commit(&mut *store, &life(task, 0, 3));
    let first = store.task(task).unwrap().unwrap();
    let not_before = Some(due(50, at(60)));
    let again = |attempt, by| Fact::Retried {
        order: 100 + u64::from(attempt),
        not_before,
        by,
        retries_used: attempt,
        lost_retries: 7,
    };
    let record = after(&mut *store, event(task, 2, at(10), again(2, None)));
    assert_eq!(record.attempts, [first.current().clone(), fresh(2, 10)]);
    assert_eq!((record.state, record.order), (State::Queued, 102));
    assert_eq!((record.retries_used, record.lost_retries), (2, 7));
    assert_eq!((record.not_before, record.created_at), (not_before, at(0)));

    let crash = event(task, 2, at(12), Fact::Requeued { crashes: 1 });
    let mut end = exit(at(13), 0);
    end.run = None;
    commit(&mut *store, &[starting(task, 2, at(11)), crash, ended(task, 2, at(13), end)]);
    let second = store.task(task).unwrap().unwrap();
    assert_eq!(second.not_before, None, "an ended task waits for nothing");
    let record = after(&mut *store, event(task, 3, at(20), again(3, Some(Actor::Person))));
    let expected = [first.current().clone(), second.current().clone(), fresh(3, 20)];
    assert_eq!(record.attempts, expected);
    assert_eq!(second.current().crashes, 1);
    assert_eq!(store.task(task).unwrap().unwrap(), record);
}

pub(super) fn a_kept_seat_is_remembered_until_it_is_emptied(harness: &dyn Harness) {
    let (mut store, task) = (harness.open(), id(1));
    let end = End { cause: Cause::Unkillable, seat_kept: true, ..exit(at(3), 1) };
    let life = [submit(task, at(0)), starting(task, 1, at(1)), started(task, 1, at(2))];
    commit(&mut *store, &life);
    assert!(after(&mut *store, ended(task, 1, at(3), end)).seat_kept);
    let record = after(&mut *store, event(task, 1, at(4), Fact::Emptied));
    assert!(!record.seat_kept);
    assert_eq!(record.state, State::Failed);
}

pub(super) fn an_extension_counts_for_its_attempt_alone(harness: &dyn Harness) {
    let (mut store, task) = (harness.open(), id(1));
    let mut spec = plain();
    spec.timing.timeout = Some(Duration::from_secs(300));
    commit(&mut *store, &[submit_as(task, at(0), spec.clone(), place())]);
    let extend = |timeout, deadline| {
        event(task, 1, at(3), Fact::Extended { timeout, deadline, by: Actor::Person })
    };
    let longer = Some(Duration::from_secs(600));
    let record = after(&mut *store, extend(longer, None));
    assert_eq!(record.current().timeout(&spec), longer);
    let running = [starting(task, 1, at(1)), started(task, 1, at(2))];
    commit(&mut *store, &running);
    let record = after(&mut *store, extend(None, None));
    assert_eq!((record.current().timeout(&spec), record.current().deadline), (None, None));
    let record = after(&mut *store, extend(longer, Some(at(602))));
    assert_eq!(record.current().deadline, Some(at(602)));
    let end = ended(task, 1, at(9), exit(at(9), 1));
    commit(&mut *store, &[end, retried(task, 2, at(10), None)]);
    let record = store.task(task).unwrap().unwrap();
    assert_eq!(record.current().timeout(&spec), Some(Duration::from_secs(300)));
    assert_eq!(record.current().deadline, None);
}

pub(super) fn refused_facts_are_logged_and_change_nothing(harness: &dyn Harness) {
    let (mut store, task) = (harness.open(), id(1));
    commit(&mut *store, &life(task, 0, 0));
    let before = store.task(task).unwrap();
    let what = "ended came in completed".to_owned();
    let late = |task| event(task, 1, at(9), Fact::Refused { what: what.clone() });
    commit(&mut *store, &[late(task), late(id(404))]);
    assert_eq!(store.task(task).unwrap(), before);
    let events = store.events_since(4, 10, &Default::default()).unwrap();
    assert!(events.iter().all(|e| e.what == Logged::Refused { what: what.clone() }));
    assert_eq!(events.len(), 2);
}

fn every_cause() -> Vec<Cause> {
    let after = Duration::new(12, 34);
    let mut causes = vec![
        Cause::Exit { code: i32::MIN },
        Cause::Signal { number: 64 },
        Cause::Timeout { after },
        Cause::IdleTimeout { after },
        Cause::Stalled { after },
        Cause::OutOfMemory { limit: None },
        Cause::OutOfMemory { limit: Some(u64::MAX) },
        Cause::PidsLimit { limit: 0 },
        Cause::LogFull,
        Cause::Lost,
        Cause::Reboot,
        Cause::Dependency { task: id(5) },
        Cause::EmptyResult,
        Cause::AgentError { message: "429 \"slow\"".into(), retryable: true },
        Cause::PermissionDenied { what: "rm".into() },
        Cause::Loop { tool: "grep".into(), count: 12 },
        Cause::Budget { limit: "1 USD".into(), used: "1.01 USD".into() },
        Cause::Poison { crashes: 5 },
        Cause::Unkillable,
        Cause::Reported { by: Actor::Task(id(6)), message: "ö\n".into() },
    ];
    let actors = [Actor::Person, Actor::Session(SessionId::new("a b")), Actor::Task(id(7))];
    causes.extend(actors.into_iter().map(|who| Cause::CancelledBy { who }));
    causes.extend(SpawnStage::ALL.map(|stage| Cause::SpawnError {
        stage,
        errno: 2,
        what: "no such file".into(),
    }));
    causes
}

pub(super) fn every_cause_reads_back_as_it_was(harness: &dyn Harness) {
    let mut store = harness.open();
    for (n, cause) in (1..).zip(every_cause()) {
        let task = id(n);
        let state = State::Interrupted;
        let end = End { state, cause: cause.clone(), exit: None, run: None, seat_kept: false };
        let stop = Fact::StopRequested { stop: Stop::Cancel { by: Actor::Person } };
        commit(&mut *store, &[submit(task, at(0)), starting(task, 1, at(1))]);
        commit(&mut *store, &[event(task, 1, at(1), stop)]);
        let last = commit(&mut *store, &[ended(task, 1, at(2), end)]).last_seq;
        let record = store.task(task).unwrap().unwrap();
        assert_eq!(record.current().cause, Some(cause.clone()));
        assert_eq!((record.current().ended_at, &record.current().run), (Some(at(2)), &None));
        assert_eq!(record.stop, None, "it was seen through");
        let entry = store.events_since(last - 1, 1, &Default::default()).unwrap().remove(0);
        assert_eq!(entry.what, Logged::Ended { state, cause, exit: None, seat_kept: false });
    }
}

pub(super) fn a_forgotten_task_leaves_only_its_entries_in_the_log(harness: &dyn Harness) {
    let mut store = harness.open();
    let mut spec = with_everything();
    spec.after.clear();
    let task = id(1);
    commit(&mut *store, &[submit_as(task, at(0), spec, place()), starting(task, 1, at(1))]);
    let end = ended(task, 1, at(2), exit(at(2), 1));
    let second = [end, retried(task, 2, at(3), None), starting(task, 2, at(4))];
    commit(&mut *store, &second);
    commit(&mut *store, &[ended(task, 2, at(5), exit(at(5), 0)), submit(id(2), at(6))]);
    commit(&mut *store, &[event(task, 0, at(7), Fact::Forgotten)]);
    assert_eq!(store.task(task), Ok(None));
    assert_eq!(store.spec(task), Ok(None));
    assert_eq!(store.states(&[task, id(2)]), Ok(vec![None, Some(State::Queued)]));
    assert_eq!(store.list(&Default::default(), 9).unwrap().len(), 1);
    let log = store.events_since(0, 99, &Default::default()).unwrap();
    assert_eq!(log.len(), 8);
    assert_eq!(log[7].what, Logged::Forgotten);
    assert_eq!(store.integrity(), Ok(vec![]));
}

pub(super) fn what_is_loaded_says_the_same_as_what_is_read(harness: &dyn Harness) {
    let (mut store, task) = (harness.open(), id(1));
    let mut spec = with_everything();
    spec.after.clear();
    commit(&mut *store, &[submit_as(task, at(0), spec.clone(), place_with_everything())]);
    let stop = Stop::Cancel { by: Actor::Person };
    let retry = Fact::Retried {
        order: 7,
        not_before: Some(due(8, at(9))),
        by: None,
        retries_used: 3,
        lost_retries: 1,
    };
    commit(
        &mut *store,
        &[
            starting(task, 1, at(1)),
            ended(task, 1, at(2), exit(at(2), 1)),
            event(task, 2, at(3), retry),
            starting(task, 2, at(4)),
            event(task, 2, at(5), Fact::Requeued { crashes: 2 }),
            starting(task, 2, at(6)),
            started(task, 2, at(7)),
            event(task, 2, at(8), Fact::Ready { how: "port 80".into() }),
            event(task, 2, at(9), Fact::StopRequested { stop: stop.clone() }),
        ],
    );
    drop(store);
    let loaded = harness.open().load_unfinished().unwrap().remove(0);
    assert_eq!((loaded.id, loaded.state, loaded.attempt), (task, State::Running, 2));
    assert_eq!((&loaded.spec, &loaded.placement), (&spec, &place_with_everything()));
    assert_eq!((loaded.order, loaded.not_before), (7, None), "its backoff is over");
    assert_eq!((loaded.created_at, loaded.queued_at), (at(0), at(3)));
    assert_eq!((loaded.token, loaded.stop), (Some(token(2)), Some(stop)));
    assert_eq!((loaded.crashes, loaded.retries_used, loaded.lost_retries), (2, 3, 1));
    assert_eq!((loaded.timeout, loaded.deadline), (spec.timing.timeout, Some(at(307))));
    assert!(loaded.ready && !loaded.seat_kept && loaded.ended_dependencies.is_empty());
}

pub(super) fn only_unfinished_tasks_and_kept_seats_are_loaded_oldest_first(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(id(1), 0, 0));
    commit(&mut *store, &[submit(id(2), at(1)), submit(id(3), at(1))]);
    commit(&mut *store, &life(id(4), 2, 1)[..2]);
    commit(&mut *store, &life(id(5), 3, 1)[..3]);
    let kept = ended(id(5), 1, at(9), End { seat_kept: true, ..exit(at(9), 1) });
    commit(&mut *store, &[kept]);
    let loaded = store.load_unfinished().unwrap();
    let found: Vec<_> = loaded.iter().map(|t| (t.id, t.state, t.seat_kept)).collect();
    let expected = [
        (id(2), State::Queued, false),
        (id(3), State::Queued, false),
        (id(4), State::Starting, false),
        (id(5), State::Failed, true),
    ];
    assert_eq!(found, expected);
    commit(&mut *store, &[event(id(5), 1, at(10), Fact::Emptied)]);
    commit(&mut *store, &[retried(id(1), 2, at(11), Some(Actor::Person))]);
    let loaded = store.load_unfinished().unwrap();
    assert_eq!(loaded.iter().map(|t| t.id).collect::<Vec<_>>(), [id(1), id(2), id(3), id(4)]);
}

pub(super) fn loaded_tasks_know_how_their_dependencies_ended(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(id(1), 0, 0));
    commit(&mut *store, &life(id(2), 0, 9));
    commit(&mut *store, &[submit(id(3), at(1))]);
    let on = |n| Dependency { task: id(n), condition: Condition::Any };
    let mut spec = plain();
    spec.after = vec![on(2), on(3), on(1), on(404)];
    commit(&mut *store, &[submit_as(id(4), at(2), spec, place())]);
    let loaded = store.load_unfinished().unwrap();
    assert_eq!(loaded[0].ended_dependencies, []);
    let ended = [(id(2), State::Failed), (id(1), State::Completed)];
    assert_eq!(loaded[1].ended_dependencies, ended, "unfinished and forgotten ones are left out");
}

pub(super) fn only_an_ended_task_can_be_reopened(harness: &dyn Harness) {
    let mut store = harness.open();
    let life = life(id(1), 0, 9);
    commit(&mut *store, &life[..3]);
    assert!(store.reopened(id(1)).unwrap().is_none(), "it runs");
    assert!(store.reopened(id(2)).unwrap().is_none(), "it is unknown");
    commit(&mut *store, &life[3..]);
    let row = store.reopened(id(1)).unwrap().expect("it has ended");
    assert_eq!((row.attempt, row.state), (1, State::Failed));
    assert_eq!((row.spec, row.placement), (plain(), place()));
}
