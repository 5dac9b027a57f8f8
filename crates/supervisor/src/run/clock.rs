//! The clocks of a supervisor.
//!
//! Running time is monotonic and stands still in a suspend; boot time goes on; the wall clock is only written
//! down. Owns reading them. Never waits.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A point of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    nanos: u64,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { nanos: nanos(clock_gettime(ClockId::Monotonic)) }
    }

    pub(super) fn after(self, span: Duration) -> Self {
        Self {
            nanos: self.nanos.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// How long ago `earlier` was; zero when it is still to come.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    nanos(clock_gettime(ClockId::Realtime)) / 1_000_000
}

/// Milliseconds since boot, suspends included.
pub(super) fn boottime_ms() -> u64 {
    nanos(clock_gettime(ClockId::Boottime)) / 1_000_000
}

/// How long the machine has been suspended since boot.
pub(super) fn suspended() -> Duration {
    let boot = nanos(clock_gettime(ClockId::Boottime));
    Duration::from_nanos(boot.saturating_sub(nanos(clock_gettime(ClockId::Monotonic))))
}

/// A span for `ppoll`.
pub(super) fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

/// A span in whole milliseconds.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A clock before its epoch reads as the epoch.
fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
