//! The machine: applies inputs to the scheduling state, one at a time.
//!
//! ```text
//!   apply(input) ─► decide ─► emit(fact) ─► evolve(fact) ─► rows, queues, seats
//!                     │             └► Turn::events              │ dependents that cannot start
//!                     └► Turn::effects   ◄─────── decide ◄───────┘
//!   settle() ─► moments passed ─► seats wanted back ─► starts
//! ```
//!
//! Owns: the words of the interface and the way of an input. Each rule is in the file named after it
//! below `machine/`; the state of tasks changes in `machine/evolve.rs` alone. Waits, the lending of
//! seats, held starts and settings are not facts: they are gone with the process.

mod counts;
mod evolve;
mod extend;
mod invariants;
mod lane;
mod lend;
mod load;
mod names;
mod notices;
mod promote;
mod rebind;
mod report;
mod retry;
mod row;
mod standing;
mod stop;
mod submit;
#[cfg(test)]
mod tests;
mod token;
mod wait;
mod why;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::cause::Cause;
use crate::config::Config;
use crate::effect::Effect;
use crate::event::{End, Event, Fact, Stop};
use crate::id::{AttemptToken, LaneName, SessionId, TaskId, WaitId};
use crate::input::{Input, Refusal, ReopenedTask};
use crate::notice::Scope;
use crate::spec::{Placement, TaskSpec};
use crate::state::State;
use crate::time::{Boot, Due, Now, Wall};

use lane::Lane;
use lend::Blocked;
use names::Names;
use retry::Again;
use row::Row;
use wait::Waiting;

pub use standing::Standing;

/// What one turn of the loop yields: facts to commit in one transaction, then things to do.
#[must_use]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// In order; committed before any effect is performed.
    pub events: Vec<Event>,
    /// In order.
    pub effects: Vec<Effect>,
}

/// An unfinished task (or one whose seat is kept) as the store remembers it.
#[derive(Clone, Debug)]
pub struct LoadedTask {
    pub id: TaskId,
    pub spec: TaskSpec,
    pub placement: Placement,
    pub state: State,
    pub attempt: u32,
    pub order: u64,
    pub created_at: Wall,
    /// When its current attempt was queued: that of `Submitted` or of the last `Retried`.
    pub queued_at: Wall,
    pub not_before: Option<Due>,
    /// Of the current attempt, once it was starting.
    pub token: Option<AttemptToken>,
    /// A stop that was asked for and has not been seen through.
    pub stop: Option<Stop>,
    /// As the last `Requeued` said; 0 after `Retried`.
    pub crashes: u32,
    /// As the last `Retried` said; 0 before the first.
    pub retries_used: u32,
    /// As the last `Retried` said; 0 before the first.
    pub lost_retries: u32,
    /// Running time allowed to the current attempt: as the last `Extended` of this attempt said,
    /// else `spec.timing.timeout`.
    pub timeout: Option<Duration>,
    /// As the last `Started` or `Extended` of the current attempt said.
    pub deadline: Option<Wall>,
    /// A `Ready` came for the current attempt.
    pub ready: bool,
    /// Terminal, but its unkillable processes keep the seat.
    pub seat_kept: bool,
    /// Terminal states of dependencies that are no longer unfinished. For the record: what an end
    /// means for those after it is decided, and committed, together with that end.
    pub ended_dependencies: Vec<(TaskId, State)>,
}

/// Why a queued task waits, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// All seats of its lane are taken by these.
    LaneFull { lane: LaneName, limit: u32, holders: Vec<TaskId> },
    /// Others of its lane come first; there are this many.
    Behind { lane: LaneName, ahead: u32 },
    /// These have not ended.
    Dependencies { on: Vec<TaskId> },
    /// Not before this moment: `delay`, or backoff before a retry.
    Until { due: Due, backoff: bool },
    /// Too many starts are in flight over all lanes.
    StartsInFlight { limit: u32 },
    /// Starts are held (disk, memory).
    Held { reason: String },
    /// It has its seat, and the machine had no room for it: it is tried again. The shell says so, the core does not.
    Shortage { of: String },
}

/// One lane, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    pub lane: LaneName,
    /// None is unlimited.
    pub limit: Option<u32>,
    /// Tasks that hold a seat, oldest start first.
    pub holders: Vec<TaskId>,
    /// Seats lent out by waiting tasks: (lender, borrower).
    pub lent: Vec<(TaskId, TaskId)>,
    /// Eligible tasks in start order.
    pub queued: Vec<TaskId>,
    /// Queued, but waiting for a dependency or a moment.
    pub blocked: u32,
}

/// A live task as the scheduler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    pub state: State,
    pub attempt: u32,
    pub token: Option<AttemptToken>,
    /// 1 is next in its lane; none unless queued and eligible.
    pub queue_position: Option<u32>,
    pub why: Option<Why>,
    pub stopping: bool,
}

/// The scheduling state of every unfinished task.
#[derive(Debug)]
pub struct Core {
    config: Config,
    /// Unfinished tasks, and ended ones whose seat is kept.
    rows: BTreeMap<TaskId, Row>,
    lanes: Names<LaneName, Lane>,
    sessions: Names<SessionId, Session>,
    scopes: Names<Scope, Members>,
    /// Unfinished tasks below each ancestor, at any depth.
    descendants: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// Unfinished tasks that are after each target, ended or not.
    dependents: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// When queued tasks become eligible.
    due: BTreeSet<(Boot, TaskId)>,
    /// When the sessions of running tasks are told that time runs out.
    warnings: BTreeSet<(Boot, TaskId)>,
    queued: u32,
    starting: u32,
    next_order: u64,
    next_seat: u64,
    /// Lanes in which something changed since they were last looked at.
    dirty: BTreeSet<u32>,
    /// Lanes to look at again when something changes in who needs whom (`lend`).
    needy: BTreeSet<u32>,
    /// Lanes with an offer, by its order.
    startable: BTreeSet<(u64, u32)>,
    /// Dependents, with the target that ended otherwise than they asked: to be failed before the
    /// input is done with.
    doomed: VecDeque<(TaskId, TaskId)>,
    waits: BTreeMap<WaitId, Waiting>,
    waiters: BTreeMap<TaskId, Vec<WaitId>>,
    blocked: BTreeMap<TaskId, Blocked>,
    /// On whose seat a borrower sits.
    lender_of: BTreeMap<TaskId, TaskId>,
    next_return: u64,
    /// Why nothing may start.
    held: Option<String>,
    archive: Archive,
}

/// What is counted per session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    /// Rows in memory that name it.
    rows: u32,
    /// Unfinished tasks that count against the limit of descendants.
    live: u32,
}

/// What is counted per scope.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Members {
    /// Number in `Core::sessions`.
    session: u32,
    /// Rows in memory that name it.
    rows: u32,
    /// Unfinished tasks that "all done" waits for.
    open: u32,
}

/// Tasks that have no row, from which `Retried` makes one again. Live it holds only the task that is
/// being reopened; a replay keeps them all.
#[derive(Debug, Default)]
struct Archive {
    keep: bool,
    tasks: BTreeMap<TaskId, ReopenedTask>,
}

impl Core {
    /// An empty machine.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            rows: BTreeMap::new(),
            lanes: Names::new(),
            sessions: Names::new(),
            scopes: Names::new(),
            descendants: BTreeMap::new(),
            dependents: BTreeMap::new(),
            due: BTreeSet::new(),
            warnings: BTreeSet::new(),
            queued: 0,
            starting: 0,
            next_order: 1,
            next_seat: 0,
            dirty: BTreeSet::new(),
            needy: BTreeSet::new(),
            startable: BTreeSet::new(),
            doomed: VecDeque::new(),
            waits: BTreeMap::new(),
            waiters: BTreeMap::new(),
            blocked: BTreeMap::new(),
            lender_of: BTreeMap::new(),
            next_return: 0,
            held: None,
            archive: Archive::default(),
        }
    }

    /// Applies one input. On a refusal nothing has changed. `entropy` is for inputs that will need
    /// some; tokens are made in [`Core::settle`].
    ///
    /// # Errors
    /// The rule that forbids it. A task that the core does not have is `UnknownTask`: whether it has
    /// ended or never was is for the store to say.
    pub fn apply(
        &mut self,
        now: Now,
        _entropy: u64,
        input: Input,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        match input {
            Input::Submit(batch) => self.submit(now, batch, turn)?,
            Input::Cancel { targets, by, cascade } => {
                self.cancel(now, &targets, &by, cascade, turn);
            }
            Input::Retry { task, by, row } => self.retry(now, task, by, row, turn)?,
            Input::Complete { task, by, failed, message } => {
                self.complete(now, task, Stop::Report { by, failed, message }, turn)?;
            }
            Input::Extend { task, by, more } => self.extend(now, task, by, more, turn)?,
            Input::Prune => self.prune(now, turn),
            Input::Forget(tasks) => self.forget(now, tasks, turn),
            Input::Wait(wait) => self.wait(wait, turn)?,
            Input::WaitGone(id) => self.wait_gone(id),
            Input::WaitTimedOut(id) => self.wait_timed_out(id, turn),
            Input::Report { task, token, report } => self.report(now, task, token, report, turn),
            Input::Found { task, token, found } => self.found(now, task, token, found, turn),
            Input::Configure(config) => self.configure(*config),
            Input::HoldStarts { reason } => self.held = reason,
            Input::Ready { task, token, how } => self.became_ready(now, task, token, how, turn),
            Input::Rebind { from, to, ended } => self.rebind(now, &from, &to, &ended, turn),
            Input::Tick => {}
        }
        self.fail_doomed(now, turn);
        Ok(())
    }

    /// Restores the invariants after the inputs of a turn: promotes what is ready, hands back lent
    /// seats and gives the answers that waited for them.
    pub fn settle(&mut self, now: Now, entropy: u64, turn: &mut Turn) {
        self.fail_doomed(now, turn);
        self.warn_of_deadlines(now, turn);
        self.promote(now, entropy, turn);
    }

    /// When `Input::Tick` is due next, if nothing else happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Boot> {
        let next = |moments: &BTreeSet<(Boot, TaskId)>| moments.first().map(|(at, _)| *at);
        [next(&self.due), next(&self.warnings)].into_iter().flatten().min()
    }

    /// The settings obeyed now.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Makes a fact true and writes it down. One that the transition table refuses is written down
    /// as refused, and the answer is `false`.
    fn emit(&mut self, now: Now, turn: &mut Turn, task: TaskId, fact: Fact) -> bool {
        let here = self.rows.get(&task).map(|row| row.attempt);
        let attempt = here.or_else(|| self.archive.tasks.get(&task).map(|t| t.attempt));
        let attempt = match fact {
            Fact::Submitted { .. } => 1,
            Fact::Forgotten => 0,
            Fact::Retried { .. } => attempt.map_or(1, |a| a.saturating_add(1)),
            Fact::Starting { .. }
            | Fact::Started { .. }
            | Fact::Ready { .. }
            | Fact::Extended { .. }
            | Fact::StopRequested { .. }
            | Fact::Ended { .. }
            | Fact::DeadlineNear { .. }
            | Fact::Rebound { .. }
            | Fact::Requeued { .. }
            | Fact::Emptied
            | Fact::Refused { .. } => attempt.unwrap_or(0),
        };
        let event = Event { at: now.wall, task, attempt, fact };
        match self.evolve(&event) {
            Ok(()) => {
                turn.events.push(event);
                true
            }
            Err(misfit) => {
                let fact = Fact::Refused { what: misfit.to_string() };
                turn.events.push(Event { fact, ..event });
                false
            }
        }
    }

    /// Ends the current attempt, and the task unless another attempt follows by itself.
    fn end(&mut self, now: Now, task: TaskId, end: End, turn: &mut Turn) {
        let Some(row) = self.rows.get(&task) else { return };
        let (again, token) = (Again::after(row, &end), row.token());
        let (state, seat_kept) = (end.state, end.seat_kept);
        let notice = if again.is_none() { self.notice_of_end(row, state) } else { None };
        if seat_kept {
            // Processes that nothing can kill may still block: what they lent stays lent, no more is offered.
            self.mark_below(task);
        } else {
            self.abandon_waits(task, turn);
        }
        if !self.emit(now, turn, task, Fact::Ended { end: Box::new(end), notice }) {
            return;
        }
        // Whoever still has processes that nothing can kill takes no other work, and has its end yet to tell.
        if let Some(token) = token.filter(|_| !seat_kept) {
            turn.effects.push(Effect::Recorded { task, token });
        }
        if let Some(again) = again {
            self.retry_by_itself(now, task, again, turn);
            return;
        }
        self.target_ended(task, state, turn);
        if !seat_kept {
            turn.effects.push(Effect::Dropped { task });
        }
    }

    /// Fails the tasks whose dependencies cannot be met any more, and in turn those after them.
    fn fail_doomed(&mut self, now: Now, turn: &mut Turn) {
        while let Some((task, target)) = self.doomed.pop_front() {
            // It may have been cancelled together with its target.
            if self.rows.get(&task).is_some_and(|row| row.state == State::Queued) {
                let cause = Cause::Dependency { task: target };
                let (state, exit, run) = (State::Failed, None, None);
                self.end(now, task, End { state, cause, exit, run, seat_kept: false }, turn);
            }
        }
    }

    fn forget(&mut self, now: Now, tasks: Vec<TaskId>, turn: &mut Turn) {
        for task in tasks {
            // Of what is still here something may still come.
            if !self.rows.contains_key(&task) {
                self.emit(now, turn, task, Fact::Forgotten);
                turn.effects.push(Effect::DeleteFiles { task });
            }
        }
    }

    /// New limits hold at once for starts; whoever runs goes on.
    fn configure(&mut self, config: Config) {
        self.config = config;
        for number in self.lanes.numbers() {
            let limit = self.config.lane_limit(self.lanes.name(number));
            self.lane_mut(number).limit = limit;
            self.dirty.insert(number);
        }
    }
}
