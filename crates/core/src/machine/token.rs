//! Attempt tokens from the entropy that the shell hands in.
//!
//! Owns: spreading 64 random bits over the tokens of one turn (SplitMix64, whose outputs differ for
//! differing states). Never reaches for randomness itself.

use crate::id::{AttemptToken, TaskId};

/// The source of one turn.
pub(super) struct Tokens {
    state: u64,
}

impl Tokens {
    pub(super) const fn new(entropy: u64) -> Self {
        Self { state: entropy }
    }

    /// A token for this attempt. Task and attempt are mixed in, so that two attempts differ even
    /// where the shell handed in the same entropy twice.
    pub(super) fn next(&mut self, task: TaskId, attempt: u32) -> AttemptToken {
        let (high, low) = (self.draw(), self.draw());
        let task = mix(task.to_bits() ^ u64::from(attempt) << 50);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&(low ^ task).to_be_bytes());
        AttemptToken(bytes)
    }

    fn draw(&mut self) -> u64 {
        // The increment of SplitMix64: the golden ratio as a part of 2^64, odd.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014).
const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
