//! Promises about the past: history, retention, trimming.

use std::time::Duration;

use meanwhile_core::event::{End, RunFigures};
use meanwhile_core::spec::{Command, Condition, Dependency, TaskSpec};
use meanwhile_core::{Event, Fact, TaskId, Wall};
use meanwhile_store::{CommandKey, Retention, Store};

use super::Harness;
use super::samples::{
    at, commit, ended, event, exit, figures, id, life, place, plain, retried, starting, submit,
    submit_as,
};

const DAY: i64 = 24 * 3600;

pub(super) fn history_holds_the_latest_successes_of_the_same_command(harness: &dyn Harness) {
    let mut store = harness.open();
    let shell = |line: &str| Command::Shell(line.as_bytes().to_vec());
    let mut run = |n: u64, line: &str, code: i32, seconds: u64| {
        let spec = TaskSpec { command: shell(line), ..plain() };
        let run = Some(figures(at(9), Duration::from_secs(seconds)));
        let end = End { run, ..exit(at(9), code) };
        let start = [submit_as(id(n), at(0), spec, place()), starting(id(n), 1, at(1))];
        commit(&mut *store, &start);
        commit(&mut *store, &[ended(id(n), 1, at(9), end)]);
    };
    run(1, "make test", 0, 10);
    run(2, "make   test ", 0, 20);
    run(3, "make test", 1, 1000);
    run(4, "make all", 0, 2000);
    run(5, "make test", 0, 30);
    run(6, "make test", 0, 40);
    commit(&mut *store, &[retried(id(6), 2, at(10), None), submit(id(7), at(11))]);
    let mut check = |line: &str, n: usize, expected: &[u64]| {
        let expected: Vec<_> = expected.iter().map(|s| Duration::from_secs(*s)).collect();
        assert_eq!(store.history(CommandKey::of(&shell(line)), n), Ok(expected), "{line}");
    };
    check("make test", 9, &[30, 20, 10]);
    check("make test", 2, &[30, 20]);
    check("make all", 9, &[2000]);
    check("make none", 9, &[]);
}

/// A task that ended at this moment and left this many bytes of log.
fn left(task: TaskId, ended_at: Wall, bytes: u64) -> [Event; 3] {
    let run = RunFigures {
        log_bytes: bytes + 5,
        dropped_bytes: 5,
        ..figures(ended_at, Duration::from_secs(1))
    };
    let end = End { run: Some(run), ..exit(ended_at, 0) };
    [submit(task, at(0)), starting(task, 1, at(0)), ended(task, 1, ended_at, end)]
}

fn keep(age_days: Option<u64>, bytes: Option<u64>) -> Retention {
    let age = age_days.map(|days| Duration::from_secs(days * DAY.unsigned_abs()));
    Retention { now: at(100 * DAY), age, bytes, at_most: 99 }
}

pub(super) fn the_longest_ended_expire_first_by_age_and_by_bytes(harness: &dyn Harness) {
    let mut store = harness.open();
    // Ended in another order than submitted; the third is unfinished, the sixth was retried.
    for (n, day, bytes) in [(1, 90, 100), (2, 60, 200), (4, 70, 300), (5, 99, 400), (6, 1, 9)] {
        commit(&mut *store, &left(id(n), at(day * DAY), bytes));
    }
    commit(&mut *store, &[submit(id(3), at(0)), retried(id(6), 2, at(2 * DAY), None)]);
    let mut check = |retention: Retention, expected: &[u64]| {
        let expected: Vec<_> = expected.iter().map(|n| id(*n)).collect();
        assert_eq!(store.expired(&retention), Ok(expected), "{retention:?}");
    };
    check(keep(None, None), &[]);
    check(keep(Some(41), Some(1000)), &[]);
    check(keep(Some(40), None), &[]);
    check(keep(Some(39), None), &[2]);
    check(keep(Some(20), None), &[2, 4]);
    check(keep(Some(0), None), &[2, 4, 1, 5]);
    check(Retention { at_most: 1, ..keep(Some(0), None) }, &[2]);
    check(keep(None, Some(999)), &[2]);
    check(keep(None, Some(800)), &[2]);
    check(keep(None, Some(799)), &[2, 4]);
    check(keep(Some(20), Some(999)), &[2, 4]);
    check(keep(None, Some(0)), &[2, 4, 1, 5]);
    let set_back = Retention { now: at(0), ..keep(Some(1), None) };
    check(set_back, &[]);
}

pub(super) fn what_keeps_a_seat_or_is_waited_for_never_expires(harness: &dyn Harness) {
    let mut store = harness.open();
    for n in 1..=4 {
        commit(&mut *store, &left(id(n), at(DAY * i64::try_from(n).unwrap()), 10));
    }
    let kept = ended(id(5), 1, at(0), End { seat_kept: true, ..exit(at(0), 1) });
    commit(&mut *store, &[submit(id(5), at(0)), starting(id(5), 1, at(0)), kept]);
    let after = |n, on: u64| {
        let after = vec![Dependency { task: id(on), condition: Condition::Any }];
        submit_as(id(n), at(0), TaskSpec { after, ..plain() }, place())
    };
    commit(&mut *store, &[after(6, 2), after(7, 3)]);
    commit(
        &mut *store,
        &[starting(id(7), 1, at(0)), ended(id(7), 1, at(6 * DAY), exit(at(6 * DAY), 0))],
    );
    let everything = keep(Some(0), Some(0));
    assert_eq!(store.expired(&everything), Ok([1, 3, 4, 7].map(id).to_vec()));
    commit(&mut *store, &[event(id(5), 1, at(1), Fact::Emptied)]);
    commit(&mut *store, &[ended(id(6), 1, at(7 * DAY), exit(at(7 * DAY), 0))]);
    assert_eq!(store.expired(&everything), Ok([5, 1, 2, 3, 4, 7, 6].map(id).to_vec()));
}

pub(super) fn old_entries_of_forgotten_tasks_can_be_trimmed_but_no_number_is_used_twice(
    harness: &dyn Harness,
) {
    let mut store = harness.open();
    commit(&mut *store, &life(id(1), 0, 0));
    commit(&mut *store, &life(id(2), 0, 0));
    commit(&mut *store, &[event(id(1), 0, at(10), Fact::Forgotten)]);
    let left = |store: &mut dyn Store| {
        let log = store.events_since(0, 99, &Default::default()).unwrap();
        log.iter().map(|e| e.seq).collect::<Vec<_>>()
    };
    assert_eq!(store.trim_events(at(0), 99), Ok(0), "nothing is that old");
    assert_eq!(store.trim_events(at(2), 99), Ok(2));
    assert_eq!(left(&mut *store), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(store.trim_events(at(99), 1), Ok(1), "no more than asked for");
    assert_eq!(store.trim_events(at(99), 99), Ok(1));
    assert_eq!(left(&mut *store), [5, 6, 7, 8, 9], "the newest entry stays");
    commit(&mut *store, &[event(id(2), 0, at(11), Fact::Forgotten)]);
    assert_eq!(store.trim_events(at(99), 99), Ok(5));
    assert_eq!(left(&mut *store), [10]);
    drop(store);
    let mut store = harness.open();
    assert_eq!(commit(&mut *store, &[submit(id(3), at(20))]).last_seq, 11);
}

pub(super) fn a_sound_store_has_no_contradictions(harness: &dyn Harness) {
    let mut store = harness.open();
    for n in 1..50 {
        commit(&mut *store, &life(id(n), 0, 1));
        if n % 2 == 0 {
            commit(&mut *store, &[retried(id(n), 2, at(9), None), starting(id(n), 2, at(9))]);
        }
        if n % 5 == 0 {
            commit(&mut *store, &[event(id(n), 0, at(10), Fact::Forgotten)]);
        }
    }
    assert_eq!(store.integrity(), Ok(vec![]));
    assert_eq!(harness.reader().integrity(), Ok(vec![]));
    let checkpoint = store.checkpoint().unwrap();
    assert!(!checkpoint.too_long() && !checkpoint.held_up, "{checkpoint:?}");
}
