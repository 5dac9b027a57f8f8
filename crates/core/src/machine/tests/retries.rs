//! Further attempts.

use std::time::Duration;

use super::world::{World, config, draft, ended};
use crate::event::Exit;
use crate::input::{EndedBy, Found, Refusal, Report};
use crate::limits;
use crate::machine::Why;
use crate::state::State::{Completed, Failed, Interrupted, Queued, Starting};

#[test]
fn retries_allow_that_many_more_attempts_at_the_tail() {
    let mut w = World::new(config(1));
    let t = w.submit(draft().retries(2));
    let other = w.submit(draft());
    w.exits(t, 1);
    assert_eq!(w.states(&[t, other]), [Queued, Starting]);
    w.exits(other, 0);
    w.exits(t, 1);
    w.exits(t, 1);
    assert_eq!((w.state(t), w.store.tasks[&t].attempt), (Failed, 3));
    w.check_replay();
}

#[test]
fn backoff_waits_and_says_so() {
    let mut w = World::new(config(1));
    let mut d = draft().retries(2);
    d.spec.retry.backoff = Duration::from_secs(8);
    let t = w.submit(d);
    w.exits(t, 1);
    let due = w.store.tasks[&t].not_before.expect("it backs off");
    let wait = due.boot.since(w.now.boot);
    assert!((6..=10).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(w.core.task(t).unwrap().why, Some(Why::Until { due, backoff: true }));
    w.pass(wait);
    assert_eq!(w.state(t), Starting);
}

#[test]
fn a_filter_of_codes_looks_at_exit_codes_only() {
    let check = |codes: &[i32], report: Report, again: bool| {
        let mut w = World::new(config(1));
        let mut d = draft().retries(1);
        d.spec.retry.on_codes = codes.to_vec();
        let t = w.submit(d);
        w.report(t, report);
        assert_eq!(w.store.tasks[&t].attempt == 2, again, "{codes:?}");
    };
    let exit = |code| ended(Some(Exit::Code(code)), EndedBy::Itself);
    let signal = || ended(Some(Exit::Signal(9)), EndedBy::Itself);
    check(&[], exit(1), true);
    check(&[], exit(0), false);
    check(&[], signal(), true);
    check(&[], ended(None, EndedBy::Timeout { after: Duration::ZERO }), true);
    check(&[75], exit(75), true);
    check(&[75], exit(1), false);
    check(&[75], signal(), false);
    check(&[], Report::Lost, false);
}

#[test]
fn only_an_idempotent_task_runs_again_after_its_supervisor_was_lost_and_twice_at_most() {
    let mut w = World::new(config(1));
    let mut d = draft();
    d.spec.idempotent = true;
    let t = w.submit(d);
    for attempt in 2..=3 {
        w.restart(false);
        w.found(t, Found::Rebooted);
        assert_eq!(w.store.tasks[&t].attempt, attempt);
        w.pass(4 * limits::DEFAULT_BACKOFF);
        assert_eq!(w.state(t), Starting);
    }
    w.report(t, Report::Lost);
    assert_eq!(w.state(t), Interrupted);
    w.check_replay();
}

#[test]
fn a_retry_that_is_asked_for_starts_the_budget_anew() {
    let mut w = World::new(config(1));
    let t = w.submit(draft().retries(1));
    assert!(matches!(w.retry(t), Err(Refusal::NotEnded { .. })));
    w.exits(t, 1);
    w.exits(t, 1);
    assert_eq!(w.state(t), Failed);
    w.retry(t).unwrap();
    w.restart(true);
    w.found(t, Found::Alive { pid: Some(1), supervisor_pid: 1 });
    w.exits(t, 1);
    assert_eq!((w.state(t), w.store.tasks[&t].attempt), (Starting, 4));
    w.exits(t, 0);
    assert_eq!(w.state(t), Completed);
    let unknown = w.fresh();
    assert_eq!(w.retry(unknown), Err(Refusal::UnknownTask(unknown)));
    w.check_replay();
}

#[test]
fn a_task_reopened_after_a_failed_dependency_runs_and_waits_only_for_what_is_under_way() {
    use crate::spec::Condition;
    let mut w = World::new(config(5));
    let a = w.submit(draft());
    let b = w.submit(draft().after(a, Condition::Ok));
    w.exits(a, 1);
    assert_eq!(w.state(b), Failed);
    w.retry(b).unwrap();
    assert_eq!(w.state(b), Starting, "whoever asks for it wants it to run");
    w.exits(b, 1);
    w.retry(a).unwrap();
    w.retry(b).unwrap();
    w.restart(true);
    w.found(a, Found::Alive { pid: None, supervisor_pid: 1 });
    assert_eq!(w.states(&[a, b]), [Starting, Queued]);
    w.exits(a, 0);
    assert_eq!(w.state(b), Starting);
    w.check_replay();
}
