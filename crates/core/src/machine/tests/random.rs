//! Random lives: any sequence of inputs, doubled, late and foreign ones included, keeps every
//! invariant, and whatever has happened, everything comes to an end.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Draft, World, config, draft, ended};
use crate::cause::Actor;
use crate::config::Config;
use crate::event::{Exit, RunFigures};
use crate::id::{AttemptToken, GroupName, LaneName, TaskId, WaitId};
use crate::input::{EndedBy, Found, Input, Report, Until};
use crate::spec::Condition;
use crate::state::State;

/// One step; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Submit { kind: u16, near: u8, after: u8 },
    Batch { entries: Vec<u8> },
    Report { kind: u8, who: u8 },
    Late { kind: u8, who: u8 },
    Foreign { kind: u8, who: u8 },
    Cancel { who: u8, cascade: bool },
    Complete { who: u8, failed: bool },
    Retry { who: u8 },
    Extend { who: u8 },
    Wait { inside: u8, targets: Vec<u8>, any: bool, ready: bool },
    WaitOver { which: u8, gone: bool },
    Pass { seconds: u8 },
    Limits { lane: u8, starts: u8 },
    Hold { on: bool },
    Housekeeping { forget: u8 },
    Restart { found: Vec<u8> },
    Rebind { back: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let n = any::<u8>;
    prop_oneof![
        8 => (any::<u16>(), n(), n())
            .prop_map(|(kind, near, after)| Step::Submit { kind, near, after }),
        1 => vec(n(), 1..6).prop_map(|entries| Step::Batch { entries }),
        14 => (n(), n()).prop_map(|(kind, who)| Step::Report { kind, who }),
        1 => (n(), n()).prop_map(|(kind, who)| Step::Late { kind, who }),
        1 => (n(), n()).prop_map(|(kind, who)| Step::Foreign { kind, who }),
        2 => (n(), any::<bool>()).prop_map(|(who, cascade)| Step::Cancel { who, cascade }),
        1 => (n(), any::<bool>()).prop_map(|(who, failed)| Step::Complete { who, failed }),
        1 => n().prop_map(|who| Step::Retry { who }),
        1 => n().prop_map(|who| Step::Extend { who }),
        6 => (n(), vec(n(), 1..4), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(inside, targets, any, ready)| Step::Wait { inside, targets, any, ready }
        ),
        2 => (n(), any::<bool>()).prop_map(|(which, gone)| Step::WaitOver { which, gone }),
        2 => (0u8..40).prop_map(|seconds| Step::Pass { seconds }),
        1 => (n(), n()).prop_map(|(lane, starts)| Step::Limits { lane, starts }),
        1 => any::<bool>().prop_map(|on| Step::Hold { on }),
        1 => n().prop_map(|forget| Step::Housekeeping { forget }),
        1 => vec(n(), 0..8).prop_map(|found| Step::Restart { found }),
        1 => any::<bool>().prop_map(|back| Step::Rebind { back }),
    ]
}

/// The chosen one of some.
fn pick<T: Copy>(from: &[T], n: u8) -> Option<T> {
    (!from.is_empty()).then(|| from[usize::from(n) % from.len()])
}

struct Life {
    w: World,
    /// All ever submitted, oldest first.
    all: Vec<TaskId>,
    waits: Vec<WaitId>,
    /// Tokens of the past.
    tokens: Vec<(TaskId, AttemptToken)>,
}

impl Life {
    fn new() -> Self {
        let w = World::new(Config { starts: 3, descendants: 12, queued: 25, ..config(2) });
        Self { w, all: Vec::new(), waits: Vec::new(), tokens: Vec::new() }
    }

    fn with_state(&self, wanted: impl Fn(State) -> bool) -> Vec<TaskId> {
        let known = |t: &&TaskId| self.w.store.tasks.get(t).is_some_and(|x| wanted(x.state));
        self.all.iter().filter(known).copied().collect()
    }

    fn active(&self) -> Vec<TaskId> {
        self.with_state(State::is_active)
    }

    fn kept(&self) -> Vec<TaskId> {
        self.with_state(|_| true)
    }

    fn draft(&self, kind: u16, near: u8, after: u8) -> Draft {
        let mut d = draft().lane(["l", "m"][usize::from(kind & 1)]);
        if let (true, Some(parent)) = (kind & 2 != 0, pick(&self.active(), near)) {
            d = d.below(&self.w, parent).lane(["l", "m"][usize::from(kind & 1)]);
        }
        d.placement.priority = i32::from(kind >> 2 & 3) / 3;
        d.placement.over_limit = kind >> 4 & 15 == 0;
        d.spec.retry.retries = u32::from(kind >> 8 & 3) / 2;
        d.spec.idempotent = kind >> 10 & 1 == 1;
        d.spec.retry.backoff = Duration::from_secs(u64::from(kind >> 11 & 1) * 4);
        d.spec.timing.timeout = (kind >> 12 & 1 == 1).then_some(Duration::from_secs(60));
        d.spec.delay = (kind >> 13 == 1).then_some(Duration::from_secs(7));
        d.placement.group = (near & 7 == 1).then(|| GroupName::new("g"));
        d.spec.service = near & 15 == 2;
        let policies = ["all-done", "each", "failures", "none"];
        d.spec.extra = vec![("notify".into(), policies[usize::from(near >> 4 & 3)].into())];
        if let (0..90, Some(target)) = (after, pick(&self.kept(), after)) {
            d = d.after(
                target,
                [Condition::Ok, Condition::Any, Condition::Fail][usize::from(after % 3)],
            );
        }
        d
    }

    fn submit(&mut self, d: Draft) {
        if let Ok(id) = self.w.try_submit(d) {
            self.all.push(id);
        }
    }

    /// Entries after one another, forwards and backwards; some batches are cycles.
    fn batch(&mut self, entries: &[u8]) {
        let ids: Vec<TaskId> = entries.iter().map(|_| self.w.fresh()).collect();
        let batch = ids.iter().zip(entries).map(|(id, n)| {
            let mut d = draft();
            if let (true, Some(other)) = (n % 2 == 0, pick(&ids, n / 2)) {
                d = d.after(other, Condition::Ok);
            }
            self.w.named_task(*id, d)
        });
        let batch = batch.collect();
        if self.w.input(Input::Submit(batch)).is_ok() {
            self.all.extend(ids);
        }
    }

    fn some_report(kind: u8) -> Report {
        match kind % 16 {
            0..4 => Report::Started { pid: 1, supervisor_pid: 2 },
            4..8 => ended(Some(Exit::Code(0)), EndedBy::Itself),
            8 => ended(Some(Exit::Code(1)), EndedBy::Itself),
            9 => ended(Some(Exit::Signal(9)), EndedBy::Stop),
            10 => ended(None, EndedBy::Timeout { after: Duration::ZERO }),
            11 => Report::Unkillable { exit: None, run: RunFigures::default() },
            12 | 13 => Report::NeverRan,
            14 => Report::Lost,
            _ => Report::Emptied,
        }
    }

    fn report(&mut self, task: TaskId, kind: u8) {
        let token = self.w.token(task);
        self.tokens.push((task, token));
        self.w.report_as(task, token, Self::some_report(kind));
    }

    fn take(&mut self, step: Step) {
        let by = Actor::Person;
        match step {
            Step::Submit { kind, near, after } => self.submit(self.draft(kind, near, after)),
            Step::Batch { entries } => self.batch(&entries),
            Step::Report { kind, who } => {
                if let Some(task) = pick(&self.active(), who) {
                    self.report(task, kind);
                }
            }
            Step::Late { kind, who } => {
                if let Some((task, token)) = pick(&self.tokens, who)
                    && self.w.store.tasks.contains_key(&task)
                {
                    self.w.report_as(task, token, Self::some_report(kind));
                }
            }
            Step::Foreign { kind, who } => {
                if let Some(task) = pick(&self.kept(), who) {
                    self.w.report_as(task, AttemptToken([1; 16]), Self::some_report(kind));
                }
            }
            Step::Cancel { who, cascade } => {
                let targets = pick(&self.kept(), who).into_iter().collect();
                self.w.input(Input::Cancel { targets, by, cascade }).unwrap();
            }
            Step::Complete { who, failed } => {
                if let Some(task) = pick(&self.kept(), who) {
                    let message = String::new();
                    let _ = self.w.input(Input::Complete { task, by, failed, message });
                }
            }
            Step::Retry { who } => {
                if let Some(task) = pick(&self.kept(), who) {
                    let _ = self.w.retry(task);
                }
            }
            Step::Extend { who } => {
                if let Some(task) = pick(&self.kept(), who) {
                    let more = Duration::from_secs(30);
                    let _ = self.w.input(Input::Extend { task, by, more });
                }
            }
            Step::Wait { inside, targets, any, ready } => self.wait(inside, &targets, any, ready),
            Step::WaitOver { which, gone } => {
                if let Some(id) = pick(&self.waits, which) {
                    let over = if gone { Input::WaitGone(id) } else { Input::WaitTimedOut(id) };
                    self.w.input(over).unwrap();
                }
            }
            Step::Pass { seconds } => self.w.pass(Duration::from_secs(seconds.into())),
            Step::Limits { lane, starts } => self.limits(lane, starts),
            Step::Hold { on } => {
                let reason = on.then(|| "held".to_owned());
                self.w.input(Input::HoldStarts { reason }).unwrap();
            }
            Step::Housekeeping { forget } => {
                self.w.input(Input::Prune).unwrap();
                // What others depend on is kept here, so that the model can judge them.
                let ended = self.with_state(State::is_terminal);
                let named = |t: &TaskId| {
                    self.w.store.tasks.values().any(|x| x.spec.after.iter().any(|d| d.task == *t))
                };
                let free: Vec<TaskId> = ended.into_iter().filter(|t| !named(t)).collect();
                let forget = pick(&free, forget).into_iter().collect();
                self.w.input(Input::Forget(forget)).unwrap();
            }
            Step::Restart { found } => self.restart(&found),
            Step::Rebind { back: false } => self.w.rebind("user", "other"),
            Step::Rebind { back: true } => self.w.rebind("other", "user"),
        }
    }

    fn wait(&mut self, inside: u8, targets: &[u8], any: bool, ready: bool) {
        let inside = (inside > 20).then(|| pick(&self.active(), inside)).flatten();
        // Half of the time for its own: that is what lends.
        let own: Vec<TaskId> = self
            .kept()
            .into_iter()
            .filter(|t| {
                inside.is_some_and(|w| self.w.store.tasks[t].placement.ancestors.contains(&w))
            })
            .collect();
        let from = if own.is_empty() || targets[0] > 200 { self.kept() } else { own };
        let targets: Vec<TaskId> = targets.iter().filter_map(|n| pick(&from, *n)).collect();
        let until = if ready { Until::Ready } else { Until::Done };
        if let Ok(id) = self.w.wait_in(inside, &targets, any, until) {
            self.waits.push(id);
        }
    }

    fn limits(&mut self, lane: u8, starts: u8) {
        let lane_limits = BTreeMap::from([(LaneName::new("l"), u32::from(lane % 4))]);
        let starts = u32::from(starts % 4);
        let config = Config { lane_limits, starts, ..self.w.core.config().clone() };
        self.w.input(Input::Configure(Box::new(config))).unwrap();
    }

    fn restart(&mut self, found: &[u8]) {
        // A moment that has passed is "now" on another boot's clock, which the log does not know.
        let now = self.w.now.boot;
        let passed = |t: &TaskId| self.w.store.tasks[t].not_before.is_some_and(|d| d.boot <= now);
        let same_boot = found.len() % 2 == 1 || self.kept().iter().any(passed);
        self.w.restart(same_boot);
        self.w.input(Input::Tick).unwrap();
        self.waits.clear();
        let active = self.active();
        for (task, n) in active.iter().zip(found.iter().chain(std::iter::repeat(&0))) {
            let found = match n % 4 {
                0 | 1 => Found::Alive { pid: (n % 8 < 4).then_some(1), supervisor_pid: 2 },
                2 => Found::Reported(Self::some_report(*n)),
                _ => Found::Rebooted,
            };
            if self.w.store.tasks[task].state.is_active() {
                self.w.found(*task, found);
            }
        }
    }

    /// Everybody who is not blocked finishes, as long as there is anybody.
    fn finish(&mut self) {
        self.w.input(Input::HoldStarts { reason: None }).unwrap();
        for _ in 0..10_000 {
            self.w.pass(Duration::from_secs(3600));
            let kept: Vec<TaskId> =
                self.all.iter().copied().filter(|t| self.w.core.task(*t).is_some()).collect();
            if kept.is_empty() {
                return;
            }
            let runs = |t: &&TaskId| {
                let view = self.w.core.task(**t).expect("it is kept");
                view.token.is_some() && !self.w.core.blocked.contains_key(t)
            };
            let Some(task) = kept.iter().find(runs).copied() else {
                // All that run block in waits; those for strangers may be in a circle.
                let id = self.waits.pop().unwrap_or_else(|| panic!("a deadlock of {kept:?}"));
                self.w.input(Input::WaitGone(id)).unwrap();
                continue;
            };
            self.w.report(task, ended(Some(Exit::Code(0)), EndedBy::Itself));
        }
        panic!("no end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_life_keeps_the_invariants_replays_and_ends(steps in vec(step(), 1..120)) {
        let mut life = Life::new();
        for step in steps {
            life.take(step);
        }
        life.w.check_replay();
        life.w.check_notices();
        life.finish();
        life.w.check_replay();
        life.w.check_notices();
        for (id, task) in &life.w.store.tasks {
            prop_assert!(task.state.is_terminal() && !task.seat_kept, "{id} is {:?}", task.state);
            prop_assert!(life.w.store.ends.contains_key(&(*id, task.attempt)));
        }
        prop_assert!(life.w.core.lanes().iter().all(|l| l.holders.is_empty()));
    }

    #[test]
    fn the_same_inputs_give_the_same_facts_and_effects(steps in vec(step(), 1..40)) {
        let mut lives = [Life::new(), Life::new()];
        for life in &mut lives {
            for step in steps.clone() {
                life.take(step);
            }
        }
        prop_assert_eq!(&lives[0].w.log, &lives[1].w.log);
        prop_assert_eq!(&lives[0].w.effects, &lives[1].w.effects);
    }

    /// Trees of tasks in one lane or two, each waiting for all of its children: no limit is too low for
    /// them to end.
    #[test]
    fn nested_work_always_ends(
        shape in vec((any::<u8>(), any::<u8>()), 1..25), limit in 1u32..4, lanes in 1usize..3,
    ) {
        let mut life = Life::new();
        let roomy = Config { descendants: 100, queued: 100, starts: 0, ..config(limit) };
        life.w.input(Input::Configure(Box::new(roomy))).unwrap();
        for (near, kind) in shape {
            let lane = ["l", "m"][usize::from(kind) % lanes];
            let active = life.active();
            let mut d = draft().lane(lane);
            if let (true, Some(parent)) = (kind > 60, pick(&active, near)) {
                d = d.below(&life.w, parent).lane(lane);
            }
            let parent = d.placement.ancestors.first().copied();
            if let Ok(id) = life.w.try_submit(d) {
                life.all.push(id);
                if let Some(parent) = parent {
                    life.w.wait(Some(parent), &[id]);
                }
            }
        }
        life.finish();
    }
}
