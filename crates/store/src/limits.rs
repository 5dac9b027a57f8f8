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
/// How long a connection waits for another's lock before it says busy. Less than a client waits for an answer (5 s), so
/// that it is told why.
pub const BUSY: Duration = Duration::from_secs(2);
/// Most tasks one list answers with, whatever was asked: more is an export, not a list.
pub const LIST: usize = 100_000;
/// Pages (4 KiB) of write-ahead log after which a commit moves them to their place: 8 MiB, so that a
/// burst of commits syncs the database file seldom, and a restart reads little.
pub const WAL_PAGES: u32 = 2_048;
/// Pages of write-ahead log from which on a thread of its own moves them: 64 MiB, which a commit may just have to wait for.
pub const MERGED_ASIDE: u32 = 16_384;
/// Bytes the file of the write-ahead log is cut down to when it begins anew.
pub const WAL_KEPT: u32 = 8 << 20;
/// KiB of pages the writer's connection keeps in memory: the hot end of each table and index.
pub const WRITER_CACHE_KIB: u32 = 2_048;
/// KiB of pages a reader's connection keeps.
pub const READER_CACHE_KIB: u32 = 512;
/// Prepared statements kept per connection; there are some 40 in the code.
pub const STATEMENTS: usize = 64;
/// Bytes of database up to which every start looks for structural damage: some 40 ms at most.
/// Beyond it damage is found when a damaged page is read, and by `doctor`.
pub const CHECKED_AT_OPEN: u64 = 16 << 20;
