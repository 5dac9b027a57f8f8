//! Bytes that are text nearly always: arguments, paths, variables.
//!
//! Written as a JSON string when they are UTF-8, else as `{"b64": "…"}`, so that rows can be read by
//! people and nothing is lost.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes in their written form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("b64", &STANDARD.encode(&self.0))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or {\"b64\": text}")
    }

    fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes(text.as_bytes().to_vec()))
    }

    fn visit_string<E>(self, text: String) -> Result<Bytes, E> {
        Ok(Bytes(text.into_bytes()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
        let Some((key, text)) = map.next_entry::<String, String>()? else {
            return Err(A::Error::missing_field("b64"));
        };
        if key != "b64" || map.next_key::<String>()?.is_some() {
            return Err(A::Error::unknown_field(&key, &["b64"]));
        }
        STANDARD.decode(text).map(Bytes).map_err(A::Error::custom)
    }
}

/// Wraps a list.
pub(crate) fn wrap(list: &[Vec<u8>]) -> Vec<Bytes> {
    list.iter().cloned().map(Bytes).collect()
}

/// Unwraps a list.
pub(crate) fn unwrap(list: Vec<Bytes>) -> Vec<Vec<u8>> {
    list.into_iter().map(|b| b.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::{from_json, to_json};

    fn check(bytes: &[u8], json: &str) {
        let record = Bytes(bytes.to_vec());
        assert_eq!(to_json(&record), json);
        assert_eq!(from_json(json), Ok(record));
    }

    #[test]
    fn bytes_read_back_whether_they_are_text_or_not() {
        check(b"", "\"\"");
        check("größe \u{0} \"x\"".as_bytes(), "\"größe \\u0000 \\\"x\\\"\"");
        check(b"\xff\xfe/x", r#"{"b64":"//4veA=="}"#);
    }

    #[test]
    fn anything_else_is_damage() {
        for json in ["1", "null", "{}", r#"{"b64":"%"}"#, r#"{"b65":""}"#, r#"{"b64":"","c":""}"#] {
            assert!(from_json::<Bytes>(json).is_err(), "{json}");
        }
    }
}
