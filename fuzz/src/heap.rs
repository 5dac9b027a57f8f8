//! A bound on memory: an allocation bomb is found by its allocation, not by the machine's end.
//!
//! Owns the process's allocator. What goes over the budget of one input aborts the process with
//! "memory allocation of N bytes failed", as running out of memory does. One input at a time: the
//! count is the whole process's, and the threads of a server count with the input they serve.

use std::alloc::System;
use std::sync::{Mutex, PoisonError};

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Lifts the bound when the work is over, however it ends.
struct Lift;

impl Drop for Lift {
    fn drop(&mut self) {
        let lifted = HEAP.set_limit(usize::MAX);
        debug_assert!(lifted.is_ok(), "the largest limit always holds");
    }
}

/// Does some work with at most `budget` bytes more than are in use.
pub(crate) fn bounded(budget: usize, work: impl FnOnce()) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let _lift = Lift;
    HEAP.set_limit(HEAP.allocated() + budget).expect("the limit is above what is in use");
    work();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_the_budget_is_given_and_more_is_not() {
        bounded(1 << 20, || {
            let mut bytes: Vec<u8> = Vec::new();
            assert!(bytes.try_reserve_exact(1 << 19).is_ok());
            assert!(Vec::<u8>::new().try_reserve_exact(1 << 21).is_err());
        });
        assert!(Vec::<u8>::new().try_reserve_exact(1 << 21).is_ok());
    }
}
