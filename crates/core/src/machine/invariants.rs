//! What must hold at every instant, checked from scratch.
//!
//! Owns: the recount. It trusts no counter and no index: each is compared with what the rows say.
//! Costs time in proportion to everything, so it is for tests and simulation.

use std::collections::{BTreeMap, BTreeSet};

use super::Core;
use super::lane::{Key, Lane};
use super::notices::is_waited_for;
use super::row::{Place, Row};
use crate::id::{LaneName, TaskId};
use crate::notice::Scope;
use crate::state::State;

/// `Err` with a sentence unless the condition holds.
macro_rules! holds {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

impl Core {
    /// Everything that holds after every input.
    ///
    /// # Errors
    /// Names the first contradiction found.
    pub fn check(&self) -> Result<(), String> {
        for (id, row) in &self.rows {
            self.check_row(*id, row)?;
        }
        self.check_counters()?;
        self.check_indexes()?;
        for (name, number, lane) in self.lanes.iter() {
            self.check_lane(number, lane).map_err(|e| format!("lane {name}: {e}"))?;
        }
        self.check_lending()?;
        self.check_waits()
    }

    /// What holds after `settle` besides: nothing that could start now is left waiting, and no
    /// answer that could be given is withheld.
    ///
    /// # Errors
    /// Names the first lane that stands still for no reason.
    pub fn check_settled(&self) -> Result<(), String> {
        self.check()?;
        holds!(self.dirty.is_empty(), "lanes are not looked at: {:?}", self.dirty);
        holds!(self.doomed.is_empty(), "dependents are not failed: {:?}", self.doomed);
        for (name, number, lane) in self.lanes.iter() {
            let offer = self.offer(number);
            let listed = offer.map(|offer| offer.order);
            holds!(
                listed == lane.listed,
                "lane {name} offers {offer:?}, {:?} is listed",
                lane.listed
            );
            let idle = self.held.is_none() && self.may_start();
            holds!(!(idle && offer.is_some()), "lane {name} could start {offer:?}");
            let stuck = lane.returning.iter().any(|(_, w)| !self.has_lent(*w) || lane.has_room());
            holds!(!stuck, "lane {name} withholds a seat it has");
        }
        Ok(())
    }

    /// Compares what is scheduled here and there, leaving out what facts do not hold: waits,
    /// lending, held starts, and counts of what is gone (the next order, the next start).
    ///
    /// # Errors
    /// Names the first difference.
    pub fn same_schedule(&self, other: &Self) -> Result<(), String> {
        let ids: BTreeSet<&TaskId> = self.rows.keys().chain(other.rows.keys()).collect();
        for id in ids {
            let (a, b) = (self.unnumbered(id), other.unnumbered(id));
            holds!(a == b, "task {id}: {a:?}\nagainst {b:?}");
        }
        let lanes = |core: &Self| -> Vec<_> {
            let of = |lane: &Lane| {
                let holders: BTreeSet<TaskId> = lane.holders.iter().map(|(_, t)| *t).collect();
                (holders, lane.queue.clone(), lane.over.clone(), lane.blocked)
            };
            core.lanes.iter().map(|(name, _, lane)| (name.clone(), of(lane))).collect()
        };
        let (a, b) = (lanes(self), lanes(other));
        holds!(a == b, "lanes: {a:?}\nagainst {b:?}");
        let sessions = |core: &Self| -> Vec<_> {
            core.sessions.iter().map(|(name, _, s)| (name.clone(), s.clone())).collect()
        };
        holds!(sessions(self) == sessions(other), "sessions differ");
        let scopes = |core: &Self| -> Vec<_> {
            core.scopes.iter().map(|(name, _, s)| (name.clone(), s.rows, s.open)).collect()
        };
        holds!(scopes(self) == scopes(other), "scopes differ");
        holds!(self.due == other.due, "timers differ");
        Ok(())
    }

    /// A row with the names of its lane and scope for their numbers, and none for its start: after
    /// a restart numbers are others.
    fn unnumbered(&self, id: &TaskId) -> Option<(Row, &LaneName, &Scope)> {
        let mut row = self.rows.get(id)?.clone();
        let names = (self.lanes.name(row.lane), self.scopes.name(row.scope));
        (row.lane, row.scope) = (0, 0);
        if let Some(active) = &mut row.active {
            active.seat = 0;
            // What was told before is told again after a restart.
            active.warn_at = None;
        }
        Some((row, names.0, names.1))
    }

    fn check_row(&self, id: TaskId, row: &Row) -> Result<(), String> {
        let state = row.state;
        let queued = state == State::Queued;
        holds!(queued == (row.place != Place::Nowhere), "{id} is {state:?} at {:?}", row.place);
        let seated = state.is_active() || row.seat_kept;
        holds!(seated == row.active.is_some(), "{id} is {state:?} with {:?}", row.active);
        holds!(!state.is_terminal() || row.seat_kept, "{id} has ended and is still here");
        holds!(row.order < self.next_order, "{id} has an order that is yet to come");
        let lane = self.lanes.get(row.lane).ok_or_else(|| format!("{id} has no lane"))?;
        let open = self.has_open_dependency(row);
        let fits = match row.place {
            Place::Nowhere => !queued,
            Place::Dependencies => open,
            Place::Timer => !open && row.rare().not_before.is_some(),
            Place::Lane => !open,
        };
        holds!(fits, "{id} waits at {:?}, open dependencies: {open}", row.place);
        let key = Key::new(id, row);
        let listed = lane.queue.contains(&key) || lane.over.contains(&key);
        holds!(listed == (row.place == Place::Lane), "{id} at {:?} is lost", row.place);
        let timed = row.rare().not_before.is_some_and(|d| self.due.contains(&(d.boot, id)));
        holds!(timed == (row.place == Place::Timer), "{id} at {:?} has no timer", row.place);
        if let Some(active) = &row.active {
            holds!(lane.holders.contains(&(active.seat, id)), "{id} has no seat");
        }
        for dependency in row.rare().after.iter().filter(|_| !state.is_terminal()) {
            let known = self.dependents.get(&dependency.task).is_some_and(|d| d.contains(&id));
            holds!(known, "{id} is after {}, which is not on record", dependency.task);
        }
        Ok(())
    }

    fn check_counters(&self) -> Result<(), String> {
        let count = |f: &dyn Fn(&Row) -> bool| self.rows.values().filter(|r| f(r)).count();
        let queued = count(&|r| r.state == State::Queued);
        holds!(queued == self.queued as usize, "{queued} queued, {} counted", self.queued);
        let starting = count(&|r| r.state == State::Starting);
        holds!(starting == self.starting as usize, "{starting} starting, {}", self.starting);
        let timed = count(&|r| r.place == Place::Timer);
        holds!(timed == self.due.len(), "{timed} timed, {} timers", self.due.len());
        let warned = |r: &Row| r.active.as_ref().is_some_and(|a| a.warn_at.is_some());
        let warnings = count(&warned);
        holds!(warnings == self.warnings.len(), "{warnings} of {:?} warn", self.warnings);
        for (name, number, scope) in self.scopes.iter() {
            let of = |r: &Row| r.scope == number;
            let rows = count(&of);
            let open = count(&|r| of(r) && is_waited_for(r) && !r.state.is_terminal());
            holds!(rows == scope.rows as usize, "scope {name:?}: {rows} rows");
            holds!(open == scope.open as usize, "scope {name:?}: {open} open");
            holds!(rows > 0, "scope {name:?} is kept for nobody");
            let session = self.sessions.name(scope.session);
            holds!(*session == name.session, "scope {name:?} is of session {session}");
        }
        for (name, number, session) in self.sessions.iter() {
            let of = |r: &Row| self.scopes.get(r.scope).is_some_and(|s| s.session == number);
            let rows = count(&of);
            let live = count(&|r| of(r) && r.counted && !r.state.is_terminal());
            holds!(rows == session.rows as usize, "session {name}: {rows} rows");
            holds!(live == session.live as usize, "session {name}: {live} live");
            holds!(rows > 0, "session {name} is kept for nobody");
        }
        Ok(())
    }

    fn check_indexes(&self) -> Result<(), String> {
        let mut below: BTreeMap<TaskId, BTreeSet<TaskId>> = BTreeMap::new();
        for (id, row) in self.rows.iter().filter(|(_, r)| !r.state.is_terminal()) {
            for ancestor in &row.rare().ancestors {
                below.entry(*ancestor).or_default().insert(*id);
            }
        }
        holds!(below == self.descendants, "the index of descendants differs from the rows");
        for (target, waiting) in &self.dependents {
            holds!(!waiting.is_empty(), "{target} is kept for no dependent");
            for id in waiting {
                let row = self.rows.get(id).filter(|row| !row.state.is_terminal());
                let really = row.is_some_and(|r| r.rare().after.iter().any(|d| d.task == *target));
                holds!(really, "{id} is not after {target}");
            }
        }
        for (order, lane) in &self.startable {
            let listed = self.lanes.get(*lane).and_then(|l| l.listed);
            holds!(listed == Some(*order), "lane number {lane} is listed at {order}");
        }
        holds!(self.archive.keep || self.archive.tasks.is_empty(), "specs are kept");
        Ok(())
    }

    fn check_lane(&self, number: u32, lane: &Lane) -> Result<(), String> {
        let rows = self.rows.values().filter(|r| r.lane == number).count();
        holds!(rows == lane.rows as usize, "{rows} rows, {} counted", lane.rows);
        holds!(rows > 0, "kept for no row");
        let seated = |r: &&Row| r.lane == number && r.active.is_some();
        let holders = self.rows.values().filter(seated).count();
        holds!(holders == lane.holders.len(), "{holders} seated, {:?}", lane.holders);
        let blocked =
            |r: &&Row| r.lane == number && matches!(r.place, Place::Dependencies | Place::Timer);
        let blocked = self.rows.values().filter(blocked).count();
        holds!(blocked == lane.blocked as usize, "{blocked} blocked, {}", lane.blocked);
        let waiting = |r: &&Row| r.lane == number && r.place == Place::Lane;
        let waiting = self.rows.values().filter(waiting).count();
        holds!(waiting == lane.queue.len() + lane.over.len(), "{waiting} eligible");
        let lent = lane.waiting.iter().filter(|w| self.has_lent(**w)).count();
        holds!(lent == lane.lent as usize, "{lent} lent, {} counted", lane.lent);
        let limit = self.config.lane_limit(self.lanes.name(number));
        holds!(limit == lane.limit, "limit {limit:?}, {:?} cached", lane.limit);
        holds!(
            lane.listed.is_none_or(|order| self.startable.contains(&(order, number))),
            "listed nowhere"
        );
        for (seq, task) in &lane.returning {
            let blocked = self.blocked.get(task).and_then(|b| b.returning);
            holds!(blocked == Some(*seq), "{task} does not want its seat back");
        }
        Ok(())
    }

    fn check_lending(&self) -> Result<(), String> {
        for (task, blocked) in &self.blocked {
            let row = self.rows.get(task).ok_or_else(|| format!("{task} blocks and is gone"))?;
            let lane = self.lanes.get(row.lane).ok_or("no lane")?;
            holds!(lane.waiting.contains(task), "{task} blocks unknown to its lane");
            holds!(row.active.is_some(), "{task} blocks without a seat");
            let idle = blocked.waits.is_empty() && blocked.lent_to.is_none();
            holds!(!idle, "{task} is kept as blocked for nothing");
            holds!(
                blocked.returning.is_none()
                    || blocked.lent_to.is_some()
                    || self.dirty.contains(&row.lane),
                "{task} wants a seat that it has"
            );
            if let Some(borrower) = blocked.lent_to {
                let back = self.lender_of.get(&borrower);
                holds!(
                    back == Some(task),
                    "{borrower} does not know that it sits on {task}'s seat"
                );
                let other = self.rows.get(&borrower).ok_or("a borrower is gone")?;
                holds!(other.active.is_some(), "{borrower} borrows a seat and has none");
                holds!(other.lane == row.lane, "{borrower} sits in another lane");
            }
        }
        let lent = self.blocked.values().filter(|b| b.lent_to.is_some()).count();
        holds!(lent == self.lender_of.len(), "{lent} lent, {} borrowed", self.lender_of.len());
        for (_, _, lane) in self.lanes.iter() {
            for task in &lane.waiting {
                holds!(self.blocked.contains_key(task), "{task} does not block");
            }
        }
        Ok(())
    }

    fn check_waits(&self) -> Result<(), String> {
        for (id, wait) in &self.waits {
            for target in wait.pending.keys() {
                holds!(self.is_unfinished(*target), "{id:?} waits for {target}, which has ended");
                let known = self.waiters.get(target).is_some_and(|w| w.contains(id));
                holds!(known, "{target} does not know that {id:?} waits for it");
            }
            let below = wait.pending.values().filter(|below| **below).count();
            holds!(below == wait.below, "{id:?} counts {} below, not {below}", wait.below);
            let Some(inside) = wait.inside else {
                holds!(wait.verdict.is_none(), "{id:?} is decided and not answered");
                continue;
            };
            let blocked = self.blocked.get(&inside).filter(|b| b.waits.contains(id));
            let blocked = blocked.ok_or_else(|| format!("{inside} does not know of {id:?}"))?;
            holds!(
                wait.verdict.is_none() || blocked.returning.is_some(),
                "{id:?} is decided and nobody returns for it"
            );
        }
        for (target, waiters) in &self.waiters {
            for id in waiters {
                let really = self.waits.get(id).is_some_and(|w| w.pending.contains_key(target));
                holds!(really, "{id:?} does not wait for {target}");
            }
        }
        Ok(())
    }
}
