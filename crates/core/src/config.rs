//! The settings that decide, as plain data. Reading the file and naming the keys is the daemon's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::LaneName;
use crate::limits;

/// What the core obeys; replaced whole by `Input::Configure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Limits set for single lanes; 0 is unlimited.
    pub lane_limits: BTreeMap<LaneName, u32>,
    /// Limit of any other named lane; 0 is unlimited.
    pub default_lane_limit: u32,
    /// Starts in flight over all lanes.
    pub starts: u32,
    /// Deepest nesting of launches; a root session's own tasks are depth 1.
    pub depth: u32,
    /// Live descendants of one root session, launched by agents and tasks.
    pub descendants: u32,
    /// Queued tasks over all lanes.
    pub queued: u32,
    /// Longest wait before a retry.
    pub max_backoff: Duration,
    /// Stale queued tasks are cancelled by `prune` after this long.
    pub stale_queued: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lane_limits: BTreeMap::from([
                (LaneName::new(limits::COMMANDS_LANE), limits::COMMANDS_LANE_LIMIT),
                (LaneName::new(limits::SERVICES_LANE), limits::SERVICES_LANE_LIMIT),
            ]),
            default_lane_limit: limits::DEFAULT_LANE_LIMIT,
            starts: limits::STARTS_IN_FLIGHT,
            depth: limits::DEPTH,
            descendants: limits::DESCENDANTS,
            queued: limits::QUEUED,
            max_backoff: limits::MAX_BACKOFF,
            stale_queued: limits::STALE_QUEUED,
        }
    }
}

impl Config {
    /// The limit of a lane; none is unlimited.
    #[must_use]
    pub fn lane_limit(&self, lane: &LaneName) -> Option<u32> {
        match self.lane_limits.get(lane).copied().unwrap_or(self.default_lane_limit) {
            0 => None,
            n => Some(n),
        }
    }

    /// The setting that changes a lane's limit, for messages.
    #[must_use]
    pub fn lane_setting(lane: &LaneName) -> String {
        format!("lanes.\"{lane}\".limit")
    }
}
