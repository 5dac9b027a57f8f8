//! What people see: where a task stands, why it waits, who holds a lane's seats.
//!
//! Owns: answers computed on demand. Never changes anything; nothing here runs on the way of a task.

use std::collections::{BTreeMap, BTreeSet};

use super::lane::Lane;
use super::row::{Place, Row};
use super::{Core, LaneView, TaskView, Why};
use crate::id::{LaneName, TaskId};
use crate::state::State;

impl Core {
    /// A live task; none when it has ended (or never was).
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<TaskView> {
        let row = self.rows.get(&id)?;
        let position = (row.place == Place::Lane).then(|| {
            let lane = self.lanes.get(row.lane).expect("a row's lane exists");
            lane.positions(BTreeSet::from([id])).remove(&id)
        });
        let position = position.flatten();
        Some(self.view(row, position))
    }

    /// Many at once, in the order asked: each lane's queue is walked once, not once per task.
    #[must_use]
    pub fn views(&self, ids: &[TaskId]) -> Vec<Option<TaskView>> {
        let mut wanted: BTreeMap<u32, BTreeSet<TaskId>> = BTreeMap::new();
        for id in ids {
            if let Some(row) = self.rows.get(id)
                && row.place == Place::Lane
            {
                wanted.entry(row.lane).or_default().insert(*id);
            }
        }
        let mut positions: BTreeMap<TaskId, u32> = BTreeMap::new();
        for (lane, wanted) in wanted {
            let lane = self.lanes.get(lane).expect("a row's lane exists");
            positions.extend(lane.positions(wanted));
        }
        let view = |id: &TaskId| {
            let row = self.rows.get(id)?;
            Some(self.view(row, positions.get(id).copied()))
        };
        ids.iter().map(view).collect()
    }

    /// Every lane that has tasks or a limit of its own, by name.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneView> {
        let mut views: BTreeMap<LaneName, LaneView> = BTreeMap::new();
        for name in self.config.lane_limits.keys() {
            let idle = Lane::new(self.config.lane_limit(name));
            views.insert(name.clone(), self.lane_view(name, &idle));
        }
        for (name, _, lane) in self.lanes.iter() {
            views.insert(name.clone(), self.lane_view(name, lane));
        }
        views.into_values().collect()
    }

    fn lane_view(&self, name: &LaneName, lane: &Lane) -> LaneView {
        LaneView {
            lane: name.clone(),
            limit: lane.limit,
            holders: lane.holders.iter().map(|(_, task)| *task).collect(),
            lent: lane
                .waiting
                .iter()
                .filter_map(|w| Some((*w, self.blocked.get(w)?.lent_to?)))
                .collect(),
            queued: lane.in_order().collect(),
            blocked: lane.blocked,
        }
    }

    fn view(&self, row: &Row, queue_position: Option<u32>) -> TaskView {
        TaskView {
            state: row.state,
            attempt: row.attempt,
            token: row.token(),
            queue_position,
            why: (row.state == State::Queued).then(|| self.why(row, queue_position)).flatten(),
            stopping: row.stop().is_some() && !row.state.is_terminal(),
        }
    }

    fn why(&self, row: &Row, position: Option<u32>) -> Option<Why> {
        if row.place == Place::Dependencies {
            let open = row.rare().after.iter().map(|d| d.task).filter(|t| self.is_unfinished(*t));
            let on: BTreeSet<TaskId> = open.collect();
            return Some(Why::Dependencies { on: on.into_iter().collect() });
        }
        if let (Place::Timer, Some(due)) = (row.place, row.rare().not_before) {
            let backoff = row.rare().retries_used + row.rare().lost_retries > 0;
            return Some(Why::Until { due, backoff });
        }
        if let Some(reason) = &self.held {
            return Some(Why::Held { reason: reason.clone() });
        }
        let name = self.lanes.name(row.lane).clone();
        let lane = self.lanes.get(row.lane)?;
        if let Some(limit) = lane.limit
            && !lane.has_room()
            && !row.over_limit
        {
            // A holder whose seat is lent blocks; its borrower is the one in the seat.
            let holders = lane.holders.iter().map(|(_, task)| *task);
            let holders = holders.filter(|task| !self.has_lent(*task)).collect();
            return Some(Why::LaneFull { lane: name, limit, holders });
        }
        if !self.may_start() {
            return Some(Why::StartsInFlight { limit: self.config.starts });
        }
        let ahead = position?.checked_sub(1).filter(|ahead| *ahead > 0)?;
        Some(Why::Behind { lane: name, ahead })
    }
}
