//! Identifiers on the wire.
//!
//! What it is for: names for tasks and requests that are not mixed up with other strings. What it owns: the two
//! newtypes and the check of a request id. What it never does: make task ids (core does) or resolve prefixes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A task: 10 lower-case base32 characters in replies. In requests also a unique prefix of at least 4 characters, or
/// a name that is unique among kept tasks.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct TaskId(pub String);

impl TaskId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for TaskId {
    fn from(text: &str) -> TaskId {
        TaskId(text.to_owned())
    }
}

impl From<String> for TaskId {
    fn from(text: String) -> TaskId {
        TaskId(text)
    }
}

/// The identity of one changing request: 32 lower-case hexadecimal digits (128 random bits). The same id sent again
/// within 24 hours has its effect once and gets the first answer again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// From 16 random bytes, which the caller draws.
    pub fn from_random(bytes: [u8; 16]) -> RequestId {
        RequestId(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// From a header value; `None` when it is not 8 to 64 letters, digits, `-` or `_` (other programs may bring
    /// their own kind of id).
    pub fn parse(text: &str) -> Option<RequestId> {
        let fits = (8..=64).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (fits && plain).then(|| RequestId(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_32_hexadecimal_digits_and_parse_back() {
        let id = RequestId::from_random([0xab; 16]);
        assert_eq!(id.as_str(), "ab".repeat(16));
        assert_eq!(RequestId::parse(id.as_str()), Some(id));
        for bad in ["", "short", "has space in it", &"x".repeat(65), "über-lang"] {
            assert_eq!(RequestId::parse(bad), None, "{bad}");
        }
    }
}
