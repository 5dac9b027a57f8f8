//! What must hold whenever the daemon's loop comes to rest, judged by the books, the machine and the clients.
//!
//! Owns the promises about many tasks at once; those about single facts are in `books.rs`. The core is asked
//! for one thing alone: who runs on whose seat, and that is compared with who really blocks.

use std::collections::{BTreeMap, BTreeSet};

use meanwhile_core::input::Until;
use meanwhile_core::{Core, Effect, LaneName, NoticeId, NoticeKind, Now, State, TaskId, WaitId};
use meanwhile_store::{EventFilter, Logged};

use super::books::Entry;
use super::env::Env;
use super::shell::Shell;
use super::wire::Key;

/// Everything that is compared after a turn.
pub(super) fn after_turn(env: &mut Env, shell: &mut Shell, now: Now, effects: &[Effect]) {
    let views = shell.core.lanes();
    let lent: Vec<(TaskId, TaskId)> = views.iter().flat_map(|v| v.lent.clone()).collect();
    lending(env, &lent);
    limits(env, shell, &lent, effects);
    standstill(env, shell, now, &lent, effects);
    if env.figures.turns.is_multiple_of(3) {
        shell.check_load(env);
    }
}

/// A seat is lent by somebody who blocks, to one other, in the same lane.
fn lending(env: &mut Env, lent: &[(TaskId, TaskId)]) {
    let mut lenders = BTreeSet::new();
    for (lender, borrower) in lent {
        let (one, other) = (env.books.tasks.get(lender), env.books.tasks.get(borrower));
        let fits = one.is_some_and(|l| {
            l.holds_seat() && other.is_some_and(|b| b.holds_seat() && b.lane == l.lane)
        });
        if !fits || !lenders.insert(*lender) || !env.clients.blocks_inside(*lender) {
            env.broken("a seat is lent by who blocks, once", format!("{lender} to {borrower}"));
        }
    }
}

/// In a lane where somebody was started on a seat of the lane's own, no more run than may: by what the
/// machine really runs and by what was promised a seat.
fn limits(env: &mut Env, shell: &Shell, lent: &[(TaskId, TaskId)], effects: &[Effect]) {
    let borrowers: BTreeSet<TaskId> = lent.iter().map(|(_, borrower)| *borrower).collect();
    let mut lanes: BTreeSet<LaneName> = BTreeSet::new();
    let mut any = false;
    for effect in effects {
        let Effect::Start { task, .. } = effect else { continue };
        any = true;
        if let Some(entry) = env.books.tasks.get(task)
            && !entry.over_limit
            && !borrowers.contains(task)
        {
            lanes.insert(entry.lane.clone());
        }
    }
    for lane in lanes {
        env.figures.limit_checks += 1;
        let Some(limit) = shell.core.config().lane_limit(&lane) else { continue };
        let running = occupants(env, &lane);
        let lent_here = lent.iter().filter(|(lender, _)| running.contains(lender)).count();
        if running.len() - lent_here > limit as usize {
            let who: Vec<_> = running.iter().map(|t| env.label(*t)).collect();
            env.broken(
                "limits are never exceeded",
                format!("lane {lane} of {limit} runs {}, {lent_here} lent", who.join(" ")),
            );
        }
    }
    let limit = shell.core.config().starts as usize;
    if any && limit > 0 {
        env.figures.limit_checks += 1;
        let told = shell.deferred.iter().map(|e| e.task).collect::<BTreeSet<_>>();
        let in_flight = env.books.tasks.iter();
        let in_flight =
            in_flight.filter(|(id, t)| t.state == State::Starting && !told.contains(*id)).count();
        if in_flight > limit {
            env.broken("limits are never exceeded", format!("{in_flight} starts of {limit}"));
        }
    }
}

/// Who takes a seat of a lane: processes of it live, or it was promised one.
fn occupants(env: &Env, lane: &LaneName) -> BTreeSet<TaskId> {
    let of_lane = |id: &TaskId| env.books.tasks.get(id).is_some_and(|t| t.lane == *lane);
    let boot = env.machine.boot;
    let live = env.machine.trees.iter().rev().take(200);
    let live = live.filter(|t| t.boot == boot && !t.is_empty() && !t.kept).map(|t| t.job.key.task);
    let promised = env.books.tasks.iter().filter(|(_, t)| t.holds_seat()).map(|(id, _)| *id);
    live.chain(promised).filter(of_lane).collect()
}

/// Nobody waits for a seat that is free; nobody who blocks keeps his seat from the work that he waits for.
fn standstill(
    env: &mut Env,
    shell: &Shell,
    now: Now,
    lent: &[(TaskId, TaskId)],
    effects: &[Effect],
) {
    let config = shell.core.config();
    let told: BTreeSet<TaskId> = shell.deferred.iter().map(|e| e.task).collect();
    let tasks = &env.books.tasks;
    let starting =
        tasks.iter().filter(|(id, t)| t.state == State::Starting && !told.contains(*id)).count();
    if shell.held.is_some() || (config.starts > 0 && starting >= config.starts as usize) {
        return;
    }
    let mut seated: BTreeMap<&LaneName, usize> = BTreeMap::new();
    for entry in tasks.values().filter(|t| t.holds_seat()) {
        *seated.entry(&entry.lane).or_default() += 1;
    }
    for (lender, _) in lent {
        if let Some(n) = tasks.get(lender).and_then(|t| seated.get_mut(&t.lane)) {
            *n = n.saturating_sub(1);
        }
    }
    let lenders: BTreeSet<TaskId> = lent.iter().map(|(lender, _)| *lender).collect();
    let answered: Vec<WaitId> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer { wait, .. } => Some(*wait),
            _ => None,
        })
        .collect();
    let blocked = |id: &TaskId, entry: &Entry| {
        entry.state.is_active() && !lenders.contains(id) && waits_for_below(env, *id, &answered)
    };
    let mut found = None;
    for (id, entry) in tasks.iter().filter(|(_, t)| env.books.is_eligible(t, now)) {
        let free = config
            .lane_limit(&entry.lane)
            .is_none_or(|limit| seated.get(&entry.lane).copied().unwrap_or(0) < limit as usize);
        let of_lane = |a: &&TaskId| tasks.get(*a).is_some_and(|t| t.lane == entry.lane);
        let mut above = entry.ancestors.iter().filter(of_lane);
        if free || entry.over_limit {
            found = Some(("no free seat while there is work", format!("{id} could start")));
        } else if above.any(|a| tasks.get(a).is_some_and(|t| blocked(a, t))) {
            let what = format!("{id} is waited for by who holds its seat");
            found = Some(("no lane is held by waiters alone", what));
        }
    }
    if let Some((promise, what)) = found {
        env.broken(promise, what);
    }
}

/// Whether a client inside this task, not answered yet, waits for one of its unfinished descendants.
fn waits_for_below(env: &Env, task: TaskId, answered: &[WaitId]) -> bool {
    env.clients.waits.iter().any(|wait| {
        let asked = match wait.standing {
            super::clients::WaitStanding::Asked(id) => !answered.contains(&id),
            _ => false,
        };
        asked
            && wait.until == Until::Done
            && wait.inside.is_some_and(|(inside, _)| inside == task)
            && wait.pending.iter().any(|(target, attempt)| {
                env.books.tasks.get(target).is_some_and(|t| {
                    !t.state.is_terminal() && t.attempt == *attempt && t.ancestors.contains(&task)
                })
            })
    })
}

/// Everything that was acknowledged is there, and what is there is what was committed.
pub(super) fn nothing_lost(env: &mut Env) {
    let mut acknowledged = BTreeSet::new();
    for request in &env.clients.requests {
        if let super::clients::Standing::Answered(super::clients::Reply::Submitted(ids)) =
            &request.standing
        {
            acknowledged.extend(ids.iter().copied());
        }
    }
    let ids: Vec<TaskId> =
        acknowledged.into_iter().filter(|id| !env.books.forgotten.contains(id)).collect();
    let states = env.reader.states(&ids).expect("the store can be read");
    for (id, state) in ids.iter().zip(states) {
        if state.is_none() {
            env.broken("no acknowledged task is missing", format!("{id} is not in the store"));
        }
    }
    let ids: Vec<TaskId> = env.books.tasks.keys().copied().collect();
    let records = env.reader.tasks(&ids).expect("the store can be read");
    for (id, record) in ids.into_iter().zip(records) {
        let entry = &env.books.tasks[&id];
        let same = record.as_ref().is_some_and(|r| {
            let attempt = r.current();
            (r.state, attempt.number, r.seat_kept) == (entry.state, entry.attempt, entry.seat_kept)
                && (attempt.token == entry.token || entry.state == State::Queued)
        });
        if !same {
            let what = format!("{id}: {entry:?} in the books, {:?}", record.map(|r| r.state));
            env.broken("the store holds what was committed", what);
        }
    }
    everybody_is_told(env);
}

/// Of every end that is final there is a notice, and of each end no more than one; nothing else is told as an end.
fn everybody_is_told(env: &mut Env) {
    let ids: Vec<TaskId> = env.books.tasks.keys().copied().collect();
    let mut told: BTreeMap<TaskId, BTreeSet<u32>> = BTreeMap::new();
    for notice in env.reader.notices_of(&ids).expect("the store can be read") {
        let NoticeId { task, attempt, kind, .. } = notice.id;
        if kind == NoticeKind::Done && !told.entry(task).or_default().insert(attempt) {
            env.broken("one notice per id", notice.id.to_string());
        }
    }
    for id in ids {
        let entry = &env.books.tasks[&id];
        let current = entry.attempt;
        let over = entry.state.is_terminal() && entry.is_told_of();
        let told = told.remove(&id).unwrap_or_default();
        if told.contains(&current) != over || told.last().is_some_and(|last| *last > current) {
            let what = format!("{id}: attempt {current}, over: {over}, told: {told:?}");
            env.broken("a notice for every final end", what);
        }
    }
}

/// The log has every fact once, without gaps; each end is there once: what notices will be told from.
pub(super) fn log_is_whole(env: &mut Env) {
    let mut seq = 0;
    let mut ends: BTreeMap<Key, u32> = BTreeMap::new();
    let mut facts = 0;
    loop {
        let filter = EventFilter::default();
        let entries = env.reader.events_since(seq, 500, &filter).expect("the log can be read");
        let Some(last) = entries.last().map(|e| e.seq) else { break };
        for entry in entries {
            facts += 1;
            if entry.seq != facts {
                env.broken("the log has no gaps", format!("{} after {}", entry.seq, facts - 1));
                return;
            }
            if let Logged::Ended { .. } = entry.what {
                *ends.entry(Key { task: entry.task, attempt: entry.attempt }).or_default() += 1;
            }
        }
        seq = last;
    }
    if facts != env.books.log.len() as u64 {
        let what = format!("{facts} in the log, {} committed", env.books.log.len());
        env.broken("the log holds what was committed", what);
    }
    let twice = ends.iter().find(|(_, n)| **n != 1).map(|(key, _)| *key);
    if let Some(key) = twice {
        env.broken("one end per attempt", format!("{}/{}", key.task, key.attempt));
    } else if !ends.keys().eq(env.books.ends.keys()) {
        env.broken("one end per attempt", "the log has other ends than were committed");
    }
}

/// The log alone says the same as the machine that wrote it.
pub(super) fn replay(env: &mut Env, shell: &Shell) {
    if !shell.deferred.is_empty() {
        return;
    }
    env.figures.replay_checks += 1;
    let now = env.now();
    match Core::replay(shell.core.config().clone(), &env.books.log, now) {
        Err(what) => env.broken("the log can be replayed", what),
        Ok(again) => {
            // Moments that have passed since the last turn are not the log's.
            let due = shell.core.next_due().is_some_and(|at| at <= now.boot);
            if let (false, Err(what)) = (due, shell.core.same_schedule(&again)) {
                env.broken("replay gives the same", what);
            }
        }
    }
}

/// At the end, when nothing is disturbed any more: all is done, every seat is free, everybody was answered.
pub(super) fn at_rest(env: &mut Env, shell: &Shell) {
    let unfinished: Vec<TaskId> = env
        .books
        .tasks
        .iter()
        .filter(|(_, t)| !t.state.is_terminal() || t.seat_kept)
        .map(|(id, _)| *id)
        .collect();
    if !unfinished.is_empty() {
        let which: Vec<_> = unfinished
            .iter()
            .map(|id| {
                let why = shell.core.task(*id).and_then(|view| view.why);
                format!("{id} {} {why:?}", env.books.tasks[id].state.name())
            })
            .collect();
        return env.broken("everything comes to its end", which.join(", "));
    }
    if shell.core.unfinished() > 0 || shell.core.lanes().iter().any(|l| !l.holders.is_empty()) {
        env.broken("slots return to zero", format!("{:?}", shell.core.lanes()));
    }
    if env.machine.trees.iter().any(|t| !t.is_empty() && !t.kept) {
        env.broken("nothing runs that has ended", "processes live");
    }
    let open = env.clients.requests.iter().any(|r| r.standing == super::clients::Standing::Open);
    let idle = |s: &super::clients::WaitStanding| *s == super::clients::WaitStanding::Over;
    if open || !env.clients.waits.iter().all(|w| idle(&w.standing)) {
        env.broken("everybody is answered", "a client still waits");
    }
}
