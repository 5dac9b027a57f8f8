//! One transaction per turn, and a full disk. Follows `engine/commit.rs`.
//!
//! Owns the entry of what was committed into the world's books.

use std::time::Duration;

use meanwhile_core::{Boot, Event, Fact, Input, Now, Turn};
use meanwhile_store::{Batch, SavedReply, StoreError};

use super::{PendingReply, Shell, lost};
use crate::sim::Sabotage;
use crate::sim::books::Circumstances;
use crate::sim::disk::identity;
use crate::sim::env::{Env, Gone};

const DEFER: Duration = Duration::from_millis(200);
const DISK_RECHECK: Duration = Duration::from_secs(5);

impl Shell {
    pub(super) fn commit(
        &mut self,
        env: &mut Env,
        now: Now,
        events: Vec<Event>,
        replies: &[PendingReply],
    ) -> Result<(), Gone> {
        let waits = events.iter().all(|e| e.fact.may_wait());
        self.deferred.extend(events);
        let saved: Vec<_> = replies
            .iter()
            .filter(|_| env.sabotage != Some(Sabotage::ForgetsRequests))
            .filter_map(|r| Some((r.request.as_ref()?, r.reply.as_ref().ok()?.to_saved())))
            .collect();
        if self.deferred.is_empty() && saved.is_empty() {
            return Ok(());
        }
        let due = self.flush_at.is_some_and(|at| at <= now.boot) || self.stopping.is_some();
        if waits && saved.is_empty() && !due {
            self.flush_at.get_or_insert(now.boot.after(DEFER));
            return Ok(());
        }
        let replies: Vec<_> =
            saved.iter().map(|(request, reply)| SavedReply { request, reply }).collect();
        let events = std::mem::take(&mut self.deferred);
        self.flush_at = None;
        let batch = Batch { now, events: &events, replies: &replies, ..Batch::default() };
        let committed = match self.store.commit(&batch) {
            Err(StoreError::Full { .. }) => {
                env.tell(|_| "disk full: the reserve is given up".into());
                env.disk.disarm();
                self.give_up_reserve(env);
                self.store.commit(&batch)
            }
            other => other,
        };
        if let Err(error) = committed {
            env.figures.failed_commits += 1;
            if env.disk.was_kept() {
                self.enter(env, now, &events);
            }
            return Err(lost(env, &error));
        }
        env.disk.disarm();
        env.figures.commits += 1;
        self.enter(env, now, &events);
        Ok(())
    }

    /// What was kept counts, whether the daemon lives to know it or not.
    fn enter(&self, env: &mut Env, now: Now, events: &[Event]) {
        let lender_of = self
            .core
            .lanes()
            .into_iter()
            .flat_map(|lane| lane.lent)
            .map(|(lender, borrower)| (borrower, lender))
            .collect();
        let about = Circumstances { now, lender_of: &lender_of };
        for event in events {
            env.tell(|e| {
                format!("  {}/{} {}", e.label(event.task), event.attempt, words(&event.fact))
            });
            if let Err(what) = env.books.enter(event, &env.machine, &about) {
                env.broken("every fact fits", format!("{}: {what}", event.task));
            }
            if let Fact::Starting { .. } = event.fact
                && lender_of.contains_key(&event.task)
            {
                env.figures.borrowed_starts += 1;
            }
        }
    }

    pub(super) fn remember_place(
        &mut self,
        env: &mut Env,
        now: Now,
        events: &[Event],
    ) -> Result<(), Gone> {
        let here = identity(env.clock.boot);
        let batch = Batch { now, events, here: Some(&here), ..Batch::default() };
        let mut placed = self.store.commit(&batch);
        if matches!(placed, Err(StoreError::Full { .. })) {
            env.disk.disarm();
            self.give_up_reserve(env);
            placed = self.store.commit(&batch);
        }
        if placed.is_ok() || env.disk.was_kept() {
            env.disk.disarm();
            self.enter(env, now, events);
            if std::mem::replace(&mut env.books_boot, env.clock.boot) != env.clock.boot {
                env.books.moved(now);
            }
        }
        placed.map_err(|error| lost(env, &error))?;
        if self.held.is_none() {
            env.disk.make_reserve();
        }
        Ok(())
    }

    fn give_up_reserve(&mut self, env: &mut Env) {
        env.disk.give_up_reserve();
        self.hold_for_space(env.now().boot);
    }

    pub(super) fn hold_for_space(&mut self, now: Boot) {
        let reason = "disk full".to_owned();
        self.follow_ups.push_back(Input::HoldStarts { reason: Some(reason.clone()) });
        self.held = Some(reason);
        self.disk_check_at = Some(now.after(DISK_RECHECK));
    }

    pub(super) fn check_disk(&mut self, env: &mut Env, now: Now, turn: &mut Turn) {
        if self.held.is_some() {
            self.disk_check_at = Some(now.boot);
            self.watch_disk(env, now, turn);
        } else if env.disk.seen {
            let reason = "disk full".to_owned();
            self.apply(env, now, Input::HoldStarts { reason: Some(reason.clone()) }, turn);
            self.held = Some(reason);
            self.disk_check_at = Some(now.boot.after(DISK_RECHECK));
        }
    }

    pub(super) fn watch_disk(&mut self, env: &mut Env, now: Now, turn: &mut Turn) {
        if self.disk_check_at.is_none_or(|at| at > now.boot) {
            return;
        }
        if env.disk.full {
            self.disk_check_at = Some(now.boot.after(DISK_RECHECK));
        } else {
            env.disk.make_reserve();
            self.disk_check_at = None;
            self.held = None;
            self.apply(env, now, Input::HoldStarts { reason: None }, turn);
        }
    }
}

/// A fact in a few words.
fn words(fact: &Fact) -> String {
    match fact {
        Fact::Submitted { placement, spec, not_before, .. } => {
            let after: Vec<_> =
                spec.after.iter().map(|d| format!("{}:{}", d.task, d.condition.name())).collect();
            let after = if after.is_empty() {
                String::new()
            } else {
                format!(" after {}", after.join(" "))
            };
            let delay = if not_before.is_some() { " delayed" } else { "" };
            let (lane, priority) = (&placement.lane, placement.priority);
            let below = match placement.ancestors.first() {
                Some(parent) => format!(" below {parent}"),
                None => String::new(),
            };
            format!("submitted to lane {lane}, priority {priority}{below}{after}{delay}")
        }
        Fact::Ended { end, .. } => {
            let kept = if end.seat_kept { ", keeps its seat" } else { "" };
            format!("ended: {} ({}){kept}", end.state.name(), end.cause.kind())
        }
        Fact::Refused { what } => format!("refused: {what}"),
        Fact::Requeued { crashes } => format!("requeued, {crashes} crashes"),
        other => other.name().to_owned(),
    }
}
