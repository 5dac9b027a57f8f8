//! The one place where a fact changes the scheduling state, live and in replay alike.
//!
//! Owns: rows and every index over them. Never decides and never emits: what it finds that has to be
//! acted upon (dependents that can no longer start) it leaves in `Core::doomed` for the step that
//! decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Core;
use super::lane::{Key, Lane};
use super::retry::Again;
use super::row::{Active, Place, Row, millis};
use crate::event::{Event, Fact};
use crate::id::TaskId;
use crate::input::ReopenedTask;
use crate::notice::Scope;
use crate::spec::{Placement, TaskSpec};
use crate::state::State;
use crate::time::{Due, Wall};
use crate::transition::{self, Illegal};

/// A fact that does not fit what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// Of a task that is not here.
    NoTask,
    /// Submitted, but already here.
    AlreadyHere,
    /// Not in this state.
    Illegal(Illegal),
}

impl Core {
    /// Applies one fact.
    pub(super) fn evolve(&mut self, event: &Event) -> Result<(), Misfit> {
        let id = event.task;
        if let Fact::Submitted { spec, placement, order, not_before } = &event.fact {
            if self.rows.contains_key(&id) {
                return Err(Misfit::AlreadyHere);
            }
            self.submitted(event.at, id, spec, placement, *order, *not_before);
            return Ok(());
        }
        let here = self.rows.get(&id).map(|row| row.state);
        let Some(state) = here.or_else(|| self.archive.tasks.get(&id).map(|t| t.state)) else {
            return match event.fact {
                Fact::Refused { .. } | Fact::Rebound { .. } | Fact::Forgotten => Ok(()),
                Fact::Submitted { .. }
                | Fact::Starting { .. }
                | Fact::Started { .. }
                | Fact::Ready { .. }
                | Fact::Extended { .. }
                | Fact::StopRequested { .. }
                | Fact::Ended { .. }
                | Fact::DeadlineNear { .. }
                | Fact::Requeued { .. }
                | Fact::Retried { .. }
                | Fact::Emptied => Err(Misfit::NoTask),
            };
        };
        let next = transition::next(state, &event.fact).map_err(Misfit::Illegal)?;
        self.applied(event, next);
        Ok(())
    }

    fn applied(&mut self, event: &Event, next: State) {
        let id = event.task;
        match &event.fact {
            Fact::Starting { token } => {
                self.unqueue(id);
                let seat = self.next_seat;
                self.next_seat += 1;
                let row = self.row_mut(id);
                row.state = next;
                if row.rare().not_before.is_some() {
                    row.change_rare(|rare| rare.not_before = None);
                }
                row.active = Some(Box::new(Active {
                    token: *token,
                    seat,
                    deadline: None,
                    warn_at: None,
                    stop: None,
                }));
                self.take_seat(id);
            }
            Fact::Started { deadline, .. } => {
                self.starting -= 1;
                let row = self.row_mut(id);
                row.state = next;
                active_mut(row).deadline = *deadline;
            }
            Fact::Ready { .. } => self.row_mut(id).ready = true,
            Fact::Extended { timeout, deadline, .. } => {
                let row = self.row_mut(id);
                let extended = millis(*timeout).filter(|t| Some(*t) != row.timeout);
                row.change_rare(|rare| rare.extended = extended);
                if let Some(active) = &mut row.active {
                    active.deadline = *deadline;
                }
            }
            Fact::StopRequested { stop } => {
                active_mut(self.row_mut(id)).stop = Some(stop.clone());
            }
            Fact::Ended { end, .. } => {
                let again = Again::after(self.row_mut(id), end);
                self.leave(id);
                let row = self.row_mut(id);
                row.state = next;
                row.seat_kept = end.seat_kept;
                if let Some(active) = &mut row.active {
                    // It has been seen through, as far as it can be.
                    active.stop = None;
                }
                if !end.seat_kept {
                    self.free_seat(id);
                }
                if again.is_none() {
                    self.finished(id);
                }
            }
            Fact::Requeued { crashes } => {
                self.leave(id);
                self.free_seat(id);
                let row = self.row_mut(id);
                row.state = next;
                row.change_rare(|rare| rare.crashes = *crashes);
                self.enqueue(id);
            }
            Fact::Retried { order, not_before, retries_used, lost_retries, .. } => {
                self.reopened(event, *order, *not_before, (*retries_used, *lost_retries));
            }
            Fact::Emptied => {
                self.free_seat(id);
                self.drop_row(id);
            }
            Fact::Forgotten => {
                self.archive.tasks.remove(&id);
            }
            Fact::Rebound { session } => self.belongs_to(id, session),
            Fact::DeadlineNear { .. } => self.disarm_warning(id),
            Fact::Submitted { .. } | Fact::Refused { .. } => {}
        }
    }

    fn submitted(
        &mut self,
        at: Wall,
        id: TaskId,
        spec: &TaskSpec,
        placement: &Placement,
        order: u64,
        not_before: Option<Due>,
    ) {
        let mut row = self.make_row(spec, placement);
        row.order = order;
        row.queued_at = at;
        row.change_rare(|rare| rare.not_before = not_before);
        if self.archive.keep {
            let task = ReopenedTask {
                attempt: 1,
                placement: placement.clone(),
                spec: spec.clone(),
                state: State::Queued,
            };
            self.archive.tasks.insert(id, task);
        }
        self.next_order = self.next_order.max(order.saturating_add(1));
        self.insert(id, row);
        self.enqueue(id);
    }

    /// A further attempt: of a row that ended just now, or of one that had been dropped.
    fn reopened(&mut self, event: &Event, order: u64, not_before: Option<Due>, spent: (u32, u32)) {
        let id = event.task;
        if !self.rows.contains_key(&id) {
            let task = self.archive.tasks.remove(&id).expect("evolve found its state there");
            let row = self.make_row(&task.spec, &task.placement);
            self.insert(id, row);
            // Whoever is after it and has not started waits for it again.
            for dependent in self.dependents.get(&id).cloned().unwrap_or_default() {
                self.requeue(dependent);
            }
            if self.archive.keep {
                self.archive.tasks.insert(id, task);
            }
        }
        let row = self.row_mut(id);
        row.state = State::Queued;
        row.attempt = event.attempt;
        row.order = order;
        row.queued_at = event.at;
        row.ready = false;
        row.change_rare(|rare| {
            rare.not_before = not_before;
            (rare.retries_used, rare.lost_retries) = spent;
            rare.crashes = 0;
            rare.extended = None;
        });
        self.next_order = self.next_order.max(order.saturating_add(1));
        self.enqueue(id);
    }

    /// A row that names its lane and session, which come into being with it.
    pub(super) fn make_row(&mut self, spec: &TaskSpec, placement: &Placement) -> Row {
        let limit = self.config.lane_limit(&placement.lane);
        let lane = self.lanes.intern(&placement.lane, || Lane::new(limit));
        // Counted at once, so that nobody takes the lane for empty before the row is in it.
        self.lane_mut(lane).rows += 1;
        let scope = self.join_scope(&Scope::of(spec, placement));
        Row::new(spec, placement, lane, scope)
    }

    /// Whether it must wait for another task. Conditions are judged when that one ends; what ended
    /// before, and was judged then or disregarded by a retry, is history.
    pub(super) fn has_open_dependency(&self, row: &Row) -> bool {
        row.rare().after.iter().any(|d| self.is_unfinished(d.task))
    }

    pub(super) fn is_unfinished(&self, id: TaskId) -> bool {
        self.rows.get(&id).is_some_and(|row| !row.state.is_terminal())
    }

    /// Puts an unfinished row into every index but its queue.
    pub(super) fn insert(&mut self, id: TaskId, row: Row) {
        for ancestor in &row.rare().ancestors {
            self.descendants.entry(*ancestor).or_default().insert(id);
        }
        for dependency in &row.rare().after {
            self.dependents.entry(dependency.task).or_default().insert(id);
        }
        self.count_unfinished(&row, true);
        self.rows.insert(id, row);
    }

    /// Queues a row whose state is `queued`.
    pub(super) fn enqueue(&mut self, id: TaskId) {
        self.queued += 1;
        let open = self.has_open_dependency(&self.rows[&id]);
        let row = self.row_mut(id);
        row.active = None;
        if open {
            row.place = Place::Dependencies;
            let lane = row.lane;
            self.lane_mut(lane).blocked += 1;
            self.needs_changed();
        } else {
            self.await_moment(id);
        }
    }

    fn await_moment(&mut self, id: TaskId) {
        let row = self.row_mut(id);
        if let Some(due) = row.rare().not_before {
            let at = due.boot;
            row.place = Place::Timer;
            let lane = row.lane;
            self.due.insert((at, id));
            self.lane_mut(lane).blocked += 1;
        } else {
            self.await_seat(id);
        }
    }

    /// Makes a queued row eligible.
    pub(super) fn await_seat(&mut self, id: TaskId) {
        let row = self.rows.get_mut(&id).expect("only rows are queued");
        row.place = Place::Lane;
        let lane = self.lanes.get_mut(row.lane).expect("a row's lane exists");
        lane.queue_of(row).insert(Key::new(id, row));
        self.dirty.insert(row.lane);
    }

    /// Takes a row out of wherever it waits.
    pub(super) fn unqueue(&mut self, id: TaskId) {
        let row = self.rows.get_mut(&id).expect("only rows are queued");
        let lane = self.lanes.get_mut(row.lane).expect("a row's lane exists");
        match std::mem::replace(&mut row.place, Place::Nowhere) {
            Place::Nowhere => return,
            Place::Lane => {
                lane.queue_of(row).remove(&Key::new(id, row));
                self.dirty.insert(row.lane);
            }
            Place::Timer => {
                lane.blocked -= 1;
                if let Some(due) = row.rare().not_before {
                    self.due.remove(&(due.boot, id));
                }
            }
            Place::Dependencies => {
                lane.blocked -= 1;
                self.needs_changed();
            }
        }
        self.queued -= 1;
    }

    /// Puts a queued row where it now belongs.
    fn requeue(&mut self, id: TaskId) {
        if self.rows.get(&id).is_some_and(|row| row.state == State::Queued) {
            self.unqueue(id);
            self.enqueue(id);
        }
    }

    /// The row is neither queued nor starting any more.
    fn leave(&mut self, id: TaskId) {
        self.unqueue(id);
        self.disarm_warning(id);
        if self.row_mut(id).state == State::Starting {
            self.starting -= 1;
        }
    }

    /// Seats a row that has just got its token.
    pub(super) fn take_seat(&mut self, id: TaskId) {
        let row = self.rows.get(&id).expect("only rows take seats");
        let seat = row.active.as_ref().expect("a seat comes with a token").seat;
        let (lane, state) = (row.lane, row.state);
        if state == State::Starting {
            self.starting += 1;
        }
        self.lane_mut(lane).holders.insert((seat, id));
        self.dirty.insert(lane);
    }

    fn free_seat(&mut self, id: TaskId) {
        let Some(active) = self.row_mut(id).active.take() else { return };
        let lane = self.row_mut(id).lane;
        self.lane_mut(lane).holders.remove(&(active.seat, id));
        self.pass_on_seat(id, lane);
        self.dirty.insert(lane);
    }

    /// No attempt follows by itself: others may stop counting on it.
    fn finished(&mut self, id: TaskId) {
        let row = self.rows[&id].clone();
        let (state, kept) = (row.state, row.seat_kept);
        self.count_unfinished(&row, false);
        for ancestor in &row.rare().ancestors {
            unlist(&mut self.descendants, *ancestor, id);
        }
        for dependency in &row.rare().after {
            unlist(&mut self.dependents, dependency.task, id);
        }
        for dependent in self.dependents.get(&id).cloned().unwrap_or_default() {
            self.dependency_ended(dependent, id, state);
        }
        if !kept {
            self.drop_row(id);
        }
    }

    fn dependency_ended(&mut self, dependent: TaskId, target: TaskId, state: State) {
        let row = &self.rows[&dependent];
        if row.state != State::Queued {
            return;
        }
        let mut decided = row.rare().after.iter().filter(|d| d.task == target);
        if decided.all(|d| d.condition.is_met_by(state)) {
            self.requeue(dependent);
        } else {
            self.doomed.push_back((dependent, target));
        }
    }

    fn drop_row(&mut self, id: TaskId) {
        let row = self.rows.remove(&id).expect("only rows are dropped");
        let lane = self.lane_mut(row.lane);
        lane.rows -= 1;
        if lane.rows == 0 {
            if let Some(order) = lane.listed {
                self.startable.remove(&(order, row.lane));
            }
            self.lanes.remove(row.lane);
        }
        self.leave_scope(row.scope);
        if let Some(task) = self.archive.tasks.get_mut(&id) {
            task.state = row.state;
            task.attempt = row.attempt;
        }
    }

    pub(super) fn row_mut(&mut self, id: TaskId) -> &mut Row {
        self.rows.get_mut(&id).expect("the transition table was asked about this row")
    }

    pub(super) fn lane_mut(&mut self, lane: u32) -> &mut Lane {
        self.lanes.get_mut(lane).expect("a row's lane exists")
    }
}

/// Takes `id` off the list of `key`; a list without entries is not kept.
fn unlist(lists: &mut BTreeMap<TaskId, BTreeSet<TaskId>>, key: TaskId, id: TaskId) {
    if let Some(list) = lists.get_mut(&key) {
        list.remove(&id);
        if list.is_empty() {
            lists.remove(&key);
        }
    }
}

fn active_mut(row: &mut Row) -> &mut Active {
    row.active.as_mut().expect("active states have a token")
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTask => f.write_str("no such task here"),
            Self::AlreadyHere => f.write_str("submitted twice"),
            Self::Illegal(illegal) => write!(f, "{} while {}", illegal.fact, illegal.state.name()),
        }
    }
}
