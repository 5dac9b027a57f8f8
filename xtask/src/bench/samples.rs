//! Samples and what is said of them: median, spread, percentiles.
//!
//! Owns the arithmetic. A figure is always a median with its extremes beside it; a mean would let one
//! compiler run of somebody else speak for all.

use serde::{Deserialize, Serialize};

/// Measurements of one thing, in the order they were taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().copied()
    }

    /// The value that so many hundredths of the samples do not exceed.
    pub(super) fn percentile(&self, hundredths: f64) -> f64 {
        let sorted = self.sorted();
        let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
        let rank = hundredths / 100.0 * last as f64;
        let below = sorted[rank.floor() as usize];
        let above = sorted[rank.ceil() as usize];
        below + (above - below) * rank.fract()
    }

    pub(super) fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    pub(super) fn min(&self) -> f64 {
        self.percentile(0.0)
    }

    pub(super) fn max(&self) -> f64 {
        self.percentile(100.0)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let samples: Samples = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!((samples.median(), samples.min(), samples.max()), (2.5, 1.0, 4.0));
        assert!(Samples::default().median().is_nan(), "nothing measured is not zero");
    }
}
