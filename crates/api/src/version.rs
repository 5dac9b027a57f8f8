//! Protocol versions: which client and daemon understand each other.
//!
//! What it is for: client and daemon are often of different releases for a while (the binary was replaced, the daemon
//! still runs). What it owns: the number, the range and the error. What it never does: replace a daemon.
//!
//! A client sends its newest version in `Meanwhile-Protocol`; a daemon answers every request with its range in the same
//! header. Additions (a field, a route) keep the number; whatever an old reader would misunderstand raises it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, ErrorCode};

/// The newest protocol version of this code.
pub const PROTOCOL: u32 = 1;

/// The versions this code understands.
pub const SUPPORTED: ProtocolRange = ProtocolRange { min: 1, max: PROTOCOL };

/// The version of this program.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The protocol versions that somebody speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProtocolRange {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl ProtocolRange {
    /// Whether a version is in it.
    pub fn contains(self, version: u32) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl fmt::Display for ProtocolRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

impl FromStr for ProtocolRange {
    type Err = ();

    fn from_str(text: &str) -> Result<ProtocolRange, ()> {
        let (min, max) = text.split_once('-').ok_or(())?;
        let (min, max) = (min.parse().map_err(|_| ())?, max.parse().map_err(|_| ())?);
        if min > max { Err(()) } else { Ok(ProtocolRange { min, max }) }
    }
}

/// Whether a program of one version is older than one of another; versions that cannot be read are not.
pub fn is_older(one: &str, other: &str) -> bool {
    /// The three numbers, and whether it is a finished release rather than a candidate for it.
    fn key(version: &str) -> Option<(u64, u64, u64, bool)> {
        let version = version.split('+').next()?;
        let (numbers, finished) = match version.split_once('-') {
            Some((numbers, _)) => (numbers, false),
            None => (version, true),
        };
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        let key = (numbers.next()??, numbers.next()??, numbers.next()??, finished);
        numbers.next().is_none().then_some(key)
    }
    matches!((key(one), key(other)), (Some(one), Some(other)) if one < other)
}

/// The daemon's side: checks the client's header. An absent one means the newest (curl, simple programs).
pub fn check_client(header: Option<&str>) -> Result<u32, ApiError> {
    let Some(text) = header else { return Ok(PROTOCOL) };
    let Ok(version) = text.trim().parse::<u32>() else {
        let message = format!("read header meanwhile-protocol: cannot be `{text}` (an integer)");
        return Err(ApiError::new(ErrorCode::BadRequest, message));
    };
    if SUPPORTED.contains(version) {
        return Ok(version);
    }
    let message = format!("talk protocol {version} with this daemon: {PROGRAM} speaks {SUPPORTED}");
    let hint = if version > SUPPORTED.max {
        "restart the daemon with the newer program: meanwhile daemon stop (tasks run on)"
    } else {
        "the client is too old for this daemon: use the program that started the daemon"
    };
    let error = ApiError::new(ErrorCode::Protocol, message).hint(hint);
    Err(error.detail("min", SUPPORTED.min).detail("max", SUPPORTED.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_another_age_gets_an_error_that_says_what_to_do() {
        assert_eq!(check_client(None), Ok(PROTOCOL));
        assert_eq!(check_client(Some("1")), Ok(1));
        let newer = check_client(Some("99")).unwrap_err();
        assert_eq!(newer.code, ErrorCode::Protocol);
        assert!(newer.hint[0].contains("daemon stop"), "{newer:?}");
        assert!(check_client(Some("0")).unwrap_err().hint[0].contains("too old"));
        assert_eq!(check_client(Some("x")).unwrap_err().code, ErrorCode::BadRequest);
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (one, other) in
            [("0.9.0", "0.10.0"), ("0.1.0", "1.0.0"), ("1.0.0-rc.1", "1.0.0"), ("1.0.0", "1.0.1-a")]
        {
            assert!(is_older(one, other) && !is_older(other, one), "{one} {other}");
        }
        for text in ["1.0.0", "1.0.0+build.7", "1.0", "new", ""] {
            assert!(!is_older(text, "1.0.0"), "{text}");
        }
    }

    #[test]
    fn a_range_prints_and_parses() {
        assert_eq!(SUPPORTED.to_string().parse(), Ok(SUPPORTED));
        for bad in ["", "1", "2-1", "a-b"] {
            assert!(bad.parse::<ProtocolRange>().is_err());
        }
    }
}
