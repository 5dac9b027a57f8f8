//! Who blocks, and when the answer comes.

use super::world::{World, config, draft};
use crate::effect::Answer;
use crate::input::{Input, Refusal, Until};
use crate::state::State::{Completed, Failed};

#[test]
fn a_wait_for_all_answers_at_the_last_end_with_every_state_in_the_order_asked() {
    let mut w = World::new(config(5));
    let (a, b) = (w.submit(draft()), w.submit(draft()));
    w.exits(b, 0);
    let wait = w.wait(None, &[b, a, b]);
    assert!(!w.answers.contains_key(&wait));
    w.exits(a, 1);
    let states = vec![(b, Some(Completed)), (a, Some(Failed)), (b, Some(Completed))];
    assert_eq!(w.answers[&wait], Answer { states, met: true, timed_out: false });
}

#[test]
fn a_wait_for_any_answers_at_the_first_success_or_when_none_is_left() {
    let mut w = World::new(config(5));
    let (a, b, c) = (w.submit(draft()), w.submit(draft()), w.submit(draft()));
    let first = w.wait_in(None, &[a, b, c], true, Until::Done).unwrap();
    let none = w.wait_in(None, &[a, c], true, Until::Done).unwrap();
    w.exits(a, 1);
    assert!(w.answers.is_empty());
    w.exits(b, 0);
    let states = vec![(a, Some(Failed)), (b, Some(Completed)), (c, None)];
    assert_eq!(w.answers[&first], Answer { states, met: true, timed_out: false });
    w.exits(c, 1);
    assert!(!w.answers[&none].met);
}

#[test]
fn a_wait_until_ready_is_met_by_readiness_and_missed_by_an_end() {
    let mut w = World::new(config(5));
    let (a, b) = (w.submit(draft()), w.submit(draft()));
    let ready = |w: &World, task| Input::Ready { task, token: w.token(task), how: "x".into() };
    w.started(a);
    w.started(b);
    let both = w.wait_in(None, &[a, b], false, Until::Ready).unwrap();
    let of_a = w.wait_in(None, &[a], false, Until::Ready).unwrap();
    let input = ready(&w, a);
    w.input(input).unwrap();
    assert!(w.answers[&of_a].met);
    let late = w.wait_in(None, &[a], false, Until::Ready).unwrap();
    assert!(w.answers[&late].met, "it is ready already");
    w.exits(b, 0);
    assert!(!w.answers[&both].met, "it ended before it was ready");
}

#[test]
fn a_wait_goes_on_through_automatic_retries() {
    let mut w = World::new(config(5));
    let t = w.submit(draft().retries(1));
    let wait = w.wait(None, &[t]);
    w.exits(t, 1);
    assert!(w.answers.is_empty());
    w.exits(t, 0);
    assert_eq!(w.answers[&wait].states, [(t, Some(Completed))]);
}

#[test]
fn a_wait_that_times_out_says_so_and_one_that_is_gone_says_nothing() {
    let mut w = World::new(config(5));
    let t = w.submit(draft());
    let (late, gone) = (w.wait(None, &[t]), w.wait(None, &[t]));
    w.input(Input::WaitGone(gone)).unwrap();
    w.input(Input::WaitTimedOut(late)).unwrap();
    assert_eq!(w.answers[&late], Answer { states: vec![(t, None)], met: false, timed_out: true });
    w.exits(t, 0);
    w.input(Input::WaitGone(late)).unwrap();
    assert_eq!(w.answers.len(), 1);
}

#[test]
fn waiting_for_nobody_known_oneself_or_an_ancestor_is_refused() {
    let mut w = World::new(config(5));
    let root = w.submit(draft());
    let child = w.submit(draft().below(&w, root));
    let unknown = w.fresh();
    let mut wait = |inside, target| w.wait_in(Some(inside), &[target], false, Until::Done);
    assert_eq!(wait(root, unknown), Err(Refusal::UnknownTask(unknown)));
    for target in [root, child] {
        let refusal = Refusal::WaitsForAncestor { inside: child, target };
        assert_eq!(wait(child, target), Err(refusal));
    }
    assert!(wait(root, child).is_ok());
}

#[test]
fn a_thousand_waits_on_one_end_are_answered_by_it() {
    let mut w = World::new(config(5));
    let t = w.submit(draft());
    for _ in 0..1_000 {
        w.wait(None, &[t]);
    }
    w.exits(t, 0);
    assert_eq!(w.answers.len(), 1_000);
}
