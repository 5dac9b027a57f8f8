//! The settings of a home: `config.toml`, read strictly, with a default for every key.
//!
//! Owns the plain data and its defaults; the table of keys is in `keys`, editing the file in `file`.
//! A file with an unknown key or a value that makes no sense is refused whole and named, never half
//! obeyed: a limit that was misspelt is a limit that does not hold. Never watches the file.

mod file;
mod keys;
mod routes;

use std::collections::BTreeMap;
use std::time::Duration;

use meanwhile_core::config::Config;
use meanwhile_core::inbox::Waking;
use meanwhile_core::limits;
use meanwhile_core::spec::EnvProfile;
use meanwhile_core::{LaneName, policy};

pub use file::{Edited, load, set, unset, written_keys};
pub use keys::{Entry, KEYS, Key, SettingsError};
pub use routes::{RouteSettings, Telling};

/// Everything that can be set, as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Limits set for single lanes; 0 is unlimited.
    pub lane_limits: BTreeMap<LaneName, u32>,
    /// Limit of any other named lane; 0 is unlimited.
    pub default_lane_limit: u32,
    /// Starts in flight over all lanes.
    pub starts: u32,
    /// Agents at once over all lanes.
    pub agents: u32,
    /// Deepest nesting of launches.
    pub depth: u32,
    /// Live descendants of one root session.
    pub descendants: u32,
    /// Queued tasks over all lanes.
    pub queued: u32,
    /// `prune` cancels what has been queued for longer.
    pub stale_queued: Duration,
    /// Running time of a command that an agent launched; zero is for ever.
    pub command_timeout: Duration,
    /// Running time of an agent; zero is for ever.
    pub agent_timeout: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Wait before the first retry.
    pub backoff: Duration,
    /// Longest wait before a retry.
    pub max_backoff: Duration,
    /// How long the MCP tool `wait` blocks at most. The MCP server asks for it; the daemon itself has no use for it.
    pub mcp_max_wait: Duration,
    /// Bytes of log kept per task.
    pub log_cap: u64,
    /// Ended tasks are kept for this long; zero is for ever.
    pub retention_age: Duration,
    /// Bytes that the files of ended tasks may take; zero is without bound.
    pub retention_bytes: u64,
    /// Whether tasks get control groups of their own.
    pub cgroup: Isolation,
    /// Which variables a task gets where its caller has none.
    pub env_profile: EnvProfile,
    /// For what a turn of an idle session may be started.
    pub waking: Waking,
    /// What is told to webhooks, commands, desktops and terminals.
    pub routes: RouteSettings,
    /// Whether the home may be on a network file system.
    pub network_store: bool,
    /// How much the daemon's own log says.
    pub log_level: LogLevel,
}

/// Whether tasks get control groups of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Where the machine allows it.
    #[default]
    Auto,
    /// Never: processes are found by their descent.
    Off,
}

/// How much the daemon's own log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogLevel {
    /// What went wrong.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And how, argument lists included.
    Debug,
}

/// Running time of an agent by default.
const AGENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Agents at once by default: each may hold hundreds of megabytes and a share of a rate limit.
const AGENTS: u32 = 8;
/// Ended tasks are kept for 30 days by default.
const RETENTION_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Their files may take 10 GiB by default.
const RETENTION_BYTES: u64 = 10 << 30;

impl Default for Settings {
    fn default() -> Self {
        let core = Config::default();
        Self {
            lane_limits: BTreeMap::new(),
            default_lane_limit: core.default_lane_limit,
            starts: core.starts,
            agents: AGENTS,
            depth: core.depth,
            descendants: core.descendants,
            queued: core.queued,
            stale_queued: core.stale_queued,
            command_timeout: limits::AGENT_COMMAND_TIMEOUT,
            agent_timeout: AGENT_TIMEOUT,
            grace: limits::GRACE,
            backoff: limits::DEFAULT_BACKOFF,
            max_backoff: core.max_backoff,
            // Under the 60 s after which most clients give up on a call.
            mcp_max_wait: Duration::from_secs(45),
            log_cap: limits::LOG_CAP,
            retention_age: RETENTION_AGE,
            retention_bytes: RETENTION_BYTES,
            cgroup: Isolation::Auto,
            env_profile: EnvProfile::Agent,
            waking: Waking::Auto,
            routes: RouteSettings::default(),
            network_store: false,
            log_level: LogLevel::Info,
        }
    }
}

impl Settings {
    /// What the core obeys.
    #[must_use]
    pub fn core(&self) -> Config {
        let mut config = Config {
            default_lane_limit: self.default_lane_limit,
            starts: self.starts,
            depth: self.depth,
            descendants: self.descendants,
            queued: self.queued,
            max_backoff: self.max_backoff,
            stale_queued: self.stale_queued,
            ..Config::default()
        };
        config.lane_limits.extend(self.lane_limits.iter().map(|(lane, n)| (lane.clone(), *n)));
        config
    }

    /// The setting for the running time of an agent's command, in the words of
    /// [`policy::default_timeout`].
    #[must_use]
    pub fn command_timeout(&self) -> Option<Duration> {
        Some(self.command_timeout).filter(|timeout| !timeout.is_zero())
    }

    /// How long ended tasks are kept; none is for ever.
    #[must_use]
    pub fn retention_age(&self) -> Option<Duration> {
        Some(self.retention_age).filter(|age| !age.is_zero())
    }

    /// What the files of ended tasks may take; none is without bound.
    #[must_use]
    pub fn retention_bytes(&self) -> Option<u64> {
        Some(self.retention_bytes).filter(|bytes| *bytes > 0)
    }

    /// Whether anything is ever forgotten by itself.
    #[must_use]
    pub fn retention_enabled(&self) -> bool {
        self.retention_age().is_some() || self.retention_bytes().is_some()
    }

    /// The settings that the text of a `config.toml` means.
    ///
    /// # Errors
    /// When it is not TOML, has an unknown key or a value that makes no sense.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let document: toml_edit::DocumentMut =
            text.parse().map_err(|error: toml_edit::TomlError| SettingsError::syntax(&error))?;
        let mut settings = Self::default();
        keys::read_table(document.as_table(), &mut Vec::new(), &mut settings)?;
        Ok(settings)
    }

    /// The lane of a command that named none.
    #[must_use]
    pub fn default_lane(service: bool) -> LaneName {
        LaneName::new(policy::default_lane(service))
    }
}

impl Isolation {
    /// The word in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

impl LogLevel {
    /// The word in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

#[cfg(test)]
mod tests;
