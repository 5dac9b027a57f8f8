//! Seats of tasks that wait for their own.

use super::world::{World, config, draft};
use crate::event::RunFigures;
use crate::id::TaskId;
use crate::input::{Found, Input, Report};
use crate::spec::Condition;
use crate::state::State::{Completed, Queued, Starting};

/// A lane of one seat, a task in it, and tasks below that one.
fn family(children: usize) -> (World, TaskId, Vec<TaskId>) {
    let mut w = World::new(config(1));
    let parent = w.submit(draft());
    w.started(parent);
    let children = (0..children).map(|_| w.submit(draft().below(&w, parent))).collect();
    (w, parent, children)
}

fn lent(w: &World) -> Vec<(TaskId, TaskId)> {
    w.core.lanes().into_iter().flat_map(|l| l.lent).collect()
}

#[test]
fn nested_work_in_a_full_lane_does_not_deadlock() {
    let (mut w, parent, c) = family(2);
    let stranger = w.submit(draft().priority(9));
    assert_eq!(w.states(&c), [Queued, Queued]);
    let wait = w.wait(Some(parent), &c);
    assert_eq!(w.states(&c), [Starting, Queued], "one seat, one borrower");
    assert_eq!(lent(&w), [(parent, c[0])]);
    w.exits(c[0], 0);
    assert_eq!((w.states(&c), w.state(stranger)), (vec![Completed, Starting], Queued));
    w.exits(c[1], 0);
    assert!(w.answers[&wait].met);
    assert_eq!((lent(&w), w.state(stranger)), (vec![], Queued), "the parent has its seat back");
    w.exits(parent, 0);
    assert_eq!(w.state(stranger), Starting);
    w.check_replay();
}

#[test]
fn lending_chains_down_to_the_deepest_level() {
    let (mut w, parent, c) = family(1);
    let outer = w.wait(Some(parent), &c);
    let grandchild = w.submit(draft().below(&w, c[0]));
    assert_eq!(w.state(grandchild), Queued);
    let inner = w.wait(Some(c[0]), &[grandchild]);
    assert_eq!(w.state(grandchild), Starting);
    w.exits(grandchild, 0);
    assert!(w.answers[&inner].met && !w.answers.contains_key(&outer));
    w.exits(c[0], 0);
    assert!(w.answers[&outer].met);
}

#[test]
fn a_lender_in_the_middle_that_dies_leaves_its_borrower_on_the_seat_above() {
    let (mut w, parent, c) = family(1);
    w.wait(Some(parent), &c);
    let grandchild = w.submit(draft().below(&w, c[0]));
    w.wait(Some(c[0]), &[grandchild]);
    w.exits(c[0], 1);
    assert_eq!(lent(&w), [(parent, grandchild)]);
    let stranger = w.submit(draft());
    assert_eq!(w.state(stranger), Queued);
}

#[test]
fn the_answer_waits_for_a_seat_and_comes_before_the_queue() {
    let (mut w, parent, c) = family(2);
    let stranger = w.submit(draft());
    let wait = w.wait(Some(parent), &c[1..]);
    // The first child borrows, though the second is waited for.
    assert_eq!(lent(&w), [(parent, c[0])]);
    w.cancel(c[1]);
    assert!(w.answers.is_empty(), "the seat is lent");
    w.exits(c[0], 0);
    assert!(w.answers[&wait].met);
    assert_eq!(w.state(stranger), Queued);
}

#[test]
fn a_free_seat_serves_as_well_as_the_lent_one() {
    let mut w = World::new(config(2));
    let (parent, other) = (w.submit(draft()), w.submit(draft()));
    let c: Vec<TaskId> = (0..2).map(|_| w.submit(draft().below(&w, parent))).collect();
    let stranger = w.submit(draft());
    let wait = w.wait(Some(parent), &c[1..]);
    w.cancel(c[1]);
    assert!(w.answers.is_empty());
    w.exits(other, 0);
    assert!(w.answers[&wait].met, "before the stranger");
    assert_eq!((w.states(&c[..1]), w.state(stranger)), (vec![Starting], Queued));
}

#[test]
fn a_wait_that_times_out_is_answered_when_the_seat_is_back() {
    let (mut w, parent, c) = family(1);
    let wait = w.wait(Some(parent), &c);
    w.input(Input::WaitTimedOut(wait)).unwrap();
    assert!(w.answers.is_empty());
    w.exits(c[0], 0);
    assert!(w.answers[&wait].timed_out);
}

#[test]
fn a_waiter_that_vanishes_owes_its_seat() {
    let (mut w, parent, c) = family(1);
    let stranger = w.submit(draft());
    let wait = w.wait(Some(parent), &c);
    w.input(Input::WaitGone(wait)).unwrap();
    assert_eq!(lent(&w), []);
    w.exits(c[0], 0);
    assert_eq!(w.state(stranger), Queued, "the parent still has its seat");
    w.exits(parent, 0);
    assert_eq!(w.state(stranger), Starting);
}

/// It may still be blocked, so the borrower keeps sitting on its seat; its client's going ends the loan.
#[test]
fn a_lender_that_nothing_can_kill_lends_for_as_long_as_it_blocks() {
    for client_goes_first in [true, false] {
        let (mut w, parent, c) = family(1);
        let stranger = w.submit(draft());
        let wait = w.wait(Some(parent), &c);
        w.report(parent, Report::Unkillable { exit: None, run: RunFigures::default() });
        assert_eq!(lent(&w), [(parent, c[0])]);
        if client_goes_first {
            w.input(Input::WaitGone(wait)).unwrap();
            assert_eq!(lent(&w), [], "nobody in it blocks any more");
        }
        w.report(parent, Report::Emptied);
        assert_eq!((lent(&w), w.state(stranger)), (vec![], Queued), "the borrower has the seat");
        w.exits(c[0], 0);
        assert_eq!(w.state(stranger), Starting);
        w.check_replay();
    }
}

#[test]
fn after_a_restart_nothing_more_starts_until_the_lane_is_within_its_limit() {
    let (mut w, parent, c) = family(2);
    w.wait(Some(parent), &c);
    w.started(c[0]);
    w.restart(true);
    for task in [parent, c[0]] {
        w.found(task, Found::Alive { pid: Some(1), supervisor_pid: 2 });
    }
    assert_eq!(w.state(c[1]), Queued);
    w.exits(c[0], 0);
    assert_eq!(w.state(c[1]), Queued);
    let wait = w.wait(Some(parent), &c);
    assert_eq!(w.state(c[1]), Starting);
    w.exits(c[1], 0);
    assert!(w.answers[&wait].met);
}

#[test]
fn waiting_for_strangers_lends_nothing() {
    let (mut w, parent, c) = family(1);
    let stranger = w.submit(draft().lane("other"));
    w.wait(Some(parent), &[stranger]);
    assert_eq!((w.state(c[0]), lent(&w)), (Queued, vec![]));
}

#[test]
fn a_seat_is_not_lent_once_only_strangers_are_waited_for() {
    let (mut w, parent, c) = family(1);
    let own = w.submit(draft().below(&w, parent).lane("other"));
    let stranger = w.submit(draft().lane("other"));
    w.input(Input::HoldStarts { reason: Some("disk full".into()) }).unwrap();
    w.wait(Some(parent), &[own, stranger]);
    w.exits(own, 0);
    w.input(Input::HoldStarts { reason: None }).unwrap();
    assert_eq!((w.state(c[0]), lent(&w)), (Queued, vec![]));
}

#[test]
fn two_families_in_each_others_lanes_do_not_deadlock() {
    let mut w = World::new(config(1));
    let (a, b) = (w.submit(draft().lane("a")), w.submit(draft().lane("b")));
    let child_of_a = w.submit(draft().below(&w, a).lane("b"));
    let child_of_b = w.submit(draft().below(&w, b).lane("a"));
    let first = w.wait(Some(a), &[child_of_a]);
    assert_eq!(w.states(&[child_of_a, child_of_b]), [Queued, Queued]);
    let second = w.wait(Some(b), &[child_of_b]);
    assert_eq!(w.states(&[child_of_a, child_of_b]), [Starting, Starting]);
    w.exits(child_of_a, 0);
    assert!(w.answers.is_empty(), "the seat of a is lent to the other family");
    w.exits(child_of_b, 0);
    assert!(w.answers[&first].met && w.answers[&second].met);
}

/// Its child is after a stranger, which is after another: neither would ever have a seat otherwise.
#[test]
fn what_awaited_work_is_after_runs_on_the_seat_that_waits_for_it() {
    let mut w = World::new(config(1));
    let parent = w.submit(draft());
    w.started(parent);
    let other = w.submit(draft().priority(5));
    let deep = w.submit(draft());
    let near = w.submit(draft().after(deep, Condition::Any));
    let child = w.submit(draft().below(&w, parent).after(near, Condition::Any));
    assert_eq!(w.states(&[other, deep]), [Queued, Queued]);
    let wait = w.wait(Some(parent), &[child]);
    assert_eq!(lent(&w), [(parent, deep)], "only what is needed, whatever comes before it");
    w.exits(deep, 1);
    assert_eq!(lent(&w), [(parent, near)]);
    w.exits(near, 0);
    assert_eq!(lent(&w), [(parent, child)]);
    w.exits(child, 0);
    assert!(w.answers[&wait].met);
    assert_eq!((lent(&w), w.state(other)), (vec![], Queued));
    w.check_replay();
}

/// The lane of what is needed has nothing to do with the two that changed.
#[test]
fn a_need_that_goes_away_takes_the_offer_with_it() {
    let mut w = World::new(config(1));
    let (a, b) = (w.submit(draft().lane("a")), w.submit(draft().lane("b")));
    let child_of_b = w.submit(draft().below(&w, b).lane("c"));
    w.started(child_of_b);
    let stranger = w.submit(draft().lane("b"));
    let child_of_a = w.submit(draft().below(&w, a).lane("a").after(stranger, Condition::Any));
    w.input(Input::HoldStarts { reason: Some("disk full".into()) }).unwrap();
    let waits = (w.wait(Some(a), &[child_of_a]), w.wait(Some(b), &[child_of_b]));
    w.cancel(child_of_a);
    w.input(Input::HoldStarts { reason: None }).unwrap();
    assert!(w.answers.contains_key(&waits.0) && !w.answers.contains_key(&waits.1));
    assert_eq!((lent(&w), w.state(stranger)), (vec![], Queued));
}

#[test]
fn a_borrower_that_never_ran_gives_the_seat_back_and_gets_it_again() {
    let (mut w, parent, c) = family(1);
    let wait = w.wait(Some(parent), &c);
    w.report(c[0], Report::NeverRan);
    assert_eq!((w.state(c[0]), lent(&w)), (Starting, vec![(parent, c[0])]));
    w.exits(c[0], 0);
    assert!(w.answers[&wait].met);
}
