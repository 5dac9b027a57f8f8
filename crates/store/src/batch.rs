//! What one transaction holds.

use meanwhile_core::{Event, LaneName, Now, RequestId};

use crate::identity::Identity;
use crate::notice::NoticeMark;

/// Everything one turn of the loop wants on disk: all of it, or none of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// The present: dates the saved replies, and re-dates delays when `here` is another boot.
    pub now: Now,
    /// Facts, in order; each is appended to the log and folded into the tables.
    pub events: &'a [Event],
    /// Steps of notices on their way, after the facts.
    pub notices: &'a [NoticeMark],
    /// Replies of changing requests, so that a resent request is answered and not done again.
    pub replies: &'a [SavedReply<'a>],
    /// What is known of sessions, whole, where it has changed; the store does not look into it. With the facts that
    /// follow from it, or not at all.
    pub sessions: Option<&'a str>,
    /// Where this is, to be remembered: once after each start of the daemon, in the first batch.
    /// When the boot is another one than the store remembers, every kept boot-time moment is moved
    /// to this boot's clock in the same transaction.
    pub here: Option<&'a Identity>,
    /// Lanes whose seats were decided upon. Empty where one daemon owns the store.
    pub lanes: &'a [LaneCheck],
}

/// The reply of one changing request.
#[derive(Clone, Copy, Debug)]
pub struct SavedReply<'a> {
    /// The request's random id.
    pub request: &'a RequestId,
    /// What the client is told; the store does not look into it.
    pub reply: &'a [u8],
}

/// "I decided about this lane when it was at this epoch": the batch is refused if it no longer is,
/// and else moves it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneCheck {
    /// Which lane.
    pub lane: LaneName,
    /// What [`crate::Store::lane_epoch`] answered before the decision.
    pub epoch: u64,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Sequence number of the last event in the log after it. The events of the batch have the
    /// numbers that end here, in order and without a gap.
    pub last_seq: u64,
}

impl Committed {
    /// Sequence number of the first event of a batch of `events`; none for a batch without any.
    #[must_use]
    pub fn first_seq(self, events: usize) -> Option<u64> {
        (events > 0).then(|| self.last_seq + 1 - events as u64)
    }
}
