//! Every limit of the wire, with its unit and its reason.
//!
//! What it is for: daemon and client agree on them. What it owns: the constants. What it never does: enforce them.

use std::time::Duration;

/// The largest request body, 256 MiB: a batch of 10,000 tasks is about 2 MiB with usual commands, and one argument may
/// be a megabyte (a batch of a hundred such still fits twice over).
pub const BODY_BYTES_MAX: usize = 256 << 20;

/// The most tasks in one submission: what the queue holds at most.
pub const BATCH_TASKS_MAX: usize = 100_000;

/// The most bytes of uploaded standard input, 64 MiB: it is spooled before the id is printed.
pub const STDIN_BYTES_MAX: usize = 64 << 20;

/// The most bytes of all headers together, 64 KiB: ours take a few hundred.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// How long the headers of a request may take: a client of ours sends them in one write.
pub const HEADER_TIME: Duration = Duration::from_secs(10);

/// How long a request body may take to arrive, so that a stuck client does not hold memory.
pub const BODY_TIME: Duration = Duration::from_secs(60);

/// How long a connection may stay open without a request: long enough for a program that asks now and then.
pub const IDLE_TIME: Duration = Duration::from_secs(300);

/// The most connections at once: a thousand waiters and their tools, within usual descriptor limits.
pub const CONNECTIONS_MAX: usize = 4_096;

/// How long a daemon may take to answer a request that does not block. Slower ones are reported, never killed.
pub const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How long a client tries to reach or start a daemon before it gives up with exit code 5.
pub const REACH_TIME: Duration = Duration::from_secs(10);

/// The first pause between two tries to reach a daemon; it doubles up to [`REACH_PAUSE_MAX`].
pub const REACH_PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest pause between two tries to reach a daemon.
pub const REACH_PAUSE_MAX: Duration = Duration::from_millis(200);

/// How many tasks `list` answers without a limit.
pub const LIST_DEFAULT: u32 = 200;

/// How many bytes of output one page holds at most, 8 MiB: a page is built in memory.
pub const OUTPUT_PAGE_MAX: u64 = 8 << 20;

/// How many waiting tasks of one lane are named.
pub const LANE_WAITING_MAX: usize = 50;

/// How long a quiet event stream stays without a sign of life, so that a dead peer is noticed.
pub const EVENT_HEARTBEAT: Duration = Duration::from_secs(30);

/// How many notices one answer holds without a limit.
pub const NOTICES_DEFAULT: u32 = 100;

/// How many notices one answer holds at most: each reads the end of a log.
pub const NOTICES_MAX: u32 = 1_000;

/// Unread notices are counted up to here.
pub const UNREAD_MAX: usize = 1_000;

/// The most characters of a notice that come from the task.
pub const NOTICE_HEAD_MAX: usize = 700;

/// The most bytes of a digest: what a model reads on every delivery.
pub const DIGEST_BYTES_MAX: usize = 2 << 10;

/// The most entries of a compaction list.
pub const COMPACTION_ENTRIES_MAX: usize = 20;

/// The most characters of one of them.
pub const COMPACTION_ENTRY_MAX: usize = 240;

/// The most bytes of the word by which a holder is known.
pub const HOLDER_BYTES_MAX: usize = 64;

/// The shortest value that is taken for a secret, in bytes: shorter ones are words, numbers and names, which would be
/// masked in half of all outputs.
pub const SECRET_BYTES_MIN: usize = 8;

/// Of a longer secret only so many bytes are known: a key of 4,096 bits in one line is shorter.
pub const SECRET_BYTES_MAX: usize = 4 << 10;

/// The most secrets of one environment.
pub const SECRETS_MAX: usize = 256;
