//! Promises about commits: whole or not at all, there after a restart, once per request.

use meanwhile_core::cause::Actor;
use meanwhile_core::event::Stop;
use meanwhile_core::spec::{Command, TaskSpec};
use meanwhile_core::{Event, Fact, LaneName, RequestId, State};
use meanwhile_store::{Batch, Committed, Identity, LaneCheck, SavedReply, Store, StoreError};

use super::samples::{
    at, commit, due, ended, event, exit, id, life, now, place, plain, retried, started, starting,
    submit, submit_as,
};
use super::{Harness, home_identity};

pub(super) fn everything_committed_is_there_after_a_new_start(harness: &dyn Harness) {
    let request = RequestId::new("r-1");
    let mut store = harness.open();
    let events = life(id(1), 0, 0);
    let replies = [SavedReply { request: &request, reply: b"\x00told" }];
    let batch = Batch { now: now(0), events: &events, replies: &replies, ..Batch::default() };
    assert_eq!(store.commit(&batch), Ok(Committed { last_seq: 4 }));
    let before = store.task(id(1)).unwrap();
    drop(store);
    let mut store = harness.open();
    assert!(before.is_some());
    assert_eq!(store.task(id(1)).unwrap(), before);
    assert_eq!(store.reply(&request), Ok(Some(b"\x00told".to_vec())));
    assert_eq!(store.last_seq(), Ok(4));
    assert_eq!(commit(&mut *store, &[submit(id(2), at(9))]).last_seq, 5);
}

pub(super) fn what_is_known_of_sessions_is_kept_with_its_batch_or_not_at_all(
    harness: &dyn Harness,
) {
    let mut store = harness.open();
    assert_eq!(store.sessions(), Ok(None));
    let say = |store: &mut dyn Store, text: &str, events: &[Event]| {
        let batch = Batch { now: now(0), events, sessions: Some(text), ..Batch::default() };
        store.commit(&batch)
    };
    say(&mut *store, "first ü", &[submit(id(1), at(0))]).unwrap();
    commit(&mut *store, &[submit(id(2), at(0))]);
    assert_eq!(harness.reader().sessions(), Ok(Some("first ü".to_owned())));
    say(&mut *store, "lost", &[event(id(404), 1, at(1), Fact::Emptied)])
        .expect_err("nobody knows it");
    drop(store);
    let mut store = harness.open();
    assert_eq!(store.sessions(), Ok(Some("first ü".to_owned())), "after a new start");
    say(&mut *store, "second", &[]).unwrap();
    assert_eq!(store.sessions(), Ok(Some("second".to_owned())));
}

pub(super) fn a_reader_sees_a_commit_as_soon_as_it_returned(harness: &dyn Harness) {
    let mut store = harness.open();
    let mut reader = harness.reader();
    assert_eq!(reader.last_seq(), Ok(0));
    for n in 1..20 {
        commit(&mut *store, &[submit(id(n), at(0))]);
        assert_eq!(reader.last_seq(), Ok(n));
        assert!(reader.task(id(n)).unwrap().is_some());
    }
}

/// Commits what must be refused, and checks that nothing of it is left and that more can be done.
fn check_refused(harness: &dyn Harness, before: &[Event], refused: &[Event]) {
    let request = RequestId::new("r-refused");
    let lane = LaneName::new("l");
    let mut store = harness.open();
    commit(&mut *store, before);
    let tasks = store.list(&Default::default(), 99).unwrap();
    let log = store.events_since(0, 99, &Default::default()).unwrap();
    let batch = Batch {
        now: now(0),
        events: refused,
        notices: &[],
        replies: &[SavedReply { request: &request, reply: b"" }],
        sessions: Some("refused"),
        lanes: &[LaneCheck { lane: lane.clone(), epoch: 0 }],
        here: Some(&Identity { boot: "boot-2".into(), ..home_identity() }),
    };
    let error = store.commit(&batch).unwrap_err();
    assert!(matches!(error, StoreError::Contradiction { .. }), "{error:?}");
    assert_eq!(store.list(&Default::default(), 99).unwrap(), tasks);
    assert_eq!(store.events_since(0, 99, &Default::default()).unwrap(), log);
    assert_eq!(store.sessions(), Ok(None));
    assert_eq!(store.reply(&request), Ok(None));
    assert_eq!(store.lane_epoch(&lane), Ok(0));
    assert_eq!(store.meta().identity, home_identity());
    let next = commit(&mut *store, &[submit(id(999), at(50))]);
    assert_eq!(next.last_seq, log.len() as u64 + 1);
    assert_eq!(store.integrity(), Ok(vec![]));
}

pub(super) fn a_batch_that_fails_in_its_middle_leaves_nothing(harness: &dyn Harness) {
    let before = [submit(id(1), at(0)), submit(id(2), at(0)), submit(id(3), at(0))];
    let refused = [
        submit(id(4), at(1)),
        starting(id(1), 1, at(1)),
        started(id(1), 1, at(1)),
        ended(id(1), 1, at(2), exit(at(2), 1)),
        retried(id(1), 2, at(3), None),
        event(id(2), 0, at(3), Fact::Forgotten),
        event(id(404), 1, at(3), Fact::Ready { how: "never submitted".into() }),
        submit(id(5), at(4)),
    ];
    check_refused(harness, &before, &refused);
}

pub(super) fn facts_about_another_attempt_than_the_current_are_refused(harness: &dyn Harness) {
    let task = id(1);
    let stop = Stop::Cancel { by: Actor::Person };
    let stale = [
        starting(task, 1, at(9)),
        started(task, 3, at(9)),
        ended(task, 1, at(9), exit(at(9), 0)),
        event(task, 1, at(9), Fact::Requeued { crashes: 1 }),
        event(task, 3, at(9), Fact::StopRequested { stop }),
        event(task, 1, at(9), Fact::Emptied),
        retried(task, 2, at(9), None),
        retried(task, 4, at(9), None),
    ];
    let mut store = harness.open();
    commit(&mut *store, &life(task, 0, 1));
    commit(&mut *store, &[retried(task, 2, at(5), None), starting(task, 2, at(6))]);
    let before = store.task(task).unwrap();
    for fact in stale {
        let name = fact.fact.name();
        let batch = Batch { now: now(0), events: &[fact], ..Batch::default() };
        let error = store.commit(&batch).unwrap_err();
        assert!(matches!(error, StoreError::Contradiction { .. }), "{name}: {error:?}");
        assert_eq!(store.task(task).unwrap(), before, "{name}");
    }
    assert_eq!(store.last_seq(), Ok(6));
}

pub(super) fn an_id_is_never_given_to_two_tasks(harness: &dyn Harness) {
    check_refused(harness, &[submit(id(1), at(0))], &[submit(id(1), at(1))]);
}

/// A task that takes some bytes on the disk.
fn of_size(bytes: usize) -> TaskSpec {
    TaskSpec { command: Command::Argv(vec![vec![b'x'; bytes]]), ..plain() }
}

pub(super) fn a_full_disk_keeps_nothing_of_the_batch_and_the_store_goes_on(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(id(1), 0, 0)[..3]);
    drop(store);
    let mut store = harness.open_nearly_full();
    let big = [
        submit(id(2), at(1)),
        submit_as(id(3), at(1), of_size(4 << 20), place()),
        submit(id(4), at(1)),
    ];
    for _ in 0..3 {
        let batch = Batch { now: now(0), events: &big, ..Batch::default() };
        let error = store.commit(&batch).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert_eq!(store.states(&[id(2), id(3), id(4)]), Ok(vec![None; 3]));
    }
    assert_eq!(store.last_seq(), Ok(3));
    commit(&mut *store, &[ended(id(1), 1, at(3), exit(at(3), 7))]);
    drop(store);
    let mut store = harness.open();
    assert_eq!(store.states(&[id(1), id(2)]), Ok(vec![Some(State::Failed), None]));
    commit(&mut *store, &big);
    assert_eq!(store.integrity(), Ok(vec![]));
}

pub(super) fn a_resent_request_finds_its_reply_for_a_day(harness: &dyn Harness) {
    let request = |n: u32| RequestId::new(format!("r-{n}"));
    let mut store = harness.open();
    let mut save = |n: u32, seconds: i64| {
        let request = request(n);
        let replies = [SavedReply { request: &request, reply: b"{}" }];
        let batch = Batch { now: now(seconds), replies: &replies, ..Batch::default() };
        store.commit(&batch).unwrap();
        [1, 2, 3, 4].map(|n| store.reply(&RequestId::new(format!("r-{n}"))).unwrap().is_some())
    };
    const HOUR: i64 = 3600;
    assert_eq!(save(1, 0), [true, false, false, false]);
    assert_eq!(save(2, 12 * HOUR), [true, true, false, false]);
    assert_eq!(save(3, 23 * HOUR), [true, true, true, false], "a day is not over");
    assert_eq!(save(4, 25 * HOUR), [false, true, true, true]);
}

pub(super) fn a_request_is_answered_only_once(harness: &dyn Harness) {
    let request = RequestId::new("r");
    let mut store = harness.open();
    let mut save = |reply: &[u8], n: u64| {
        let replies = [SavedReply { request: &request, reply }];
        let events = [submit(id(n), at(0))];
        let batch = Batch { now: now(0), events: &events, replies: &replies, ..Batch::default() };
        store.commit(&batch)
    };
    assert!(save(b"first", 1).is_ok());
    let error = save(b"second", 2).unwrap_err();
    assert!(matches!(error, StoreError::Contradiction { .. }), "{error:?}");
    assert_eq!(store.reply(&request), Ok(Some(b"first".to_vec())));
    assert_eq!(store.states(&[id(2)]), Ok(vec![None]));
}

pub(super) fn an_idempotency_key_finds_its_task_until_it_is_forgotten(harness: &dyn Harness) {
    let keyed = || TaskSpec { idempotency_key: Some("once".into()), ..plain() };
    let mut store = harness.open();
    assert_eq!(store.by_idempotency_key("once"), Ok(None));
    commit(&mut *store, &[submit_as(id(1), at(0), keyed(), place())]);
    commit(&mut *store, &[starting(id(1), 1, at(1)), ended(id(1), 1, at(2), exit(at(2), 0))]);
    assert_eq!(store.by_idempotency_key("once"), Ok(Some(id(1))));
    assert_eq!(store.by_idempotency_key("onc"), Ok(None));
    let twice = [submit_as(id(2), at(3), keyed(), place())];
    let batch = Batch { now: now(0), events: &twice, ..Batch::default() };
    assert!(matches!(store.commit(&batch), Err(StoreError::Contradiction { .. })));
    commit(&mut *store, &[event(id(1), 0, at(4), Fact::Forgotten)]);
    assert_eq!(store.by_idempotency_key("once"), Ok(None));
    commit(&mut *store, &twice);
    assert_eq!(store.by_idempotency_key("once"), Ok(Some(id(2))));
}

pub(super) fn a_lane_that_moved_on_refuses_the_batch_whole(harness: &dyn Harness) {
    let (a, b) = (LaneName::new("a"), LaneName::new("b"));
    let mut store = harness.open();
    let check = |lane: &LaneName, epoch| LaneCheck { lane: lane.clone(), epoch };
    let mut decide = |n: u64, lanes: &[LaneCheck]| {
        let events = [submit(id(n), at(0))];
        let committed =
            store.commit(&Batch { now: now(0), events: &events, lanes, ..Batch::default() });
        (
            committed.map(|c| c.last_seq),
            store.lane_epoch(&a).unwrap(),
            store.lane_epoch(&b).unwrap(),
        )
    };
    assert_eq!(decide(1, &[check(&a, 0)]), (Ok(1), 1, 0));
    assert_eq!(decide(2, &[check(&a, 1), check(&b, 0)]), (Ok(2), 2, 1));
    let conflict = Err(StoreError::Conflict { lane: a.clone() });
    assert_eq!(decide(3, &[check(&b, 1), check(&a, 1)]), (conflict, 2, 1));
    assert_eq!(decide(4, &[check(&b, 1), check(&a, 2)]), (Ok(3), 3, 2));
    assert_eq!(store.states(&[id(3), id(4)]), Ok(vec![None, Some(State::Queued)]));
}

fn remember(store: &mut dyn Store, here: &Identity, seconds: i64) {
    let batch = Batch { now: now(seconds), here: Some(here), ..Batch::default() };
    store.commit(&batch).expect("a place is remembered");
}

pub(super) fn the_machine_is_followed_through_restarts_and_another_is_refused(
    harness: &dyn Harness,
) {
    assert_eq!(harness.open().meta().identity, home_identity());
    let other = Identity { machine: "machine-2".into(), boot: "boot-x".into(), ..home_identity() };
    let container = Identity { pid_namespace: 1, ..home_identity() };
    for foreign in [&other, &container] {
        let error = harness.open_at(foreign).err().expect("it is foreign here");
        let StoreError::Foreign { recorded, here, .. } = error else { panic!("{error:?}") };
        assert_eq!((*recorded, &*here), (home_identity(), foreign));
    }
    let restarted = Identity { boot: "boot-2".into(), pid_namespace: 7, ..home_identity() };
    let mut store = harness.open_at(&restarted).expect("the same machine, restarted");
    let before = store.meta().identity;
    assert_eq!(before, home_identity(), "until a batch says so, the boot before is remembered");
    remember(&mut *store, &restarted, 0);
    assert_eq!(store.meta().identity, restarted);
    drop(store);
    assert_eq!(harness.open_at(&restarted).unwrap().meta().identity, restarted);
    let elsewhere = Identity { pid_namespace: 8, ..restarted };
    assert!(harness.open_at(&elsewhere).is_err(), "now this boot's namespace is the one");
}

pub(super) fn delays_are_moved_to_the_clock_of_a_new_boot_once(harness: &dyn Harness) {
    let mut store = harness.open();
    let delayed = |n, not_before| {
        let (spec, placement) = (Box::new(plain()), Box::new(place()));
        event(id(n), 1, at(0), Fact::Submitted { spec, placement, order: n, not_before })
    };
    let ahead = due(9_000_000, at(600));
    let past = due(9_000_000, at(10));
    commit(&mut *store, &[delayed(1, Some(ahead)), delayed(2, Some(past)), delayed(3, None)]);
    let moments = |store: &mut dyn Store| {
        store.load_unfinished().unwrap().iter().map(|t| t.not_before).collect::<Vec<_>>()
    };
    remember(&mut *store, &home_identity(), 100);
    assert_eq!(moments(&mut *store), [Some(ahead), Some(past), None], "the same boot");
    let restarted = Identity { boot: "boot-2".into(), ..home_identity() };
    let then = now(100);
    remember(&mut *store, &restarted, 100);
    let moved = [Some(ahead.after_reboot(then)), Some(past.after_reboot(then)), None];
    assert_eq!(moments(&mut *store), moved);
    assert_eq!(moved[0].unwrap().boot.0, then.boot.0 + 500_000);
    remember(&mut *store, &restarted, 200);
    assert_eq!(moments(&mut *store), moved, "only once");
}
