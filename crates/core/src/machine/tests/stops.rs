//! Cancel, complete, prune, forget.

use std::time::Duration;

use super::world::{World, config, draft, ended};
use crate::cause::{Actor, Cause, SpawnStage};
use crate::effect::{Effect, StopWhy};
use crate::event::{Exit, Fact, RunFigures};
use crate::input::{EndedBy, Found, Input, Refusal, Report};
use crate::state::State::{Cancelled, Completed, Failed, Queued, Running, Starting};

#[test]
fn a_queued_task_is_cancelled_at_once_an_active_one_when_it_has_ended() {
    let mut w = World::new(config(1));
    let (a, b) = (w.submit(draft()), w.submit(draft()));
    w.started(a);
    w.cancel(b);
    assert_eq!(w.state(b), Cancelled);
    w.take_effects();
    w.cancel(a);
    assert_eq!(w.state(a), Running);
    assert!(w.core.task(a).unwrap().stopping);
    let (task, token, why) = (a, w.token(a), StopWhy::Cancelled);
    assert_eq!(w.take_effects(), [Effect::Stop { task, token, why }]);
    w.cancel(a);
    assert_eq!(w.take_effects(), [], "one wish is enough");
    w.exits(a, 7);
    assert_eq!(w.cause(a), Cause::CancelledBy { who: Actor::Person });
    let Fact::Ended { end, .. } = &w.log.last().unwrap().fact else { panic!("it ended last") };
    assert_eq!(end.exit, Some(Exit::Code(7)), "the true exit stays beside");
    w.cancel(a);
    assert_eq!(w.state(a), Cancelled);
}

#[test]
fn a_cancelled_start_ends_cancelled_whatever_became_of_it() {
    let (stage, what) = (SpawnStage::Exec, String::new());
    for report in [
        Report::NeverRan,
        Report::SpawnFailed { stage, errno: 2, what },
        Report::Lost,
        ended(Some(Exit::Code(0)), EndedBy::Itself),
        ended(None, EndedBy::Stop),
    ] {
        let mut w = World::new(config(1));
        let t = w.submit(draft().retries(3));
        w.cancel(t);
        w.report(t, report);
        assert_eq!(w.state(t), Cancelled);
        assert_eq!(w.core.task(t), None, "no retry of what was cancelled");
    }
    let mut w = World::new(config(1));
    let t = w.submit(draft());
    w.cancel(t);
    w.found(t, Found::Rebooted);
    assert_eq!(w.state(t), Cancelled);
}

#[test]
fn the_first_of_two_wishes_wins() {
    let complete =
        |task, failed| Input::Complete { task, by: Actor::Person, failed, message: "seen".into() };
    for (failed, state) in [(false, Completed), (true, Failed)] {
        let mut w = World::new(config(1));
        let (a, b) = (w.submit(draft().retries(1)), w.submit(draft()));
        w.input(complete(a, failed)).unwrap();
        w.cancel(a);
        w.input(complete(b, failed)).unwrap();
        w.report(a, ended(Some(Exit::Signal(15)), EndedBy::Stop));
        assert_eq!(w.states(&[a, b]), [state, state]);
        let reported = Cause::Reported { by: Actor::Person, message: "seen".into() };
        assert_eq!((w.cause(a), w.cause(b)), (reported.clone(), reported));
        assert_eq!(w.input(complete(a, failed)), Err(Refusal::UnknownTask(a)));
        w.check_replay();
    }
}

#[test]
fn a_cancel_reaches_all_levels_below_also_of_an_ended_target() {
    let mut w = World::new(config(5));
    let root = w.submit(draft());
    let child = w.submit(draft().below(&w, root));
    let grandchild = w.submit(draft().below(&w, child).delay(Duration::from_secs(60)));
    let other = w.submit(draft());
    w.exits(root, 0);
    w.cancel(root);
    assert_eq!(
        w.states(&[root, child, grandchild, other]),
        [Completed, Starting, Cancelled, Starting]
    );
    assert!(w.core.task(child).unwrap().stopping);
    let again = w.submit(draft().below(&w, other));
    let targets = vec![other];
    w.input(Input::Cancel { targets, by: Actor::Person, cascade: false }).unwrap();
    assert!(!w.core.task(again).unwrap().stopping, "--no-cascade");
}

#[test]
fn prune_cancels_what_has_waited_for_a_day_but_not_what_was_told_to_wait() {
    let day = Duration::from_secs(24 * 3600);
    let mut w = World::new(config(1));
    let running = w.submit(draft());
    let stale = w.submit(draft());
    let planned = w.submit(draft().delay(2 * day));
    w.pass(day);
    let fresh = w.submit(draft());
    w.pass(Duration::from_secs(1));
    w.input(Input::Prune).unwrap();
    assert_eq!(w.states(&[running, stale, planned, fresh]), [Starting, Cancelled, Queued, Queued]);
    assert_eq!(w.cause(stale), Cause::CancelledBy { who: Actor::Rule("prune") });
}

#[test]
fn only_what_has_ended_is_forgotten() {
    let mut w = World::new(config(1));
    let (a, b) = (w.submit(draft()), w.submit(draft()));
    w.exits(a, 0);
    w.take_effects();
    w.input(Input::Forget(vec![a, b])).unwrap();
    assert_eq!(w.take_effects(), [Effect::DeleteFiles { task: a }]);
    assert!(!w.store.tasks.contains_key(&a));
    assert_eq!(w.state(b), Starting);
    w.check_replay();
}

/// A store forgets the wish with the end that it led to, and knows no extension by nothing.
#[test]
fn after_an_end_that_keeps_its_seat_and_an_extension_by_nothing_a_restart_loads_what_lived() {
    let mut w = World::new(config(2));
    let stopped = w.submit(draft());
    w.started(stopped);
    w.cancel(stopped);
    w.report(stopped, Report::Unkillable { exit: None, run: RunFigures::default() });
    w.restart(true);
    let extended = w.submit(draft().timeout(Duration::from_secs(60)));
    let (task, by, more) = (extended, Actor::Person, Duration::ZERO);
    w.input(Input::Extend { task, by, more }).expect("it has a deadline");
    w.restart(true);
}
