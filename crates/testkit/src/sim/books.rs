//! An account of every task, kept apart from the core and the store: what was committed, fact by fact.
//!
//! Owns the rules that each single fact must obey, judged against the simulated machine: one end per
//! attempt, no attempt twice, ends that are true, starts in order. Never asks the core.

use std::collections::{BTreeMap, BTreeSet};

use meanwhile_core::cause::Cause;
use meanwhile_core::event::{End, Exit, Stop};
use meanwhile_core::notice::Notify;
use meanwhile_core::spec::Dependency;
use meanwhile_core::time::Due;
use meanwhile_core::{Actor, AttemptToken, Event, Fact, LaneName, Now, State, TaskId};

use super::machine::Machine;
use super::wire::Key;

/// One task.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    pub(super) attempt: u32,
    pub(super) token: Option<AttemptToken>,
    pub(super) lane: LaneName,
    pub(super) over_limit: bool,
    pub(super) ancestors: Vec<TaskId>,
    pub(super) seat_kept: bool,
    priority: i32,
    order: u64,
    not_before: Option<Due>,
    after: Vec<Dependency>,
    stop: Option<Stop>,
    service: bool,
    idempotent: bool,
    retries: u32,
    /// It was queued again as never run: what its dependencies came to was judged before.
    requeued: bool,
}

/// Everything that was ever committed.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) tasks: BTreeMap<TaskId, Entry>,
    /// With the moments of delays as they are on the present boot's clock.
    pub(super) log: Vec<Event>,
    /// One per end, the seam for notices: each must be told once.
    pub(super) ends: BTreeMap<Key, State>,
    /// What was launched under which name: a name is one entry of one request.
    pub(super) names: BTreeMap<String, TaskId>,
    tokens: BTreeSet<[u8; 16]>,
    /// Retries and extensions by the request that asked for them.
    once: BTreeSet<(TaskId, String)>,
    pub(super) forgotten: BTreeSet<TaskId>,
    pub(super) facts: u64,
    pub(super) starts: u64,
}

/// What a batch of facts is judged by besides the machine.
pub(super) struct Circumstances<'a> {
    pub(super) now: Now,
    /// Who runs on whose seat.
    pub(super) lender_of: &'a BTreeMap<TaskId, TaskId>,
}

macro_rules! holds {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

impl Entry {
    pub(super) fn holds_seat(&self) -> bool {
        self.state.is_active() || self.seat_kept
    }

    /// Whether its session is to hear of the end that it came to.
    pub(super) fn is_told_of(&self) -> bool {
        Notify::default().tells(self.state, self.service)
    }
}

impl Books {
    /// Queued, and nothing but a seat is missing.
    pub(super) fn is_eligible(&self, entry: &Entry, now: Now) -> bool {
        let decided =
            |d: &Dependency| self.tasks.get(&d.task).is_none_or(|t| t.state.is_terminal());
        entry.state == State::Queued
            && entry.not_before.is_none_or(|due| due.boot <= now.boot)
            && entry.after.iter().all(decided)
    }

    pub(super) fn is_service(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|t| t.service)
    }

    /// The machine was restarted: what is left of delays is left on the new clock.
    pub(super) fn moved(&mut self, now: Now) {
        let tasks = &mut self.tasks;
        for entry in tasks.values_mut().filter(|t| t.state == State::Queued) {
            entry.not_before = entry.not_before.map(|due| due.after_reboot(now));
        }
        for event in &mut self.log {
            let queued = tasks
                .get(&event.task)
                .is_some_and(|t| t.state == State::Queued && t.attempt == event.attempt);
            match &mut event.fact {
                Fact::Submitted { not_before, .. } | Fact::Retried { not_before, .. } if queued => {
                    *not_before = not_before.map(|due| due.after_reboot(now));
                }
                _ => {}
            }
        }
    }

    /// Enters one committed fact.
    pub(super) fn enter(
        &mut self,
        event: &Event,
        machine: &Machine,
        about: &Circumstances<'_>,
    ) -> Result<(), String> {
        self.facts += 1;
        self.log.push(event.clone());
        let (task, attempt) = (event.task, event.attempt);
        if let Fact::Submitted { .. } = &event.fact {
            return self.submitted(event);
        }
        if let Fact::Refused { .. } = &event.fact {
            return Ok(());
        }
        let Some(entry) = self.tasks.get(&task) else {
            return Err(format!("{} of a task that nobody submitted", event.fact.name()));
        };
        let (state, current) = (entry.state, entry.attempt);
        let key = Key { task, attempt };
        if !matches!(event.fact, Fact::Retried { .. } | Fact::Forgotten) {
            let name = event.fact.name();
            holds!(attempt == current, "{name} of attempt {attempt}, the current is {current}");
        }
        match &event.fact {
            Fact::Starting { token } => self.starting(task, *token, about)?,
            Fact::Started { .. } => {
                holds!(state == State::Starting, "started while {}", state.name());
                self.entry(task).state = State::Running;
            }
            Fact::StopRequested { stop } => self.entry(task).stop = Some(stop.clone()),
            Fact::Ended { end, .. } => self.ended(key, end, machine)?,
            Fact::Requeued { crashes } => {
                holds!(state == State::Starting, "requeued while {}", state.name());
                let ran = machine.trees.iter().any(|t| t.job.key == key);
                holds!(!ran, "queued again as never run, but it was executed");
                let most = meanwhile_core::limits::MAX_START_CRASHES;
                holds!(*crashes < most, "{crashes} starts took their supervisor down");
                let entry = self.entry(task);
                entry.requeued = true;
                (entry.state, entry.token) = (State::Queued, None);
            }
            Fact::Retried { .. } => self.retried(event)?,
            Fact::Emptied => {
                holds!(self.tasks[&task].seat_kept, "emptied without a kept seat");
                holds!(machine.living(key).is_none(), "emptied while processes live");
                self.entry(task).seat_kept = false;
            }
            Fact::Forgotten => {
                let entry = &self.tasks[&task];
                holds!(state.is_terminal() && !entry.seat_kept, "forgotten while {}", state.name());
                self.tasks.remove(&task);
                self.forgotten.insert(task);
            }
            Fact::Extended { by, .. } => {
                holds!(self.once.insert((task, by.to_text())), "extended twice by one request");
            }
            Fact::DeadlineNear { .. } => {
                holds!(state.is_active(), "a deadline is near while {}", state.name());
            }
            Fact::Submitted { .. }
            | Fact::Refused { .. }
            | Fact::Ready { .. }
            | Fact::Rebound { .. } => {}
        }
        Ok(())
    }

    fn entry(&mut self, task: TaskId) -> &mut Entry {
        self.tasks.get_mut(&task).expect("the caller has looked it up")
    }

    fn submitted(&mut self, event: &Event) -> Result<(), String> {
        let Fact::Submitted { spec, placement, order, not_before } = &event.fact else {
            return Ok(());
        };
        let id = event.task;
        holds!(!self.tasks.contains_key(&id), "submitted twice");
        self.order_is_free(*order)?;
        if let Some(name) = &spec.name {
            let before = self.names.insert(name.clone(), id);
            holds!(before.is_none(), "a request was done twice: {name} is there already");
        }
        self.tasks.insert(
            id,
            Entry {
                state: State::Queued,
                attempt: 1,
                token: None,
                lane: placement.lane.clone(),
                over_limit: placement.over_limit,
                ancestors: placement.ancestors.clone(),
                seat_kept: false,
                priority: placement.priority,
                order: *order,
                not_before: *not_before,
                after: spec.after.clone(),
                stop: None,
                service: spec.service,
                idempotent: spec.idempotent,
                retries: spec.retry.retries,
                requeued: false,
            },
        );
        Ok(())
    }

    fn order_is_free(&self, order: u64) -> Result<(), String> {
        let taken = self.tasks.values().any(|t| t.order == order && !t.state.is_terminal());
        holds!(!taken, "has the order {order} of another");
        Ok(())
    }

    /// A start comes in its turn, and with a token of its own.
    fn starting(
        &mut self,
        task: TaskId,
        token: AttemptToken,
        about: &Circumstances<'_>,
    ) -> Result<(), String> {
        self.starts += 1;
        let entry = &self.tasks[&task];
        holds!(entry.state == State::Queued, "starts while {}", entry.state.name());
        holds!(self.tokens.insert(token.0), "starts with the token of another start");
        holds!(self.is_eligible(entry, about.now), "starts before its time");
        for dependency in entry.after.iter().filter(|_| entry.attempt == 1 && !entry.requeued) {
            let met = self
                .tasks
                .get(&dependency.task)
                .is_none_or(|target| dependency.condition.is_met_by(target.state));
            holds!(met, "starts though {} did not end as asked", dependency.task);
        }
        if !about.lender_of.contains_key(&task) && !entry.over_limit {
            for (other, rival) in &self.tasks {
                let before = rival.over_limit
                    || rival.priority > entry.priority
                    || (rival.priority == entry.priority && rival.order < entry.order);
                let rival = *other != task
                    && rival.lane == entry.lane
                    && before
                    && self.is_eligible(rival, about.now);
                holds!(!rival, "starts before {other}, whose turn it is");
            }
        }
        let entry = self.entry(task);
        (entry.state, entry.token, entry.not_before) = (State::Starting, Some(token), None);
        Ok(())
    }

    fn retried(&mut self, event: &Event) -> Result<(), String> {
        let Fact::Retried { order, not_before, by, .. } = &event.fact else { return Ok(()) };
        let entry = &self.tasks[&event.task];
        let (state, last) = (entry.state, entry.attempt);
        holds!(state.is_terminal(), "tried again while {}", state.name());
        holds!(!entry.seat_kept, "tried again while processes of it live");
        holds!(event.attempt == last + 1, "attempt {} follows {last}", event.attempt);
        self.order_is_free(*order)?;
        if by.is_none() {
            self.may_retry_by_itself(event, entry)?;
        }
        if let Some(by) = by {
            let once = self.once.insert((event.task, format!("retry {}", by.to_text())));
            holds!(once, "tried again twice by one request");
        }
        let entry = self.entry(event.task);
        (entry.state, entry.attempt, entry.order) = (State::Queued, event.attempt, *order);
        (entry.not_before, entry.token, entry.stop) = (*not_before, None, None);
        Ok(())
    }

    /// A retry that nobody asked for was asked for at the launch.
    fn may_retry_by_itself(&self, event: &Event, entry: &Entry) -> Result<(), String> {
        let Fact::Retried { retries_used, lost_retries, .. } = &event.fact else { return Ok(()) };
        holds!(*retries_used <= entry.retries, "{retries_used} retries of {}", entry.retries);
        let most = meanwhile_core::limits::LOST_RETRIES;
        holds!(*lost_retries <= most, "{lost_retries} retries after a loss");
        match entry.state {
            State::Failed => {}
            State::Interrupted => holds!(entry.idempotent, "tried again, it may have done harm"),
            other => holds!(false, "tried again by itself after it was {}", other.name()),
        }
        Ok(())
    }

    /// An end comes once and says what happened.
    fn ended(&mut self, key: Key, end: &End, machine: &Machine) -> Result<(), String> {
        let state = end.state;
        holds!(state.is_terminal(), "ended as {}", state.name());
        let before = self.ends.insert(key, state);
        holds!(before.is_none(), "attempt {} ended twice", key.attempt);
        let entry = &self.tasks[&key.task];
        holds!(!entry.state.is_terminal(), "ended while {}", entry.state.name());
        self.is_true(key, entry, end, machine)?;
        let living = machine.living(key).filter(|at| !machine.trees[*at].kept);
        holds!(end.seat_kept || living.is_none(), "its seat is free while processes live");
        let entry = self.entry(key.task);
        (entry.state, entry.seat_kept, entry.stop) = (state, end.seat_kept, None);
        Ok(())
    }

    /// Compares an end with what the machine did.
    fn is_true(&self, key: Key, entry: &Entry, end: &End, machine: &Machine) -> Result<(), String> {
        let mut trees = machine.trees.iter().filter(|t| t.job.key == key);
        let tree = trees.next_back();
        let exit = tree.and_then(|t| t.main);
        let wished = entry.stop.as_ref().map(|stop| match stop {
            Stop::Cancel { .. } => State::Cancelled,
            Stop::Report { failed: true, .. } => State::Failed,
            Stop::Report { failed: false, .. } => State::Completed,
        });
        if let Some(wished) = wished.filter(|_| end.cause != Cause::Unkillable) {
            holds!(end.state == wished, "ended as {}, not as asked for", end.state.name());
        }
        if let Some(told) = end.exit {
            holds!(exit == Some(told), "exit {told:?} was told, {exit:?} was");
        }
        match &end.cause {
            Cause::Exit { code } => {
                holds!(exit == Some(Exit::Code(*code)), "exit code {code} was told, {exit:?} was");
                let good = end.state == State::Completed;
                holds!(good == (*code == 0), "code {code} is {}", end.state.name());
            }
            Cause::Signal { number } => {
                holds!(exit == Some(Exit::Signal(*number)), "signal {number} told, {exit:?} was");
            }
            Cause::Lost => {
                let lost = tree.is_some_and(|t| t.orphaned || t.boot < machine.boot);
                holds!(lost, "called lost, but its supervisor was not");
            }
            Cause::Reboot => {
                let token = entry.token;
                let here =
                    tree.is_some_and(|t| t.boot == machine.boot && Some(t.job.token) == token);
                holds!(!here, "called interrupted by a restart of the machine that came before it");
            }
            Cause::Poison { .. } => holds!(tree.is_none(), "called poison, but it ran"),
            Cause::SpawnError { .. } => {
                holds!(tree.is_none(), "called not startable, but it ran");
            }
            Cause::Unkillable => {
                holds!(end.seat_kept, "unkillable without its seat");
                holds!(machine.living(key).is_some(), "called unkillable while nothing lives");
            }
            Cause::Dependency { task } => {
                let met = self.tasks.get(task).is_some_and(|t| !t.state.is_terminal());
                holds!(!met, "failed by {task}, which has not ended");
                holds!(entry.state == State::Queued, "failed by {task} after its start");
            }
            Cause::CancelledBy { who } => {
                let asked = entry.stop.is_some() || entry.state == State::Queued;
                holds!(asked && *who != Actor::Rule("supervisor"), "stopped, and nobody asked");
            }
            _ => {}
        }
        Ok(())
    }
}
