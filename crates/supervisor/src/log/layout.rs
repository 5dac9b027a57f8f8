//! The names and sizes of a log's files.
//!
//! Owns the arithmetic both sides share. Touches no file.

use std::ops::Range;

/// Which stream of a task a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Everything (`output.log`), or stderr where stdout is kept apart.
    Output,
    /// stdout of a task with split streams (`stdout.log`).
    Stdout,
}

impl Stream {
    /// The head's file name.
    #[must_use]
    pub fn head_name(self) -> &'static str {
        match self {
            Self::Output => "output.log",
            Self::Stdout => "stdout.log",
        }
    }

    /// The name of the segment that starts at a logical offset.
    #[must_use]
    pub fn segment_name(self, start: u64) -> String {
        format!("{}{start}", self.prefix())
    }

    /// Where the segment of that name starts; `None` for other files.
    #[must_use]
    pub fn segment_start(self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(self.prefix())?;
        // Only the form we write: no sign, no leading zero, so that one segment has one name.
        let start = digits.parse::<u64>().ok()?;
        (start <= LAST_OFFSET && start.to_string() == digits).then_some(start)
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Output => "output.",
            Self::Stdout => "stdout.",
        }
    }
}

/// The last offset of a file (`off_t`). A segment beyond it is not ours, and its end would be no number.
const LAST_OFFSET: u64 = i64::MAX as u64;

/// How a cap is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Division {
    /// Everything the files may hold.
    pub(crate) cap: u64,
}

impl Division {
    /// A cap below a few pages would make a file per write.
    const LEAST: u64 = 16 * 1024;

    pub(crate) fn new(cap: u64) -> Self {
        Self { cap: cap.max(Self::LEAST) }
    }

    /// What stays of the head after the overflow.
    pub(crate) fn head(self) -> u64 {
        self.cap / 2
    }

    /// The most one segment holds.
    pub(crate) fn segment(self) -> u64 {
        self.cap / 4
    }

    /// What moves from the head into the first segment at the overflow.
    pub(crate) fn moved(self) -> Range<u64> {
        self.cap - self.segment()..self.cap
    }
}

/// How many segments are kept, the growing one included.
pub(crate) const SEGMENTS_KEPT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_we_write_are_segments() {
        let check = |name: &str, expected| {
            assert_eq!(Stream::Output.segment_start(name), expected, "{name}");
        };
        check("output.0", Some(0));
        check("output.48", Some(48));
        check("output.log", None);
        check("output.048", None);
        check("output.+48", None);
        check("stdout.48", None);
    }

    #[test]
    fn head_and_segments_together_never_exceed_the_cap() {
        for cap in [0, 16 * 1024, 1_000_003, crate::limits::LOG_CAP] {
            let division = Division::new(cap);
            assert!(division.head() + division.segment() * SEGMENTS_KEPT as u64 <= division.cap);
            assert_eq!(division.moved().end - division.moved().start, division.segment());
        }
    }
}
