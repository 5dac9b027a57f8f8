//! Every limit of the core, with its unit and its reason.

use std::time::Duration;

/// Lane of a command without `--lane`.
pub const COMMANDS_LANE: &str = "commands";
/// Lane of a task that never ends by itself.
pub const SERVICES_LANE: &str = "services";
/// Commands at once: builds and test suites use all cores by themselves.
pub const COMMANDS_LANE_LIMIT: u32 = 3;
/// Services at once: they idle most of the time.
pub const SERVICES_LANE_LIMIT: u32 = 10;
/// Tasks at once in any other lane.
pub const DEFAULT_LANE_LIMIT: u32 = 5;
/// Starts in flight over all lanes, so that a burst does not fork a hundred supervisors at once.
pub const STARTS_IN_FLIGHT: u32 = 10;
/// Levels of launches: a root session's own tasks are 1, so a fourth level is refused.
pub const DEPTH: u32 = 3;
/// Live tasks that agents and tasks may have launched below one root session.
pub const DESCENDANTS: u32 = 50;
/// Queued tasks over all lanes: some 25 MB of scheduling rows.
pub const QUEUED: u32 = 100_000;
/// Dependencies of one task.
pub const DEPENDENCIES: usize = 1_000;
/// Longest wait before a retry.
pub const MAX_BACKOFF: Duration = Duration::from_secs(3600);
/// Wait before the first retry when none was given.
pub const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);
/// Most retries one may ask for: beyond it the task is broken, not unlucky.
pub const MAX_RETRIES: u32 = 100;
/// Attempts that an idempotent task gets after its supervisor or machine was lost, besides the
/// retries asked for: more often than that it is not bad luck.
pub const LOST_RETRIES: u32 = 2;
/// `prune` cancels what has been queued for longer.
pub const STALE_QUEUED: Duration = Duration::from_secs(24 * 3600);
/// Starts that took their supervisor down before a task is called poison.
pub const MAX_START_CRASHES: u32 = 5;
/// Time between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(10);
/// Running time of a command that an agent launched.
pub const AGENT_COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of log kept per task.
pub const LOG_CAP: u64 = 64 << 20;
/// The last part of its running time before which a task's session is told, as a divisor: a fifth.
pub const WARNED_LAST_PART: u32 = 5;
/// Running times below this are over before anybody could ask for more.
pub const SHORTEST_WARNED: Duration = Duration::from_secs(1);
/// Failures within this time are told together.
pub const COALESCE: Duration = Duration::from_secs(2);
/// Something unread is told to a session that has been idle for so long.
pub const STORED: Duration = Duration::from_secs(3 * 60);
/// No turn is started within this time after the user has typed: more may follow.
pub const AFTER_TYPING: Duration = Duration::from_secs(5);
/// Between two turns that we start.
pub const BETWEEN_WAKES: Duration = Duration::from_secs(60);
/// Before a turn is started: whoever waits for the same end has said by then that it was seen.
pub const BEFORE_WAKING: Duration = Duration::from_millis(500);
/// After so much idleness nobody is there, and only what needs somebody starts a turn.
pub const LONG_IDLE: Duration = Duration::from_secs(3600);
