//! The daemon's loop over the real core and a real store, on the simulated machine.
//!
//! ```text
//!   turn: follow-ups, supervisors, letters, timers ─► core.apply .. core.settle ─► ONE commit
//!         ─► perform each effect ─► flush ─► replies          a kill may come between any two
//! ```
//!
//! Follows `crates/daemon/src/engine` file by file and name by name: the real loop stands on sockets, an
//! epoll set, locks of files and threads, which no simulation can own. Whoever changes one of the two
//! changes the other; what the simulation finds in this copy is repaired there.
//! Left out: output, readiness checks as such, environments, retention by bytes.

mod asks;
mod commit;
mod fleet;
mod hear;
pub(in crate::sim) mod letters;
mod perform;
mod postpone;
mod recover;
mod remains;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use meanwhile_core::{
    AttemptToken, Boot, Core, Effect, Event, Input, Now, RequestId, TaskId, Turn, WaitId,
};
use meanwhile_store::{Store, StoreError};

use super::Sabotage;
use super::check;
use super::clients::Reply;
use super::disk::identity;
use super::env::{Env, Gone};
use super::wire::{Job, Key};
use fleet::Fleet;

/// A reply that goes out after the commit.
#[derive(Debug)]
struct PendingReply {
    to: Option<usize>,
    reply: Result<Reply, String>,
    request: Option<RequestId>,
}

/// The loop's state: all of it is gone with the process.
pub(super) struct Shell {
    incarnation: u32,
    store: Box<dyn Store>,
    pub(super) core: Core,
    fleet: Fleet,
    /// Blocked clients, with when the wait's own time is up.
    waits: BTreeMap<WaitId, Option<Boot>>,
    pub(super) deferred: Vec<Event>,
    flush_at: Option<Boot>,
    follow_ups: VecDeque<Input>,
    remains: BTreeMap<[u8; 16], remains::Remains>,
    remains_at_once: usize,
    remains_waiting: VecDeque<Job>,
    alive: BTreeSet<[u8; 16]>,
    unreached: Vec<recover::Unreached>,
    postponed: Vec<postpone::Postponed>,
    earlier_boot: BTreeSet<[u8; 16]>,
    pub(super) held: Option<String>,
    disk_check_at: Option<Boot>,
    /// Starts handed to a supervisor that had been idle, with their timeout.
    reused: BTreeMap<[u8; 16], Option<Duration>>,
    /// Starts handed to a supervisor made for them.
    fresh: BTreeSet<[u8; 16]>,
    /// Attempts whose supervisor stays with what they left.
    staying: BTreeSet<[u8; 16]>,
    stopping: Option<bool>,
    just_forgotten: BTreeSet<TaskId>,
}

impl Shell {
    /// Loads what is unfinished and finds out what became of it.
    pub(super) fn start(env: &mut Env) -> Result<Self, Gone> {
        env.incarnation += 1;
        env.figures.daemon_starts += 1;
        let mut store = env.disk.open(env.clock.boot);
        let now = env.now();
        let same_boot = store.meta().identity.boot == identity(env.clock.boot).boot;
        let tasks = store.load_unfinished().map_err(|error| lost(env, &error))?;
        let active = recover::active_attempts(&tasks);
        env.tell(|_| format!("daemon starts: {} unfinished, {} active", tasks.len(), active.len()));
        let core = Core::load(env.config.clone(), tasks, same_boot, now);
        if let Err(what) = core.check() {
            env.broken("the invariants of the core", format!("after loading: {what}"));
        }
        let mut shell = Self {
            incarnation: env.incarnation,
            store,
            core,
            fleet: Fleet::default(),
            waits: BTreeMap::new(),
            deferred: Vec::new(),
            flush_at: None,
            follow_ups: VecDeque::from([Input::Tick]),
            remains: BTreeMap::new(),
            remains_at_once: 0,
            remains_waiting: VecDeque::new(),
            alive: BTreeSet::new(),
            unreached: Vec::new(),
            postponed: Vec::new(),
            earlier_boot: BTreeSet::new(),
            held: None,
            disk_check_at: None,
            reused: BTreeMap::new(),
            fresh: BTreeSet::new(),
            staying: BTreeSet::new(),
            stopping: None,
            just_forgotten: BTreeSet::new(),
        };
        env.point(false)?;
        let mut turn = Turn::default();
        let active =
            if same_boot { active } else { shell.judge_earlier_boot(env, now, active, &mut turn) };
        shell.remember_place(env, now, &turn.events)?;
        env.point(false)?;
        for effect in turn.effects {
            shell.perform(env, effect)?;
        }
        shell.recover(env, active);
        Ok(shell)
    }

    /// One turn: select, apply, commit, perform, acknowledge.
    pub(super) fn turn(&mut self, env: &mut Env) -> Result<(), Gone> {
        env.figures.turns += 1;
        let now = env.now();
        let mut turn = Turn::default();
        let mut replies = Vec::new();
        for input in std::mem::take(&mut self.follow_ups) {
            self.apply(env, now, input, &mut turn);
        }
        for conn in std::mem::take(&mut env.readable) {
            self.hear(env, now, conn, &mut turn);
        }
        for letter in std::mem::take(&mut env.letters) {
            self.take(env, now, letter, &mut turn, &mut replies);
        }
        self.timers(env, now, &mut turn);
        let entropy = env.entropy();
        self.core.settle(now, entropy, &mut turn);
        if let Err(what) = self.core.check_settled() {
            env.broken("the invariants of the core", what);
        }
        let Turn { events, effects } = turn;
        for event in &events {
            env.record(event);
        }
        let started = effects.iter().any(|e| matches!(e, Effect::Start { .. }));
        env.point(false)?;
        if env.sabotage == Some(Sabotage::AnswersFirst) {
            for pending in &mut replies {
                if let Some(to) = pending.to.take() {
                    super::world::answered(env, to, pending.reply.clone());
                }
            }
        }
        self.commit(env, now, events, &replies)?;
        self.just_forgotten.clear();
        if started || env.figures.turns.is_multiple_of(4) {
            check::after_turn(env, self, now, &effects);
        }
        for effect in effects {
            env.point(true)?;
            env.record(&effect);
            self.perform(env, effect)?;
        }
        env.point(true)?;
        self.fleet.flush(env);
        for PendingReply { to, reply, request: _ } in replies {
            env.point(true)?;
            if let Some(to) = to {
                super::world::answered(env, to, reply);
            }
        }
        if self.stopping.is_some() {
            return Err(self.end(env));
        }
        self.plan(env);
        Ok(())
    }

    /// The next turn, if anything is due by the clock.
    pub(super) fn plan(&self, env: &mut Env) {
        if !self.follow_ups.is_empty() || !env.readable.is_empty() || !env.letters.is_empty() {
            env.wake();
        }
        if let Some(due) = self.next_due() {
            let at = env.clock.mono_of(due).max(env.mono() + 1);
            if env.timer_at.is_none_or(|armed| armed > at) {
                env.timer_at = Some(at);
                env.machine.at(at, super::machine::Happening::Turn);
            }
        }
    }

    fn apply(&mut self, env: &mut Env, now: Now, input: Input, turn: &mut Turn) {
        let entropy = env.entropy();
        // News that came too late.
        let _refused = self.core.apply(now, entropy, input, turn);
    }

    fn timers(&mut self, env: &mut Env, now: Now, turn: &mut Turn) {
        if self.core.next_due().is_some_and(|due| due <= now.boot) {
            self.apply(env, now, Input::Tick, turn);
        }
        let expired: Vec<WaitId> = self
            .waits
            .iter_mut()
            .filter(|(_, until)| until.is_some_and(|until| until <= now.boot))
            .map(|(id, until)| {
                *until = None;
                *id
            })
            .collect();
        for id in expired {
            self.apply(env, now, Input::WaitTimedOut(id), turn);
        }
        self.reach_again(env, now, turn);
        self.start_postponed(env, now, turn);
        self.watch_disk(env, now, turn);
    }

    fn next_due(&self) -> Option<Boot> {
        let waits = self.waits.values().filter_map(|until| *until).min();
        let unreached = self.unreached.iter().map(|u| u.again_at).min();
        let postponed = self.postponed.iter().map(|p| p.again_at).min();
        [self.core.next_due(), waits, self.flush_at, unreached, postponed, self.disk_check_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends as asked: supervisors are told unless they are to miss it.
    fn end(&mut self, env: &mut Env) -> Gone {
        let now = env.now();
        if let Err(gone) = self.commit(env, now, Vec::new(), &[]) {
            return gone;
        }
        if self.stopping == Some(false) {
            self.fleet.tell_all(&super::wire::Down::Stopping);
        }
        self.fleet.flush(env);
        Gone::Stopped
    }

    /// The process is gone: its descriptors are closed, what it had not written is lost.
    pub(super) fn die(self, env: &mut Env) {
        self.fleet.close(env);
    }

    fn attempt_of(&self, task: TaskId) -> Option<(u32, AttemptToken)> {
        let standing = self.core.standing(task)?;
        Some((standing.attempt, standing.token?))
    }

    /// What would be loaded now is what lives here.
    pub(super) fn check_load(&mut self, env: &mut Env) {
        let now = env.now();
        let due = self.core.next_due().is_some_and(|at| at <= now.boot);
        if due || !self.deferred.is_empty() {
            return;
        }
        env.figures.load_checks += 1;
        let Ok(tasks) = self.store.load_unfinished() else { return };
        let mut loaded = Core::load(self.core.config().clone(), tasks, true, now);
        // Nothing starts, but moments pass.
        let mut turn = Turn::default();
        let hold = Input::HoldStarts { reason: Some("compared".into()) };
        loaded.apply(now, 0, hold, &mut turn).expect("holding is never refused");
        loaded.settle(now, 0, &mut turn);
        if let Err(what) = self.core.same_schedule(&loaded) {
            env.broken("what is loaded is what lives", what);
        }
    }
}

fn key(task: TaskId, attempt: u32) -> Key {
    Key { task, attempt }
}

/// The store failed: whether the batch was kept is not known to the daemon, but to the world.
fn lost(env: &mut Env, error: &StoreError) -> Gone {
    if matches!(error, StoreError::Contradiction { .. } | StoreError::Damaged { .. }) {
        env.broken("the store takes what the core decides", error.to_string());
    }
    env.tell(|_| format!("the store fails: {error}"));
    Gone::Store
}
