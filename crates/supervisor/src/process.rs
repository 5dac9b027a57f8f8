//! Processes by identity: who one is, which ones descend from it, and signals that cannot miss.
//!
//! A process is (boot, pid namespace, pid, start time). A pid alone is a number that the kernel hands out
//! again, so nothing here signals one: a pidfd is opened, the start time is compared, then the pidfd is used.
//! Owns reading `/proc`. Never decides whom to signal.

mod identity;
mod tree;

pub use identity::{
    Identity, ProcStat, boot_id, is_alive, pid_namespace, signal, start_time, stat,
};
pub use tree::{Member, children, descendants};
