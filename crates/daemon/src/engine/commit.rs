//! One transaction per turn, and what happens when there is no room for it.
//!
//! Owns the reserve: a file that is given up when the disk is full, so that the ends of running tasks
//! can still be recorded while new work is refused.

use std::time::Duration;

use meanwhile_core::{Boot, Event, Input, Now, Turn};
use meanwhile_host::clock;
use meanwhile_store::{Batch, Committed, SavedReply, StoreError};

use super::refusals::store_error;
use super::{Ending, Engine, PendingReply};
use crate::letters::Reply;

/// How long facts that may wait do wait when nothing else is committed.
const DEFER: Duration = Duration::from_millis(200);
/// Bytes kept back for recording ends on a full disk: thousands of them.
const RESERVE_BYTES: u64 = 1 << 20;
/// New work is refused while the disk has less free than this.
const LOW_WATER_BYTES: u64 = 8 << 20;
/// How often the space is looked at while starts are held.
const DISK_RECHECK: Duration = Duration::from_secs(5);
/// Saved replies larger than this would cost more than doing the request again could.
const SAVED_REPLY_BYTES: usize = 4 << 20;

impl Engine {
    /// Commits the facts of a turn and the replies of its changing requests.
    pub(super) fn commit(
        &mut self,
        now: Now,
        events: Vec<Event>,
        replies: &[PendingReply],
    ) -> Result<(), Ending> {
        let waits = events.iter().all(|e| e.fact.may_wait());
        self.deferred.extend(events);
        let saved: Vec<_> = replies
            .iter()
            .filter_map(|r| {
                let (request, reply) = (r.request.as_ref()?, r.reply.as_ref().ok()?);
                Some((request, reply.to_saved()?))
            })
            .filter(|(_, bytes)| bytes.len() <= SAVED_REPLY_BYTES)
            .collect();
        let sessions = self.known.unwritten(&self.starter.identity().boot);
        let nothing = self.deferred.is_empty() && saved.is_empty() && self.inbox.marks.is_empty();
        if nothing && sessions.is_none() {
            self.flush_at = None;
            return Ok(());
        }
        let due = self.flush_at.is_some_and(|at| at <= now.boot) || self.stopping.is_some();
        if waits && saved.is_empty() && sessions.is_none() && !due {
            self.flush_at.get_or_insert(now.boot.after(DEFER));
            return Ok(());
        }
        let replies: Vec<_> =
            saved.iter().map(|(request, reply)| SavedReply { request, reply }).collect();
        let events = std::mem::take(&mut self.deferred);
        let notices = std::mem::take(&mut self.inbox.marks);
        self.flush_at = None;
        let batch = Batch {
            now,
            events: &events,
            notices: &notices,
            replies: &replies,
            sessions: sessions.as_deref(),
            ..Batch::default()
        };
        meanwhile_faultpoint::fault_point!("commit.before", events.iter().map(|e| e.fact.name()));
        let committed = match self.commit_once_free(&batch) {
            Err(StoreError::Full { path }) => {
                tracing::error!(?path, "disk full: giving up the reserve, holding starts");
                self.give_up_reserve();
                self.commit_once_free(&batch)
            }
            other => other,
        }
        .map_err(Ending::Store)?;
        meanwhile_faultpoint::fault_point!("commit.after", events.iter().map(|e| e.fact.name()));
        self.known.written();
        self.status.commits += 1;
        self.status.events += events.len() as u64;
        self.committed.send_replace(committed.last_seq);
        self.look_at_log(now);
        Ok(())
    }

    /// Commits, however long another process has the store locked. What was applied cannot be taken back, and nobody is
    /// told of it before it is on disk: so the loop stands still, and clients are told why.
    fn commit_once_free(&mut self, batch: &Batch<'_>) -> Result<Committed, StoreError> {
        let mut held_up = false;
        loop {
            match self.store.commit(batch) {
                Err(error @ StoreError::Busy { .. }) => {
                    if !held_up {
                        tracing::error!(%error, "held up until it is free");
                        self.postbox.stall(Some(store_error(&error)));
                    }
                    held_up = true;
                }
                done => {
                    if held_up {
                        tracing::info!("the store is free again");
                        self.postbox.stall(None);
                    }
                    return done;
                }
            }
        }
    }

    /// Remembers where the store is used, so that the next start knows whether the machine was
    /// restarted since. `events` say what became of what that restart ended: they are kept with it, or the
    /// next start would take those attempts for some of this boot.
    pub(super) fn remember_place(&mut self, now: Now, events: &[Event]) -> Result<(), Ending> {
        let here = self.starter.identity().clone();
        let batch = Batch { now, events, here: Some(&here), ..Batch::default() };
        let committed = match self.commit_once_free(&batch) {
            Err(StoreError::Full { .. }) => {
                // What has ended meanwhile is to be recorded on a full disk too.
                self.give_up_reserve();
                self.commit_once_free(&batch)
            }
            Ok(committed) => {
                self.make_reserve();
                Ok(committed)
            }
            Err(error) => Err(error),
        }
        .map_err(Ending::Store)?;
        self.committed.send_replace(committed.last_seq);
        Ok(())
    }

    fn make_reserve(&mut self) {
        use meanwhile_host::home::RESERVE;
        use rustix::fs::{FallocateFlags, fallocate};
        meanwhile_faultpoint::fault_point!("reserve.before");
        let made = self.home.state.open_or_create_file(RESERVE).and_then(|file| {
            match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
                // A file system that cannot reserve: the promise is weaker there, doctor says so.
                Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
                other => other.map_err(Into::into),
            }
        });
        if let Err(error) = made {
            tracing::warn!(%error, "the disk reserve could not be made");
        }
    }

    fn give_up_reserve(&mut self) {
        let _gone_already = self.home.state.remove_file(meanwhile_host::home::RESERVE);
        self.hold_for_space(clock::boot());
    }

    /// Nothing starts and nothing is accepted until there is space again.
    pub(super) fn hold_for_space(&mut self, now: Boot) {
        let reason = "disk full".to_owned();
        self.follow_ups.push_back(Input::HoldStarts { reason: Some(reason.clone()) });
        self.status.held = Some(reason);
        self.disk_check_at = Some(now.after(DISK_RECHECK));
    }

    /// Whether there is room for new work; refuses it with a reason before the disk is really full. Whoever
    /// has just made space need not wait for the next look at it.
    pub(super) fn check_disk(&mut self, now: Now, turn: &mut Turn) {
        if self.status.held.is_some() {
            self.disk_check_at = Some(now.boot);
            self.watch_disk(now, turn);
        } else if self.free_bytes().is_some_and(|free| free < LOW_WATER_BYTES) {
            let reason = "disk full".to_owned();
            tracing::error!("less than 8 MiB free: new work is refused");
            self.apply(now, Input::HoldStarts { reason: Some(reason.clone()) }, turn);
            self.status.held = Some(reason);
            self.disk_check_at = Some(now.boot.after(DISK_RECHECK));
        }
    }

    /// While starts are held: looks whether space has returned.
    pub(super) fn watch_disk(&mut self, now: Now, turn: &mut Turn) {
        if self.disk_check_at.is_none_or(|at| at > now.boot) {
            return;
        }
        if self.free_bytes().is_none_or(|free| free >= LOW_WATER_BYTES + RESERVE_BYTES) {
            self.make_reserve();
            self.disk_check_at = None;
            self.status.held = None;
            tracing::info!("space has returned: starts go on");
            self.apply(now, Input::HoldStarts { reason: None }, turn);
        } else {
            self.disk_check_at = Some(now.boot.after(DISK_RECHECK));
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        meanwhile_host::machine::free_bytes(&self.home.state).ok()
    }
}

impl Reply {
    /// The text kept for a resent request; none for replies to questions.
    pub(super) fn to_saved(&self) -> Option<Vec<u8>> {
        use std::fmt::Write;
        let mut text = String::new();
        match self {
            Self::Submitted(ids) => {
                text.push_str("submitted");
                ids.iter().for_each(|id| write!(text, " {id}").expect("strings take any text"));
            }
            Self::Changed(changes) => {
                text.push_str("changed");
                for c in changes {
                    write!(text, " {}:{}:{}", c.task, c.before.name(), u8::from(c.acted))
                        .expect("strings take any text");
                }
            }
            Self::Done => text.push_str("done"),
            Self::Waited(_)
            | Self::Handed(_)
            | Self::Views(_)
            | Self::Lanes(_)
            | Self::Status(_) => return None,
        }
        Some(text.into_bytes())
    }

    /// Reads [`Reply::to_saved`] back; none for what another release may have kept.
    pub(super) fn from_saved(bytes: &[u8]) -> Option<Self> {
        use crate::letters::Change;
        use meanwhile_core::State;
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split(' ');
        match words.next()? {
            "submitted" => {
                words.map(|w| w.parse().ok()).collect::<Option<_>>().map(Self::Submitted)
            }
            "changed" => words
                .map(|word| {
                    let mut parts = word.split(':');
                    Some(Change {
                        task: parts.next()?.parse().ok()?,
                        before: State::from_name(parts.next()?)?,
                        acted: parts.next()? == "1",
                    })
                })
                .collect::<Option<_>>()
                .map(Self::Changed),
            "done" => Some(Self::Done),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::Change;
    use meanwhile_core::{State, TaskId};

    #[test]
    fn a_resent_request_is_answered_with_the_words_of_the_first_time() {
        let id = TaskId::from_random(0x1234_5678_9abc);
        let change = Change { task: id, before: State::Running, acted: true };
        for reply in [
            Reply::Submitted(vec![id, TaskId::from_random(7)]),
            Reply::Submitted(vec![]),
            Reply::Changed(vec![change, Change { acted: false, ..change }]),
            Reply::Done,
        ] {
            let saved = reply.to_saved().expect("these are kept");
            assert_eq!(Reply::from_saved(&saved), Some(reply));
        }
        assert_eq!(Reply::from_saved(b"something else"), None);
    }
}
