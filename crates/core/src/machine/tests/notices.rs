//! Who is told of what, and what "all done" waits for.

use std::time::Duration;

use super::world::{Draft, World, config, draft};
use crate::cause::Actor;
use crate::event::Fact;
use crate::id::{GroupName, SessionId, TaskId};
use crate::input::{Found, Input, Report};
use crate::notice::{NoticeId, NoticeKind, Part, Scope};
use crate::state::State;

const S: Duration = Duration::from_secs(1);

fn of(session: &str, group: Option<&str>) -> Draft {
    let mut d = draft();
    d.placement.session = SessionId::new(session);
    d.placement.group = group.map(GroupName::new);
    d
}

fn rest(session: &str) -> Scope {
    Scope { session: SessionId::new(session), part: Part::Rest }
}

fn with(mut d: Draft, name: &str, value: &str) -> Draft {
    d.spec.extra.push((name.into(), value.into()));
    d
}

fn told(w: &World) -> Vec<NoticeId> {
    w.store.notices.keys().copied().collect()
}

fn deadlines(w: &World) -> usize {
    w.log.iter().filter(|e| matches!(e.fact, Fact::DeadlineNear { .. })).count()
}

#[test]
fn only_the_last_attempt_is_told_of() {
    let mut w = World::new(config(1));
    let t = w.submit(draft().retries(1));
    w.started(t);
    w.exits(t, 1);
    assert_eq!(told(&w), [], "it is tried again");
    w.pass(60 * S);
    w.started(t);
    w.exits(t, 1);
    assert_eq!(told(&w), [NoticeId::of_end(t, 2)]);
    w.retry(t).expect("it has ended");
    w.started(t);
    w.exits(t, 0);
    assert_eq!(told(&w), [NoticeId::of_end(t, 2), NoticeId::of_end(t, 3)]);
    w.check_notices();
    w.check_replay();
}

#[test]
fn all_done_is_about_the_group_else_the_turn_else_the_rest_of_the_session() {
    let mut w = World::new(config(9));
    let scope = |part| Scope { session: SessionId::new("s"), part };
    let tasks: Vec<TaskId> = [
        of("s", Some("g")),
        with(of("s", Some("g")), "turn", "1"),
        with(of("s", None), "turn", "1"),
        of("s", None),
        of("other", None),
    ]
    .into_iter()
    .map(|d| w.submit(d))
    .collect();
    let mut service = of("s", None);
    service.spec.service = true;
    w.submit(service);
    w.submit(with(of("s", None), "notify", "none"));
    let open = |w: &World| {
        [
            w.core.open_in(&scope(Part::Group(GroupName::new("g")))),
            w.core.open_in(&scope(Part::Turn(crate::TurnName::new("1")))),
            w.core.open_in(&scope(Part::Rest)),
            w.core.open_in(&rest("other")),
        ]
    };
    assert_eq!(open(&w), [2, 1, 1, 1], "services and what nobody wants to hear of do not count");
    for task in &tasks[..2] {
        w.started(*task);
        w.exits(*task, 0);
    }
    assert_eq!(open(&w), [0, 1, 1, 1]);
    w.cancel(tasks[3]);
    w.started(tasks[3]);
    w.exits(tasks[3], 0);
    assert_eq!(open(&w), [0, 1, 0, 1]);
    w.retry(tasks[0]).expect("it has ended");
    assert_eq!(open(&w), [1, 1, 0, 1], "it is open again");
    w.restart(true);
    assert_eq!(open(&w), [1, 1, 0, 1]);
}

#[test]
fn a_deadline_is_told_of_once_when_a_fifth_of_the_time_is_left_and_again_after_an_extension() {
    let mut w = World::new(config(1));
    let t = w.submit(draft().timeout(100 * S));
    w.started(t);
    w.pass(79 * S);
    assert_eq!(deadlines(&w), 0);
    w.pass(S);
    assert_eq!(deadlines(&w), 1);
    assert_eq!(w.core.next_due(), None, "nothing is due any more");
    w.input(Input::Extend { task: t, by: Actor::Person, more: 100 * S }).expect("it runs");
    w.pass(79 * S);
    assert_eq!(deadlines(&w), 1, "of 200 s, 160 are the moment");
    w.pass(S);
    assert_eq!(deadlines(&w), 2);
    assert_eq!(told(&w).len(), 2, "they are two notices");
    assert!(told(&w).iter().all(|id| id.kind == NoticeKind::Deadline));
    w.exits(t, 0);
    w.check_replay();
}

#[test]
fn after_a_restart_a_deadline_is_told_of_under_the_same_id() {
    let mut w = World::new(config(1));
    let t = w.submit(draft().timeout(100 * S));
    w.started(t);
    w.pass(80 * S);
    w.restart(true);
    w.found(t, Found::Alive { pid: Some(1), supervisor_pid: 2 });
    assert_eq!((deadlines(&w), told(&w).len()), (2, 1));
}

#[test]
fn nobody_is_told_of_a_deadline_that_does_not_come() {
    let mut w = World::new(config(9));
    let short = w.submit(draft().timeout(Duration::from_millis(900)));
    let silent = w.submit(with(draft().timeout(100 * S), "notify", "none"));
    let stopped = w.submit(draft().timeout(100 * S));
    let lost = w.submit(draft().timeout(100 * S));
    let over = w.submit(draft().timeout(100 * S));
    for task in [short, silent, stopped, lost, over] {
        w.started(task);
    }
    w.cancel(stopped);
    w.report(lost, Report::Lost);
    w.exits(over, 0);
    w.pass(99 * S);
    assert_eq!(deadlines(&w), 0);
    assert_eq!(w.state(silent), State::Running);
}

#[test]
fn tasks_follow_their_session_and_its_other_tasks_do_not() {
    let mut w = World::new(config(9));
    let (running, ended, other) =
        (w.submit(of("old", Some("g"))), w.submit(of("old", None)), w.submit(of("x", None)));
    w.started(running);
    w.started(ended);
    w.exits(ended, 0);
    w.rebind("old", "new");
    let session = |w: &World, t: TaskId| w.store.tasks[&t].placement.session.to_string();
    assert_eq!([running, ended, other].map(|t| session(&w, t)), ["new", "new", "x"]);
    let group =
        |s: &str| Scope { session: SessionId::new(s), part: Part::Group(GroupName::new("g")) };
    assert_eq!((w.core.open_in(&group("old")), w.core.open_in(&group("new"))), (0, 1));
    w.exits(running, 0);
    let notice = &w.store.notices[&NoticeId::of_end(running, 1)];
    assert_eq!(notice.scope, group("new"));
    w.retry(ended).expect("it has ended");
    assert_eq!(w.core.open_in(&rest("new")), 1);
    w.check_replay();
    w.restart(true);
    assert_eq!(w.core.open_in(&rest("new")), 1);
}
