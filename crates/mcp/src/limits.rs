//! Every limit of the MCP face, with its unit and its reason.
//!
//! What it is for: one place to look them up. What it owns: the constants. What it never does: enforce them.

use std::time::Duration;

/// How long `wait` blocks when not told otherwise: clients commonly give up on a tool call after 30 or 60 s.
pub(crate) const WAIT_DEFAULT: Duration = Duration::from_secs(25);

/// How long `wait` blocks at most: under the 60 s after which most clients give up, with room for the answer.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(45);

/// How long the same question with the same answer is held: the second time, the third, and every time after.
pub(crate) const HOLDS: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

/// After this many milliseconds a question is a new one: nobody was polling.
pub(crate) const ASKED_AGAIN_MS: i64 = 300_000;

/// The most questions remembered; when there are more, all are forgotten, which makes a poller faster and no more.
pub(crate) const QUESTIONS_MAX: usize = 4_096;

/// How often a waiting call says that it is alive: clients extend their time limit by it.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How long a cancel may take before it is answered as "not over yet": the grace of a task may be longer.
pub(crate) const CANCEL_MAX: Duration = Duration::from_secs(45);

/// The most tasks an MCP task names in its id: sixteen are under 200 characters, which some clients show to the model.
pub(crate) const IDS_IN_A_WAIT: usize = 16;

/// The most tasks one wait is for: ten thousand ids are a note of 110 KB, and a look at them is ten requests.
pub(crate) const WAITED_MAX: usize = 10_000;

/// The most ids in one request: the daemon takes request lines of 64 KiB.
pub(crate) const IDS_IN_A_REQUEST: usize = 1_000;

/// How often a client is asked to look at an MCP task, in milliseconds: an idle session is woken half a second after
/// the end in the mean, and a look costs the daemon one indexed read.
pub(crate) const POLL_MS: u64 = 1_000;

/// The same for more than [`SHOWN_MAX`] tasks, of which a look reads them all.
pub(crate) const POLL_MANY_MS: u64 = 5_000;

/// The most MCP tasks of one subscription: each costs a look at every burst of events.
pub(crate) const SUBSCRIBED_MAX: usize = 64;

/// How many resources are listed: those of the newest tasks; every other task is read by the template.
pub(crate) const RESOURCES_MAX: u32 = 40;

/// The most waits remembered as cancelled.
pub(crate) const CANCELLED_MAX: usize = 4_096;

/// How long after an answer its receipt is handed in: by then it is in the client's pipe or socket, or never will be.
pub(crate) const RECEIPT_AFTER: Duration = Duration::from_millis(500);

/// How many tasks `list` shows when not told otherwise.
pub(crate) const LIST_DEFAULT: u32 = 20;

/// How many tasks `list` and the answers of `wait` and `cancel` show at most.
pub(crate) const SHOWN_MAX: u32 = 100;

/// How many lines of output are shown when not told otherwise.
pub(crate) const LINES_DEFAULT: u64 = 40;

/// How many bytes of output one answer holds when not told otherwise: about 2,000 tokens.
pub(crate) const OUTPUT_DEFAULT: u64 = 8 << 10;

/// How many bytes of output one answer holds at most: about 25,000 tokens, where clients cut tool results.
pub(crate) const OUTPUT_MAX: u64 = 100 << 10;

/// How many lines of a task that did not succeed are in the answer of `wait`.
pub(crate) const FAILURE_LINES: u64 = 10;

/// How many bytes of a task's output are in the answer of `wait`.
pub(crate) const DIGEST_OUTPUT: u64 = 700;

/// How many tasks of a `wait` have lines of their output in its answer.
pub(crate) const DIGEST_OUTPUTS_MAX: usize = 5;

/// How many characters of a name or command are shown.
pub(crate) const TITLE_CHARS: usize = 80;

/// The most sessions a server speaks for at once; beyond it, connections are made anew.
pub(crate) const SESSIONS_MAX: usize = 256;

/// The largest HTTP request body, 16 MiB: what a line on stdio may have.
pub(crate) const BODY_BYTES: usize = 16 << 20;

/// The most HTTP connections at once: every waiting call has one.
pub(crate) const CONNECTIONS: usize = 256;

/// How long the headers of an HTTP request may take.
pub(crate) const HEADER_TIME: Duration = Duration::from_secs(10);

/// The longest message on standard input, 16 MiB: as large as a request over HTTP may be.
pub(crate) const LINE_BYTES: usize = BODY_BYTES;

/// How much of a message is under way between the standard streams and the MCP library.
pub(crate) const PIPE_BYTES: usize = 64 << 10;
