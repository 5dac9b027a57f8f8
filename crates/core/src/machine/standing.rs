//! Where a live task stands, for whoever asks about a hundred thousand of them.
//!
//! Owns: the facts of one row. Never its place in the queue, which takes a walk along the queue to count: that is
//! for people, in `why`.

use super::Core;
use crate::id::{AttemptToken, TaskId};
use crate::state::State;

/// A live task as the loop needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    pub attempt: u32,
    pub token: Option<AttemptToken>,
    /// A stop was asked for and has not been seen through.
    pub stopping: bool,
}

impl Core {
    /// None when it has ended (or never was); one whose seat is kept is still here.
    #[must_use]
    pub fn standing(&self, id: TaskId) -> Option<Standing> {
        let row = self.rows.get(&id)?;
        Some(Standing {
            state: row.state,
            attempt: row.attempt,
            token: row.token(),
            stopping: row.stop().is_some() && !row.state.is_terminal(),
        })
    }
}
