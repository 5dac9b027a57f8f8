//! The step after the inputs of a turn: who starts now.
//!
//! Owns: the order of starts over all lanes. A lane offers at most one task at a time; of the offers
//! the one that was submitted first starts, while starts in flight are below their limit.

use super::token::Tokens;
use super::{Core, Turn};
use crate::effect::Effect;
use crate::event::Fact;
use crate::id::TaskId;
use crate::time::Now;

/// The next start of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) task: TaskId,
    pub(super) order: u64,
    /// On whose seat; none for one of the lane's own.
    lender: Option<TaskId>,
}

impl Core {
    pub(super) fn promote(&mut self, now: Now, entropy: u64, turn: &mut Turn) {
        self.moments_passed(now);
        self.settle_dirty(turn);
        let mut tokens = Tokens::new(entropy);
        while self.held.is_none() && self.may_start() {
            let Some((order, lane)) = self.startable.first().copied() else { break };
            let offer = self.offer(lane).filter(|o| o.order == order);
            let offer = offer.expect("a listed lane has the offer that it is listed with");
            self.start(now, offer, &mut tokens, turn);
            self.settle_dirty(turn);
        }
    }

    /// 0 is unlimited, as for lanes.
    pub(super) const fn may_start(&self) -> bool {
        self.config.starts == 0 || self.starting < self.config.starts
    }

    /// Queued tasks whose moment has come become eligible.
    pub(super) fn moments_passed(&mut self, now: Now) {
        while let Some((at, task)) = self.due.first().copied()
            && at <= now.boot
        {
            self.due.pop_first();
            let lane = self.row_mut(task).lane;
            self.lane_mut(lane).blocked -= 1;
            self.await_seat(task);
        }
    }

    /// Lanes in which something changed: seats that are wanted back, then what they offer.
    fn settle_dirty(&mut self, turn: &mut Turn) {
        while let Some(lane) = self.dirty.pop_first() {
            self.seat_returning(lane, turn);
            // Handing a seat back marks the lane again; once more would find nothing to do.
            self.dirty.remove(&lane);
            self.list(lane);
        }
    }

    fn list(&mut self, lane: u32) {
        self.note_needy(lane);
        let order = self.offer(lane).map(|offer| offer.order);
        let Some(state) = self.lanes.get_mut(lane) else { return };
        if let Some(old) = state.listed.take() {
            self.startable.remove(&(old, lane));
        }
        if let Some(order) = order {
            self.lane_mut(lane).listed = Some(order);
            self.startable.insert((order, lane));
        }
    }

    /// Who of a lane would start next.
    pub(super) fn offer(&self, lane: u32) -> Option<Offer> {
        let state = self.lanes.get(lane)?;
        let own = if state.over.is_empty() && state.has_room() {
            state.queue.first()
        } else {
            state.over.first()
        };
        if let Some(key) = own {
            return Some(Offer { task: key.task, order: key.order, lender: None });
        }
        let (key, lender) = self.borrower(lane)?;
        Some(Offer { task: key.task, order: key.order, lender: Some(lender) })
    }

    fn start(&mut self, now: Now, offer: Offer, tokens: &mut Tokens, turn: &mut Turn) {
        let Offer { task, lender, .. } = offer;
        let row = &self.rows[&task];
        let (attempt, timeout) = (row.attempt, row.allowed());
        let token = tokens.next(task, attempt);
        let started = self.emit(now, turn, task, Fact::Starting { token });
        assert!(started, "an offer is a queued task");
        if let Some(lender) = lender {
            self.lend(lender, task);
        }
        turn.effects.push(Effect::Start { task, attempt, token, timeout });
    }
}
