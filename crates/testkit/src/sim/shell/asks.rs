//! Letters: each becomes an input of the core. Follows `engine/asks.rs`.
//!
//! Owns what makes a resent request happen once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meanwhile_core::input::{NewTask, Wait, WaitTarget};
use meanwhile_core::{Fact, Input, Now, Refusal, RequestId, State, TaskId, Turn, WaitId};

use super::letters::{Ask, Letter, Prepared, WaitFor};
use super::{PendingReply, Shell};
use crate::sim::clients::Reply;
use crate::sim::env::Env;

type Answer = Result<Reply, String>;

impl Shell {
    pub(super) fn take(
        &mut self,
        env: &mut Env,
        now: Now,
        letter: Letter,
        turn: &mut Turn,
        replies: &mut Vec<PendingReply>,
    ) {
        let Letter { ask, request, from: to } = letter;
        if let Some(request) = &request
            && let Some(reply) = self.replied_before(request, replies)
        {
            return replies.push(PendingReply { to, reply, request: None });
        }
        let reply = match ask {
            Ask::Wait { id, wait } => return self.wait(env, now, id, wait, turn),
            Ask::Submit(tasks) => self.submit(env, now, tasks, turn),
            Ask::Cancel { targets, cascade, by } => {
                self.cancel(env, now, targets, (cascade, by), turn)
            }
            Ask::Retry { task, by } => self.retry(env, now, task, by, turn),
            Ask::Complete { task, failed, by } => {
                let message = String::new();
                let input = Input::Complete { task, by, failed, message };
                self.change(env, now, task, input, turn)
            }
            Ask::Extend { task, more_ms, by } => {
                let more = Duration::from_millis(more_ms);
                self.change(env, now, task, Input::Extend { task, by, more }, turn)
            }
            Ask::Prune => self.prune(env, now, turn),
            Ask::Forget(tasks) => self.forget(env, now, tasks, turn),
            other => return self.look(env, now, other, turn),
        };
        replies.push(PendingReply { to, reply, request });
    }

    /// Asks that refuse nothing and that nobody waits for.
    fn look(&mut self, env: &mut Env, now: Now, ask: Ask, turn: &mut Turn) {
        match ask {
            Ask::Hangup(id) => {
                self.waits.remove(&id);
                self.apply(env, now, Input::WaitGone(id), turn);
                crate::sim::world::hung_up(env, id);
            }
            Ask::Configure(config) => self.apply(env, now, Input::Configure(config), turn),
            Ask::Ready(job) => {
                let (task, token) = (job.key.task, job.token);
                self.apply(env, now, Input::Ready { task, token, how: "port".into() }, turn);
            }
            Ask::RemainsGone { job, emptied } => self.remains_gone(env, now, job, emptied, turn),
            Ask::Stop { hand_over } => self.stopping = Some(hand_over),
            Ask::Submit(_)
            | Ask::Cancel { .. }
            | Ask::Retry { .. }
            | Ask::Complete { .. }
            | Ask::Extend { .. }
            | Ask::Prune
            | Ask::Forget(_)
            | Ask::Wait { .. } => unreachable!("taken before"),
        }
    }

    fn replied_before(&mut self, request: &RequestId, replies: &[PendingReply]) -> Option<Answer> {
        if let Some(same) = replies.iter().find(|r| r.request.as_ref() == Some(request)) {
            return Some(same.reply.clone());
        }
        let saved = self.store.reply(request).expect("memory can be read")?;
        Some(Reply::from_saved(&saved).ok_or_else(|| "unreadable".into()))
    }

    fn submit(&mut self, env: &mut Env, now: Now, tasks: Vec<Prepared>, turn: &mut Turn) -> Answer {
        if self.stopping.is_some() {
            return Err("stopping".into());
        }
        self.check_disk(env, now, turn);
        let (known, left) = self.known_keys(tasks, turn);
        let mut fresh: Vec<NewTask> = left
            .into_iter()
            .map(|Prepared { id, spec, placement }| NewTask {
                id,
                spec,
                placement,
                ended_dependencies: Vec::new(),
            })
            .collect();
        let mut new = fresh.iter().map(|t| t.id);
        let ids = known.into_iter().map(|old| old.or_else(|| new.next())).collect::<Option<_>>();
        let ids = ids.expect("one entry for every task that is not known");
        self.fill_ended_dependencies(&mut fresh, turn);
        if !fresh.is_empty() {
            let entropy = env.entropy();
            self.core
                .apply(now, entropy, Input::Submit(fresh), turn)
                .map_err(|refusal| format!("{refusal:?}"))?;
        }
        Ok(Reply::Submitted(ids))
    }

    fn known_keys(
        &mut self,
        tasks: Vec<Prepared>,
        turn: &Turn,
    ) -> (Vec<Option<TaskId>>, Vec<Prepared>) {
        let mut in_turn: BTreeMap<String, TaskId> = turn
            .events
            .iter()
            .filter_map(|event| match &event.fact {
                Fact::Submitted { spec, .. } => Some((spec.idempotency_key.clone()?, event.task)),
                _ => None,
            })
            .collect();
        let mut known = Vec::new();
        let mut renamed: BTreeMap<TaskId, TaskId> = BTreeMap::new();
        let mut left: Vec<Prepared> = Vec::new();
        for task in tasks {
            let old = match &task.spec.idempotency_key {
                None => None,
                Some(key) => in_turn.get(key).copied().or_else(|| {
                    let old = self.store.by_idempotency_key(key).expect("memory can be read");
                    old.filter(|old| !self.just_forgotten.contains(old))
                }),
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
        for dependency in left.iter_mut().flat_map(|t| &mut t.spec.after) {
            dependency.task = *renamed.get(&dependency.task).unwrap_or(&dependency.task);
        }
        (known, left)
    }

    fn fill_ended_dependencies(&mut self, tasks: &mut [NewTask], turn: &Turn) {
        let batch: BTreeSet<TaskId> = tasks.iter().map(|t| t.id).collect();
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
            let stored = self.store.states(&gone).expect("memory can be read");
            task.ended_dependencies = gone
                .into_iter()
                .zip(stored)
                .filter_map(|(id, stored)| Some((id, *just_ended.get(&id).or(stored.as_ref())?)))
                .collect();
        }
    }

    fn cancel(
        &mut self,
        env: &mut Env,
        now: Now,
        targets: Vec<TaskId>,
        (cascade, by): (bool, meanwhile_core::Actor),
        turn: &mut Turn,
    ) -> Answer {
        let mut all = targets.clone();
        if cascade {
            let below: BTreeSet<TaskId> =
                targets.iter().flat_map(|id| self.core.unfinished_below(*id)).collect();
            all.extend(below.into_iter().filter(|id| !targets.contains(id)));
        }
        let changes = all.iter().map(|id| self.change_of(*id)).collect::<Result<_, _>>()?;
        let entropy = env.entropy();
        self.core
            .apply(now, entropy, Input::Cancel { targets, by, cascade }, turn)
            .map_err(|refusal| format!("{refusal:?}"))?;
        Ok(Reply::Changed(changes))
    }

    fn change(
        &mut self,
        env: &mut Env,
        now: Now,
        task: TaskId,
        input: Input,
        turn: &mut Turn,
    ) -> Answer {
        let change = self.change_of(task)?;
        if change.1.is_terminal() {
            return Err("already ended".into());
        }
        let entropy = env.entropy();
        self.core.apply(now, entropy, input, turn).map_err(|refusal| format!("{refusal:?}"))?;
        Ok(Reply::Changed(vec![change]))
    }

    fn retry(
        &mut self,
        env: &mut Env,
        now: Now,
        task: TaskId,
        by: meanwhile_core::Actor,
        turn: &mut Turn,
    ) -> Answer {
        if self.stopping.is_some() {
            return Err("stopping".into());
        }
        self.check_disk(env, now, turn);
        let (id, before, _) = self.change_of(task)?;
        if !before.is_terminal() {
            return Err("not ended".into());
        }
        let ends =
            |e: &meanwhile_core::Event| e.task == task && matches!(e.fact, Fact::Ended { .. });
        if turn.events.iter().any(ends) {
            return Err("not ended".into());
        }
        let row = match self.core.standing(task) {
            Some(_) => None,
            None => self.store.reopened(task).expect("memory can be read").map(Box::new),
        };
        let entropy = env.entropy();
        self.core
            .apply(now, entropy, Input::Retry { task, by, row }, turn)
            .map_err(|refusal| format!("{refusal:?}"))?;
        Ok(Reply::Changed(vec![(id, before, true)]))
    }

    fn change_of(&mut self, task: TaskId) -> Result<(TaskId, State, bool), String> {
        let unknown = || format!("{:?}", Refusal::UnknownTask(task));
        let state = self.state_of(task).ok_or_else(unknown)?;
        Ok((task, state, !state.is_terminal()))
    }

    fn state_of(&mut self, task: TaskId) -> Option<State> {
        if let Some(standing) = self.core.standing(task) {
            return Some(standing.state);
        }
        if self.just_forgotten.contains(&task) {
            return None;
        }
        let states = self.store.states(&[task]).expect("memory can be read");
        states.into_iter().next().flatten()
    }

    fn prune(&mut self, env: &mut Env, now: Now, turn: &mut Turn) -> Answer {
        let before = turn.events.len();
        self.apply(env, now, Input::Prune, turn);
        let changes = turn.events[before..]
            .iter()
            .filter(|e| matches!(e.fact, Fact::Ended { .. }))
            .map(|e| (e.task, State::Queued, true))
            .collect();
        for task in self.core.unfinished_ids() {
            let Some((attempt, token)) = self.attempt_of(task) else { continue };
            let owned = self.fleet.holder(token).is_some()
                || self.remains.contains_key(&token.0)
                || self.is_postponed(token);
            if !owned {
                let job = crate::sim::wire::Job { key: super::key(task, attempt), token };
                self.look_again(now, job);
            }
        }
        Ok(Reply::Changed(changes))
    }

    fn forget(&mut self, env: &mut Env, now: Now, tasks: Vec<TaskId>, turn: &mut Turn) -> Answer {
        let states = self.store.states(&tasks).expect("memory can be read");
        let ended: Vec<(TaskId, State, bool)> = tasks
            .into_iter()
            .zip(states)
            .filter_map(|(id, state)| Some((id, state.filter(|s| s.is_terminal())?, true)))
            .filter(|(id, ..)| self.core.standing(*id).is_none())
            .filter(|(id, ..)| self.just_forgotten.insert(*id))
            .collect();
        let ids = ended.iter().map(|(id, ..)| *id).collect();
        self.apply(env, now, Input::Forget(ids), turn);
        Ok(Reply::Changed(ended))
    }

    fn wait(&mut self, env: &mut Env, now: Now, id: WaitId, wait: WaitFor, turn: &mut Turn) {
        let WaitFor { inside, targets, any, until, timeout_ms } = wait;
        let just_ended = just_ended(turn);
        let prepared = targets
            .into_iter()
            .map(|task| {
                let standing = self.core.standing(task);
                let ended = match (standing, just_ended.get(&task)) {
                    (Some(_), _) => None,
                    (None, Some(state)) => Some(*state),
                    (None, None) => Some(self.state_of(task).ok_or("unknown task")?),
                };
                Ok(WaitTarget { task, ended })
            })
            .collect::<Result<Vec<_>, String>>();
        let entropy = env.entropy();
        let applied = prepared.and_then(|targets| {
            let wait = Wait { id, inside, targets, any, until };
            let input = Input::Wait(wait);
            self.core.apply(now, entropy, input, turn).map_err(|r| format!("{r:?}"))
        });
        match applied {
            Ok(()) => {
                let until = timeout_ms.map(|ms| now.boot.after(Duration::from_millis(ms)));
                self.waits.insert(id, until);
            }
            Err(refused) => crate::sim::world::wait_answered(env, id, Err(refused)),
        }
    }
}

fn just_ended(turn: &Turn) -> BTreeMap<TaskId, State> {
    turn.events
        .iter()
        .filter_map(|event| match &event.fact {
            Fact::Ended { end, .. } => Some((event.task, end.state)),
            _ => None,
        })
        .collect()
}
