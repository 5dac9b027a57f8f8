//! Seats that blocked tasks lend to the work they wait for.
//!
//! ```text
//!   w waits for its descendant d, which is queued in w's lane
//!     start of d on w's seat     seats {w, d}, one lent: one taken
//!     d waits for its own e      seats {w, d, e}, two lent: one taken
//!     end of e, then of d        each seat goes back; then w's wait is answered
//! ```
//!
//! Where nothing below a lender is queued in its lane, its seat serves work that a blocked task of
//! another lane waits for, and where there is none of that either, what such work is after. A lent seat and its borrower count as one, so lending never changes how many are taken. A wait that
//! is over is answered only when its task has a seat again: its own, given back, or any that is free;
//! then the borrower keeps the lent one as its own.
//!
//! Owns: who waits inside which task and who runs on whose seat. None of it is stored: after a
//! restart the clients ask again, and until then nothing more starts in a lane that is over its
//! limit.

use std::collections::BTreeSet;

use super::lane::Key;
use super::row::Place;
use super::{Core, Turn};
use crate::id::{TaskId, WaitId};

/// A task inside which somebody waits, or whose seat is still lent.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocked {
    pub(super) waits: Vec<WaitId>,
    pub(super) lent_to: Option<TaskId>,
    /// Its place among those that want their seat back.
    pub(super) returning: Option<u64>,
}

impl Core {
    pub(super) fn is_active(&self, task: TaskId) -> bool {
        self.rows.get(&task).is_some_and(|row| row.state.is_active())
    }

    pub(super) fn has_lent(&self, task: TaskId) -> bool {
        self.blocked.get(&task).is_some_and(|b| b.lent_to.is_some())
    }

    pub(super) fn blocks_inside(&mut self, task: TaskId, wait: WaitId) {
        self.blocked.entry(task).or_default().waits.push(wait);
        let lane = self.rows[&task].lane;
        self.lane_mut(lane).waiting.insert(task);
        self.mark_below(task);
    }

    /// Whether `task` blocks on its own descendants decides what its lane and theirs can offer.
    pub(super) fn mark_below(&mut self, task: TaskId) {
        let below = self.descendants.get(&task).into_iter().flatten();
        let lanes = below.chain([&task]).filter_map(|t| self.rows.get(t)).map(|row| row.lane);
        self.dirty.extend(lanes);
        self.needs_changed();
    }

    /// One wait less inside `task`. Without any, it runs: a seat that it lent is its own again, even
    /// if that makes the lane fuller than its limit until somebody ends.
    pub(super) fn unblocks_inside(&mut self, task: TaskId, wait: WaitId) {
        self.mark_below(task);
        let Some(blocked) = self.blocked.get_mut(&task) else { return };
        blocked.waits.retain(|w| *w != wait);
        let left = blocked.waits.clone();
        if left.is_empty() {
            self.take_back(task);
            self.unblock(task);
        } else if !left.iter().any(|w| self.is_decided(*w)) {
            self.stop_returning(task);
        }
    }

    fn is_decided(&self, wait: WaitId) -> bool {
        self.waits.get(&wait).is_some_and(|w| w.verdict.is_some())
    }

    /// A wait inside `task` is over while its seat is lent.
    pub(super) fn wants_seat_back(&mut self, task: TaskId) {
        let lane = self.rows[&task].lane;
        let seq = self.next_return;
        if let Some(blocked) = self.blocked.get_mut(&task)
            && blocked.returning.is_none()
        {
            blocked.returning = Some(seq);
            self.next_return += 1;
            self.lane_mut(lane).returning.insert((seq, task));
            self.dirty.insert(lane);
        }
    }

    fn stop_returning(&mut self, task: TaskId) {
        let lane = self.rows[&task].lane;
        if let Some(seq) = self.blocked.get_mut(&task).and_then(|b| b.returning.take()) {
            self.lane_mut(lane).returning.remove(&(seq, task));
        }
    }

    /// Ends the lending of `task`'s seat: the borrower keeps a seat of its own.
    fn take_back(&mut self, task: TaskId) {
        let lane = self.rows[&task].lane;
        if let Some(borrower) = self.blocked.get_mut(&task).and_then(|b| b.lent_to.take()) {
            self.lender_of.remove(&borrower);
            self.lane_mut(lane).lent -= 1;
            self.dirty.insert(lane);
        }
    }

    /// Forgets that `task` was blocked; its seat is not lent any more.
    fn unblock(&mut self, task: TaskId) {
        self.stop_returning(task);
        self.blocked.remove(&task);
        let lane = self.rows[&task].lane;
        self.lane_mut(lane).waiting.remove(&task);
        self.dirty.insert(lane);
    }

    /// The attempt that these waits ran in is over and leaves its seat: nobody in it can be answered,
    /// and what was withheld for its seat is answered into the void.
    pub(super) fn abandon_waits(&mut self, task: TaskId, turn: &mut Turn) {
        self.mark_below(task);
        let Some(blocked) = self.blocked.get_mut(&task) else { return };
        let waits = std::mem::take(&mut blocked.waits);
        self.stop_returning(task);
        for id in waits {
            if let Some(waiting) = self.waits.get_mut(&id) {
                waiting.inside = None;
                if waiting.verdict.is_some() {
                    self.deliver(id, turn);
                }
            }
        }
        if !self.has_lent(task) {
            self.unblock(task);
        }
    }

    /// Links of a task that leaves its seat: whoever ran on its seat now runs on the seat that it
    /// had borrowed, or owns the one that it had.
    pub(super) fn pass_on_seat(&mut self, task: TaskId, lane: u32) {
        let lender = self.lender_of.remove(&task);
        let borrower = self.blocked.get_mut(&task).and_then(|b| b.lent_to.take());
        if lender.is_none() && borrower.is_none() {
            return;
        }
        self.lane_mut(lane).lent -= 1;
        if let Some(borrower) = borrower {
            self.lender_of.remove(&borrower);
            self.unblock(task);
        }
        if let Some(lender) = lender {
            if let Some(blocked) = self.blocked.get_mut(&lender) {
                blocked.lent_to = borrower;
                if borrower.is_none() && blocked.waits.is_empty() {
                    self.unblock(lender);
                }
            }
            if let Some(borrower) = borrower {
                self.lender_of.insert(borrower, lender);
            }
        }
    }

    /// Gives seats back to those whose wait is over: the ones whose borrower has ended, then, while
    /// there is room, the others in the order they asked. They come before the queue.
    pub(super) fn seat_returning(&mut self, lane: u32, turn: &mut Turn) {
        let Some(state) = self.lanes.get(lane) else { return };
        let wanting: Vec<TaskId> = state.returning.iter().map(|(_, task)| *task).collect();
        let (free, lent): (Vec<_>, Vec<_>) = wanting.into_iter().partition(|t| !self.has_lent(*t));
        for task in free {
            self.answer_inside(task, turn);
        }
        for task in lent {
            if !self.lanes.get(lane).is_some_and(|l| l.has_room()) {
                return;
            }
            self.take_back(task);
            self.answer_inside(task, turn);
        }
    }

    fn answer_inside(&mut self, task: TaskId, turn: &mut Turn) {
        self.stop_returning(task);
        let waits = self.blocked.get(&task).map(|b| b.waits.clone()).unwrap_or_default();
        for id in waits.into_iter().filter(|w| self.is_decided(*w)).collect::<Vec<_>>() {
            self.deliver(id, turn);
        }
    }

    /// The first queued task of a lane that may run on a blocked task's seat, and that task.
    ///
    /// First a task on the seat of its own nearest ancestor. Where no descendant of a lender waits in
    /// this lane, any task that some blocked ancestor in another lane waits for: two families that
    /// hold seats in each other's lanes would block for ever otherwise. At last a stranger that
    /// something waited for is after, for the same reason.
    pub(super) fn borrower(&self, lane: u32) -> Option<(Key, TaskId)> {
        let waiting = &self.lanes.get(lane)?.waiting;
        let lenders = || waiting.iter().filter(|w| self.may_lend(**w));
        let any = *lenders().next()?;
        if let Some(first) = lenders().filter_map(|w| self.first_below(*w, lane)).min() {
            let ancestors = &self.rows[&first.task].rare().ancestors;
            let lender = ancestors.iter().find(|a| waiting.contains(a) && self.may_lend(**a))?;
            return Some((first, *lender));
        }
        let blocked = || self.blocked.keys().filter(|task| self.blocks_on_own(**task));
        let first = blocked().filter_map(|task| self.first_below(*task, lane)).min();
        Some((first.or_else(|| self.first_needed(lane))?, any))
    }

    /// The first eligible task of a lane that anything waited for by its ancestor is after, at any remove.
    fn first_needed(&self, lane: u32) -> Option<Key> {
        if self.dependents.is_empty() {
            return None;
        }
        let blocked = self.blocked.iter().filter(|(task, _)| self.is_active(**task));
        let waits = blocked.flat_map(|(_, b)| &b.waits).filter_map(|id| self.waits.get(id));
        let undecided = waits.filter(|wait| wait.verdict.is_none());
        let mut todo: Vec<TaskId> = undecided
            .flat_map(|w| w.pending.iter().filter(|(_, own)| **own))
            .map(|(t, _)| *t)
            .collect();
        let (mut seen, mut first) = (BTreeSet::new(), None);
        while let Some(task) = todo.pop() {
            let row = self.rows.get(&task).filter(|row| row.place == Place::Dependencies);
            let Some(row) = row else { continue };
            for on in row.rare().after.iter().map(|d| d.task).filter(|t| self.is_unfinished(*t)) {
                if seen.insert(on) {
                    todo.push(on);
                    let row = &self.rows[&on];
                    if row.lane == lane && row.place == Place::Lane {
                        let key = Key::new(on, row);
                        first = Some(first.map_or(key, |best: Key| best.min(key)));
                    }
                }
            }
        }
        first
    }

    /// Lanes whose offer hangs on what tasks of other lanes are after: they have work and a lender,
    /// and no seat for it.
    pub(super) fn note_needy(&mut self, lane: u32) {
        let needy = self.lanes.get(lane).is_some_and(|l| {
            !l.has_room() && !l.queue.is_empty() && l.waiting.iter().any(|w| self.may_lend(*w))
        });
        if needy {
            self.needy.insert(lane);
        } else {
            self.needy.remove(&lane);
        }
    }

    /// Something changed in who waits for whom or is after what: see `note_needy`.
    pub(super) fn needs_changed(&mut self) {
        self.dirty.extend(&self.needy);
    }

    /// The first eligible task of a lane below `task`.
    fn first_below(&self, task: TaskId, lane: u32) -> Option<Key> {
        let below = self.descendants.get(&task)?;
        below
            .iter()
            .filter_map(|d| self.rows.get(d).map(|row| (d, row)))
            .filter(|(_, row)| row.lane == lane && row.place == Place::Lane)
            .map(|(d, row)| Key::new(*d, row))
            .min()
    }

    /// Whether a task is blocked on its own descendants and still has its seat.
    pub(super) fn may_lend(&self, task: TaskId) -> bool {
        !self.has_lent(task) && self.blocks_on_own(task)
    }

    fn blocks_on_own(&self, task: TaskId) -> bool {
        let on_own =
            |id: &WaitId| self.waits.get(id).is_some_and(|w| w.verdict.is_none() && w.below > 0);
        self.is_active(task) && self.blocked.get(&task).is_some_and(|b| b.waits.iter().any(on_own))
    }

    /// From now on `borrower`, which has just been seated, sits on `lender`'s seat.
    pub(super) fn lend(&mut self, lender: TaskId, borrower: TaskId) {
        let lane = self.rows[&lender].lane;
        if let Some(blocked) = self.blocked.get_mut(&lender) {
            blocked.lent_to = Some(borrower);
            self.lender_of.insert(borrower, lender);
            self.lane_mut(lane).lent += 1;
        }
    }
}
