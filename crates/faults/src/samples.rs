//! Measurements of the same thing, and what is said about them.
//!
//! Owns percentiles by the nearest rank: the value that so many of the measurements do not exceed.

use std::time::Duration;

/// Durations, as measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// One more.
    pub fn add(&mut self, one: Duration) {
        self.0.push(one);
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// True before the first.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In milliseconds, as measured.
    #[must_use]
    pub fn milliseconds(&self) -> Vec<f64> {
        self.0.iter().map(|one| one.as_secs_f64() * 1000.0).collect()
    }

    /// The value that `percent` of them do not exceed; zero for none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// `p50 12.3 ms, p99 45.6 ms of 100`
    #[must_use]
    pub fn words(&self) -> String {
        let shown = |percent| self.percentile(percent).as_secs_f64() * 1000.0;
        format!("p50 {:.1} ms, p99 {:.1} ms of {}", shown(50), shown(99), self.len())
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let samples: Samples = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(samples.percentile(50), Duration::from_millis(50));
        assert_eq!(samples.percentile(99), Duration::from_millis(99));
        let one: Samples = [Duration::from_millis(7)].into_iter().collect();
        assert_eq!(
            (one.percentile(50), one.percentile(99)),
            (one.percentile(1), one.percentile(100))
        );
        assert_eq!(Samples::default().percentile(50), Duration::ZERO);
    }
}
