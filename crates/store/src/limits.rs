//! Every limit of the store, with its unit and its reason.

use std::time::Duration;

/// How long a saved reply answers a resent request. A client gives up long before.
pub const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often commits look for replies that are too old: once in this long is enough to keep the
/// table small, and never shows in the cost of a commit.
pub const REQUESTS_PRUNED_EVERY: Duration = Duration::from_secs(600);
/// Rows one such look deletes at most, so that no commit takes long because of it.
pub const REQUESTS_PRUNED_AT_ONCE: u32 = 2_000;
/// Bytes of write-ahead log after which `checkpoint` calls it too long. It is rewound at 8 MiB unless
/// a reader holds a transaction open; several times that means one does.
pub const WAL_TOO_LONG: u64 = 64 << 20;
/// How long a connection waits for another's lock before it says busy.
pub const BUSY: Duration = Duration::from_secs(5);
/// Most tasks one list answers with, whatever was asked: more is an export, not a list.
pub const LIST: usize = 100_000;
