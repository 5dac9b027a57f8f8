//! Whole lives: what is left of tasks that have ended, and the machine at its limits.

use std::time::Duration;

use super::world::{World, config, draft, id};
use crate::config::Config;
use crate::input::Input;
use crate::machine::{Core, Turn};
use crate::spec::Condition;
use crate::state::State::{Completed, Queued, Starting};
use crate::time::Now;

#[test]
fn memory_does_not_grow_with_history() {
    let mut w = World::new(config(1));
    for n in 0..20 {
        let t = w.submit(draft().lane(&format!("lane {n}")).retries(1));
        let wait = w.wait(None, &[t]);
        w.started(t);
        w.exits(t, 1);
        w.exits(t, 0);
        assert!(w.answers.contains_key(&wait));
    }
    let empty = Core::new(config(1));
    let left = format!("{:?}", w.core);
    for part in ["rows", "waits", "waiters", "blocked", "dependents", "descendants", "due"] {
        assert!(left.contains(&format!("{part}: {{}}")), "{part} of {left}");
    }
    assert_eq!(w.core.lanes(), empty.lanes());
}

#[test]
fn a_delay_survives_a_reboot_by_the_wall_clock() {
    let s = Duration::from_secs;
    let mut w = World::new(config(1));
    let t = w.submit(draft().delay(s(100)));
    w.now.wall = w.now.wall.after(s(70));
    w.now.boot = crate::Boot(5_000);
    w.restart(false);
    assert_eq!(w.core.next_due(), Some(crate::Boot(35_000)));
    w.pass(s(30));
    assert_eq!(w.state(t), Starting);
}

#[test]
fn orders_continue_after_a_restart() {
    let mut w = World::new(config(1));
    let (a, b) = (w.submit(draft()), w.submit(draft()));
    w.restart(true);
    let c = w.submit(draft());
    w.exits(a, 0);
    assert_eq!(w.states(&[a, b, c]), [Completed, Starting, Queued]);
}

#[test]
fn a_loaded_machine_is_the_one_that_was_lost() {
    let mut w = World::new(config(2));
    let a = w.submit(draft().retries(3));
    w.submit(draft().after(a, Condition::Any).lane("x"));
    w.submit(draft().below(&w, a).priority(3).timeout(Duration::from_secs(9)));
    w.submit(draft().delay(Duration::from_secs(9)));
    w.exits(a, 1);
    let loaded = Core::load(w.core.config().clone(), w.store.load(), true, w.now);
    w.core.same_schedule(&loaded).expect("load gives the same");
}

/// 100,000 queued tasks; every end and every start costs the same as with ten. Linear work per
/// input would take minutes here.
#[test]
fn a_hundred_thousand_queued_tasks_are_fine() {
    let n = 100_000;
    let mut core = Core::new(Config { default_lane_limit: 2, ..Config::default() });
    let now = Now::default();
    let w = World::new(config(2));
    let batch = (0..n).map(|k| w.named_task(id(k), draft())).collect();
    let mut turn = Turn::default();
    core.apply(now, 1, Input::Submit(batch), &mut turn).expect("within the limit");
    let mut done = 0;
    loop {
        core.settle(now, done, &mut turn);
        let active: Vec<_> = turn
            .effects
            .drain(..)
            .filter_map(|e| match e {
                crate::Effect::Start { task, token, .. } => Some((task, token)),
                _ => None,
            })
            .collect();
        turn.events.clear();
        if active.is_empty() {
            break;
        }
        for (task, token) in active {
            let exit = Some(crate::event::Exit::Code(0));
            let report = super::world::ended(exit, crate::input::EndedBy::Itself);
            let report = Input::Report { task, token, report };
            core.apply(now, 1, report, &mut turn).expect("reports are never refused");
            done += 1;
        }
    }
    assert_eq!(done, n);
    core.check_settled().expect("nothing is left");
    assert_eq!(core.task(id(1)).map(|v| v.state == Queued), None);
}
