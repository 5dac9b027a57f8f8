//! How much there is: for a daemon that ends once nothing is left.

use super::Core;
use crate::id::TaskId;

impl Core {
    /// Unfinished tasks, and ended ones whose seat is kept.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is queued or runs any more. What could not be killed has ended, though it keeps its seat.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        self.rows.values().all(|row| row.state.is_terminal())
    }

    /// Their ids.
    #[must_use]
    pub fn unfinished_ids(&self) -> Vec<TaskId> {
        self.rows.keys().copied().collect()
    }
}
