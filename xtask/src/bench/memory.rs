//! How much memory a process uses, as the kernel counts it.
//!
//! Owns the reading of `/proc/PID/smaps_rollup`. MB are 10^6 bytes throughout.

use crate::Outcome;

/// One process at one moment, MB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Its own pages, and its share of those it shares.
    pub(super) pss: f64,
    pub(super) rss: f64,
    /// What would be free if it ended.
    pub(super) private: f64,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Outcome<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let kib = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
                .ok_or_else(|| format!("{path} has no {name}"))
        };
        let mb = |kib: f64| kib * 1024.0 / 1e6;
        Ok(Self {
            pss: mb(kib("Pss")?),
            rss: mb(kib("Rss")?),
            private: mb(kib("Private_Clean")? + kib("Private_Dirty")?),
        })
    }
}
