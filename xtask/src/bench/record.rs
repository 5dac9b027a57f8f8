//! What a run found: figures with their contestants, targets and raw samples.
//!
//! Owns the shape of `target/bench.json` and the judgement whether a target is reached. Never measures, and never
//! forgets a contestant: one that could not run is recorded with the reason.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::samples::Samples;

/// Everything that was measured, group by group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) machine: Machine,
    /// Names and versions of the peers, or why they were not there.
    pub(super) peers: Vec<String>,
    pub(super) groups: Vec<GroupRecord>,
}

/// One group of figures, measured at one time with one binary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct GroupRecord {
    pub(super) name: String,
    pub(super) title: String,
    /// When it began, UTC.
    pub(super) at: String,
    pub(super) seconds: f64,
    /// The version, commit and build of the binary.
    pub(super) binary: String,
    /// Fewer tasks and rounds than a full run.
    pub(super) quick: bool,
    /// Load averages over one minute, before and after.
    pub(super) load: (f64, f64),
    /// Median fdatasync of a small append where the homes are, milliseconds.
    pub(super) f_ms: f64,
    /// Median bare spawn and wait of the no-op, milliseconds.
    pub(super) t_ms: f64,
    pub(super) figures: Vec<Figure>,
    /// What the reader must know to read the figures right.
    pub(super) remarks: Vec<String>,
}

/// One measure, with everybody who took part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Figure {
    /// What explanations refer to.
    pub(super) key: String,
    pub(super) title: String,
    pub(super) unit: Unit,
    pub(super) series: Vec<Series>,
    pub(super) target: Option<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Unit {
    PerSecond,
    Percent,
    Ms,
    Mb,
    /// Times the plain way.
    Ratio,
    Count,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Target {
    /// As the aim is written down, with F and T in letters.
    pub(super) words: String,
    /// The number it comes to in this run.
    pub(super) limit: f64,
    /// An aim beyond what must be reached.
    pub(super) aim: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) samples: Samples,
    /// Why there are no samples.
    pub(super) absent: Option<String>,
}

/// Who a contestant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    Ours,
    Peer,
    /// What the machine does without any task manager.
    Limit,
}

impl Record {
    /// The newest figures of a group replace older ones.
    pub(super) fn put(&mut self, group: GroupRecord) {
        match self.groups.iter_mut().find(|other| other.name == group.name) {
            Some(older) => *older = group,
            None => self.groups.push(group),
        }
    }
}

impl Unit {
    pub(super) fn more_is_better(self) -> bool {
        matches!(self, Unit::PerSecond | Unit::Percent)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::PerSecond => "/s",
            Unit::Percent => " %",
            Unit::Ms => " ms",
            Unit::Mb => " MB",
            Unit::Ratio => "x",
            Unit::Count => "",
        }
    }

    /// With as many digits as mean something.
    pub(super) fn show(self, value: f64) -> String {
        format!("{}{}", digits(value), self.name())
    }
}

/// Three significant digits, more only before the point.
pub(super) fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let Some(digits) = text.split('.').next().filter(|digits| digits.len() > 3 && places == 0)
    else {
        return text;
    };
    let (head, tail) = digits.split_at(digits.len() - 3);
    if head == "-" { text } else { format!("{head},{tail}") }
}

impl Figure {
    pub(super) fn ours(&self) -> Option<&Series> {
        self.series.iter().find(|series| series.role == Role::Ours && !series.samples.is_empty())
    }

    /// The peer with the best median of this run.
    pub(super) fn best_peer(&self) -> Option<&Series> {
        let peers = self.series.iter().filter(|s| s.role == Role::Peer && !s.samples.is_empty());
        let by = |a: &&Series, b: &&Series| a.samples.median().total_cmp(&b.samples.median());
        if self.unit.more_is_better() { peers.max_by(by) } else { peers.min_by(by) }
    }

    /// Ours over the best peer's; `None` where one of them is missing or nothing.
    pub(super) fn ratio(&self) -> Option<f64> {
        let (ours, peer) = (self.ours()?.samples.median(), self.best_peer()?.samples.median());
        (peer > 0.0).then(|| ours / peer)
    }

    /// `None`: there is no target, or nothing of ours was measured.
    pub(super) fn reached(&self) -> Option<bool> {
        let (target, ours) = (self.target.as_ref()?, self.ours()?.samples.median());
        Some(if self.unit.more_is_better() { ours >= target.limit } else { ours <= target.limit })
    }
}

impl Series {
    pub(super) fn ours(samples: Samples) -> Self {
        Self { name: "meanwhile".to_owned(), role: Role::Ours, samples, absent: None }
    }

    pub(super) fn absent(name: &str, why: String) -> Self {
        let samples = Samples::default();
        Self { name: name.to_owned(), role: Role::Peer, samples, absent: Some(why) }
    }
}

impl Target {
    pub(super) fn must(words: &str, limit: f64) -> Option<Self> {
        Some(Self { words: words.to_owned(), limit, aim: false })
    }

    pub(super) fn aim(words: &str, limit: f64) -> Option<Self> {
        Some(Self { words: words.to_owned(), limit, aim: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(unit: Unit, ours: f64, peers: [f64; 2], limit: f64) -> Figure {
        let one = |value: f64| [value].into_iter().collect::<Samples>();
        let peer = |value| Series { role: Role::Peer, ..Series::ours(one(value)) };
        Figure {
            key: "k".to_owned(),
            title: String::new(),
            unit,
            series: vec![Series::ours(one(ours)), peer(peers[0]), peer(peers[1])],
            target: Target::must("", limit),
        }
    }

    #[test]
    fn the_best_peer_and_the_verdict_follow_the_unit() {
        let rate = figure(Unit::PerSecond, 1000.0, [400.0, 700.0], 1200.0);
        assert_eq!(rate.best_peer().map(|s| s.samples.median()), Some(700.0));
        assert_eq!(rate.reached(), Some(false));
        let time = figure(Unit::Ms, 1.5, [0.7, 0.8], 2.0);
        assert_eq!(time.best_peer().map(|s| s.samples.median()), Some(0.7));
        assert_eq!(time.reached(), Some(true));
    }

    #[test]
    fn numbers_are_shown_with_the_digits_that_mean_something() {
        let shown = [0.1234, 1.234, 12.34, 123.4, 1234.0, 0.0].map(digits);
        assert_eq!(shown, ["0.123", "1.23", "12.3", "123", "1,234", "0"]);
    }
}
