//! One lane: who holds its seats, who waits for one, and in which order.
//!
//! Owns: the queue order (priority, then submission) and the count of seats. Never decides whether
//! anybody starts: that is `promote`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::row::Row;
use crate::id::TaskId;

/// A place in a queue; the smallest starts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    priority: Reverse<i32>,
    pub(super) order: u64,
    pub(super) task: TaskId,
}

/// The scheduling state of one lane; it exists while a row is in it.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// None is unlimited.
    pub(super) limit: Option<u32>,
    /// Rows in memory that name this lane.
    pub(super) rows: u32,
    /// Tasks with a seat, oldest start first.
    pub(super) holders: BTreeSet<(u64, TaskId)>,
    /// Eligible tasks.
    pub(super) queue: BTreeSet<Key>,
    /// Eligible tasks that start even beyond the limit.
    pub(super) over: BTreeSet<Key>,
    /// Queued tasks that wait for a dependency or a moment.
    pub(super) blocked: u32,
    /// Holders whose seat is lent.
    pub(super) lent: u32,
    /// Holders that block in a wait (whether or not they lend).
    pub(super) waiting: BTreeSet<TaskId>,
    /// Of those, the ones that want their lent seat back, first come first.
    pub(super) returning: BTreeSet<(u64, TaskId)>,
    /// Its entry in `Core::startable`.
    pub(super) listed: Option<u64>,
}

impl Key {
    pub(super) fn new(task: TaskId, row: &Row) -> Self {
        Self { priority: Reverse(row.priority), order: row.order, task }
    }
}

impl Lane {
    pub(super) const fn new(limit: Option<u32>) -> Self {
        Self {
            limit,
            rows: 0,
            holders: BTreeSet::new(),
            queue: BTreeSet::new(),
            over: BTreeSet::new(),
            blocked: 0,
            lent: 0,
            waiting: BTreeSet::new(),
            returning: BTreeSet::new(),
            listed: None,
        }
    }

    /// Seats taken: a lent seat and its borrower are one.
    pub(super) fn occupancy(&self) -> u32 {
        let holders = u32::try_from(self.holders.len()).unwrap_or(u32::MAX);
        holders.saturating_sub(self.lent)
    }

    /// Whether one more may take a seat.
    pub(super) fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.occupancy() < limit)
    }

    pub(super) fn queue_of(&mut self, row: &Row) -> &mut BTreeSet<Key> {
        if row.over_limit { &mut self.over } else { &mut self.queue }
    }

    /// Eligible tasks in start order.
    pub(super) fn in_order(&self) -> impl DoubleEndedIterator<Item = TaskId> {
        self.over.iter().chain(&self.queue).map(|key| key.task)
    }

    /// Where tasks stand in that order, the first at 1. Walked from both ends at once: the newest, which lists
    /// ask for, are found from the back in as many steps as there are of them, and not in 100,000.
    pub(super) fn positions(&self, mut wanted: BTreeSet<TaskId>) -> BTreeMap<TaskId, u32> {
        let mut positions = BTreeMap::new();
        let (mut front, mut back) = (1, self.over.len() + self.queue.len());
        let mut order = self.in_order();
        while !wanted.is_empty() {
            let Some(first) = order.next() else { break };
            if wanted.remove(&first) {
                positions.insert(first, count(front));
            }
            front += 1;
            let Some(last) = order.next_back() else { break };
            if wanted.remove(&last) {
                positions.insert(last, count(back));
            }
            back -= 1;
        }
        positions
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
