//! Notices as the store keeps them, and what a batch does to them.

use meanwhile_core::notice::{Notify, Scope};
use meanwhile_core::{NoticeId, State, Wall};

/// One notice. Its text is made where it is shown, from the task and its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRecord {
    pub id: NoticeId,
    /// Whose it is, and what it is judged together with.
    pub scope: Scope,
    pub notify: Notify,
    /// The task's state when it was written.
    pub state: State,
    /// When it was written.
    pub at: Wall,
    pub delivery: Delivery,
}

/// How far a notice has come on its way.
///
/// ```text
/// unread <-> leased -> acknowledged -> unread   (whoever had it died before reading it)
///                                             each but the last can become superseded
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Nobody has it.
    Unread,
    /// On its way to its session by whom the holder names; unread again when that says nothing until then.
    Leased { holder: String, until: Wall },
    /// Its session has it.
    Acknowledged,
    /// Something newer says more: the task was tried again, has ended, or got more time.
    Superseded,
}

/// A change of a notice's way. One that is not kept, or whose way is over, is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeMark {
    pub id: NoticeId,
    pub mark: Mark,
}

/// What becomes of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is on its way.
    Lease { holder: String, until: Wall },
    /// It has arrived.
    Acknowledge,
    /// It had arrived at somebody who is gone and cannot be known to have read it. Only what was acknowledged is unread
    /// again.
    Unread,
}

impl Delivery {
    /// Whether its session is still to be told.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        match self {
            Self::Unread | Self::Leased { .. } => true,
            Self::Acknowledged | Self::Superseded => false,
        }
    }
}
