//! Durations as people type them: `10s`, `5m`, `1h30m`, `500ms`, `0`.
//!
//! What it is for: options of the command line, `--from` entries and configuration values. What it owns: the one
//! strict parser and the printer that is its inverse. What it never does: guess a unit (`30` is refused).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in whole milliseconds; on the wire and in text `1h30m`, `10s`, `500ms`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

/// Units from the largest, each with its milliseconds. A text uses each at most once and in this order.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest accepted duration, 10 years: longer ones are typing mistakes, and sums stay far from overflow.
const MAX_MS: u64 = 10 * 366 * 86_400_000;

impl Span {
    /// No time at all; for a timeout it means "none".
    pub const ZERO: Span = Span(0);

    /// From milliseconds.
    pub const fn from_ms(ms: u64) -> Span {
        Span(ms)
    }

    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Span {
        Span(seconds * 1_000)
    }

    /// In milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// As the standard library's type.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// True for `0`.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        span.as_duration()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let mut rest = self.0;
        for (unit, ms) in UNITS {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

/// What is wrong with a text that should be a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationError {
    value: String,
    problem: &'static str,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DurationError { value, problem } = self;
        write!(f, "`{value}` is not a duration: {problem} (examples: 10s, 5m, 1h30m, 500ms, 0)")
    }
}

impl std::error::Error for DurationError {}

impl FromStr for Span {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Span, DurationError> {
        parse(text).map_err(|problem| DurationError { value: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<Span, &'static str> {
    if text == "0" {
        return Ok(Span::ZERO);
    }
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.starts_with('-') {
        return Err("time cannot be negative");
    }
    let (mut rest, mut total, mut next_unit) = (text, 0_u64, 0);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return Err("expected a whole number before each unit");
        }
        let count: u64 = rest[..digits].parse().map_err(|_| "it is longer than 10 years")?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| !c.is_ascii_digit()).len();
        let unit = match &rest[..letters] {
            "" => return Err("a unit is missing (d, h, m, s or ms)"),
            name => UNITS.iter().position(|(unit, _)| *unit == name).ok_or("unknown unit")?,
        };
        if unit < next_unit {
            return Err("units must be given once each, the largest first");
        }
        next_unit = unit + 1;
        rest = &rest[letters..];
        let ms = count.checked_mul(UNITS[unit].1).and_then(|ms| total.checked_add(ms));
        total = ms.filter(|ms| *ms <= MAX_MS).ok_or("it is longer than 10 years")?;
    }
    Ok(Span(total))
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration string such as \"10s\", \"5m\", \"1h30m\", or 0")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }

    /// A bare number has no unit, so only 0 is clear.
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Span, E> {
        self.visit_str(&number.to_string())
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(0|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
            "description": "A duration: 10s, 5m, 1h30m, 500ms, 0.",
            "examples": ["10s", "5m", "1h30m", "500ms", "0"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, ms: u64) {
        assert_eq!(text.parse::<Span>().map(Span::as_ms), Ok(ms), "{text}");
    }

    #[test]
    fn durations_parse_strictly() {
        check("0", 0);
        check("0s", 0);
        check("10s", 10_000);
        check("5m", 300_000);
        check("1h30m", 5_400_000);
        check("500ms", 500);
        check("2d", 172_800_000);
        check("1d1h1m1s1ms", 90_061_001);
        check("90m", 5_400_000);
    }

    #[test]
    fn what_is_not_a_duration_is_named_with_an_example() {
        let bad = [
            "",
            "30",
            "s",
            "-1s",
            "1.5h",
            "5 m",
            "5min",
            "5M",
            "1m1h",
            "1s1s",
            "1h30",
            "99999999999999999999s",
            "9999d",
            "1µs",
            " 1s",
            "1s ",
        ];
        for text in bad {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("1h30m"), "{error}");
        }
    }

    #[test]
    fn printing_is_the_inverse_of_parsing() {
        for ms in [0, 1, 999, 1_000, 1_500, 60_000, 5_400_000, 86_400_001, MAX_MS] {
            assert_eq!(Span::from_ms(ms).to_string().parse(), Ok(Span::from_ms(ms)));
        }
    }

    #[test]
    fn json_numbers_other_than_zero_are_refused() {
        assert_eq!(serde_json::from_str::<Span>("0").unwrap(), Span::ZERO);
        assert!(serde_json::from_str::<Span>("30").unwrap_err().to_string().contains("unit"));
        assert_eq!(serde_json::to_string(&Span::from_secs(90)).unwrap(), "\"1m30s\"");
    }
}
