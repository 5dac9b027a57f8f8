//! The loop: one owner, one thread of decisions.
//!
//! ```text
//!  loop { inputs = select(); for each { core.apply } ; core.settle ; commit (ONE transaction) ;
//!         perform effects ; send replies }
//! ```
//!
//! Owns the core, the store's writer and the supervisors. What it tells a client or a supervisor is on
//! disk first. It is crash-only: when a commit cannot be made, it ends, and the next start recovers.

mod asks;
mod commit;
mod fleet;
mod guard;
mod hear;
mod inbox;
mod perform;
mod postpone;
mod recover;
pub mod refusals;
mod remains;
mod select;
mod sessions;
mod start;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, mpsc};

use meanwhile_api::ApiError;
use meanwhile_core::{
    AttemptToken, Boot, Core, Effect, Event, Input, Now, RequestId, TaskId, Turn, WaitId,
};
use meanwhile_host::home::Home;
use meanwhile_host::{clock, evidence};
use meanwhile_store::{Store, StoreError};
use tokio::sync::{oneshot, watch};

use crate::letters::{Bell, Letter, LoopStatus, Postbox, ReadinessWatch, Reply};

use crate::settings::Settings;
use fleet::{Fleet, Job};
pub use inbox::Heard;
use select::Selector;
pub use start::{Starter, StarterInputs};

/// Why the loop ended.
#[derive(Debug)]
pub enum Ending {
    /// It was asked to.
    Stopped,
    /// It was asked to, by somebody who is about to start a newer one: it is to be missed all the same.
    HandedOver,
    /// The store cannot be written: nothing more may be promised.
    Store(StoreError),
    /// The system refused something that the loop cannot go on without.
    System(&'static str, std::io::Error),
}

/// What the loop is made of.
pub struct Parts {
    /// Where everything is.
    pub home: Arc<Home>,
    /// The writer's handle.
    pub store: Box<dyn Store>,
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// Letters from the HTTP thread.
    pub letters: mpsc::Receiver<Letter>,
    /// For the loop's own helper threads.
    pub postbox: Postbox,
    /// Rung when there is a letter.
    pub bell: Arc<Bell>,
    /// Says how far the event log is committed.
    pub committed: watch::Sender<u64>,
    /// Has what the store knew of sessions, and is told what is known since.
    pub sessions: crate::sessions::Publisher,
    /// Starts readiness checks on the HTTP runtime.
    pub readiness: Box<dyn ReadinessWatch>,
    /// Makes supervisors and their start specs.
    pub starter: Starter,
    /// Held for reading while a captured environment may be on its way into a submission.
    pub env_gate: Arc<tokio::sync::RwLock<()>>,
}

/// A reply that goes out after the commit.
struct PendingReply {
    to: oneshot::Sender<Result<Reply, ApiError>>,
    reply: Result<Reply, ApiError>,
    /// Kept with the commit, so that a resent request gets the same answer.
    request: Option<RequestId>,
}

/// A client that blocks.
struct BlockedClient {
    to: oneshot::Sender<Result<Reply, ApiError>>,
    /// When the wait's own time is up.
    until: Option<Boot>,
}

/// The loop's state.
pub struct Engine {
    home: Arc<Home>,
    store: Box<dyn Store>,
    settings: Arc<Settings>,
    core: Core,
    fleet: Fleet,
    starter: Starter,
    selector: Selector,
    letters: mpsc::Receiver<Letter>,
    postbox: Postbox,
    committed: watch::Sender<u64>,
    readiness: Box<dyn ReadinessWatch>,
    waits: HashMap<WaitId, BlockedClient>,
    /// Facts that may ride along with the next commit.
    deferred: Vec<Event>,
    /// When deferred facts are committed for their own sake.
    flush_at: Option<Boot>,
    /// Inputs that follow from what was performed, applied in the next turn.
    follow_ups: VecDeque<Input>,
    /// Attempts whose supervisor is gone and whose remains are being looked after, with what is to be
    /// reported then.
    remains: HashMap<AttemptToken, remains::Remains>,
    /// How many of those are looked after right now, and those that wait for it.
    remains_at_once: usize,
    remains_waiting: VecDeque<(Job, evidence::Remains)>,
    /// Attempts whose supervisor is connected and has said that it has them.
    alive: HashSet<AttemptToken>,
    /// Supervisors that are gone and not reaped yet.
    zombies: Vec<std::os::fd::OwnedFd>,
    /// Attempts whose lock is held by somebody that could not be reached yet.
    unreached: Vec<recover::Unreached>,
    /// Attempts for whose start there was no room yet.
    postponed: Vec<postpone::Postponed>,
    /// When this daemon began.
    started_at: Boot,
    /// Who brings a daemon back while nothing runs.
    guard: guard::Guard,
    /// Attempts that were active when the machine went down: what their files do not say is lost.
    earlier_boot: HashSet<AttemptToken>,
    /// Ask::Stop came: end after this turn, or with `cancel_all` once nothing is active.
    stopping: Option<Stopping>,
    status: LoopStatus,
    /// Starts are held because the disk is full, since when the space is looked at again.
    disk_check_at: Option<Boot>,
    env_gate: Arc<tokio::sync::RwLock<()>>,
    /// When captured environments are deleted if nothing is unfinished by then.
    env_sweep_at: Option<Boot>,
    retention_at: Boot,
    /// When the log of writes is looked at next, if there is a commit.
    log_look_at: Boot,
    /// Tasks forgotten in this turn: the store has them until its commit.
    just_forgotten: HashSet<TaskId>,
    inbox: inbox::Inbox,
    known: sessions::Known,
    /// Tasks that ended since free memory was given back last.
    ended: usize,
}

/// Ends of tasks that leave enough behind in the heap to look for it.
const MANY_ENDS: usize = 1_000;

struct Stopping {
    after_all_ended: bool,
    /// A newer daemon is about to take over.
    hand_over: bool,
    replies: Vec<PendingReply>,
}

impl Engine {
    /// Loads what is unfinished and finds out what became of it.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn new(parts: Parts) -> Result<Self, Ending> {
        let Parts {
            home,
            mut store,
            settings,
            letters,
            postbox,
            bell,
            committed,
            sessions,
            readiness,
            starter,
            env_gate,
        } = parts;
        let selector = Selector::new(bell).map_err(|e| Ending::System("make an epoll set", e))?;
        let epoll = selector.share().map_err(|e| Ending::System("share the epoll set", e))?;
        let now = clock::now();
        let same_boot = store.meta().identity.boot == starter.identity().boot;
        let tasks = store.load_unfinished().map_err(Ending::Store)?;
        let active = recover::active_attempts(&tasks);
        // The server listens already: whoever holds the gate is about to submit a task with an environment
        // that no stored task needs yet. What is not deleted now is once nothing is unfinished.
        let swept = env_gate.try_write().map(|_gate| starter.sweep_envs(&tasks));
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "captured environments that nobody needs could not be deleted");
        }
        let core = Core::load(settings.core(), tasks, same_boot, now);
        committed.send_replace(store.last_seq().map_err(Ending::Store)?);
        let mut engine = Self {
            home,
            store,
            settings,
            core,
            fleet: Fleet::new(epoll, select::FIRST_MEMBER),
            starter,
            selector,
            letters,
            postbox,
            committed,
            readiness,
            waits: HashMap::new(),
            deferred: Vec::new(),
            flush_at: None,
            // What is queued is looked at though nothing happens and nothing is due.
            follow_ups: VecDeque::from([Input::Tick]),
            remains: HashMap::new(),
            remains_at_once: 0,
            remains_waiting: VecDeque::new(),
            alive: HashSet::new(),
            zombies: Vec::new(),
            unreached: Vec::new(),
            postponed: Vec::new(),
            started_at: now.boot,
            guard: guard::Guard::default(),
            earlier_boot: HashSet::new(),
            stopping: None,
            status: LoopStatus::default(),
            disk_check_at: None,
            env_gate,
            env_sweep_at: None,
            retention_at: now.boot,
            log_look_at: now.boot,
            just_forgotten: HashSet::new(),
            inbox: inbox::Inbox::default(),
            known: sessions::Known::new(sessions),
            ended: 0,
        };
        meanwhile_faultpoint::fault_point!("engine.loaded");
        let mut turn = Turn::default();
        let active =
            if same_boot { active } else { engine.judge_earlier_boot(now, active, &mut turn) };
        engine.remember_place(now, &turn.events)?;
        meanwhile_faultpoint::fault_point!("engine.placed");
        for effect in turn.effects {
            engine.perform(effect);
        }
        engine.finish_forgetting()?;
        crate::retention::delete_spares(&engine.home);
        engine.recover(active);
        Ok(engine)
    }

    /// Runs until it is asked to stop.
    ///
    /// # Errors
    /// See [`Ending`]; supervisors and tasks go on in any case.
    pub fn run(mut self) -> Ending {
        loop {
            match self.turn() {
                Ok(()) if self.may_end() => return self.end(),
                Ok(()) => {}
                Err(ending) => return ending,
            }
        }
    }

    /// One turn: select, apply, commit, perform, acknowledge.
    fn turn(&mut self) -> Result<(), Ending> {
        self.keep_guard();
        let wait_until = if self.follow_ups.is_empty() { self.next_due() } else { Some(Boot(0)) };
        let ready =
            self.selector.wait(wait_until).map_err(|e| Ending::System("wait for events", e))?;
        let now = clock::now();
        let mut turn = Turn::default();
        let mut replies = Vec::new();
        for input in std::mem::take(&mut self.follow_ups) {
            self.apply(now, input, &mut turn);
        }
        if ready.children {
            self.reap();
        }
        for key in ready.members {
            self.hear(now, key, &mut turn);
        }
        if ready.letters {
            while let Ok(letter) = self.letters.try_recv() {
                self.take(now, letter, &mut turn, &mut replies)?;
            }
        }
        self.timers(now, &mut turn)?;
        self.core.settle(now, entropy(), &mut turn);
        let Turn { events, effects } = turn;
        let concerned = self.inbox.concerned(&events);
        self.commit(now, events, &replies)?;
        self.just_forgotten.clear();
        let ended = effects.iter().filter(|e| matches!(e, Effect::Dropped { .. })).count();
        for effect in effects {
            self.perform(effect);
        }
        if ended > 0 {
            self.plan_env_sweep(now);
        }
        meanwhile_faultpoint::fault_point!("turn.performed");
        self.fleet.flush();
        meanwhile_faultpoint::fault_point!("turn.flushed");
        for PendingReply { to, reply, request: _ } in replies {
            // A client that is gone asks again, under the same request id.
            let _gone = to.send(reply);
        }
        meanwhile_faultpoint::fault_point!("turn.answered");
        self.tell(now, &concerned)?;
        self.status.turns += 1;
        self.give_memory_back(ended);
        Ok(())
    }

    /// After many ends, best when nobody waits for anything.
    fn give_memory_back(&mut self, ended: usize) {
        self.ended += ended;
        if self.ended >= 10 * MANY_ENDS || (self.ended >= MANY_ENDS && self.core.all_ended()) {
            self.ended = 0;
            self.store.release_memory();
            meanwhile_host::allocator::give_back_now();
        }
    }

    /// Applies an input nobody waits for an answer to. Refusals of those are bugs of the caller or news
    /// that came too late; they are logged.
    fn apply(&mut self, now: Now, input: Input, turn: &mut Turn) {
        if let Err(refusal) = self.core.apply(now, entropy(), input, turn) {
            tracing::warn!(?refusal, "an input of our own was refused");
        }
    }

    /// Whatever is due by the clock.
    fn timers(&mut self, now: Now, turn: &mut Turn) -> Result<(), Ending> {
        if self.core.next_due().is_some_and(|due| due <= now.boot) {
            self.apply(now, Input::Tick, turn);
        }
        let expired: Vec<WaitId> = self
            .waits
            .iter_mut()
            .filter(|(_, client)| client.until.is_some_and(|until| until <= now.boot))
            .map(|(id, client)| {
                client.until = None;
                *id
            })
            .collect();
        for id in expired {
            self.apply(now, Input::WaitTimedOut(id), turn);
        }
        self.reach_again(now, turn);
        self.start_postponed(now, turn);
        self.watch_disk(now, turn);
        self.sweep_envs(now);
        self.retain(now, turn)
    }

    /// The next moment by which something must be done though nothing happens. None while idle.
    fn next_due(&self) -> Option<Boot> {
        let waits = self.waits.values().filter_map(|client| client.until).min();
        let unreached = self.unreached.iter().map(|u| u.again_at).min();
        [
            self.core.next_due(),
            waits,
            self.flush_at,
            unreached,
            self.postponed_due(),
            self.guard.again_at,
            self.disk_check_at,
            self.env_sweep_at,
            self.retention_due(),
            self.inbox.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn may_end(&self) -> bool {
        match &self.stopping {
            None => false,
            Some(Stopping { after_all_ended: false, .. }) => true,
            Some(Stopping { after_all_ended: true, .. }) => self.core.all_ended(),
        }
    }

    /// Tells the supervisors that this end is meant, unless they are to miss us, and whoever asked that it is done.
    fn end(mut self) -> Ending {
        use meanwhile_supervisor::wire::ToSupervisor;
        if let Err(ending) = self.commit(clock::now(), Vec::new(), &[]) {
            return ending;
        }
        let hand_over = self.stopping.as_ref().is_some_and(|stopping| stopping.hand_over);
        if !hand_over {
            self.fleet.tell_all(&ToSupervisor::DaemonStopping);
        }
        self.fleet.flush();
        meanwhile_faultpoint::fault_point!("stop.told");
        for PendingReply { to, reply, .. } in
            self.stopping.take().into_iter().flat_map(|s| s.replies)
        {
            let _gone = to.send(reply);
        }
        if hand_over { Ending::HandedOver } else { Ending::Stopped }
    }

    /// The attempt an unfinished task is at, by the core.
    fn attempt_of(&self, task: TaskId) -> Option<(u32, AttemptToken)> {
        let view = self.core.standing(task)?;
        Some((view.attempt, view.token?))
    }
}

/// Fresh bits for one input.
fn entropy() -> u64 {
    getrandom::u64().expect("the kernel's random source works once the system is up")
}
