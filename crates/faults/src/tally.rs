//! Counts that are summed over rows and modes: lost of how many, doubled of how many.
//!
//! Owns their names and what each means. A count without its "of how many" is not kept.

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Acknowledged tasks that were checked.
    Tasks,
    /// Of them, not in the store afterwards, or never run although nothing kept them from it.
    Lost,
    /// Attempts whose program was seen to begin (by its own journal).
    Begins,
    /// Begins beyond one per attempt.
    Doubled,
    /// Ends that were compared with what the program did.
    Ends,
    /// Of them, untrue: a success that was none, another code or signal, more than one end, or an
    /// `interrupted` whose supervisor was not killed.
    FalseEnds,
    /// Bytes that programs wrote below the cap before their end.
    LogBytes,
    /// Of them, not readable, or others in their place.
    LogBytesLost,
    /// Trees killed where there is a cgroup.
    KillsByCgroup,
    /// Processes alive after such a kill had been reported as done.
    SurvivorsOfCgroup,
    /// Trees killed by walking the descendants.
    KillsByWalk,
    /// Processes alive after such a kill had been reported as done.
    SurvivorsOfWalk,
    /// Transitions in the event log at which the seats of a lane were counted.
    Transitions,
    /// Of them, with more seats taken than the lane has.
    LimitViolations,
    /// `kill -9` of a daemon.
    DaemonKills,
    /// `kill -9` of a supervisor.
    SupervisorKills,
    /// Strangers that had a pid on record while somebody might have signalled it.
    Strangers,
    /// Of them, signalled.
    StrangersSignalled,
}

impl Count {
    /// All, in the order of the report.
    pub const ALL: [Self; 18] = [
        Self::Tasks,
        Self::Lost,
        Self::Begins,
        Self::Doubled,
        Self::Ends,
        Self::FalseEnds,
        Self::LogBytes,
        Self::LogBytesLost,
        Self::KillsByCgroup,
        Self::SurvivorsOfCgroup,
        Self::KillsByWalk,
        Self::SurvivorsOfWalk,
        Self::Transitions,
        Self::LimitViolations,
        Self::DaemonKills,
        Self::SupervisorKills,
        Self::Strangers,
        Self::StrangersSignalled,
    ];

    /// Its name in the report's file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Lost => "lost",
            Self::Begins => "begins",
            Self::Doubled => "doubled",
            Self::Ends => "ends",
            Self::FalseEnds => "false_ends",
            Self::LogBytes => "log_bytes",
            Self::LogBytesLost => "log_bytes_lost",
            Self::KillsByCgroup => "kills_by_cgroup",
            Self::SurvivorsOfCgroup => "survivors_of_cgroup",
            Self::KillsByWalk => "kills_by_walk",
            Self::SurvivorsOfWalk => "survivors_of_walk",
            Self::Transitions => "transitions",
            Self::LimitViolations => "limit_violations",
            Self::DaemonKills => "daemon_kills",
            Self::SupervisorKills => "supervisor_kills",
            Self::Strangers => "strangers",
            Self::StrangersSignalled => "strangers_signalled",
        }
    }
}

/// One number per count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; Count::ALL.len()]);

impl Tally {
    /// Adds to one.
    pub const fn add(&mut self, what: Count, how_many: u64) {
        self.0[what as usize] += how_many;
    }

    /// One of them.
    #[must_use]
    pub const fn of(&self, what: Count) -> u64 {
        self.0[what as usize]
    }
}
