//! Letters of the HTTP thread: each becomes an input of the core, or a look at it.
//!
//! Owns what makes a resent request happen once: the reply of a changing request is kept with its
//! commit, and a known request id or idempotency key is answered from there.

use std::collections::HashMap;

use meanwhile_api::{ApiError, ErrorCode};
use meanwhile_core::input::{NewTask, Wait, WaitTarget};
use meanwhile_core::machine::TaskView;
use meanwhile_core::{
    Actor, Event, Fact, Input, Now, Refusal, RequestId, State, TaskId, Turn, WaitId,
};

use meanwhile_store::StoreError;

use super::fleet::Job;
use super::refusals::{error, store_error};
use super::{BlockedClient, Ending, Engine, PendingReply, Stopping, entropy};
use crate::letters::{Ask, Change, Letter, LiveTask, PreparedTask, Reply, WaitFor};

type Answer = Result<Reply, ApiError>;

impl Engine {
    /// Takes one letter. Its reply joins the turn's replies, which go out after the commit.
    pub(super) fn take(
        &mut self,
        now: Now,
        letter: Letter,
        turn: &mut Turn,
        replies: &mut Vec<PendingReply>,
    ) -> Result<(), Ending> {
        let Letter { ask, request, reply: to, claim } = letter;
        if !claim.take() {
            // Whoever asked was told that nothing is done.
            return Ok(());
        }
        if let Some(request) = &request
            && let Some(reply) = self.replied_before(request, replies)?
        {
            // Answered with the turn: the first answer may be in it and not yet on disk.
            replies.push(PendingReply { to, reply, request: None });
            return Ok(());
        }
        let reply = match ask {
            Ask::Wait { id, wait } => {
                self.wait(now, id, wait, to, turn);
                return Ok(());
            }
            Ask::Deliver { id, want } => {
                self.listen(now, id, want, to);
                return Ok(());
            }
            Ask::Rebind { from, to: session } => self.rebind(now, from, session, turn),
            Ask::Begin { process, session, how, surroundings } => {
                self.begin(now, (process, session), how, surroundings, turn)
            }
            Ask::Stop { cancel_all, hand_over, by } => {
                let replies = vec![PendingReply { to, reply: Ok(Reply::Done), request: None }];
                let stopping = Stopping { after_all_ended: cancel_all, hand_over, replies };
                self.stop(now, stopping, &by, turn);
                return Ok(());
            }
            Ask::Submit(tasks) => self.submit(now, tasks, turn),
            Ask::Cancel { targets, by, cascade } => self.cancel(now, targets, by, cascade, turn),
            Ask::Retry { task, by, env } => self.retry(now, task, by, env, turn),
            Ask::Complete { task, by, failed, message } => {
                let input = Input::Complete { task, by, failed, message };
                self.change(now, task, input, turn)
            }
            Ask::Extend { task, by, more } => {
                self.change(now, task, Input::Extend { task, by, more }, turn)
            }
            Ask::Prune => self.prune(now, turn),
            Ask::Forget { tasks } => self.forget(now, tasks, turn),
            Ask::Input { task, bytes, close } => self.pass_input(task, bytes, close),
            other => Ok(self.look(now, other, turn)),
        };
        replies.push(PendingReply { to, reply, request });
        Ok(())
    }

    /// Asks that refuse nothing.
    fn look(&mut self, now: Now, ask: Ask, turn: &mut Turn) -> Reply {
        match ask {
            Ask::Views(ids) => return Reply::Views(self.live(&ids, turn)),
            Ask::WriteDown => self.flush_at = Some(now.boot),
            Ask::Lanes => return Reply::Lanes(self.core.lanes()),
            Ask::Status => return Reply::Status(self.status()),
            Ask::Hangup(id) => {
                self.waits.remove(&id);
                self.inbox.hang_up(id);
                self.apply(now, Input::WaitGone(id), turn);
            }
            Ask::Configure(settings) => {
                self.apply(now, Input::Configure(Box::new(settings.core())), turn);
                self.settings = std::sync::Arc::from(settings);
                // How long ended tasks are kept may be among what has changed.
                self.retention_at = now.boot;
                // And what a session is woken for.
                self.inbox.look_at_all(now);
            }
            Ask::Acknowledge { ids, at_once, reader } => {
                self.acknowledge(now, ids, at_once, reader);
            }
            Ask::Presence { session, what } => self.heard_of(now, session, what),
            Ask::Close { process, session } => return self.close(process, &session),
            Ask::Ready { task, token, how } => {
                self.apply(now, Input::Ready { task, token, how }, turn);
            }
            Ask::RemainsGone { task, token, emptied } => {
                self.remains_gone(now, task, token, emptied, turn);
            }
            Ask::Submit(_)
            | Ask::Cancel { .. }
            | Ask::Retry { .. }
            | Ask::Complete { .. }
            | Ask::Extend { .. }
            | Ask::Prune
            | Ask::Forget { .. }
            | Ask::Input { .. }
            | Ask::Wait { .. }
            | Ask::Deliver { .. }
            | Ask::Rebind { .. }
            | Ask::Begin { .. }
            | Ask::Stop { .. } => unreachable!("taken before"),
        }
        Reply::Done
    }

    /// How these stand, what is not yet on disk included.
    fn live(&self, ids: &[TaskId], turn: &Turn) -> Vec<Option<LiveTask>> {
        let mut views = self.core.views(ids);
        self.tell_shortages(&mut views);
        let started: HashMap<TaskId, &Event> = self
            .deferred
            .iter()
            .chain(&turn.events)
            .filter(|event| matches!(event.fact, Fact::Started { .. }))
            .map(|event| (event.task, event))
            .collect();
        let live = |(view, id): (Option<TaskView>, &TaskId)| {
            let view = view?;
            let started = started.get(id).filter(|event| event.attempt == view.attempt);
            Some(LiveTask { view, started: started.map(|event| (*event).clone()) })
        };
        views.into_iter().zip(ids).map(live).collect()
    }

    /// The reply of a request that was seen before, in an earlier turn or in this one.
    fn replied_before(
        &mut self,
        request: &RequestId,
        replies: &[PendingReply],
    ) -> Result<Option<Answer>, Ending> {
        if let Some(same) = replies.iter().find(|r| r.request.as_ref() == Some(request)) {
            return Ok(Some(same.reply.clone()));
        }
        let saved = match self.store.reply(request) {
            Err(error @ StoreError::Busy { .. }) => return Ok(Some(Err(store_error(&error)))),
            other => other.map_err(Ending::Store)?,
        };
        // Done once is done, even if it was answered in words of another release.
        let unread = || ApiError::new(ErrorCode::BadRequest, "request was done by another release");
        Ok(saved.map(|bytes| Reply::from_saved(&bytes).ok_or_else(unread)))
    }

    /// A daemon that ends takes no new work: the client asks the next one.
    fn takes_work(&self) -> Result<(), ApiError> {
        match self.stopping {
            Some(_) => Err(ApiError::new(ErrorCode::Stopping, "daemon is stopping")),
            None => Ok(()),
        }
    }

    fn submit(&mut self, now: Now, tasks: Vec<PreparedTask>, turn: &mut Turn) -> Answer {
        self.takes_work()?;
        self.check_disk(now, turn);
        let (known, tasks) = self.known_keys(tasks, turn)?;
        let mut ids = Vec::with_capacity(known.len());
        let mut fresh = Vec::with_capacity(tasks.len());
        let mut tasks = tasks.into_iter();
        for known in known {
            if let Some(id) = known {
                ids.push(id);
                continue;
            }
            let PreparedTask { id, spec, mut placement } =
                tasks.next().expect("one entry for every task that is not known");
            // It may go on under another name since this was asked.
            placement.session = self.known.sessions.current(&placement.session);
            ids.push(id);
            fresh.push(NewTask { id, spec, placement, ended_dependencies: Vec::new() });
        }
        self.fill_ended_dependencies(&mut fresh, turn)?;
        if !fresh.is_empty() {
            let specs: Vec<_> = fresh
                .iter()
                .take(self.starter.room_for_specs())
                .map(|t| (t.id, t.spec.clone()))
                .collect();
            self.core
                .apply(now, entropy(), Input::Submit(fresh), turn)
                .map_err(|refusal| error(&refusal))?;
            self.starter.keep_specs(specs);
        }
        Ok(Reply::Submitted(ids))
    }

    /// Replaces tasks whose idempotency key is known by the task that has it: per entry the old id,
    /// or none where the next of the remaining tasks stands.
    fn known_keys(
        &mut self,
        tasks: Vec<PreparedTask>,
        turn: &Turn,
    ) -> Result<(Vec<Option<TaskId>>, Vec<PreparedTask>), ApiError> {
        let mut in_turn: HashMap<String, TaskId> = turn
            .events
            .iter()
            .filter_map(|event| match &event.fact {
                Fact::Submitted { spec, .. } => Some((spec.idempotency_key.clone()?, event.task)),
                _ => None,
            })
            .collect();
        let mut known = Vec::with_capacity(tasks.len());
        let mut renamed: HashMap<TaskId, TaskId> = HashMap::new();
        let mut left: Vec<PreparedTask> = Vec::with_capacity(tasks.len());
        for task in tasks {
            let old = match &task.spec.idempotency_key {
                None => None,
                Some(key) => match in_turn.get(key) {
                    Some(id) => Some(*id),
                    None => self
                        .store
                        .by_idempotency_key(key)
                        .map_err(|e| store_error(&e))?
                        .filter(|old| !self.just_forgotten.contains(old)),
                },
            };
            if let Some(old) = old {
                renamed.insert(task.id, old);
            } else {
                if let Some(key) = &task.spec.idempotency_key {
                    in_turn.insert(key.clone(), task.id);
                }
                left.push(task);
            }
            known.push(old);
        }
        if !renamed.is_empty() {
            for dependency in left.iter_mut().flat_map(|t| &mut t.spec.after) {
                dependency.task = *renamed.get(&dependency.task).unwrap_or(&dependency.task);
            }
        }
        Ok((known, left))
    }

    /// Looks up the terminal states of dependencies that the core no longer has.
    fn fill_ended_dependencies(
        &mut self,
        tasks: &mut [NewTask],
        turn: &Turn,
    ) -> Result<(), ApiError> {
        if tasks.iter().all(|t| t.spec.after.is_empty()) {
            return Ok(());
        }
        let batch: std::collections::HashSet<TaskId> = tasks.iter().map(|t| t.id).collect();
        let just_ended = just_ended(turn);
        for task in tasks.iter_mut() {
            let gone: Vec<TaskId> = task
                .spec
                .after
                .iter()
                .map(|d| d.task)
                .filter(|id| !batch.contains(id) && self.core.standing(*id).is_none())
                .filter(|id| !self.just_forgotten.contains(id))
                .collect();
            let stored = self.store.states(&gone).map_err(|e| store_error(&e))?;
            let states = gone.into_iter().zip(stored);
            task.ended_dependencies = states
                .filter_map(|(id, stored)| Some((id, *just_ended.get(&id).or(stored.as_ref())?)))
                .collect();
        }
        Ok(())
    }

    fn cancel(
        &mut self,
        now: Now,
        targets: Vec<TaskId>,
        by: Actor,
        cascade: bool,
        turn: &mut Turn,
    ) -> Answer {
        let mut all = targets.clone();
        if cascade {
            // Whoever cancels waits for these, too, and is told of them.
            let named: std::collections::HashSet<TaskId> = targets.iter().copied().collect();
            let below: std::collections::BTreeSet<TaskId> =
                targets.iter().flat_map(|id| self.core.unfinished_below(*id)).collect();
            all.extend(below.into_iter().filter(|id| !named.contains(id)));
        }
        let changes = all.iter().map(|id| self.change_of(*id)).collect::<Result<_, _>>()?;
        self.core
            .apply(now, entropy(), Input::Cancel { targets, by, cascade }, turn)
            .map_err(|refusal| error(&refusal))?;
        Ok(Reply::Changed(changes))
    }

    /// A change of one unfinished task; of an ended one the core says what it thinks.
    fn change(&mut self, now: Now, task: TaskId, input: Input, turn: &mut Turn) -> Answer {
        let change = self.change_of(task)?;
        if change.before.is_terminal() {
            return Err(error(&Refusal::AlreadyEnded { task, state: change.before }));
        }
        self.core.apply(now, entropy(), input, turn).map_err(|refusal| error(&refusal))?;
        Ok(Reply::Changed(vec![change]))
    }

    fn retry(
        &mut self,
        now: Now,
        task: TaskId,
        by: Actor,
        env: Option<String>,
        turn: &mut Turn,
    ) -> Answer {
        self.takes_work()?;
        self.check_disk(now, turn);
        let change = self.change_of(task)?;
        if !change.before.is_terminal() {
            return Err(error(&Refusal::NotEnded { task, state: change.before }));
        }
        // Tried again and ended in this very turn: what the store knows of it is of the attempt before.
        let ends = |e: &Event| e.task == task && matches!(e.fact, Fact::Ended { .. });
        if turn.events.iter().any(ends) {
            return Err(error(&Refusal::NotEnded { task, state: State::Queued }));
        }
        let row = match self.core.standing(task) {
            Some(_) => None,
            None => self.store.reopened(task).map_err(|e| store_error(&e))?.map(Box::new),
        };
        if let Some(hash) = env {
            self.starter.replace_env(&self.home, task, &hash).map_err(|e| {
                ApiError::new(ErrorCode::Store, format!("keep the environment: {e}"))
            })?;
        }
        self.core
            .apply(now, entropy(), Input::Retry { task, by, row }, turn)
            .map_err(|refusal| error(&refusal))?;
        Ok(Reply::Changed(vec![Change { acted: true, ..change }]))
    }

    fn change_of(&mut self, task: TaskId) -> Result<Change, ApiError> {
        let state = self.state_of(task)?.ok_or_else(|| error(&Refusal::UnknownTask(task)))?;
        Ok(Change { task, before: state, acted: !state.is_terminal() })
    }

    /// The state of a kept task, by the core while it is unfinished and by the store after.
    fn state_of(&mut self, task: TaskId) -> Result<Option<State>, ApiError> {
        if let Some(view) = self.core.standing(task) {
            return Ok(Some(view.state));
        }
        if self.just_forgotten.contains(&task) {
            return Ok(None);
        }
        let states = self.store.states(&[task]).map_err(|e| store_error(&e))?;
        Ok(states.into_iter().next().flatten())
    }

    fn prune(&mut self, now: Now, turn: &mut Turn) -> Answer {
        let before = turn.events.len();
        self.core.apply(now, entropy(), Input::Prune, turn).map_err(|refusal| error(&refusal))?;
        let changes = turn.events[before..]
            .iter()
            .filter(|e| matches!(e.fact, Fact::Ended { .. }))
            .map(|e| Change { task: e.task, before: State::Queued, acted: true })
            .collect();
        self.settle_unowned(now);
        Ok(Reply::Changed(changes))
    }

    /// Looks after active attempts that nothing here is about: there should be none.
    fn settle_unowned(&mut self, now: Now) {
        for task in self.core.unfinished_ids() {
            let Some((attempt, token)) = self.attempt_of(task) else { continue };
            let owned = self.fleet.holder(token).is_some()
                || self.remains.contains_key(&token)
                || self.is_postponed(token);
            if !owned {
                self.look_again(now, Job { task, attempt, token });
            }
        }
    }

    /// Deletes the ended ones among these.
    pub(super) fn forget(&mut self, now: Now, tasks: Vec<TaskId>, turn: &mut Turn) -> Answer {
        let states = self.store.states(&tasks).map_err(|e| store_error(&e))?;
        let ended: Vec<(TaskId, State)> = tasks
            .into_iter()
            .zip(states)
            .filter_map(|(id, state)| Some((id, state.filter(|s| s.is_terminal())?)))
            .filter(|(id, _)| self.core.standing(*id).is_none())
            // Once, however often it is asked for before the store has heard of it.
            .filter(|(id, _)| self.just_forgotten.insert(*id))
            .collect();
        let ids = ended.iter().map(|(id, _)| *id).collect();
        self.core.apply(now, entropy(), Input::Forget(ids), turn).map_err(|r| error(&r))?;
        let change = |(task, before)| Change { task, before, acted: true };
        Ok(Reply::Changed(ended.into_iter().map(change).collect()))
    }

    fn wait(
        &mut self,
        now: Now,
        id: WaitId,
        wait: WaitFor,
        to: tokio::sync::oneshot::Sender<Answer>,
        turn: &mut Turn,
    ) {
        let WaitFor { inside, targets, any, until, timeout } = wait;
        let just_ended = just_ended(turn);
        let prepared = targets
            .into_iter()
            .map(|task| {
                let ended = match (self.core.standing(task), just_ended.get(&task)) {
                    (Some(_), _) => None,
                    (None, Some(state)) => Some(*state),
                    (None, None) => Some(
                        self.state_of(task)?.ok_or_else(|| error(&Refusal::UnknownTask(task)))?,
                    ),
                };
                Ok(WaitTarget { task, ended })
            })
            .collect::<Result<Vec<_>, ApiError>>();
        let applied = prepared.and_then(|targets| {
            let client = timeout.map(|t| now.boot.after(t));
            let wait = Wait { id, inside, targets, any, until };
            self.core.apply(now, entropy(), Input::Wait(wait), turn).map_err(|r| error(&r))?;
            Ok(client)
        });
        match applied {
            Ok(until) => {
                self.waits.insert(id, BlockedClient { to, until });
            }
            Err(refused) => {
                let _gone = to.send(Err(refused));
            }
        }
    }

    fn stop(&mut self, now: Now, stopping: Stopping, by: &Actor, turn: &mut Turn) {
        let (cancel_all, hand_over) = (stopping.after_all_ended, stopping.hand_over);
        tracing::info!(cancel_all, hand_over, by = by.to_text(), "asked to stop");
        if cancel_all {
            let targets = self.core.unfinished_ids();
            let input = Input::Cancel { targets, by: by.clone(), cascade: true };
            self.apply(now, input, turn);
        }
        match &mut self.stopping {
            // Whoever does not want to wait for the tasks decides; all of them are answered.
            Some(earlier) => {
                earlier.after_all_ended &= stopping.after_all_ended;
                earlier.hand_over &= stopping.hand_over;
                earlier.replies.extend(stopping.replies);
            }
            None => self.stopping = Some(stopping),
        }
    }

    fn status(&self) -> crate::letters::LoopStatus {
        let (busy, idle) = self.fleet.counts();
        crate::letters::LoopStatus {
            supervisors_busy: busy,
            supervisors_idle: idle,
            unfinished: u32::try_from(self.core.unfinished()).unwrap_or(u32::MAX),
            ..self.status.clone()
        }
    }
}

/// The tasks that ended in this turn: the core has let go of them, and the store does not know yet.
fn just_ended(turn: &Turn) -> HashMap<TaskId, State> {
    turn.events
        .iter()
        .filter_map(|event| match &event.fact {
            Fact::Ended { end, .. } => Some((event.task, end.state)),
            _ => None,
        })
        .collect()
}
