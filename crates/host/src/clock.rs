//! The clocks, read: the wall for people, boot time for delays, monotonic time for running time.
//!
//! Owns the three readings and nothing else. Never compares one with another: the types forbid it.

use meanwhile_core::{Boot, Now, Wall};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Milliseconds of running time (`CLOCK_MONOTONIC`): stands still while the machine is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub u64);

/// The wall clock. It may jump.
#[must_use]
pub fn wall() -> Wall {
    let t = clock_gettime(ClockId::Realtime);
    Wall(t.tv_sec.saturating_mul(1000).saturating_add(t.tv_nsec / 1_000_000))
}

/// Time since the machine started, suspend included.
#[must_use]
pub fn boot() -> Boot {
    Boot(since_start_ms(clock_gettime(ClockId::Boottime)))
}

/// Time since the machine started, suspend left out.
#[must_use]
pub fn monotonic() -> Monotonic {
    Monotonic(since_start_ms(clock_gettime(ClockId::Monotonic)))
}

/// What one turn of the loop is told.
#[must_use]
pub fn now() -> Now {
    Now { wall: wall(), boot: boot() }
}

/// How long the machine has been suspended since it started. A jump of this tells a resume.
#[must_use]
pub fn suspended_ms() -> u64 {
    // Monotonic first: a pause between the two readings then shows as suspend, never as less.
    let running = monotonic().0;
    boot().0.saturating_sub(running)
}

fn since_start_ms(t: Timespec) -> u64 {
    let ms = t.tv_sec.saturating_mul(1000).saturating_add(t.tv_nsec / 1_000_000);
    u64::try_from(ms).expect("clocks that count from the start of the machine are not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_never_lags_behind_running_time() {
        let running = monotonic();
        assert!(boot().0 >= running.0);
    }

    #[test]
    fn the_wall_clock_reads_milliseconds_of_this_century() {
        let year_2000_ms = 946_684_800_000;
        let year_2200_ms = 7_258_118_400_000;
        assert!((year_2000_ms..year_2200_ms).contains(&wall().0), "{:?}", wall());
    }
}
