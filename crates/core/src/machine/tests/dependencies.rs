//! Tasks after tasks.

use super::world::{World, config, draft};
use crate::Cause;
use crate::input::{Input, Refusal};
use crate::machine::Why;
use crate::spec::Condition;
use crate::state::State::{self, Cancelled, Completed, Failed, Queued, Starting};

/// A task that ended with `code` (none: cancelled), then one after it: the state of the latter.
fn check(code: Option<i32>, condition: Condition, expected: State) {
    for submitted_before_the_end in [true, false] {
        let mut w = World::new(config(5));
        let first = w.submit(draft());
        let early = submitted_before_the_end.then(|| w.submit(draft().after(first, condition)));
        match code {
            Some(code) => w.exits(first, code),
            None => {
                w.cancel(first);
                w.exits(first, 1);
            }
        }
        let second = early.unwrap_or_else(|| w.submit(draft().after(first, condition)));
        assert_eq!(w.state(second), expected, "{code:?} {condition:?} {early:?}");
        if expected == Failed {
            assert_eq!(w.cause(second), Cause::Dependency { task: first });
        }
        w.check_replay();
    }
}

#[test]
fn a_condition_is_judged_by_how_the_target_ended() {
    for (code, condition, expected) in [
        (Some(0), Condition::Ok, Starting),
        (Some(1), Condition::Ok, Failed),
        (None, Condition::Ok, Failed),
        (Some(0), Condition::Any, Starting),
        (Some(1), Condition::Any, Starting),
        (None, Condition::Any, Starting),
        (Some(0), Condition::Fail, Failed),
        (Some(1), Condition::Fail, Starting),
        (None, Condition::Fail, Starting),
    ] {
        check(code, condition, expected);
    }
}

#[test]
fn a_dependent_task_waits_through_automatic_retries() {
    let mut w = World::new(config(5));
    let first = w.submit(draft().retries(1));
    let second = w.submit(draft().after(first, Condition::Ok));
    assert_eq!(w.core.task(second).unwrap().why, Some(Why::Dependencies { on: vec![first] }));
    w.exits(first, 1);
    assert_eq!(w.states(&[first, second]), [Starting, Queued]);
    w.exits(first, 0);
    assert_eq!(w.states(&[first, second]), [Completed, Starting]);
}

#[test]
fn a_chain_fails_to_its_end_without_recursion() {
    let mut w = World::new(config(1));
    let batch: Vec<_> = (0..300).map(|_| w.fresh()).collect();
    let mut drafts = vec![draft()];
    drafts.extend(batch.iter().map(|before| draft().after(*before, Condition::Ok)));
    let tasks = batch.iter().zip(drafts).map(|(id, d)| w.named_task(*id, d)).collect();
    w.input(Input::Submit(tasks)).unwrap();
    w.exits(batch[0], 1);
    assert!(batch.iter().all(|t| w.state(*t) == Failed));
    assert_eq!(w.cause(batch[299]), Cause::Dependency { task: batch[298] });
}

#[test]
fn a_cancel_while_queued_fails_the_dependents_unless_they_are_cancelled_with_it() {
    let mut w = World::new(config(1));
    let running = w.submit(draft());
    let a = w.submit(draft());
    let b = w.submit(draft().after(a, Condition::Ok));
    w.cancel(a);
    assert_eq!(w.states(&[running, a, b]), [Starting, Cancelled, Failed]);
    let a = w.submit(draft());
    let b = w.submit(draft().after(a, Condition::Ok));
    let targets = vec![a, b];
    w.input(Input::Cancel { targets, by: crate::Actor::Person, cascade: true }).unwrap();
    assert_eq!(w.states(&[a, b]), [Cancelled, Cancelled]);
}

#[test]
fn a_batch_may_name_later_entries_and_keeps_its_order() {
    let mut w = World::new(config(1));
    let ids = [w.fresh(), w.fresh(), w.fresh()];
    let batch = vec![
        w.named_task(ids[0], draft().after(ids[2], Condition::Ok)),
        w.named_task(ids[1], draft()),
        w.named_task(ids[2], draft()),
    ];
    w.input(Input::Submit(batch)).unwrap();
    assert_eq!(w.states(&ids), [Queued, Starting, Queued]);
    w.exits(ids[1], 0);
    let late = w.submit(draft());
    w.exits(ids[2], 0);
    assert_eq!(w.states(&[ids[0], late]), [Starting, Queued], "its order is that of the batch");
    w.check_replay();
}

#[test]
fn cycles_self_and_unknown_ids_refuse_the_whole_batch() {
    let mut w = World::new(config(1));
    let (a, b, c) = (w.fresh(), w.fresh(), w.fresh());
    let alone = vec![w.named_task(a, draft().after(a, Condition::Any))];
    assert_eq!(w.input(Input::Submit(alone)), Err(Refusal::Cycle(vec![a])));
    let round = vec![
        w.named_task(c, draft().after(a, Condition::Ok)),
        w.named_task(a, draft().after(b, Condition::Ok)),
        w.named_task(b, draft().after(a, Condition::Ok)),
    ];
    assert_eq!(w.input(Input::Submit(round)), Err(Refusal::Cycle(vec![a, b])));
    let unknown = vec![w.named_task(c, draft()), w.named_task(b, draft().after(a, Condition::Ok))];
    let refusal = Refusal::UnknownDependency { task: b, dependency: a };
    assert_eq!(w.input(Input::Submit(unknown)), Err(refusal));
    assert!(w.store.tasks.is_empty());
}
