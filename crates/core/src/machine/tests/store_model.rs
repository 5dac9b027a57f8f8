//! What a store would hold: facts folded into rows, in the plainest way.
//!
//! Owns: an account of its own of every task. It checks what the machine claims against it: at most
//! one end per attempt, no attempt twice.

use std::collections::BTreeMap;

use crate::event::{Event, Fact};
use crate::id::TaskId;
use crate::input::ReopenedTask;
use crate::machine::LoadedTask;
use crate::notice::{Notice, NoticeId};
use crate::state::State;

#[derive(Debug, Default)]
pub(super) struct StoreModel {
    pub(super) tasks: BTreeMap<TaskId, LoadedTask>,
    /// Ends per attempt.
    pub(super) ends: BTreeMap<(TaskId, u32), State>,
    /// Every notice ever written, by its id, with who is told by which policy.
    pub(super) notices: BTreeMap<NoticeId, Notice>,
}

impl StoreModel {
    pub(super) fn fold(&mut self, event: &Event) {
        let id = event.task;
        if let Fact::Submitted { order, .. } | Fact::Retried { order, .. } = &event.fact {
            let taken = self.tasks.values().any(|t| t.order == *order && !t.state.is_terminal());
            assert!(!taken, "{id} has the order of another");
        }
        if let Fact::Submitted { spec, placement, order, not_before } = &event.fact {
            let task = LoadedTask {
                id,
                spec: (**spec).clone(),
                placement: (**placement).clone(),
                state: State::Queued,
                attempt: 1,
                order: *order,
                created_at: event.at,
                queued_at: event.at,
                not_before: *not_before,
                token: None,
                stop: None,
                crashes: 0,
                retries_used: 0,
                lost_retries: 0,
                timeout: spec.timing.timeout,
                deadline: None,
                ready: false,
                seat_kept: false,
                ended_dependencies: Vec::new(),
            };
            assert!(self.tasks.insert(id, task).is_none(), "{id} submitted twice");
            return;
        }
        self.told(event);
        let task = self.tasks.get_mut(&id).expect("facts are about submitted tasks");
        match &event.fact {
            Fact::Submitted { .. } | Fact::Refused { .. } => return,
            Fact::Starting { token } => {
                assert_eq!(task.state, State::Queued, "{id} started while {:?}", task.state);
                task.state = State::Starting;
                task.token = Some(*token);
                task.not_before = None;
            }
            Fact::Started { deadline, .. } => {
                task.state = State::Running;
                task.deadline = *deadline;
            }
            Fact::Ready { .. } => task.ready = true,
            Fact::Extended { timeout, deadline, .. } => {
                task.timeout = *timeout;
                task.deadline = *deadline;
            }
            Fact::StopRequested { stop } => task.stop = Some(stop.clone()),
            Fact::Ended { end, .. } => {
                let before = self.ends.insert((id, event.attempt), end.state);
                assert_eq!(before, None, "{id}/{} ended twice", event.attempt);
                task.state = end.state;
                task.seat_kept = end.seat_kept;
                task.stop = None;
            }
            Fact::Requeued { crashes } => {
                task.state = State::Queued;
                task.token = None;
                task.crashes = *crashes;
            }
            Fact::Retried { order, not_before, retries_used, lost_retries, .. } => {
                assert_eq!(event.attempt, task.attempt + 1, "attempts of {id} count up");
                task.state = State::Queued;
                task.attempt = event.attempt;
                task.order = *order;
                task.queued_at = event.at;
                task.not_before = *not_before;
                (task.retries_used, task.lost_retries) = (*retries_used, *lost_retries);
                (task.token, task.stop, task.deadline) = (None, None, None);
                (task.crashes, task.ready) = (0, false);
                task.timeout = task.spec.timing.timeout;
            }
            Fact::DeadlineNear { deadline, .. } => {
                assert_eq!(task.deadline, Some(*deadline), "{id} is told of its deadline");
            }
            Fact::Rebound { session } => {
                task.placement.session = session.clone();
                if task.state.is_terminal() {
                    return;
                }
            }
            Fact::Emptied => task.seat_kept = false,
            Fact::Forgotten => {
                self.tasks.remove(&id);
                return;
            }
        }
        assert_eq!(event.attempt, task.attempt, "{:?} names its attempt", event.fact);
    }

    /// An end is told of once; a deadline again after a restart, under the same id.
    fn told(&mut self, event: &Event) {
        let Event { task, attempt, .. } = *event;
        match &event.fact {
            Fact::Ended { notice: Some(notice), .. } => {
                let about = NoticeId::of_end(task, attempt);
                let before = self.notices.insert(about, (**notice).clone());
                assert_eq!(before, None, "{about} is told twice");
            }
            Fact::DeadlineNear { deadline, notice } => {
                let about = NoticeId::of_deadline(task, attempt, *deadline);
                self.notices.insert(about, (**notice).clone());
            }
            _ => {}
        }
    }

    /// What a restart would load.
    pub(super) fn load(&self) -> Vec<LoadedTask> {
        let mut live = Vec::new();
        for task in self.tasks.values().filter(|t| !t.state.is_terminal() || t.seat_kept) {
            let mut task = task.clone();
            for dependency in &task.spec.after {
                if let Some(other) = self.tasks.get(&dependency.task)
                    && other.state.is_terminal()
                {
                    task.ended_dependencies.push((other.id, other.state));
                }
            }
            live.push(task);
        }
        live
    }

    pub(super) fn reopened(&self, id: TaskId) -> Option<Box<ReopenedTask>> {
        let task = self.tasks.get(&id)?;
        Some(Box::new(ReopenedTask {
            attempt: task.attempt,
            placement: task.placement.clone(),
            spec: task.spec.clone(),
            state: task.state,
        }))
    }
}
