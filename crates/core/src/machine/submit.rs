//! Accepting a batch: whole or not at all.
//!
//! Owns: the rules of admission (depth, descendants, queue, cycles, unknown dependencies). Never
//! starts anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{Core, Turn};
use crate::event::Fact;
use crate::id::{SessionId, TaskId};
use crate::input::{NewTask, Refusal};
use crate::limits;
use crate::spec::Placement;
use crate::state::State;
use crate::time::Now;

impl Core {
    /// Checks every entry, then accepts them in one go.
    pub(super) fn submit(
        &mut self,
        now: Now,
        batch: Vec<NewTask>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        for new in &batch {
            self.admissible(new)?;
        }
        let placements: Vec<&Placement> = batch.iter().map(|t| &*t.placement).collect();
        self.room_for(&placements)?;
        let sequence = self.sequence(&batch)?;
        let known = self.ended_dependencies(&batch);
        let first = self.next_order;
        let mut batch: Vec<Option<NewTask>> = batch.into_iter().map(Some).collect();
        for at in sequence {
            let new = batch[at].take().expect("a sequence names every entry once");
            let not_before = new.spec.delay.filter(|d| !d.is_zero()).map(|d| now.after(d));
            let fact = Fact::Submitted {
                spec: new.spec,
                placement: new.placement,
                order: first + at as u64,
                not_before,
            };
            self.emit(now, turn, new.id, fact);
        }
        self.doomed.extend(known);
        Ok(())
    }

    /// Whether this many tasks of these placements may be queued now.
    pub(super) fn room_for(&self, placements: &[&Placement]) -> Result<(), Refusal> {
        if let Some(reason) = &self.held {
            return Err(Refusal::Held { reason: reason.clone() });
        }
        let limit = self.config.queued;
        if placements.len() as u64 + u64::from(self.queued) > u64::from(limit) {
            return Err(Refusal::QueueFull { queued: self.queued, limit });
        }
        let mut more: BTreeMap<&SessionId, u32> = BTreeMap::new();
        for placement in placements {
            if !(placement.by_person && placement.ancestors.is_empty()) {
                *more.entry(&placement.session).or_default() += 1;
            }
        }
        let limit = self.config.descendants;
        for (session, more) in more {
            let number = self.sessions.find(session);
            let live = number.and_then(|n| self.sessions.get(n)).map_or(0, |s| s.live);
            if live.saturating_add(more) > limit {
                let session = session.clone();
                return Err(Refusal::TooManyDescendants { session, live, limit });
            }
        }
        Ok(())
    }

    fn admissible(&self, new: &NewTask) -> Result<(), Refusal> {
        assert!(!self.rows.contains_key(&new.id), "the shell hands in fresh ids");
        let depth = u32::try_from(new.placement.ancestors.len()).unwrap_or(u32::MAX);
        let (depth, limit) = (depth.saturating_add(1), self.config.depth);
        if depth > limit {
            return Err(Refusal::TooDeep { depth, limit });
        }
        if new.placement.over_limit && !new.placement.by_person {
            return Err(Refusal::OverLimitNotAllowed);
        }
        if new.spec.after.len() > limits::DEPENDENCIES {
            return Err(Refusal::TooManyDependencies { limit: limits::DEPENDENCIES });
        }
        Ok(())
    }

    /// The entries' positions, each after those it depends on and otherwise as given. With the
    /// facts in this sequence, a dependency that replay does not know has ended before.
    fn sequence(&self, batch: &[NewTask]) -> Result<Vec<usize>, Refusal> {
        let position: BTreeMap<TaskId, usize> =
            batch.iter().enumerate().map(|(at, new)| (new.id, at)).collect();
        assert_eq!(position.len(), batch.len(), "the shell hands in fresh ids");
        let mut open = vec![0usize; batch.len()];
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); batch.len()];
        for (at, new) in batch.iter().enumerate() {
            for dependency in &new.spec.after {
                if let Some(earlier) = position.get(&dependency.task) {
                    open[at] += 1;
                    next[*earlier].push(at);
                } else if !self.rows.contains_key(&dependency.task)
                    && !new.ended_dependencies.iter().any(|(id, _)| *id == dependency.task)
                {
                    let dependency = dependency.task;
                    return Err(Refusal::UnknownDependency { task: new.id, dependency });
                }
            }
        }
        let mut ready: BTreeSet<usize> = (0..batch.len()).filter(|at| open[*at] == 0).collect();
        let mut sequence = Vec::with_capacity(batch.len());
        while let Some(at) = ready.pop_first() {
            sequence.push(at);
            for later in &next[at] {
                open[*later] -= 1;
                if open[*later] == 0 {
                    ready.insert(*later);
                }
            }
        }
        if sequence.len() == batch.len() {
            Ok(sequence)
        } else {
            Err(cycle(batch, &position, &open))
        }
    }

    /// Entries whose condition a target that has ended already does not meet, with that target.
    fn ended_dependencies(&self, batch: &[NewTask]) -> Vec<(TaskId, TaskId)> {
        let state_of = |new: &NewTask, id: TaskId| -> Option<State> {
            match self.rows.get(&id) {
                Some(row) => row.state.is_terminal().then_some(row.state),
                None => new.ended_dependencies.iter().find(|(d, _)| *d == id).map(|(_, s)| *s),
            }
        };
        let mut found = Vec::new();
        for new in batch {
            let unmet =
                new.spec.after.iter().find(|d| {
                    state_of(new, d.task).is_some_and(|state| !d.condition.is_met_by(state))
                });
            found.extend(unmet.map(|d| (new.id, d.task)));
        }
        found
    }
}

/// One cycle among the entries that no sequence could be found for.
fn cycle(batch: &[NewTask], position: &BTreeMap<TaskId, usize>, open: &[usize]) -> Refusal {
    let stuck = |at: usize| {
        let after = &batch[at].spec.after;
        after.iter().filter_map(|d| position.get(&d.task).copied()).find(|to| open[*to] > 0)
    };
    let mut at = open.iter().position(|n| *n > 0).expect("a shorter sequence left some open");
    let mut path = Vec::new();
    // Whoever is stuck waits for another that is stuck: following them must come round.
    while !path.contains(&at) {
        path.push(at);
        at = stuck(at).expect("an open entry depends on an open entry");
    }
    let from = path.iter().position(|p| *p == at).unwrap_or(0);
    Refusal::Cycle(path[from..].iter().map(|p| batch[*p].id).collect())
}
