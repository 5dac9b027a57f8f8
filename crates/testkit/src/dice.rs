//! Random choices that can be repeated.
//!
//! Owns a small generator. The seed is printed, so a failing test's output holds what is needed to
//! run it again: `MEANWHILE_TEST_SEED=<seed>`.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// A seeded source of numbers. Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Seeded by `MEANWHILE_TEST_SEED`, else by the clock; prints the seed.
    pub fn new() -> Self {
        let ordered = std::env::var("MEANWHILE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = ordered.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(1, |now| now.as_secs() ^ (u64::from(now.subsec_nanos()) << 20))
        });
        println!("MEANWHILE_TEST_SEED={seed}");
        Self { state: seed }
    }

    /// The next number of the sequence (splitmix64).
    pub fn next_number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range, which must not be empty.
    pub fn number(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next_number() % (range.end - range.start)
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let count = u64::try_from(choices.len()).expect("a length fits into 64 bits");
        let at = usize::try_from(self.number(0..count)).expect("an index fits into a usize");
        &choices[at]
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let (mut one, mut other) = (Dice { state: 7 }, Dice { state: 7 });
        for _ in 0..100 {
            assert_eq!(one.number(3..9), other.number(3..9));
        }
        assert!((0..1000).all(|_| (3..9).contains(&one.number(3..9))));
    }
}
