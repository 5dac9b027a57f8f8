//! A machine with its store, driven by hand.
//!
//! Owns: the checks around every input: invariants before and after `settle`, limits and order of
//! every start, and that refusals change nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::store_model::StoreModel;
use crate::cause::{Actor, Cause};
use crate::config::Config;
use crate::effect::{Answer, Effect};
use crate::event::{Event, Exit, Fact, RunFigures};
use crate::id::{AttemptToken, LaneName, SessionId, TaskId, WaitId};
use crate::input::{EndedBy, Found, Input, NewTask, Refusal, Report, Until, Wait, WaitTarget};
use crate::machine::{Core, LoadedTask, Turn};
use crate::notice::{NoticeId, NoticeKind, Notify};
use crate::spec::{
    Command, Condition, Dependency, EnvSpec, Placement, ProcessContext, ResourceLimits,
    RetryPolicy, Stdin, TaskSpec, Timing,
};
use crate::state::State;
use crate::time::{Boot, Now, Wall};

pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Now,
    pub(super) store: StoreModel,
    pub(super) log: Vec<Event>,
    /// Effects since they were last taken.
    pub(super) effects: Vec<Effect>,
    pub(super) answers: BTreeMap<WaitId, Answer>,
    entropy: u64,
    next_id: u64,
    next_wait: u64,
}

/// One task in the making.
pub(super) struct Draft {
    pub(super) spec: TaskSpec,
    pub(super) placement: Placement,
}

pub(super) fn config(lane: u32) -> Config {
    Config { default_lane_limit: lane, ..Config::default() }
}

pub(super) fn id(n: u64) -> TaskId {
    // Spread, so that the order of ids is not that of submission.
    TaskId::from_random(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7)
}

/// A task of a person in lane `l`.
pub(super) fn draft() -> Draft {
    Draft {
        spec: TaskSpec {
            name: None,
            command: Command::Argv(vec![b"true".to_vec()]),
            cwd: b"/".to_vec(),
            labels: Vec::new(),
            env: EnvSpec::default(),
            process: ProcessContext::default(),
            stdin: Stdin::Null,
            pty: None,
            limits: ResourceLimits::default(),
            timing: Timing::default(),
            retry: RetryPolicy::default(),
            after: Vec::new(),
            delay: None,
            ready: None,
            service: false,
            artifacts: Vec::new(),
            keep_tmp: false,
            keep_leaked: false,
            idempotent: false,
            idempotency_key: None,
            extra: Vec::new(),
        },
        placement: Placement {
            session: SessionId::user(),
            group: None,
            lane: LaneName::new("l"),
            priority: 0,
            ancestors: Vec::new(),
            over_limit: false,
            by_person: true,
        },
    }
}

impl Draft {
    pub(super) fn lane(mut self, lane: &str) -> Self {
        self.placement.lane = LaneName::new(lane);
        self
    }

    pub(super) fn priority(mut self, priority: i32) -> Self {
        self.placement.priority = priority;
        self
    }

    /// Launched from inside `parent`.
    pub(super) fn below(mut self, world: &World, parent: TaskId) -> Self {
        self.placement.ancestors = vec![parent];
        self.placement.ancestors.extend(&world.store.tasks[&parent].placement.ancestors);
        self.placement.by_person = false;
        self
    }

    pub(super) fn after(mut self, task: TaskId, condition: Condition) -> Self {
        self.spec.after.push(Dependency { task, condition });
        self
    }

    pub(super) fn retries(mut self, retries: u32) -> Self {
        self.spec.retry.retries = retries;
        self
    }

    pub(super) fn delay(mut self, delay: Duration) -> Self {
        self.spec.delay = Some(delay);
        self
    }

    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timing.timeout = Some(timeout);
        self
    }
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        Self {
            core: Core::new(config),
            now: Now { wall: Wall(1_700_000_000_000), boot: Boot(1_000_000) },
            store: StoreModel::default(),
            log: Vec::new(),
            effects: Vec::new(),
            answers: BTreeMap::new(),
            entropy: 7,
            next_id: 1,
            next_wait: 1,
        }
    }

    /// One turn of the loop with one input.
    pub(super) fn input(&mut self, input: Input) -> Result<(), Refusal> {
        self.entropy = self.entropy.wrapping_add(1);
        let mut turn = Turn::default();
        let before = format!("{:?}", self.core);
        let answer = self.core.apply(self.now, self.entropy, input, &mut turn);
        if answer.is_err() {
            assert_eq!(turn, Turn::default(), "a refusal changes nothing");
            assert_eq!(format!("{:?}", self.core), before, "a refusal changes nothing");
        }
        self.core.check().expect("invariants after apply");
        self.keep(turn, false);
        let mut turn = Turn::default();
        self.core.settle(self.now, self.entropy, &mut turn);
        self.core.check_settled().expect("invariants after settle");
        self.keep(turn, true);
        answer
    }

    fn keep(&mut self, turn: Turn, settled: bool) {
        for event in turn.events {
            if let Fact::Starting { .. } = event.fact {
                assert!(settled, "only settle starts");
                self.check_order(event.task);
            }
            self.store.fold(&event);
            self.log.push(event);
        }
        for effect in &turn.effects {
            if let Effect::Answer { wait, answer } = effect {
                let before = self.answers.insert(*wait, answer.clone());
                assert_eq!(before, None, "{wait:?} answered twice");
            }
            if let Effect::Start { task, attempt, token, .. } = effect {
                let stored = &self.store.tasks[task];
                assert_eq!((stored.attempt, stored.token), (*attempt, Some(*token)));
            }
        }
        if settled {
            self.check_limits(&turn.effects);
        }
        self.effects.extend(turn.effects);
    }

    /// Nobody of the lane who could have started comes before a task that starts on a seat of the
    /// lane's own, and it was free to start.
    fn check_order(&self, starts: TaskId) {
        let task = &self.store.tasks[&starts];
        assert!(self.is_eligible(starts), "{starts} starts before its time");
        if self.borrows(starts) || task.placement.over_limit {
            return;
        }
        for other in self.store.tasks.values() {
            let rival = other.id != starts
                && other.state == State::Queued
                && other.placement.lane == task.placement.lane
                && self.is_eligible(other.id);
            let first = other.placement.over_limit
                || other.placement.priority > task.placement.priority
                || (other.placement.priority == task.placement.priority
                    && other.order < task.order);
            assert!(!(rival && first), "{} was before {starts}", other.id);
        }
    }

    fn is_eligible(&self, id: TaskId) -> bool {
        let task = &self.store.tasks[&id];
        // A retry ignores how things had ended before, as does a start that is repeated.
        let judged = task.attempt == 1 && task.crashes == 0;
        let decided = |d: &Dependency| {
            self.store.tasks.get(&d.task).is_none_or(|other| {
                other.state.is_terminal() && (!judged || d.condition.is_met_by(other.state))
            })
        };
        let timely = task.not_before.is_none_or(|due| due.boot <= self.now.boot);
        timely && task.spec.after.iter().all(decided)
    }

    fn borrows(&self, id: TaskId) -> bool {
        self.core.lanes().iter().any(|lane| lane.lent.iter().any(|(_, b)| *b == id))
    }

    /// A lane in which somebody was started on a seat of its own is within its limit.
    fn check_limits(&self, effects: &[Effect]) {
        let views = self.core.lanes();
        let mut starting = 0;
        for view in &views {
            let own = effects.iter().any(|e| match e {
                Effect::Start { task, .. } => {
                    view.holders.contains(task)
                        && !self.store.tasks[task].placement.over_limit
                        && !view.lent.iter().any(|(_, borrower)| borrower == task)
                }
                _ => false,
            });
            let taken = view.holders.len() - view.lent.len();
            if let (true, Some(limit)) = (own, view.limit) {
                assert!(taken <= limit as usize, "{view:?}");
            }
            let state = |t: &TaskId| self.store.tasks[t].state;
            starting += view.holders.iter().filter(|t| state(t) == State::Starting).count();
        }
        let some = effects.iter().any(|e| matches!(e, Effect::Start { .. }));
        let limit = self.core.config().starts as usize;
        assert!(!some || limit == 0 || starting <= limit, "{starting} starts in flight");
    }

    // What clients do.

    pub(super) fn fresh(&mut self) -> TaskId {
        self.next_id += 1;
        id(self.next_id)
    }

    pub(super) fn new_task(&mut self, draft: Draft) -> NewTask {
        let id = self.fresh();
        self.named_task(id, draft)
    }

    pub(super) fn named_task(&self, id: TaskId, draft: Draft) -> NewTask {
        let ended = |d: &Dependency| {
            let state = self.store.tasks.get(&d.task)?.state;
            state.is_terminal().then_some((d.task, state))
        };
        NewTask {
            id,
            ended_dependencies: draft.spec.after.iter().filter_map(ended).collect(),
            spec: Box::new(draft.spec),
            placement: Box::new(draft.placement),
        }
    }

    pub(super) fn try_submit(&mut self, draft: Draft) -> Result<TaskId, Refusal> {
        let new = self.new_task(draft);
        let id = new.id;
        self.input(Input::Submit(vec![new])).map(|()| id)
    }

    pub(super) fn submit(&mut self, draft: Draft) -> TaskId {
        self.try_submit(draft).expect("nothing forbids it")
    }

    pub(super) fn cancel(&mut self, task: TaskId) {
        let cancel = Input::Cancel { targets: vec![task], by: Actor::Person, cascade: true };
        self.input(cancel).expect("cancel is never refused");
    }

    pub(super) fn retry(&mut self, task: TaskId) -> Result<(), Refusal> {
        let row = self.store.reopened(task);
        self.input(Input::Retry { task, by: Actor::Person, row })
    }

    pub(super) fn wait_in(
        &mut self,
        inside: Option<TaskId>,
        targets: &[TaskId],
        any: bool,
        until: Until,
    ) -> Result<WaitId, Refusal> {
        let id = WaitId(self.next_wait);
        self.next_wait += 1;
        let ended =
            |t: &TaskId| self.store.tasks.get(t).map(|task| task.state).filter(|s| s.is_terminal());
        let targets = targets.iter().map(|t| WaitTarget { task: *t, ended: ended(t) }).collect();
        self.input(Input::Wait(Wait { id, inside, targets, any, until })).map(|()| id)
    }

    pub(super) fn wait(&mut self, inside: Option<TaskId>, targets: &[TaskId]) -> WaitId {
        self.wait_in(inside, targets, false, Until::Done).expect("nothing forbids it")
    }

    // What supervisors do.

    pub(super) fn report_as(&mut self, task: TaskId, token: AttemptToken, report: Report) {
        self.input(Input::Report { task, token, report }).expect("reports are never refused");
    }

    pub(super) fn report(&mut self, task: TaskId, report: Report) {
        let token = self.token(task);
        self.report_as(task, token, report);
    }

    pub(super) fn started(&mut self, task: TaskId) {
        self.report(task, Report::Started { pid: 1, supervisor_pid: 2 });
    }

    pub(super) fn exits(&mut self, task: TaskId, code: i32) {
        self.report(task, ended(Some(Exit::Code(code)), EndedBy::Itself));
    }

    /// The daemon dies and comes back; what it had not committed is gone.
    pub(super) fn restart(&mut self, same_boot: bool) {
        let load =
            |core: &Core| Core::load(core.config().clone(), self.store.load(), same_boot, self.now);
        if same_boot {
            let mut loaded = load(&self.core);
            loaded.moments_passed(self.now);
            self.core.same_schedule(&loaded).expect("what is loaded is what was lost");
        }
        self.core = load(&self.core);
        self.core.check().expect("invariants after load");
        if !same_boot {
            for task in self.store.tasks.values_mut() {
                task.not_before = task.not_before.map(|due| due.after_reboot(self.now));
            }
        }
    }

    pub(super) fn found(&mut self, task: TaskId, found: Found) {
        let token = self.token(task);
        self.input(Input::Found { task, token, found }).expect("never refused");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = Now { wall: self.now.wall.after(time), boot: self.now.boot.after(time) };
        self.input(Input::Tick).expect("time passes");
    }

    // What is seen.

    pub(super) fn token(&self, task: TaskId) -> AttemptToken {
        self.store.tasks[&task].token.expect("it has been started")
    }

    pub(super) fn state(&self, task: TaskId) -> State {
        self.store.tasks[&task].state
    }

    pub(super) fn states(&self, tasks: &[TaskId]) -> Vec<State> {
        tasks.iter().map(|t| self.state(*t)).collect()
    }

    /// The cause of the latest end.
    pub(super) fn cause(&self, task: TaskId) -> Cause {
        let end = self.log.iter().rev().find_map(|e| match &e.fact {
            Fact::Ended { end, .. } if e.task == task => Some(end.cause.clone()),
            _ => None,
        });
        end.expect("it has ended")
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whoever is to hear of an end has a notice of it, once, and nobody else has.
    pub(super) fn check_notices(&self) {
        for task in self.store.tasks.values().filter(|t| t.state.is_terminal()) {
            let about = NoticeId::of_end(task.id, task.attempt);
            let told = Notify::of(&task.spec).tells(task.state, task.spec.service);
            assert_eq!(self.store.notices.contains_key(&about), told, "{about}: {:?}", task.state);
        }
        let of_end = |id: &&NoticeId| id.kind == NoticeKind::Done;
        for id in self.store.notices.keys().filter(of_end) {
            let Some(task) = self.store.tasks.get(&id.task) else { continue };
            let is_final = id.attempt < task.attempt || task.state.is_terminal();
            assert!(is_final, "{id} is told of though it goes on");
        }
    }

    /// A session goes on under another name.
    pub(super) fn rebind(&mut self, from: &str, to: &str) {
        let (from, to) = (SessionId::new(from), SessionId::new(to));
        let of_from = |t: &&LoadedTask| t.state.is_terminal() && t.placement.session == from;
        let ended = self.store.tasks.values().filter(of_from).map(|t| t.id).collect();
        self.input(Input::Rebind { from, to, ended }).expect("never refused");
    }

    /// The log alone says the same as the machine that wrote it.
    pub(super) fn check_replay(&self) {
        let config = self.core.config().clone();
        let again = Core::replay(config, &self.log, self.now).expect("the log fits together");
        self.core.same_schedule(&again).expect("replay gives the same");
    }
}

pub(super) fn ended(exit: Option<Exit>, why: EndedBy) -> Report {
    Report::Ended { exit, why, run: RunFigures::default() }
}
