//! Clients that block until tasks end or are ready.
//!
//! Owns: who waits for what, and when a wait is decided. A task on which an automatic retry follows
//! has not ended for a wait: the retry is part of the same work. A decided wait is answered at once,
//! or, when the task it runs in has lent its seat, as soon as that has one again (`lend`).

use std::collections::BTreeMap;

use super::{Core, Turn};
use crate::effect::{Answer, Effect};
use crate::id::{TaskId, WaitId};
use crate::input::{Refusal, Until, Wait};
use crate::state::State;

/// One wait.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// The task it runs in, while that attempt lives.
    pub(super) inside: Option<TaskId>,
    /// As asked, in order.
    asked: Vec<TaskId>,
    any: bool,
    until: Until,
    /// Targets that are not decided; true for those below `inside`.
    pub(super) pending: BTreeMap<TaskId, bool>,
    ended: BTreeMap<TaskId, State>,
    /// How many of `pending` are below `inside`: while there is one, the seat may be lent.
    pub(super) below: usize,
    /// A target did what was hoped for.
    succeeded: bool,
    /// A target ended before it was ready.
    missed: bool,
    pub(super) verdict: Option<Verdict>,
}

/// How a wait turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    met: bool,
    timed_out: bool,
}

impl Waiting {
    fn settle(&mut self, task: TaskId) {
        if self.pending.remove(&task) == Some(true) {
            self.below -= 1;
        }
    }

    fn target_ended(&mut self, task: TaskId, state: State) {
        self.settle(task);
        self.ended.insert(task, state);
        match self.until {
            Until::Done => self.succeeded |= state == State::Completed,
            Until::Ready => self.missed = true,
        }
    }

    fn target_ready(&mut self, task: TaskId) {
        self.settle(task);
        self.succeeded = true;
    }

    /// Whether it is decided, and if so whether it was met.
    fn met(&self) -> Option<bool> {
        let over = self.pending.is_empty();
        match (self.any, self.until) {
            (true, Until::Done | Until::Ready) if self.succeeded => Some(true),
            (true, Until::Done | Until::Ready) => over.then_some(false),
            (false, Until::Done) => over.then_some(true),
            (false, Until::Ready) if self.missed => Some(false),
            (false, Until::Ready) => over.then_some(true),
        }
    }

    fn answer(&self, verdict: Verdict) -> Answer {
        let states = self.asked.iter().map(|t| (*t, self.ended.get(t).copied())).collect();
        Answer { states, met: verdict.met, timed_out: verdict.timed_out }
    }
}

impl Core {
    pub(super) fn wait(&mut self, wait: Wait, turn: &mut Turn) -> Result<(), Refusal> {
        let inside = wait.inside.filter(|task| self.is_active(*task));
        if let Some(inside) = wait.inside {
            let above: &[TaskId] = self.rows.get(&inside).map_or(&[], |row| &row.rare().ancestors);
            for target in &wait.targets {
                if target.task == inside || above.contains(&target.task) {
                    let target = target.task;
                    return Err(Refusal::WaitsForAncestor { inside, target });
                }
            }
        }
        for target in &wait.targets {
            if target.ended.is_none() && !self.rows.contains_key(&target.task) {
                return Err(Refusal::UnknownTask(target.task));
            }
        }
        self.wait_gone(wait.id);
        let mut waiting = Waiting {
            inside,
            asked: wait.targets.iter().map(|t| t.task).collect(),
            any: wait.any,
            until: wait.until,
            pending: BTreeMap::new(),
            ended: BTreeMap::new(),
            below: 0,
            succeeded: false,
            missed: false,
            verdict: None,
        };
        for target in &wait.targets {
            match self.rows.get(&target.task) {
                Some(row) if row.state.is_terminal() => {
                    waiting.target_ended(target.task, row.state);
                }
                Some(row) if row.ready && wait.until == Until::Ready => waiting.succeeded = true,
                Some(row) => {
                    let below = inside.is_some_and(|w| row.rare().ancestors.contains(&w));
                    if waiting.pending.insert(target.task, below).is_none() {
                        waiting.below += usize::from(below);
                    }
                }
                None => {
                    let state = target.ended.expect("checked above");
                    waiting.target_ended(target.task, state);
                }
            }
        }
        for target in waiting.pending.keys() {
            self.waiters.entry(*target).or_default().push(wait.id);
        }
        self.waits.insert(wait.id, waiting);
        if let Some(inside) = inside {
            self.blocks_inside(inside, wait.id);
        }
        self.decided_or_not(wait.id, turn);
        Ok(())
    }

    /// Its client is gone. A seat lent for its sake alone is owed at once.
    pub(super) fn wait_gone(&mut self, id: WaitId) {
        if let Some(waiting) = self.forget_wait(id)
            && let Some(inside) = waiting.inside
        {
            self.unblocks_inside(inside, id);
        }
    }

    pub(super) fn wait_timed_out(&mut self, id: WaitId, turn: &mut Turn) {
        if let Some(waiting) = self.waits.get(&id)
            && waiting.verdict.is_none()
        {
            self.decide(id, Verdict { met: false, timed_out: true }, turn);
        }
    }

    /// The task has ended and no attempt follows by itself.
    pub(super) fn target_ended(&mut self, task: TaskId, state: State, turn: &mut Turn) {
        for id in self.waiters.remove(&task).unwrap_or_default() {
            if let Some(waiting) = self.waits.get_mut(&id) {
                waiting.target_ended(task, state);
                self.decided_or_not(id, turn);
            }
        }
    }

    /// The task is ready.
    pub(super) fn target_ready(&mut self, task: TaskId, turn: &mut Turn) {
        for id in self.waiters.get(&task).cloned().unwrap_or_default() {
            if let Some(waiting) = self.waits.get_mut(&id)
                && waiting.until == Until::Ready
            {
                waiting.target_ready(task);
                self.unlist_waiter(task, id);
                self.decided_or_not(id, turn);
            }
        }
    }

    /// Something that it waits for has come.
    fn decided_or_not(&mut self, id: WaitId, turn: &mut Turn) {
        let Some(waiting) = self.waits.get(&id) else { return };
        let (decided, inside, met) = (waiting.verdict.is_some(), waiting.inside, waiting.met());
        if let Some(inside) = inside {
            self.mark_below(inside);
        }
        if let (false, Some(met)) = (decided, met) {
            self.decide(id, Verdict { met, timed_out: false }, turn);
        }
    }

    fn decide(&mut self, id: WaitId, verdict: Verdict, turn: &mut Turn) {
        let Some(waiting) = self.waits.get_mut(&id) else { return };
        waiting.verdict = Some(verdict);
        let inside = waiting.inside;
        if let Some(inside) = inside {
            self.mark_below(inside);
        }
        match inside {
            Some(inside) if self.has_lent(inside) => self.wants_seat_back(inside),
            Some(_) | None => self.deliver(id, turn),
        }
    }

    /// Answers a decided wait.
    pub(super) fn deliver(&mut self, id: WaitId, turn: &mut Turn) {
        let Some(waiting) = self.forget_wait(id) else { return };
        if let Some(verdict) = waiting.verdict {
            turn.effects.push(Effect::Answer { wait: id, answer: waiting.answer(verdict) });
        }
        if let Some(inside) = waiting.inside {
            self.unblocks_inside(inside, id);
        }
    }

    fn forget_wait(&mut self, id: WaitId) -> Option<Waiting> {
        let waiting = self.waits.remove(&id)?;
        for target in waiting.pending.keys() {
            self.unlist_waiter(*target, id);
        }
        Some(waiting)
    }

    fn unlist_waiter(&mut self, target: TaskId, id: WaitId) {
        if let Some(waiters) = self.waiters.get_mut(&target) {
            waiters.retain(|w| *w != id);
            if waiters.is_empty() {
                self.waiters.remove(&target);
            }
        }
    }
}
