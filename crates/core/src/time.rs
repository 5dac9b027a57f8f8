//! Two clocks that must never be mixed, as two types.
//!
//! [`Wall`] is for people, retention and rate-limit resets, and may jump. [`Boot`] counts from the
//! machine's start, suspend included, and never jumps: delays, backoff and waits follow it.
//! Running-time deadlines are a third, monotonic clock that only the supervisor reads.

use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC by the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// Milliseconds since this machine started, suspend included (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub u64);

/// Both clocks, read once per turn of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For display and for what people set by the calendar.
    pub wall: Wall,
    /// For every delay.
    pub boot: Boot,
}

/// A moment in the future, kept on both clocks: `boot` decides while the machine stays up, and
/// after a reboot `wall` says how much was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When, by the clock that never jumps.
    pub boot: Boot,
    /// The same moment as the wall clock saw it when this was set.
    pub wall: Wall,
}

impl Wall {
    /// This moment plus `d`, saturating.
    #[must_use]
    pub fn after(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to this moment; zero when the clock was set back between them.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Boot {
    /// This moment plus `d`, saturating.
    #[must_use]
    pub fn after(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to this moment, zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Now {
    /// The moment `d` from now, on both clocks.
    #[must_use]
    pub fn after(self, d: Duration) -> Due {
        Due { boot: self.boot.after(d), wall: self.wall.after(d) }
    }
}

impl Due {
    /// The same moment on the clocks of a machine that has been restarted since: what was left by
    /// the wall clock is what is left.
    #[must_use]
    pub fn after_reboot(self, now: Now) -> Self {
        Self { boot: now.boot.after(self.wall.since(now.wall)), wall: self.wall }
    }
}
