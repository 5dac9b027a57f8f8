//! Choices that depend on a seed and nothing else.
//!
//! Owns the generator of scripts and the hash by which the simulated machine varies its latencies. Never
//! reaches for the system's randomness.

/// The output function of SplitMix64 (Steele, Lea, Flood 2014): a good hash of 64 bits.
pub(super) const fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    state: u64,
}

impl Draws {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: mix(seed) }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `n`, which is not 0.
    pub(super) const fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True so many times of a thousand.
    pub(super) const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Milliseconds up to `2^bits`, small ones as likely as large ones.
    pub(super) const fn spread(&mut self, bits: u64) -> u64 {
        let bits = self.below(bits + 1);
        self.next() % (1 << bits)
    }
}

/// Everything that was seen, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace(u64);

impl Trace {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) const fn add(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }

    pub(super) const fn value(self) -> u64 {
        self.0
    }
}

impl std::fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for chunk in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
        Ok(())
    }
}
