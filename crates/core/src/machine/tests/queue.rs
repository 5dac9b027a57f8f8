//! Lanes, order, limits, admission.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::{World, config, draft};
use crate::config::Config;
use crate::effect::Effect;
use crate::id::{LaneName, SessionId, TaskId};
use crate::input::{Input, Refusal, Report};
use crate::machine::Why;
use crate::state::State::{Completed, Queued, Starting};

#[test]
fn a_lane_starts_by_priority_and_then_in_the_order_of_submission() {
    let mut w = World::new(config(1));
    let first = w.submit(draft());
    let low: Vec<TaskId> = (0..3).map(|_| w.submit(draft())).collect();
    let high = w.submit(draft().priority(5));
    let mut order = Vec::new();
    let mut running = first;
    for _ in 0..4 {
        w.exits(running, 0);
        let all = [low[0], low[1], low[2], high];
        running = all.into_iter().find(|t| w.state(*t) == Starting).expect("one is next");
        order.push(running);
    }
    assert_eq!(order, [high, low[0], low[1], low[2]]);
}

#[test]
fn a_lane_never_takes_more_than_its_limit_and_refills_in_the_same_turn() {
    let mut w = World::new(config(2));
    let t: Vec<TaskId> = (0..4).map(|_| w.submit(draft())).collect();
    assert_eq!(w.states(&t), [Starting, Starting, Queued, Queued]);
    w.started(t[0]);
    w.exits(t[0], 0);
    assert_eq!(w.states(&t), [Completed, Starting, Starting, Queued]);
}

#[test]
fn zero_is_unlimited_and_a_lowered_limit_stops_nobody() {
    let mut w = World::new(Config { starts: 0, ..config(0) });
    let t: Vec<TaskId> = (0..4).map(|_| w.submit(draft())).collect();
    assert_eq!(w.states(&t), [Starting; 4]);
    let limits = BTreeMap::from([(LaneName::new("l"), 2)]);
    let lower = Config { lane_limits: limits, ..config(0) };
    w.input(Input::Configure(Box::new(lower))).unwrap();
    let late = w.submit(draft());
    w.exits(t[0], 0);
    w.exits(t[1], 0);
    assert_eq!((w.state(late), w.state(t[2])), (Queued, Starting), "two of two still run");
    w.exits(t[2], 0);
    assert_eq!(w.state(late), Starting);
}

#[test]
fn starts_in_flight_are_limited_over_all_lanes_and_the_oldest_goes_first() {
    let mut w = World::new(Config { starts: 1, ..config(5) });
    let a = w.submit(draft().lane("a"));
    let b = w.submit(draft().lane("b"));
    let c = w.submit(draft().lane("a"));
    assert_eq!(w.states(&[a, b, c]), [Starting, Queued, Queued]);
    assert_eq!(w.core.task(b).unwrap().why, Some(Why::StartsInFlight { limit: 1 }));
    w.started(a);
    assert_eq!(w.states(&[b, c]), [Starting, Queued], "b was submitted before c");
}

#[test]
fn a_person_may_start_one_beyond_the_limit_and_it_counts() {
    let mut w = World::new(config(1));
    let first = w.submit(draft());
    let mut over = draft();
    over.placement.over_limit = true;
    let over = w.submit(over);
    let next = w.submit(draft());
    assert_eq!(w.states(&[first, over, next]), [Starting, Starting, Queued]);
    w.exits(first, 0);
    assert_eq!(w.state(next), Queued, "the one over the limit takes the seat");
    w.exits(over, 0);
    assert_eq!(w.state(next), Starting);
    let mut agent = draft();
    agent.placement.over_limit = true;
    agent.placement.by_person = false;
    assert_eq!(w.try_submit(agent), Err(Refusal::OverLimitNotAllowed));
}

#[test]
fn a_delay_keeps_a_task_back_and_its_place_in_the_order() {
    let mut w = World::new(config(1));
    let first = w.submit(draft());
    let delayed = w.submit(draft().delay(Duration::from_secs(10)));
    let later = w.submit(draft());
    let due = w.core.next_due().expect("a timer is armed");
    assert_eq!(due, w.now.after(Duration::from_secs(10)).boot);
    w.pass(Duration::from_secs(10));
    w.exits(first, 0);
    assert_eq!(w.states(&[delayed, later]), [Starting, Queued]);
    assert_eq!(w.core.next_due(), None, "an idle machine wakes nobody");
}

#[test]
fn a_start_that_never_ran_is_the_same_attempt_at_the_head_and_poison_in_the_end() {
    let mut w = World::new(config(1));
    let t = w.submit(draft());
    let next = w.submit(draft());
    for crashes in 1..5 {
        w.report(t, Report::NeverRan);
        let stored = &w.store.tasks[&t];
        assert_eq!((stored.state, stored.attempt, stored.crashes), (Starting, 1, crashes));
        assert_eq!(w.state(next), Queued);
    }
    w.report(t, Report::NeverRan);
    assert_eq!(w.cause(t), crate::Cause::Poison { crashes: 5 });
    assert_eq!(w.state(next), Starting);
}

#[test]
fn held_starts_hold_starts_and_refuse_new_work_but_not_ends() {
    let mut w = World::new(config(1));
    let (a, b) = (w.submit(draft()), w.submit(draft()));
    let reason = Some("disk full".to_owned());
    w.input(Input::HoldStarts { reason }).unwrap();
    assert_eq!(w.try_submit(draft()), Err(Refusal::Held { reason: "disk full".into() }));
    w.exits(a, 0);
    assert_eq!(w.states(&[a, b]), [Completed, Queued]);
    assert_eq!(w.core.task(b).unwrap().why, Some(Why::Held { reason: "disk full".into() }));
    w.input(Input::HoldStarts { reason: None }).unwrap();
    assert_eq!(w.state(b), Starting);
}

#[test]
fn depth_descendants_and_queue_are_bounded() {
    let small = Config { descendants: 2, queued: 3, ..config(1) };
    let mut w = World::new(small);
    let root = w.submit(draft());
    let child = w.submit(draft().below(&w, root));
    let grandchild = w.submit(draft().below(&w, child));
    let deep = draft().below(&w, grandchild);
    assert_eq!(w.try_submit(deep), Err(Refusal::TooDeep { depth: 4, limit: 3 }));
    let another = draft().below(&w, root);
    let session = SessionId::user();
    let refusal = Refusal::TooManyDescendants { session, live: 2, limit: 2 };
    assert_eq!(w.try_submit(another), Err(refusal));
    w.submit(draft());
    assert_eq!(w.try_submit(draft()), Err(Refusal::QueueFull { queued: 3, limit: 3 }));
}

#[test]
fn a_queued_task_says_why_and_positions_agree_one_by_one_and_in_bulk() {
    let mut w = World::new(config(2));
    let t: Vec<TaskId> = (0..6).map(|_| w.submit(draft())).collect();
    let urgent = w.submit(draft().priority(1));
    let all: Vec<TaskId> = t.iter().copied().chain([urgent]).collect();
    let bulk = w.core.views(&all);
    for (task, view) in all.iter().zip(bulk) {
        assert_eq!(w.core.task(*task), view);
    }
    let position = |task| w.core.task(task).unwrap().queue_position;
    let positions: Vec<Option<u32>> = all.iter().map(|task| position(*task)).collect();
    assert_eq!(positions, [None, None, Some(2), Some(3), Some(4), Some(5), Some(1)]);
    let view = w.core.task(t[2]).unwrap();
    assert_eq!(view.queue_position, Some(2));
    let lane = LaneName::new("l");
    assert_eq!(view.why, Some(Why::LaneFull { lane, limit: 2, holders: vec![t[0], t[1]] }));
    let lane = w.core.lanes().into_iter().find(|l| l.lane.as_str() == "l").unwrap();
    assert_eq!(lane.queued, [urgent, t[2], t[3], t[4], t[5]]);
}

#[test]
fn every_start_has_a_token_of_its_own() {
    let mut w = World::new(Config { starts: 0, ..config(0) });
    let batch = (0..200).map(|_| w.new_task(draft())).collect();
    w.input(Input::Submit(batch)).unwrap();
    let tokens: Vec<_> = w
        .take_effects()
        .into_iter()
        .filter_map(|e| match e {
            Effect::Start { token, .. } => Some(token.0),
            _ => None,
        })
        .collect();
    let distinct: std::collections::BTreeSet<_> = tokens.iter().collect();
    assert_eq!((tokens.len(), distinct.len()), (200, 200));
}

#[test]
fn a_row_and_its_place_in_the_queue_take_less_than_200_bytes() {
    use crate::machine::lane::Key;
    use crate::machine::row::Row;
    // B-tree nodes of randomly inserted rows are some 69 % full, of appended keys 55 %.
    let row = (size_of::<Row>() + size_of::<TaskId>()) * 100 / 69;
    let key = size_of::<Key>() * 100 / 55;
    assert!(row + key <= 150, "{row} + {key} bytes");
}
