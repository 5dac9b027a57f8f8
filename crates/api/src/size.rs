//! Byte sizes as people type them: `64MiB`, `10GiB`, `4096`, `1MB`.
//!
//! What it is for: options of the command line, `--from` entries and configuration values. What it owns: the one
//! strict parser and the printer that is its inverse. What it never does: treat `MB` and `MiB` as the same.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes; on the wire an integer, in text `64MiB` or `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(u64);

/// Suffixes and their bytes: powers of 1,024 with an `i`, powers of 1,000 without. The binary ones come first, from
/// the largest, because printing uses them alone.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Size {
    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Size {
        Size(bytes)
    }

    /// In bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, bytes): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*bytes);
        match UNITS[..4].iter().find(whole) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What is wrong with a text that should be a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeError {
    value: String,
    problem: &'static str,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SizeError { value, problem } = self;
        write!(f, "`{value}` is not a size: {problem} (examples: 64MiB, 10GiB, 1MB, 4096)")
    }
}

impl std::error::Error for SizeError {}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Size, SizeError> {
        parse(text).map_err(|problem| SizeError { value: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<Size, &'static str> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 {
        return Err("expected a whole number");
    }
    let count: u64 = text[..digits].parse().map_err(|_| "it is too large")?;
    let bytes = match &text[digits..] {
        "" => 1,
        suffix => {
            unit_bytes(suffix).ok_or("unknown unit (KiB, MiB, GiB, TiB, kB, MB, GB, TB, B)")?
        }
    };
    // The kernel and SQLite count in signed 64 bits.
    let total = count.checked_mul(bytes).filter(|total| *total <= i64::MAX as u64);
    total.map(Size).ok_or("it is too large")
}

/// `KB` is accepted beside the correct `kB`: it cannot mean anything else once `KiB` exists.
fn unit_bytes(suffix: &str) -> Option<u64> {
    let suffix = if suffix == "KB" { "kB" } else { suffix };
    UNITS.iter().find(|(unit, _)| *unit == suffix).map(|(_, bytes)| *bytes)
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64MiB\" or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        self.visit_str(&bytes.to_string())
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes, or a text such as 64MiB.",
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+([KMGT]iB|[kKMGT]?B)?$" }
            ],
            "examples": ["64MiB", "10GiB", 4096]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, bytes: u64) {
        assert_eq!(text.parse::<Size>().map(Size::as_bytes), Ok(bytes), "{text}");
    }

    #[test]
    fn sizes_parse_strictly() {
        check("0", 0);
        check("4096", 4_096);
        check("4096B", 4_096);
        check("1kB", 1_000);
        check("1KB", 1_000);
        check("1KiB", 1_024);
        check("1MB", 1_000_000);
        check("64MiB", 64 << 20);
        check("10GiB", 10 << 30);
        check("2TiB", 2 << 40);
    }

    #[test]
    fn what_is_not_a_size_is_named_with_an_example() {
        for text in [
            "",
            "MiB",
            "64 MiB",
            "64mib",
            "-1",
            "1.5GiB",
            "64M",
            "9999999999TiB",
            "99999999999999999999",
        ] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("64MiB"), "{error}");
        }
    }

    #[test]
    fn printing_is_the_inverse_of_parsing() {
        for bytes in [0, 1, 1_000, 1_024, 1_536, 64 << 20, (64 << 20) + 1, 10 << 30, 3 << 40] {
            assert_eq!(Size::from_bytes(bytes).to_string().parse(), Ok(Size::from_bytes(bytes)));
        }
        assert_eq!(Size::from_bytes(64 << 20).to_string(), "64MiB");
    }
}
