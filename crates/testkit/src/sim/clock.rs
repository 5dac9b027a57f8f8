//! The clocks of the simulated machine.
//!
//! ```text
//!   mono   what processes live by; stands still while suspended; here it never starts anew
//!   boot   mono and the time suspended since this boot: what the daemon's delays follow
//!   wall   what people see; jumps
//! ```
//!
//! Owns the arithmetic between them. All in milliseconds. Never reads a real clock.

use meanwhile_core::{Boot, Now, Wall};

/// Where the wall clock starts: 2026-01-01T00:00:00Z.
const WALL_START: i64 = 1_767_225_600_000;
/// Uptime at the beginning, so that a moment before "now" exists on the boot clock.
const UPTIME_START: u64 = 100_000;

/// All clocks.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) mono: u64,
    /// Time that passed without `mono`: suspends, downtime.
    slept: u64,
    /// `mono + slept` when this boot began.
    booted_at: u64,
    jumped: i64,
    /// Which boot this is, from 1.
    pub(super) boot: u32,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { mono: UPTIME_START, slept: 0, booted_at: 0, jumped: 0, boot: 1 }
    }

    pub(super) fn now(&self) -> Now {
        let real = i64::try_from(self.mono + self.slept).unwrap_or(i64::MAX);
        Now {
            wall: Wall(WALL_START + real + self.jumped),
            boot: Boot(self.mono + self.slept - self.booted_at),
        }
    }

    /// When `mono` will be at a moment of the boot clock, if nothing sleeps until then.
    pub(super) const fn mono_of(&self, at: Boot) -> u64 {
        (at.0 + self.booted_at).saturating_sub(self.slept)
    }

    pub(super) const fn suspend(&mut self, ms: u64) {
        self.slept += ms;
    }

    pub(super) const fn jump(&mut self, ms: i64) {
        self.jumped += ms;
    }

    /// Down for so long, then up as another boot.
    pub(super) const fn reboot(&mut self, down_ms: u64) {
        self.slept += down_ms;
        self.booted_at = self.mono + self.slept;
        self.boot += 1;
    }

    /// Time since the beginning of the simulation, sleep included.
    pub(super) const fn total(&self) -> u64 {
        self.mono + self.slept - UPTIME_START
    }
}
