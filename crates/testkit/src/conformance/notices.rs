//! Promises about notices: what a session is still to be told, and what becomes of it on its way.

use meanwhile_core::cause::Actor;
use meanwhile_core::event::End;
use meanwhile_core::notice::{Notify, Part, Scope};
use meanwhile_core::spec::Placement;
use meanwhile_core::{
    Event, Fact, GroupName, Notice, NoticeId, NoticeKind, SessionId, State, TaskId, Wall,
};
use meanwhile_store::{Batch, Delivery, Mark, NoticeMark, NoticeRecord, Store};

use super::Harness;
use super::samples::{
    at, commit, event, exit, id, now, place, plain, retried, started, starting, submit_as,
};

fn scope(session: &str, part: Part) -> Scope {
    Scope { session: SessionId::new(session), part }
}

fn told(task: TaskId, attempt: u32, when: i64, end: End, scope: Scope, notify: Notify) -> Event {
    let notice = Some(Box::new(Notice { scope, notify }));
    event(task, attempt, at(when), Fact::Ended { end: Box::new(end), notice })
}

fn submitted(task: TaskId, session: &str, when: i64) -> Event {
    let placement = Placement { session: SessionId::new(session), ..place() };
    submit_as(task, at(when), plain(), placement)
}

/// A life of a task of a session whose end is told.
fn life(n: u64, session: &str, from: i64, code: i32) -> Vec<Event> {
    let scope = scope(session, Part::Rest);
    vec![
        submitted(id(n), session, from),
        starting(id(n), 1, at(from + 1)),
        started(id(n), 1, at(from + 2)),
        told(id(n), 1, from + 3, exit(at(from + 3), code), scope, Notify::AllDone),
    ]
}

fn open(store: &mut dyn Store, session: &str) -> Vec<NoticeId> {
    let session = SessionId::new(session);
    let open = store.open_notices(Some(&session), 99).unwrap();
    assert_eq!(store.count_open_notices(Some(&session), 99), Ok(open.len()));
    open.into_iter().map(|notice| notice.id).collect()
}

fn delivery(store: &mut dyn Store, about: NoticeId) -> Option<Delivery> {
    let all = store.notices_of(&[about.task]).unwrap();
    all.into_iter().find(|notice| notice.id == about).map(|notice| notice.delivery)
}

fn mark(store: &mut dyn Store, ids: &[NoticeId], mark: &Mark) {
    let notices: Vec<NoticeMark> =
        ids.iter().map(|id| NoticeMark { id: *id, mark: mark.clone() }).collect();
    store.commit(&Batch { now: now(50), notices: &notices, ..Batch::default() }).unwrap();
}

fn lease(holder: &str, until: i64) -> Mark {
    Mark::Lease { holder: holder.into(), until: at(until) }
}

fn deadline(n: u64, when: i64, deadline: Wall) -> Event {
    let notice = Box::new(Notice { scope: scope("s", Part::Rest), notify: Notify::Each });
    event(id(n), 1, at(when), Fact::DeadlineNear { deadline, notice })
}

pub(super) fn an_end_and_its_notice_are_there_together_and_say_what_was_said(
    harness: &dyn Harness,
) {
    let mut store = harness.open();
    let part = Part::Group(GroupName::new("g: ü"));
    let mut events = life(1, "s", 0, 3);
    events.truncate(3);
    let scope = scope("s", part);
    events.push(told(id(1), 1, 9, exit(at(8), 3), scope.clone(), Notify::Failures));
    commit(&mut *store, &events);
    let expected = NoticeRecord {
        id: NoticeId::of_end(id(1), 1),
        scope,
        notify: Notify::Failures,
        state: State::Failed,
        at: at(9),
        delivery: Delivery::Unread,
    };
    let mut reader = harness.reader();
    let session = SessionId::new("s");
    assert_eq!(reader.open_notices(Some(&session), 9), Ok(vec![expected.clone()]));
    assert_eq!(reader.notices_of(&[id(7), id(1)]), Ok(vec![expected]));
    drop(store);
    let mut store = harness.open();
    assert_eq!(open(&mut *store, "s"), [NoticeId::of_end(id(1), 1)], "after a new start");
}

pub(super) fn an_end_without_a_notice_is_told_to_nobody(harness: &dyn Harness) {
    let mut store = harness.open();
    let mut events = life(1, "s", 0, 0);
    events.truncate(3);
    let end = Box::new(exit(at(4), 0));
    events.push(event(id(1), 1, at(4), Fact::Ended { end, notice: None }));
    commit(&mut *store, &events);
    assert_eq!(open(&mut *store, "s"), []);
}

pub(super) fn each_session_has_its_own_notices_the_oldest_first(harness: &dyn Harness) {
    let mut store = harness.open();
    for (n, session, from) in [(1, "a", 20), (2, "b", 10), (3, "a", 0), (4, "a", 20)] {
        commit(&mut *store, &life(n, session, from, 0));
    }
    let ends = |ns: &[u64]| ns.iter().map(|n| NoticeId::of_end(id(*n), 1)).collect::<Vec<_>>();
    assert_eq!(open(&mut *store, "a"), ends(&[3, 1, 4]));
    assert_eq!(open(&mut *store, "b"), ends(&[2]));
    assert_eq!(open(&mut *store, "c"), []);
    let all = store.open_notices(None, 9).unwrap();
    assert_eq!(all.iter().map(|n| n.id).collect::<Vec<_>>(), ends(&[3, 2, 1, 4]));
    assert_eq!(store.open_notices(None, 2).unwrap().len(), 2);
    assert_eq!(store.count_open_notices(None, 3), Ok(3));
    assert_eq!(store.count_open_notices(None, 9), Ok(4));
}

pub(super) fn a_notice_is_leased_and_acknowledged_and_then_its_way_is_over(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(1, "s", 0, 0));
    let about = NoticeId::of_end(id(1), 1);
    mark(&mut *store, &[about], &lease("cli:1", 90));
    let leased = Delivery::Leased { holder: "cli:1".into(), until: at(90) };
    assert_eq!(delivery(&mut *store, about), Some(leased));
    assert_eq!(open(&mut *store, "s"), [about], "it has not arrived");
    mark(&mut *store, &[about], &lease("hook", 95));
    let leased = Delivery::Leased { holder: "hook".into(), until: at(95) };
    assert_eq!(delivery(&mut *store, about), Some(leased));
    mark(&mut *store, &[about], &Mark::Acknowledge);
    assert_eq!(delivery(&mut *store, about), Some(Delivery::Acknowledged));
    mark(&mut *store, &[about], &lease("late", 99));
    assert_eq!(delivery(&mut *store, about), Some(Delivery::Acknowledged));
    assert_eq!(open(&mut *store, "s"), []);
    let unknown = NoticeId::of_end(id(404), 1);
    mark(&mut *store, &[unknown, NoticeId { attempt: 2, ..about }], &Mark::Acknowledge);
    assert_eq!(delivery(&mut *store, unknown), None);
}

pub(super) fn what_had_arrived_at_somebody_who_is_gone_is_unread_again(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(1, "s", 0, 1));
    let about = NoticeId::of_end(id(1), 1);
    mark(&mut *store, &[about], &lease("hook", 90));
    let leased = Delivery::Leased { holder: "hook".into(), until: at(90) };
    mark(&mut *store, &[about], &Mark::Unread);
    assert_eq!(delivery(&mut *store, about), Some(leased), "it had not arrived");
    mark(&mut *store, &[about], &Mark::Acknowledge);
    mark(&mut *store, &[about], &Mark::Unread);
    assert_eq!(delivery(&mut *store, about), Some(Delivery::Unread));
    assert_eq!(open(&mut *store, "s"), [about]);
    commit(&mut *store, &[retried(id(1), 2, at(9), Some(Actor::Person))]);
    mark(&mut *store, &[about], &Mark::Unread);
    assert_eq!(delivery(&mut *store, about), Some(Delivery::Superseded), "old news stays that");
    mark(&mut *store, &[NoticeId::of_end(id(404), 1)], &Mark::Unread);
}

pub(super) fn a_fact_and_the_mark_of_its_notice_fit_into_one_batch(harness: &dyn Harness) {
    let mut store = harness.open();
    let notices = [NoticeMark { id: NoticeId::of_end(id(1), 1), mark: Mark::Acknowledge }];
    let events = life(1, "s", 0, 0);
    store
        .commit(&Batch { now: now(9), events: &events, notices: &notices, ..Batch::default() })
        .unwrap();
    assert_eq!(delivery(&mut *store, notices[0].id), Some(Delivery::Acknowledged));
}

pub(super) fn a_batch_that_fails_leaves_notices_as_they_were(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(1, "s", 0, 0));
    let about = NoticeId::of_end(id(1), 1);
    let session = SessionId::new("other");
    for change in [
        retried(id(1), 2, at(9), Some(Actor::Person)),
        event(id(1), 1, at(9), Fact::Rebound { session }),
        event(id(1), 0, at(9), Fact::Forgotten),
    ] {
        let events = [change, event(id(404), 1, at(9), Fact::Emptied)];
        let failed = store.commit(&Batch { now: now(9), events: &events, ..Batch::default() });
        failed.expect_err("nobody knows the second task");
        assert_eq!(delivery(&mut *store, about), Some(Delivery::Unread));
        assert_eq!(open(&mut *store, "s"), [about]);
    }
}

pub(super) fn what_is_tried_again_supersedes_what_was_told(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(1, "s", 0, 1));
    commit(&mut *store, &life(2, "s", 0, 1));
    let read = NoticeId::of_end(id(2), 1);
    mark(&mut *store, &[read], &Mark::Acknowledge);
    for n in [1, 2] {
        commit(&mut *store, &[retried(id(n), 2, at(9), Some(Actor::Person))]);
    }
    assert_eq!(open(&mut *store, "s"), []);
    let about = NoticeId::of_end(id(1), 1);
    assert_eq!(delivery(&mut *store, about), Some(Delivery::Superseded));
    assert_eq!(delivery(&mut *store, read), Some(Delivery::Acknowledged), "it was read before");
    let again = scope("s", Part::Rest);
    commit(
        &mut *store,
        &[
            starting(id(1), 2, at(10)),
            started(id(1), 2, at(11)),
            told(id(1), 2, 12, exit(at(12), 0), again, Notify::AllDone),
        ],
    );
    assert_eq!(open(&mut *store, "s"), [NoticeId::of_end(id(1), 2)]);
}

pub(super) fn a_deadline_is_told_once_and_superseded_by_more_time_or_the_end(
    harness: &dyn Harness,
) {
    let mut store = harness.open();
    let first = at(300);
    commit(&mut *store, &life(1, "s", 0, 0)[..3]);
    commit(&mut *store, &[deadline(1, 9, first)]);
    let about = NoticeId::of_deadline(id(1), 1, first);
    assert_eq!((about.kind, open(&mut *store, "s")), (NoticeKind::Deadline, vec![about]));
    mark(&mut *store, &[about], &lease("cli", 99));
    commit(&mut *store, &[deadline(1, 10, first)]);
    let leased = Delivery::Leased { holder: "cli".into(), until: at(99) };
    assert_eq!(delivery(&mut *store, about), Some(leased), "said again, it is the same one");
    let by = Actor::Person;
    let extended = Fact::Extended { timeout: None, deadline: Some(at(400)), by };
    commit(&mut *store, &[event(id(1), 1, at(11), extended)]);
    assert_eq!(delivery(&mut *store, about), Some(Delivery::Superseded));
    commit(&mut *store, &[deadline(1, 12, at(400))]);
    let second = NoticeId::of_deadline(id(1), 1, at(400));
    assert_eq!(open(&mut *store, "s"), [second]);
    let scope = scope("s", Part::Rest);
    commit(&mut *store, &[told(id(1), 1, 13, exit(at(13), 0), scope, Notify::Each)]);
    assert_eq!(open(&mut *store, "s"), [NoticeId::of_end(id(1), 1)]);
    assert_eq!(store.notices_of(&[id(1)]).unwrap().len(), 3);
}

pub(super) fn a_task_and_what_its_session_has_not_heard_follow_to_another(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(1, "old", 0, 0));
    commit(&mut *store, &life(2, "old", 0, 0));
    commit(&mut *store, &[submitted(id(3), "old", 5)]);
    let read = NoticeId::of_end(id(2), 1);
    mark(&mut *store, &[read], &Mark::Acknowledge);
    let session = SessionId::new("new");
    let rebound =
        |n, attempt| event(id(n), attempt, at(9), Fact::Rebound { session: session.clone() });
    commit(&mut *store, &[rebound(1, 0), rebound(3, 1)]);
    assert_eq!(open(&mut *store, "old"), []);
    assert_eq!(open(&mut *store, "new"), [NoticeId::of_end(id(1), 1)]);
    let sessions: Vec<String> = store
        .tasks(&[id(1), id(2), id(3)])
        .unwrap()
        .into_iter()
        .map(|task| task.unwrap().placement.session.to_string())
        .collect();
    assert_eq!(sessions, ["new", "old", "new"]);
    let loaded = store.load_unfinished().unwrap();
    assert_eq!(loaded[0].placement.session, session);
}

pub(super) fn notices_go_with_their_task(harness: &dyn Harness) {
    let mut store = harness.open();
    commit(&mut *store, &life(1, "s", 0, 0));
    commit(&mut *store, &[event(id(1), 0, at(9), Fact::Forgotten)]);
    assert_eq!(open(&mut *store, "s"), []);
    assert_eq!(store.notices_of(&[id(1)]), Ok(vec![]));
    assert_eq!(store.integrity(), Ok(vec![]));
}

pub(super) fn a_session_that_nobody_reads_keeps_its_newest_notices(harness: &dyn Harness) {
    let mut store = harness.open();
    for n in 1..=5 {
        commit(&mut *store, &life(n, "a", i64::try_from(n).unwrap() * 10, 0));
    }
    commit(&mut *store, &life(6, "b", 0, 0));
    mark(&mut *store, &[NoticeId::of_end(id(5), 1)], &Mark::Acknowledge);
    assert_eq!(store.bound_notices(4), Ok(0), "four are open");
    assert_eq!(store.bound_notices(2), Ok(2));
    let ends = |ns: &[u64]| ns.iter().map(|n| NoticeId::of_end(id(*n), 1)).collect::<Vec<_>>();
    assert_eq!(open(&mut *store, "a"), ends(&[3, 4]));
    assert_eq!(open(&mut *store, "b"), ends(&[6]));
    let oldest = NoticeId::of_end(id(1), 1);
    assert_eq!(delivery(&mut *store, oldest), Some(Delivery::Superseded));
}
