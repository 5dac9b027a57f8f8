//! The meaning of every report.

use std::time::Duration;

use super::world::{World, config, draft, ended};
use crate::cause::{Actor, Cause, SpawnStage};
use crate::effect::Effect;
use crate::event::{Exit, Fact, RunFigures};
use crate::id::AttemptToken;
use crate::input::{EndedBy, Found, Input, Report};
use crate::spec::Readiness;
use crate::state::State::{
    self, Cancelled, Completed, Failed, Interrupted, Queued, Running, Starting,
};

fn check(report: Report, state: State, cause: Cause) {
    let mut w = World::new(config(1));
    let t = w.submit(draft());
    w.started(t);
    w.report(t, report);
    assert_eq!((w.state(t), w.cause(t)), (state, cause));
    let token = w.token(t);
    let effects = w.take_effects();
    assert!(effects.contains(&Effect::Recorded { task: t, token }));
    assert!(effects.contains(&Effect::Dropped { task: t }));
    assert_eq!(w.core.task(t), None);
    w.check_replay();
}

#[test]
fn each_end_has_its_state_and_cause() {
    let after = Duration::from_secs(3);
    let code = |n| Some(Exit::Code(n));
    check(ended(code(0), EndedBy::Itself), Completed, Cause::Exit { code: 0 });
    check(ended(code(3), EndedBy::Itself), Failed, Cause::Exit { code: 3 });
    let signal = Some(Exit::Signal(9));
    check(ended(signal, EndedBy::Itself), Failed, Cause::Signal { number: 9 });
    check(ended(None, EndedBy::Itself), Interrupted, Cause::Lost);
    check(ended(code(0), EndedBy::Timeout { after }), Failed, Cause::Timeout { after });
    check(ended(code(0), EndedBy::IdleTimeout { after }), Failed, Cause::IdleTimeout { after });
    let limit = Some(5);
    check(ended(signal, EndedBy::OutOfMemory { limit }), Failed, Cause::OutOfMemory { limit });
    check(ended(signal, EndedBy::PidsLimit { limit: 5 }), Failed, Cause::PidsLimit { limit: 5 });
    check(ended(signal, EndedBy::LogFull), Failed, Cause::LogFull);
    let who = Actor::Rule("supervisor");
    check(ended(signal, EndedBy::Stop), Cancelled, Cause::CancelledBy { who });
    check(Report::Lost, Interrupted, Cause::Lost);
}

#[test]
fn a_failed_start_says_at_which_stage() {
    let mut w = World::new(config(1));
    let t = w.submit(draft().retries(5));
    let (stage, what) = (SpawnStage::Exec, "nope".to_owned());
    w.report(t, Report::SpawnFailed { stage, errno: 2, what: what.clone() });
    assert_eq!(w.cause(t), Cause::SpawnError { stage, errno: 2, what });
    assert_eq!(w.state(t), Failed, "no retry finds a program that is not there");
}

#[test]
fn the_deadline_counts_from_the_start_and_extensions_add_to_it() {
    let s = Duration::from_secs;
    let mut w = World::new(config(1));
    let t = w.submit(draft().timeout(s(10)));
    let extend = |more| Input::Extend { task: t, by: Actor::Person, more };
    w.input(extend(s(5))).unwrap();
    w.started(t);
    assert_eq!(w.store.tasks[&t].deadline, Some(w.now.wall.after(s(15))));
    let start = w.now.wall;
    w.pass(s(4));
    w.input(extend(s(20))).unwrap();
    assert_eq!(w.store.tasks[&t].deadline, Some(start.after(s(35))));
    let (token, timeout) = (w.token(t), Some(s(35)));
    let effects = w.take_effects();
    assert!(effects.contains(&Effect::SetTimeout { task: t, token, timeout }));
    w.restart(true);
    w.found(t, Found::Alive { pid: Some(1), supervisor_pid: 2 });
    let effects = w.take_effects();
    assert!(effects.contains(&Effect::SetTimeout { task: t, token, timeout }), "said again");
    let free = w.submit(draft());
    let refused = w.input(Input::Extend { task: free, by: Actor::Person, more: s(1) });
    assert_eq!(refused, Err(crate::Refusal::NothingToExtend { task: free }));
}

#[test]
fn a_doubled_end_is_receipted_again_and_changes_nothing() {
    let mut w = World::new(config(1));
    let t = w.submit(draft());
    w.exits(t, 0);
    let (token, facts) = (w.token(t), w.log.len());
    w.take_effects();
    w.exits(t, 1);
    assert_eq!(w.take_effects(), [Effect::Recorded { task: t, token }]);
    assert_eq!((w.state(t), w.log.len()), (Completed, facts));
}

#[test]
fn a_foreign_token_is_refused_on_record_and_its_sender_freed() {
    let mut w = World::new(config(1));
    let t = w.submit(draft());
    let token = AttemptToken([9; 16]);
    w.take_effects();
    w.report_as(t, token, ended(Some(Exit::Code(0)), EndedBy::Itself));
    assert_eq!(w.state(t), Starting);
    assert!(matches!(w.log.last().unwrap().fact, Fact::Refused { .. }));
    assert_eq!(w.take_effects(), [Effect::Recorded { task: t, token }]);
}

#[test]
fn impossible_reports_are_refused_on_record() {
    let mut w = World::new(config(1));
    let t = w.submit(draft());
    w.report(t, Report::Emptied);
    w.started(t);
    w.started(t);
    w.report(t, Report::NeverRan);
    assert_eq!(w.state(t), Running);
    let refused = |f: &&crate::Event| matches!(f.fact, Fact::Refused { .. });
    assert_eq!(w.log.iter().filter(refused).count(), 3);
}

#[test]
fn an_unkillable_task_keeps_its_seat_until_it_is_empty() {
    let mut w = World::new(config(1));
    let t = w.submit(draft().retries(3));
    let next = w.submit(draft());
    w.started(t);
    let token = w.token(t);
    let recorded = Effect::Recorded { task: t, token };
    w.take_effects();
    for _ in 0..2 {
        w.report(t, Report::Unkillable { exit: None, run: RunFigures::default() });
        assert!(!w.take_effects().contains(&recorded), "its supervisor is not free");
    }
    assert_eq!((w.state(t), w.cause(t)), (Failed, Cause::Unkillable));
    assert_eq!(w.state(next), Queued);
    assert!(matches!(w.retry(t), Err(crate::Refusal::NotEnded { .. })));
    let standing = w.core.standing(t).expect("it is still here");
    assert_eq!((standing.state, standing.token, standing.stopping), (Failed, Some(token), false));
    w.restart(true);
    assert_eq!(w.state(next), Queued, "also across a restart");
    w.report(t, Report::Emptied);
    assert_eq!(w.state(next), Starting);
    assert!(w.take_effects().contains(&recorded));
    w.check_replay();
}

/// The machine was restarted under processes that nothing could kill: they are gone, the end stays as it was.
#[test]
fn a_restart_of_the_machine_frees_a_kept_seat_and_changes_no_end() {
    let mut w = World::new(config(1));
    let (t, next) = (w.submit(draft()), w.submit(draft()));
    w.started(t);
    w.report(t, Report::Unkillable { exit: None, run: RunFigures::default() });
    w.restart(false);
    w.found(t, Found::Rebooted);
    assert_eq!((w.state(t), w.cause(t)), (Failed, Cause::Unkillable));
    assert_eq!(w.state(next), Starting, "the seat is free");
    let ends = w.log.iter().filter(|e| e.task == t && matches!(e.fact, Fact::Ended { .. }));
    assert_eq!(ends.count(), 1);
    w.restart(false);
    w.found(next, Found::Rebooted);
    assert_eq!((w.state(next), w.cause(next)), (Interrupted, Cause::Reboot));
    w.check_replay();
}

#[test]
fn readiness_is_checked_once_it_runs_and_again_after_a_restart() {
    let mut w = World::new(config(1));
    let mut d = draft();
    d.spec.ready = Some(Readiness::Port(80));
    let t = w.submit(d);
    w.started(t);
    let token = w.token(t);
    let check = Effect::CheckReady { task: t, token };
    assert!(w.take_effects().contains(&check));
    w.restart(true);
    w.found(t, Found::Alive { pid: Some(1), supervisor_pid: 2 });
    assert!(w.take_effects().contains(&check));
    for _ in 0..2 {
        w.input(Input::Ready { task: t, token, how: "port 80".into() }).unwrap();
    }
    let ready = |e: &&crate::Event| matches!(e.fact, Fact::Ready { .. });
    assert_eq!(w.log.iter().filter(ready).count(), 1);
}

#[test]
fn recovery_believes_what_it_finds() {
    for (found, state) in [
        (Found::Alive { pid: Some(1), supervisor_pid: 2 }, Running),
        (Found::Alive { pid: None, supervisor_pid: 2 }, Starting),
        (Found::Rebooted, Interrupted),
        (Found::Reported(Report::Lost), Interrupted),
        (Found::Reported(ended(Some(Exit::Code(0)), EndedBy::Itself)), Completed),
        (Found::Reported(Report::NeverRan), Starting),
    ] {
        let mut w = World::new(config(1));
        let t = w.submit(draft());
        let next = w.submit(draft());
        w.restart(true);
        w.input(Input::Tick).unwrap();
        assert_eq!(w.state(next), Queued, "the seat is taken until the truth is known");
        w.found(t, found.clone());
        assert_eq!(w.state(t), state, "{found:?}");
        w.check_replay();
    }
}

#[test]
fn a_stop_asked_for_before_a_crash_is_passed_on_after_it() {
    let mut w = World::new(config(1));
    let t = w.submit(draft());
    w.started(t);
    w.cancel(t);
    w.restart(true);
    w.take_effects();
    w.found(t, Found::Alive { pid: Some(1), supervisor_pid: 2 });
    let (token, why) = (w.token(t), crate::StopWhy::Cancelled);
    assert_eq!(w.take_effects(), [Effect::Stop { task: t, token, why }]);
    w.exits(t, 0);
    assert_eq!(w.state(t), Cancelled);
}
