//! What a simulated task does: how long it runs, how it ends, what it makes of signals.
//!
//! Owns the translation of a script's numbers into a fate. Never looks at what became of it.

use meanwhile_core::event::Exit;

use super::random::mix;

/// The fate of one task, the same for its process and for what is checked afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// In the order of making, for people: `T3`.
    pub(super) label: u32,
    pub(super) run_ms: u64,
    /// How its first attempts end; the one after the last of them ends with 0.
    pub(super) fails: u32,
    pub(super) fail: Exit,
    /// Its start takes its supervisor down.
    pub(super) poison: bool,
    /// Its program cannot be executed.
    pub(super) no_exec: bool,
    /// How long SIGTERM takes; none ignores it.
    pub(super) term_ms: Option<u64>,
    /// How long SIGKILL takes: beyond a minute it is called unkillable.
    pub(super) kill_ms: u64,
    /// How long processes outlive the main one.
    pub(super) leaves_ms: u64,
    /// When it becomes ready after its start.
    pub(super) ready_ms: u64,
    pub(super) keep_leaked: bool,
    pub(super) service: bool,
    pub(super) grace_ms: u64,
}

impl Plan {
    /// Reads a fate out of two numbers of a script.
    pub(super) fn new(label: u32, run: u16, fate: u32) -> Self {
        let bits = |at: u32, n: u32| u64::from(fate >> at & ((1 << n) - 1));
        Self {
            label,
            run_ms: 1 << (run & 15) | u64::from(run) >> 4,
            fails: [0, 0, 0, 0, 1, 1, 2, 9][bits(0, 3) as usize],
            fail: if bits(3, 2) == 0 {
                Exit::Signal(11)
            } else {
                Exit::Code(1 + bits(3, 2) as i32)
            },
            poison: bits(5, 5) == 2 && bits(10, 1) == 0,
            no_exec: bits(5, 5) == 1,
            term_ms: match bits(10, 2) {
                0 => None,
                1 => Some(3000),
                _ => Some(5),
            },
            kill_ms: match bits(12, 5) {
                0 => 90_000,
                1 => 700_000,
                2..5 => 2000,
                _ => 1,
            },
            leaves_ms: match bits(17, 4) {
                0 => 400_000,
                1 => 700,
                2 => 100,
                _ => 0,
            },
            ready_ms: 1 << bits(21, 4),
            keep_leaked: bits(25, 3) == 0,
            service: false,
            grace_ms: [0, 100, 1000, 10_000][bits(28, 2) as usize],
        }
    }

    /// How the main process of an attempt ends if nobody interferes.
    pub(super) fn exit(&self, attempt: u32) -> Exit {
        if attempt <= self.fails { self.fail } else { Exit::Code(0) }
    }

    /// How long an attempt runs if nobody interferes; none is for ever.
    pub(super) fn runs_for(&self, attempt: u32) -> Option<u64> {
        let spread = mix(u64::from(self.label) << 32 | u64::from(attempt)) % 50;
        (!self.service).then_some(self.run_ms + spread)
    }
}
