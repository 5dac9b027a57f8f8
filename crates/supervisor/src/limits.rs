//! Every limit of the supervisor, with its unit and its reason.
//!
//! Owns the numbers. Never computes with them.

use std::time::Duration;

/// The wire protocol's version. A daemon serves supervisors of this version and the one before.
pub const PROTOCOL: u16 = 1;

/// The largest frame, in bytes. Specs beyond [`INLINE_SPEC`] travel in a memfd, so this only has to hold
/// input blocks and records; a larger length means that the peer is not ours.
pub const FRAME_MAX: usize = 256 * 1024;

/// The largest spec sent inside its frame, in bytes. It fits any socket buffer, so the daemon's one write
/// does not wait for the supervisor.
pub const INLINE_SPEC: usize = 64 * 1024;

/// The largest spec sent in a memfd, in bytes: Linux refuses argument lists beyond 6 MiB, the rest is room.
pub const SPEC_MAX: usize = 16 * 1024 * 1024;

/// Input for a task's stdin that waits for the task to read it, in bytes. More is dropped and noted.
pub const INPUT_MAX: usize = 1024 * 1024;

/// Length of the `owner` file in bytes: one page, so that a write of one record is one page's copy.
pub const OWNER_LEN: u64 = 4096;

/// Longest cgroup path the owner file can hold, in bytes.
pub const CGROUP_PATH_MAX: usize = 640;

/// Bytes read from the pipe at once: the pipe's own default capacity.
pub const READ_BUFFER: usize = 64 * 1024;

/// How many leftover processes the exit record names.
pub const LEAKED_NAMED: usize = 8;

/// Longest text about a failed start, in bytes.
pub const WHAT_MAX: usize = 200;

/// How long leftovers of an ended task may take to end by themselves, and its pipe to reach its end.
pub const LEAK_TIME: Duration = Duration::from_millis(200);

/// Grace between SIGTERM and SIGKILL for leftovers.
pub const LEAK_GRACE: Duration = Duration::from_secs(1);

/// Grace between SIGTERM and SIGKILL when nothing else was asked.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// How long after the first SIGKILL a tree that is still not empty is reported as unkillable.
pub const UNKILLABLE_AFTER: Duration = Duration::from_secs(60);

/// How often memory and processes are sampled where the kernel does not enforce them.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// How often a long tree walk is repeated while a tree is being killed.
pub const KILL_WALK_EVERY: Duration = Duration::from_millis(20);

/// Least time between two progress hints to the daemon.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// A jump of boot time against monotonic time beyond this is a suspend: idle counters start anew.
pub const SUSPEND_JUMP: Duration = Duration::from_secs(5);

/// First pause before a lost daemon is started again; it doubles up to [`REVIVE_LAST`].
pub const REVIVE_FIRST: Duration = Duration::from_secs(1);

/// Longest pause between two attempts to start the daemon.
pub const REVIVE_LAST: Duration = Duration::from_secs(60);

/// How long an idle supervisor waits for its next task.
pub const IDLE_MS: u32 = 10_000;

/// How many tasks one supervisor runs before it is replaced, against slow leaks of any kind.
pub const MAX_TASKS: u32 = 1000;

/// Default cap of one task's log, in bytes.
pub const LOG_CAP: u64 = 64 * 1024 * 1024;

/// Connections a supervisor holds at once: the daemon, its successor, and clients that ask for one.
pub const CONNECTIONS_MAX: usize = 16;

/// How the name of an emptied temporary directory begins that waits for its supervisor's next task; the supervisor's
/// pid follows.
pub const SPARE_TMPDIR: &str = ".spare-";
