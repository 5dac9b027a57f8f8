//! The tables, and how an older layout becomes this one.
//!
//! Rows are made for few writes per fact: a task's row carries its current attempt, and an attempt
//! moves to `attempts` only when a further one is queued. Rows are numbered in submission order, so
//! that tasks that are busy at the same time share pages, and "newest first" is the order of the
//! table itself. Every secondary index costs writes; each says below which question needs it.

/// Marks the file as ours: "MwhS" in the header's application id.
pub(super) const APPLICATION_ID: i32 = 0x4d77_6853;

/// How one layout becomes the next.
pub(super) type Migration = &'static str;

/// `MIGRATIONS[i]` turns layout `i` into `i + 1`; layout 0 is an empty file. Once released, an entry
/// never changes.
pub(super) const MIGRATIONS: &[Migration] = &[LAYOUT_1, LAYOUT_2];

/// The columns of an attempt, in the order that `rows` reads them. The same in both tables.
pub(super) const ATTEMPT: &str = "attempt, state, queued_at, token, pid, supervisor_pid, \
     started_at, ended_at, deadline, extended, ready_at, ready_how, crashes, cause, exit_code, \
     exit_signal, ran_ns, cpu_ns, max_rss, log_bytes, dropped_bytes, leaked, leaked_names";

/// The columns of a task beside those, in the order that `rows` reads them after them. `t` is the
/// task's row and `l` its launch.
pub(super) const TASK: &str = "t.num, t.id, t.created_at, t.session, t.grp, t.lane, t.priority, \
     t.ord, t.not_before_boot, t.not_before_wall, t.stop, t.retries_used, t.lost_retries, \
     t.seat_kept, l.launch";

/// `meta` also has what the daemon knows of sessions, under that word: a release that does not know it leaves it alone.
pub(super) const LAYOUT_1: &str = "
-- machine, pid_namespace, boot: where the store was last used.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;

CREATE TABLE tasks (
    num INTEGER PRIMARY KEY,        -- submission order
    id INTEGER NOT NULL UNIQUE,     -- the 50 random bits
    created_at INTEGER NOT NULL,    -- every *_at: ms since 1970
    session TEXT NOT NULL,
    grp TEXT,
    lane TEXT NOT NULL,
    priority INTEGER NOT NULL,
    parent INTEGER,                 -- the id of the task it was launched from
    name TEXT,
    command_key INTEGER NOT NULL,   -- hash of the normalised command
    idempotency_key TEXT,
    ord INTEGER NOT NULL,           -- place in the lane
    not_before_boot INTEGER,        -- ms since the machine started
    not_before_wall INTEGER,
    stop TEXT,
    retries_used INTEGER NOT NULL DEFAULT 0,
    lost_retries INTEGER NOT NULL DEFAULT 0,
    seat_kept INTEGER NOT NULL DEFAULT 0,
    kept_bytes INTEGER NOT NULL DEFAULT 0, -- of logs, all attempts
    -- The current attempt:
    attempt INTEGER NOT NULL,
    state INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    token BLOB,
    pid INTEGER,
    supervisor_pid INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    deadline INTEGER,
    extended TEXT,
    ready_at INTEGER,
    ready_how TEXT,
    crashes INTEGER NOT NULL DEFAULT 0,
    cause TEXT,
    exit_code INTEGER,
    exit_signal INTEGER,
    ran_ns INTEGER,                 -- null: nothing was measured
    cpu_ns INTEGER,
    max_rss INTEGER,
    log_bytes INTEGER,
    dropped_bytes INTEGER,
    leaked INTEGER,
    leaked_names TEXT
) STRICT;
-- What is unfinished; lists and counts by state.
CREATE INDEX tasks_state ON tasks (state);
-- The tasks of a session; every agent asks for its own.
CREATE INDEX tasks_session ON tasks (session);
CREATE INDEX tasks_group ON tasks (grp) WHERE grp IS NOT NULL;
CREATE INDEX tasks_parent ON tasks (parent) WHERE parent IS NOT NULL;
CREATE INDEX tasks_name ON tasks (name) WHERE name IS NOT NULL;
CREATE UNIQUE INDEX tasks_idempotency ON tasks (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
-- Seats that dead-but-alive tasks keep: nearly always empty.
CREATE INDEX tasks_seat_kept ON tasks (seat_kept) WHERE seat_kept = 1;
-- Retention: the longest ended first, with what each frees.
CREATE INDEX tasks_ended ON tasks (ended_at, kept_bytes) WHERE ended_at IS NOT NULL;
-- How long the same command took when it succeeded.
CREATE INDEX tasks_history ON tasks (command_key) WHERE state = 4;

-- What a task was asked to be: written once, so that its size costs nothing later.
CREATE TABLE launches (num INTEGER PRIMARY KEY, launch TEXT NOT NULL) STRICT;

-- Attempts that were followed by another.
CREATE TABLE attempts (
    num INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    token BLOB,
    pid INTEGER,
    supervisor_pid INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    deadline INTEGER,
    extended TEXT,
    ready_at INTEGER,
    ready_how TEXT,
    crashes INTEGER NOT NULL,
    cause TEXT,
    exit_code INTEGER,
    exit_signal INTEGER,
    ran_ns INTEGER,
    cpu_ns INTEGER,
    max_rss INTEGER,
    log_bytes INTEGER,
    dropped_bytes INTEGER,
    leaked INTEGER,
    leaked_names TEXT,
    PRIMARY KEY (num, attempt)
) WITHOUT ROWID, STRICT;

CREATE TABLE labels (
    num INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (key, value, num)
) WITHOUT ROWID, STRICT;
CREATE INDEX labels_task ON labels (num);

-- Which tasks a task is to run after, by id; the conditions are in its launch.
CREATE TABLE dependencies (
    on_task INTEGER NOT NULL,
    num INTEGER NOT NULL,
    PRIMARY KEY (on_task, num)
) WITHOUT ROWID, STRICT;
CREATE INDEX dependencies_task ON dependencies (num);

-- Append-only. Numbers are given by the writer and never used twice.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    task INTEGER NOT NULL,          -- the id
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT
) STRICT;

-- Replies of changing requests.
CREATE TABLE requests (
    num INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    reply BLOB NOT NULL
) STRICT;

-- Lanes whose seats were decided upon with a check.
CREATE TABLE lanes (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID, STRICT;
";

/// What sessions are told of their tasks. Ends of before are not told of: whoever waited for them has seen them.
pub(super) const LAYOUT_2: &str = "
CREATE TABLE notices (
    num INTEGER NOT NULL,           -- the task's row: what ends together shares pages
    attempt INTEGER NOT NULL,
    kind INTEGER NOT NULL,          -- 0 done, 1 deadline
    episode INTEGER NOT NULL,
    session TEXT NOT NULL,
    part TEXT NOT NULL,             -- of the session: what it is judged together with
    notify INTEGER NOT NULL,        -- 0 all-done, 1 each, 2 failures
    state INTEGER NOT NULL,         -- of the task, when it was written
    at INTEGER NOT NULL,
    delivery INTEGER NOT NULL DEFAULT 0, -- 0 unread, 1 leased, 2 acknowledged, 3 superseded
    holder TEXT,
    until INTEGER,
    PRIMARY KEY (num, attempt, kind, episode)
) WITHOUT ROWID, STRICT;
-- What a session has not been told: nearly always little.
CREATE INDEX notices_open ON notices (session) WHERE delivery < 2;
";

/// The layout this release writes.
pub(super) fn current() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("there are few migrations")
}
